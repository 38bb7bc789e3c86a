"""Where the SIP engine writes its calls down (``sipcore.calls.records.CallStore``): plain synchronous functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import Max

from pbx.calls.models import CallAction, CallRecord
from pbx.store_access import unit_of_work
from pbx.system.models import SipProcess
from sipcore.calls.records import CallAction as Action
from sipcore.calls.records import CallRow, LegRow, MediaRow
from sipcore.protocol.headers import clean_text

MOST_LEGS = 100
"""Kept of one call, legs and directions of media alike: a row stays a row."""

MOST_TEXT = 128
"""Characters of each text inside a leg."""

MOST_SECONDS = 2**31 - 1
READ_AT_ONCE = 400
"""Names in one IN list: SQLite's limit is 999 parameters."""

_WRITTEN = [
    field.name for field in CallRecord._meta.concrete_fields if field.name not in ("id", "uniqueid")
]
_LIMITS = {
    name: CallRecord._meta.get_field(name).max_length
    for name in ("node", "src", "dst", "clid", "disposition", "cause", "hung_up_by", "sip_call_id")
}


class DjangoCallStore:
    @unit_of_work
    def write_calls(self, rows: Sequence[CallRow]) -> None:
        newest = {row.uniqueid: row for row in rows}
        if not newest:
            return
        CallRecord.objects.bulk_create(
            [_to_record(newest[uniqueid]) for uniqueid in sorted(newest)],  # sorted: two writers cannot deadlock
            update_conflicts=True,
            unique_fields=["uniqueid"],
            update_fields=_WRITTEN,
        )

    @unit_of_work
    def close_orphans(self, node: str, now: float) -> int:
        last_beat = SipProcess.objects.filter(node=node).aggregate(last=Max("beat_at"))["last"]
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


def _to_record(row: CallRow) -> CallRecord:
    if not row.uniqueid or clean_text(row.uniqueid, 64) != row.uniqueid:
        raise ValueError("uniqueid")
    texts = {name: clean_text(getattr(row, name), limit) for name, limit in _LIMITS.items()}
    return CallRecord(
        uniqueid=row.uniqueid,
        start=_moment(row.start),
        answer=None if row.answer is None else _moment(row.answer),
        end=None if row.end is None else _moment(row.end),
        duration=min(row.duration, MOST_SECONDS),
        billsec=min(row.billsec, MOST_SECONDS),
        legs=[_plain(leg) for leg in row.legs[:MOST_LEGS]],
        media=[_plain(media) for media in row.media[:MOST_LEGS]],
        **texts,
    )


def _plain(part: LegRow | MediaRow) -> dict[str, object]:
    """What JSON columns take: clean texts, finite numbers."""
    values = asdict(part)
    for name, value in values.items():
        if isinstance(value, str):
            values[name] = clean_text(value, MOST_TEXT)
        elif isinstance(value, float) and not math.isfinite(value):
            values[name] = None if name.endswith("_at") else 0.0
    return values


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _whole_seconds(length: timedelta) -> int:
    return max(0, min(int(length.total_seconds()), MOST_SECONDS))
