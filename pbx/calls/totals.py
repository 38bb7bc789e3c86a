"""Calls, answered calls and talk time of a selection, in one bounded query that also numbers the pages."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.paginator import Paginator
from django.db.models import Case, Count, QuerySet, Sum, Value, When
from django.utils.functional import cached_property

from pbx.calls.durations import clock
from pbx.calls.models import CallRecord

MOST_COUNTED = 100_000
"""Calls, newest first. Counting every row of a table of millions would take seconds at each look."""


@dataclass(frozen=True, slots=True)
class Totals:
    calls: int
    answered: int
    talked: int  # seconds
    going_on: int  # among the calls: not ended, and so neither answered nor talked yet in these figures
    is_partial: bool  # there are more calls than were counted

    @property
    def talk_time(self) -> str:
        return clock(self.talked)


def totals_of(calls: QuerySet[CallRecord]) -> Totals:
    newest = calls.order_by("-start").values("disposition", "billsec", "end")[: MOST_COUNTED + 1]
    found = newest.aggregate(
        calls=Count("*"),
        answered=Sum(Case(
            When(disposition=CallRecord.Disposition.ANSWERED, end__isnull=False, then=Value(1)), default=Value(0)
        )),
        talked=Sum("billsec"),
        going_on=Sum(Case(When(end__isnull=True, then=Value(1)), default=Value(0))),
    )
    return Totals(
        min(found["calls"], MOST_COUNTED), found["answered"] or 0, found["talked"] or 0, found["going_on"] or 0,
        found["calls"] > MOST_COUNTED,
    )


class CountedPaginator(Paginator):
    """Takes its number of rows from the totals, which the page shows anyway."""

    @cached_property
    def totals(self) -> Totals:
        return totals_of(self.object_list)

    @cached_property
    def count(self) -> int:
        return self.totals.calls
