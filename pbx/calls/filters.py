"""The period of the list of calls: a few names, or two dates."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from django.contrib import admin
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

YEARS = range(1970, 2200)
PERIODS = {
    "today": _("today"),
    "yesterday": _("yesterday"),
    "week": _("last 7 days"),
    "month": _("this month"),
    "last_month": _("last month"),
}


def days_of(period: str, today: date) -> tuple[date, date] | None:
    """First and last day of a named period; None for a name that is not known."""
    first = today.replace(day=1)
    yesterday = today - timedelta(days=1)
    last_month = first - timedelta(days=1)
    return {
        "today": (today, today),
        "yesterday": (yesterday, yesterday),
        "week": (today - timedelta(days=6), today),
        "month": (first, today),
        "last_month": (last_month.replace(day=1), last_month),
    }.get(period)


class PeriodFilter(admin.ListFilter):
    """``?period=today``, or ``?since=2026-11-01&until=2026-11-22`` (days of the local calendar, both included)."""

    title = _("period")
    template = "admin/calls/callrecord/period_filter.html"
    parameters = ("period", "since", "until")

    def __init__(self, request, params, model, model_admin):
        super().__init__(request, params, model, model_admin)
        given = {name: params.pop(name)[-1] for name in self.parameters if name in params}
        self.used_parameters.update(given)
        self.period = given.get("period", "")
        days = days_of(self.period, timezone.localdate())
        self.since, self.until = days or (_day(given.get("since", "")), _day(given.get("until", "")))

    def has_output(self):
        return True

    def expected_parameters(self):
        return list(self.parameters)

    def choices(self, changelist):
        self.other_parameters = {
            name: value for name, value in changelist.params.items() if name not in self.parameters
        }
        yield {
            "selected": not (self.since or self.until), "display": _("any time"),
            "query_string": changelist.get_query_string(remove=self.parameters),
        }
        for name, text in PERIODS.items():
            yield {
                "selected": self.period == name, "display": text,
                "query_string": changelist.get_query_string({"period": name}, remove=["since", "until"]),
            }

    def queryset(self, request, queryset):
        if self.since:
            queryset = queryset.filter(start__gte=_begin_of(self.since))
        if self.until:
            queryset = queryset.filter(start__lt=_begin_of(self.until + timedelta(days=1)))
        return queryset


def _day(text: str) -> date | None:
    """What is no date filters nothing."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if day.year in YEARS else None


def _begin_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
