"""The three small charts of the front page: phones online, calls now, failed attempts. Each reads a bounded number of
rows and is drawn by the server: no script, and a sentence beside the picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Q
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from extensions.models import Binding
from pbx.calls.models import CallRecord
from pbx.diagnosis.models import Attempt, OnlinePeriod

DAY, HOUR = timedelta(hours=24), timedelta(hours=1)
DAY_STEPS, HOUR_STEPS = 96, 30
MOST_ROWS = 20_000
"""Read for one chart; beyond, the oldest are left out of the picture, never out of the figure of now."""

MOST_BINDINGS = 2_000
"""Read for the chart of the phones; of more, each stands for several."""

WIDTH, HEIGHT = 240, 48  # of the drawing, in its own units


@dataclass(frozen=True, slots=True)
class Chart:
    key: str
    title: str
    value: int  # of now
    values: tuple[float, ...]  # oldest first
    span: str  # what the picture covers, in words
    sentence: str  # for those who do not see the picture

    @property
    def line(self) -> str:
        """An SVG path of steps."""
        return _path(self.values)

    @property
    def area(self) -> str:
        return f"{self.line} V{HEIGHT} H0 Z" if self.values else ""

    @property
    def highest(self) -> int:
        return round(max(self.values, default=0))


def charts(now: datetime, answering: int | None = None) -> list[Chart]:
    """``answering``: how many registered phones answer now, where that is known already."""
    return [phones_online(now, answering), calls_now(now), failed_attempts(now)]


def phones_online(now: datetime, answering: int | None = None) -> Chart:
    """A registration that is over becomes a period only when the next one begins: until then it is the binding. A
    silence is a period beside the one that it was a part of."""
    begin = now - DAY
    bindings = Binding.objects.shown().filter(expires_at__gt=begin)
    if (value := answering) is None:
        value = bindings.online(now).filter(unreachable_since__isnull=True).count()
    each = 1 + bindings.count() // MOST_BINDINGS
    some = bindings.annotate(part=F("pk") % each).filter(part=0) if each > 1 else bindings
    spans = [
        (started_at, ended_at, -1 if ending == OnlinePeriod.Ending.SILENT else 1)
        for started_at, ended_at, ending in OnlinePeriod.objects.filter(
            ended_at__gt=begin, extension__hidden=False
        ).order_by("-ended_at").values_list("started_at", "ended_at", "ending")[:MOST_ROWS]
    ]
    spans += [
        (registered_at, min(expires_at, now, unreachable_since or now), each)
        for registered_at, expires_at, unreachable_since in some.order_by()
        .values_list("registered_at", "expires_at", "unreachable_since")
    ]
    values = _at_once(spans, begin, DAY / DAY_STEPS, DAY_STEPS)
    values[-1] = value
    return Chart(
        "online", _("Phones online"), value, tuple(values), _("last 24 hours"),
        _("%(now)d now; in the last 24 hours between %(least)d and %(most)d.") % {
            "now": value, "least": min(values), "most": max(values),
        },
    )


def calls_now(now: datetime) -> Chart:
    begin = now - HOUR
    value = CallRecord.objects.living().count()
    # A call that began before yesterday and has ended since is not worth reading the whole table for.
    rows = (
        CallRecord.objects.filter(start__gt=now - DAY).filter(Q(end__isnull=True) | Q(end__gt=begin))
        .order_by("-start").values_list("start", "end")[:MOST_ROWS]
    )
    values = _at_once(((start, end or now, 1) for start, end in rows), begin, HOUR / HOUR_STEPS, HOUR_STEPS)
    values[-1] = value
    return Chart(
        "calls", _("Calls now"), value, tuple(values), _("last hour"),
        _("%(now)d now; at most %(most)d at once in the last hour.") % {"now": value, "most": max(values)},
    )


def failed_attempts(now: datetime) -> Chart:
    """Rows count the attempts of a number, source and cause from the first to the last: they are spread evenly over
    that time, as near as can be known."""
    begin = now - HOUR
    rows = (
        Attempt.objects.filter(last_at__gt=begin).order_by("-last_at")
        .values_list("first_at", "last_at", "count")[:MOST_ROWS]
    )
    values = [0.0] * HOUR_STEPS
    step = HOUR / HOUR_STEPS
    for first_at, last_at, count in rows:
        length = max(last_at - first_at, timedelta())
        since = max(first_at, begin)
        inside = 1.0 if not length else (last_at - since) / length
        first, last = _place(since, begin, step, HOUR_STEPS), _place(last_at, begin, step, HOUR_STEPS)
        for place in range(first, last + 1):
            values[place] += max(1.0, count * inside) / (last - first + 1)
    value = round(sum(values))
    return Chart(
        "failed", _("Failed attempts"), value, tuple(values), _("last hour"),
        ngettext(
            "%(count)d attempt to register failed in the last hour.",
            "%(count)d attempts to register failed in the last hour.", value,
        ) % {"count": value},
    )


def _at_once(
    spans: Iterable[tuple[datetime, datetime, int]], begin: datetime, step: timedelta, steps: int
) -> list[int]:
    """How many of the spans (since, until, how many it counts for) were there in each step."""
    changes = [0] * (steps + 1)
    for since, until, weight in spans:
        if until < begin or until <= since:
            continue
        changes[_place(since, begin, step, steps)] += weight
        changes[_place(until, begin, step, steps) + 1] -= weight
    values, going = [], 0
    for change in changes[:steps]:
        going += change
        values.append(max(0, going))
    return values


def _place(moment: datetime, begin: datetime, step: timedelta, steps: int) -> int:
    return max(0, min(steps - 1, int((moment - begin) / step)))


def _path(values: Sequence[float]) -> str:
    if not values:
        return ""
    top = max(*values, 1.0) if len(values) > 1 else max(values[0], 1.0)
    width = WIDTH / len(values)
    heights = [round(HEIGHT - 2 - value / top * (HEIGHT - 6), 1) for value in values]
    parts = [f"M0 {heights[0]}"]
    for place, height in enumerate(heights, start=1):
        parts.append(f"H{round(place * width, 1)}")
        if place < len(heights) and heights[place] != height:
            parts.append(f"V{heights[place]}")
    return " ".join(parts)
