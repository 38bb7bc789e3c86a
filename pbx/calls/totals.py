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


_ANSWERED = Sum(Case(When(disposition=CallRecord.Disposition.ANSWERED, then=Value(1)), default=Value(0)))


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
    # Two questions, each of which an index answers alone: whether a call has ended stands in no index with the others.
    newest = calls.order_by("-start").values("disposition", "billsec")[: MOST_COUNTED + 1]
    found = newest.aggregate(calls=Count("*"), answered=_ANSWERED, talked=Sum("billsec"))
    living = calls.living().order_by("-start").values("disposition")[:MOST_COUNTED]
    going_on = living.aggregate(calls=Count("*"), answered=_ANSWERED)
    return Totals(
        min(found["calls"], MOST_COUNTED), (found["answered"] or 0) - (going_on["answered"] or 0),
        found["talked"] or 0, going_on["calls"], found["calls"] > MOST_COUNTED,
    )


class CountedPaginator(LongListPaginator):
    """Takes its number of rows from the totals, which the page shows anyway."""

    @property
    def is_exact(self) -> bool:
        return not self.totals.is_partial

    @cached_property
    def totals(self) -> Totals:
        return totals_of(self.object_list)

    @cached_property
    def count(self) -> int:
        return self.totals.calls
