"""What keeps the tables of evidence at their limits, whatever comes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from functools import cache
from random import random
from typing import TypeVar

from django.db.models import Count, Model

from extensions.models import Binding
from pbx.diagnosis.models import Attempt, CallTrace, OnlinePeriod, WatchedMessage
from pbx.prepared import LATER, PreparedRead

OF_AN_EXTENSION = 20
"""Attempts kept of each extension."""

OF_UNKNOWN_NUMBERS = 500
"""Attempts kept of all numbers that are no extension, and of those without a number, together."""

TRACES = 2000
PERIODS_OF_AN_EXTENSION = 300

LOOKED_AT = 0.05
"""Of the extensions with a new period, the share that is looked at whether they have too many: to count them costs as
much as to write one. So an extension may have some dozens more for a while."""

WATCHED_OF_A_NUMBER = 300

AT_ONCE = 400
"""Values in one IN list: SQLite's limit is 999 parameters."""

T = TypeVar("T")

Weight = tuple[bool, datetime]


def slices(values: Collection[T]) -> Iterator[list[T]]:
    ordered = list(values)
    for start in range(0, len(ordered), AT_ONCE):
        yield ordered[start : start + AT_ONCE]


def good_sources(extension_ids: Collection[int]) -> set[tuple[int, str]]:
    """From where each extension has been registered: what fails there is its own phone, and is kept longest."""
    found: set[tuple[int, str]] = set()
    for ids in slices(extension_ids):
        rows = Binding.objects.filter(extension_id__in=ids).order_by()
        found.update(rows.values_list("extension_id", "remote_host").distinct())
    return found


def keep_attempts(extension_ids: Collection[int], unknown: bool) -> None:
    """Bring the attempts of these extensions, and those of unknown numbers, back to their limits."""
    surplus: list[int] = []
    good = good_sources(extension_ids)
    of_extension: dict[int, list[tuple[Weight, int]]] = {}
    for ids in slices(extension_ids):
        rows = Attempt.objects.filter(extension_id__in=ids).order_by()
        for extension, pk, source, proven, last_at in rows.values_list(
            "extension_id", "pk", "source", "proven", "last_at"
        ):
            weight = (proven or (extension, source) in good, last_at)
            of_extension.setdefault(extension, []).append((weight, pk))
    for weighed in of_extension.values():
        weighed.sort()
        surplus += [pk for _weight, pk in weighed[: max(0, len(weighed) - OF_AN_EXTENSION)]]
    if unknown:
        surplus += _beyond(Attempt.objects.filter(extension=None).order_by("-last_at", "-pk"), OF_UNKNOWN_NUMBERS)
    delete(Attempt, surplus)


@cache
def _full() -> PreparedRead:
    """Of these extensions those that have too many periods."""
    counted = OnlinePeriod.objects.filter(extension__any_of=LATER).order_by().values("extension_id")
    many = counted.annotate(n=Count("pk")).filter(n__gt=PERIODS_OF_AN_EXTENSION)
    return PreparedRead("sip_full_periods", "int8", many.values_list("extension_id"))


def keep_periods(extension_ids: Collection[int]) -> None:
    looked_at = [id for id in extension_ids if random() < LOOKED_AT]
    for (extension,) in _full().rows(looked_at) if looked_at else ():
        rows = OnlinePeriod.objects.filter(extension_id=extension).order_by("-ended_at", "-pk")
        delete(OnlinePeriod, _beyond(rows, PERIODS_OF_AN_EXTENSION))


def keep_watched(numbers: Collection[str]) -> None:
    for number in sorted(numbers):
        rows = WatchedMessage.objects.filter(number=number).order_by("-at", "-pk")
        delete(WatchedMessage, _beyond(rows, WATCHED_OF_A_NUMBER))


def keep_traces() -> None:
    delete(CallTrace, _beyond(CallTrace.objects.order_by("-updated_at", "-pk"), TRACES))


def delete(model: type[Model], ids: Sequence[int]) -> None:
    for part in slices(ids):
        model._default_manager.filter(pk__in=part).delete()


def _beyond(rows, most: int) -> list[int]:
    return list(rows.values_list("pk", flat=True)[most : most + 100_000])
