"""Calls, answered calls and talk time of a selection, in one bounded query that also numbers the pages."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Case, Count, QuerySet, Sum, Value, When
from django.utils.functional import cached_property

from pbx.calls.durations import clock
from pbx.calls.models import CallRecord
from pbx.long_lists import LongListPaginator

MOST_COUNTED = 100_000
"""Calls, newest first. Counting every row of a table of millions would take seconds at each look."""

MOST_UNASKED = 20_000
"""The same where nothing was chosen: whoever opens the list wants to see the newest, and no sum of years."""

NEWEST_FIRST = ("-start", "-id")

MOST_AT_ONCE = 50
"""Calls that began in the same microsecond: with more, a page behind them is only slower."""

_ANSWERED = Case(When(disposition=CallRecord.Disposition.ANSWERED, then=Value(1)), default=Value(0))


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


def totals_of(calls: QuerySet[CallRecord], most: int) -> Totals:
    """Of the newest ``most`` of them."""
    # Two questions, each of which an index answers alone: whether a call has ended stands in no index with the others.
    calls = calls.order_by("-start").annotate(is_answered=_ANSWERED)
    newest = calls.values("is_answered", "billsec")[: most + 1]
    found = newest.aggregate(calls=Count("*"), answered=Sum("is_answered"), talked=Sum("billsec"))
    going_on = calls.living().values("is_answered")[:most].aggregate(calls=Count("*"), answered=Sum("is_answered"))
    return Totals(
        min(found["calls"], most), (found["answered"] or 0) - (going_on["answered"] or 0),
        found["talked"] or 0, going_on["calls"], found["calls"] > most,
    )


class CountedPaginator(LongListPaginator):
    """Takes its number of rows from the totals, which the page shows anyway."""

    @property
    def most(self) -> int:
        return MOST_COUNTED

    @property
    def is_exact(self) -> bool:
        return not self.totals.is_partial

    def at(self, place: slice, from_end: bool, rows: QuerySet) -> list:
        """What is skipped is skipped by its start alone, which an index has, and only calls of one moment are sorted:
        SQLite would sort all that it skips."""
        if place.start and self.order == [*NEWEST_FIRST]:
            order, behind = ("start", "gte") if from_end else ("-start", "lte")
            some = slice(max(0, place.start - MOST_AT_ONCE), place.start + 1)
            starts = list(rows.order_by(order).values_list("start", flat=True)[some])
            skipped = starts[:-1].count(starts[-1]) if starts else 0
            if skipped < MOST_AT_ONCE:
                rows = rows.filter(**{f"start__{behind}": starts[-1]}) if starts else rows.none()
                place = slice(skipped, skipped + place.stop - place.start)
        return super().at(place, from_end, rows)

    @cached_property
    def totals(self) -> Totals:
        return totals_of(self.object_list, self.most)

    @cached_property
    def count(self) -> int:
        return self.totals.calls


class UnaskedPaginator(CountedPaginator):
    index_order = NEWEST_FIRST

    @property
    def most(self) -> int:
        return MOST_UNASKED
