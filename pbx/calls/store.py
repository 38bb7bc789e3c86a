"""Where the SIP engine writes its calls down (``sipcore.calls.records.CallStore``): plain synchronous functions."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from operator import attrgetter, le
from typing import Any

from django.db import transaction
from django.db.models import F, Max

from pbx.calls.call_table import COLUMNS, TIMES, upsert
from pbx.calls.models import CallAction, CallRecord
from pbx.store_access import unit_of_work
from pbx.system.models import SipProcess
from sipcore.calls.records import CallAction as Action
from sipcore.calls.records import CallRow, LegRow, MediaRow
from sipcore.protocol.headers import clean_text
from sipcore.workers import CALLS

MOST_LEGS = 100
"""Kept of one call, legs and directions of media alike: a row stays a row."""

MOST_TEXT = 128
"""Characters of each text inside a leg."""

MOST_SECONDS = 2**31 - 1
LATEST = 2**36
"""Seconds since 1970: no call begins after the year 4000."""

READ_AT_ONCE = 400
"""Names in one IN list: SQLite's limit is 999 parameters."""

_LIMITS = {
    field.name: field.max_length for field in CallRecord._meta.concrete_fields if field.max_length
}
_NAMES = {kind: tuple(part.name for part in fields(kind)) for kind in (LegRow, MediaRow)}
_PARTS = {kind: (names, attrgetter(*names)) for kind, names in _NAMES.items()}


class DjangoCallStore:
    @unit_of_work
    def write_calls(self, rows: Sequence[CallRow]) -> None:
        newest = {row.uniqueid: row for row in rows}
        if not newest:
            return
        # Sorted: two writers cannot deadlock.
        values = [_values_of(newest[uniqueid]) for uniqueid in sorted(newest)]
        with transaction.atomic():
            upsert(values)

    @unit_of_work
    def close_orphans(self, node: str, now: float) -> int:
        # The worker that has the calls; others may be alive.
        last_beat = SipProcess.objects.filter(node=node, worker=CALLS).aggregate(last=Max("beat_at"))["last"]
        moment = _moment(now)
        with transaction.atomic():
            orphans = list(
                CallRecord.objects.living().filter(node=node).select_for_update()
                .only("start", "answer", "disposition").order_by("pk")
            )
            for orphan in orphans:
                # A call that began after the last heartbeat lasted until now at most: its own times are the nearest.
                known = max(filter(None, (last_beat or moment, orphan.answer, orphan.start)))
                _close(orphan, min(known, max(moment, orphan.start)))
            CallRecord.objects.bulk_update(
                orphans, ["end", "duration", "billsec", "disposition", "cause", "hung_up_by"], batch_size=100
            )
            CallAction.objects.filter(node=node).delete()
        return len(orphans)

    @unit_of_work
    def shift_living(self, node: str, seconds: float) -> None:
        """The clock was set while nobody ran: what was cut off by the stop has lasted as long as it has."""
        by = timedelta(seconds=seconds)
        CallRecord.objects.living().filter(node=node).update(start=F("start") + by, answer=F("answer") + by)

    @unit_of_work
    def take_actions(self, node: str) -> list[Action]:
        rows = list(CallAction.objects.filter(node=node).order_by("pk")[:READ_AT_ONCE])
        if rows:
            CallAction.objects.filter(pk__in=[row.pk for row in rows]).delete()
        return [Action(row.uniqueid, row.action, row.by) for row in rows]

    @unit_of_work
    def sweep_calls(self, before: float, limit: int) -> int:
        moment = _moment(before)
        old = CallRecord.objects.filter(start__lt=moment, end__lt=moment).order_by("start")
        ids = list(old.values_list("pk", flat=True)[:limit])
        for first in range(0, len(ids), READ_AT_ONCE):
            CallRecord.objects.filter(pk__in=ids[first : first + READ_AT_ONCE]).delete()
        CallAction.objects.filter(created_at__lt=moment).delete()
        return len(ids)


def _close(call: CallRecord, end: datetime) -> None:
    call.end = end
    call.duration = _whole_seconds(end - call.start)
    call.billsec = _whole_seconds(end - call.answer) if call.answer else 0
    call.disposition = CallRecord.Disposition.ANSWERED if call.answer else CallRecord.Disposition.FAILED
    call.cause, call.hung_up_by = "pbx_crashed", "pbx"


def _values_of(row: CallRow) -> list[object]:
    """The values of ``call_table.COLUMNS``."""
    if not row.uniqueid or clean_text(row.uniqueid, _LIMITS["uniqueid"]) != row.uniqueid:
        raise ValueError("uniqueid")
    values: list[Any] = list(_fields_of(row))
    texts = _texts_of(row)
    together = "".join(texts)
    if not (together.isascii() and together.isprintable() and all(map(le, map(len, texts), _MOST))):
        for place, limit in _TEXTS:
            values[place] = clean_text(values[place], limit)
    for place in _TIMES:
        if values[place] is not None and not 0 <= values[place] < LATEST:
            raise ValueError(COLUMNS[place])  # PostgreSQL would keep an infinite one, and nothing could read it back
    for place in _SECONDS:
        values[place] = min(values[place], MOST_SECONDS)
    for place in _JSON:
        values[place] = _parts_as_json(values[place][:MOST_LEGS]) if values[place] else "[]"
    return values


_fields_of = attrgetter(*COLUMNS)
_TEXTS = [(place, _LIMITS[name]) for place, name in enumerate(COLUMNS) if name in _LIMITS]
_TIMES, _SECONDS, _JSON = (
    [COLUMNS.index(name) for name in names] for names in (TIMES, ("duration", "billsec"), ("legs", "media"))
)
_texts_of, _MOST = attrgetter(*(COLUMNS[place] for place, _ in _TEXTS)), [limit for _, limit in _TEXTS]
_json = json.JSONEncoder(check_circular=False, allow_nan=False).encode
_SUSPECT = re.compile(rf'[\\\x7f]|"[^"]{{{MOST_TEXT + 1}}}')
"""In JSON all but the clean and short: what is escaped, and a text that is too long, wherever a quote stands."""


def _parts_as_json(parts: Sequence[LegRow | MediaRow]) -> str:
    """What nearly always comes is written as it is, and then looked at all at once."""
    names, values_of = _PARTS[type(parts[0])]
    try:
        text = _json([dict(zip(names, values_of(part), strict=True)) for part in parts])
    except ValueError:  # a number that is none
        return _json([_plain(part) for part in parts])
    return text if _SUSPECT.search(text) is None else _json([_plain(part) for part in parts])


def _plain(part: LegRow | MediaRow) -> dict[str, object]:
    """What JSON columns take: clean texts, finite numbers."""
    names, values_of = _PARTS[type(part)]
    values = dict(zip(names, values_of(part), strict=True))
    for name, value in values.items():
        if type(value) is str:
            values[name] = clean_text(value, MOST_TEXT)
        elif type(value) is float and not math.isfinite(value):
            values[name] = None if name.endswith("_at") else 0.0
    return values


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _whole_seconds(length: timedelta) -> int:
    return max(0, min(int(length.total_seconds()), MOST_SECONDS))
