"""The story of one call, step by step, as its page tells it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.utils.translation import gettext as _

from pbx.calls.models import CallRecord
from pbx.calls.words import short_reason, sip_answer
from sipcore.calls.records import LegRow, MediaRow

GAVE_WAY = 487
"""What a phone answers when it is told to ring no more: another answered, or the caller gave up."""


@dataclass(frozen=True, slots=True)
class Step:
    at: datetime
    after: float  # seconds since the call began
    text: str
    device: str = ""  # text from the network, only ever escaped
    mark: str = ""  # good, bad or nothing


def steps_of(call: CallRecord) -> list[Step]:
    """In the order of time."""
    steps = [_step(call, call.start, _("%(src)s calls %(dst)s") % {"src": call.src, "dst": call.dst})]
    for leg in call.leg_rows:
        steps += _steps_of_leg(call, leg)
    if call.end is not None:
        steps.append(_step(call, call.end, _("end: %(reason)s") % {"reason": short_reason(call.cause)}))
    return sorted(steps, key=lambda step: step.at)


def _steps_of_leg(call: CallRecord, leg: LegRow) -> list[Step]:
    number, device = {"number": leg.number}, device_of(leg)
    steps = []
    if leg.ringing_at is not None:
        steps.append(_step(call, leg.ringing_at, _("%(number)s rings") % number, device))
    if leg.answered_at is not None:
        steps.append(_step(call, leg.answered_at, _("%(number)s answers") % number, device, "good"))
    if leg.ended_at is not None and leg.answered_at is None:
        bad = leg.silent or bool(leg.code and leg.code != GAVE_WAY)
        if bad:
            text = _("%(number)s: %(answer)s") % {**number, "answer": sip_answer(leg)}
        elif leg.ringing_at is not None:
            text = _("%(number)s stops ringing") % number
        else:
            text = _("%(number)s is not called any more; it had not begun to ring") % number
        steps.append(_step(call, leg.ended_at, text, device, "bad" if bad else ""))
    return steps


def _step(call: CallRecord, at: datetime | float, text: str, device: str = "", mark: str = "") -> Step:
    moment = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return Step(moment, max(0.0, (moment - call.start).total_seconds()), text, device, mark)


def device_of(leg: LegRow) -> str:
    return ", ".join(part for part in (leg.user_agent or leg.device, leg.remote) if part)


@dataclass(frozen=True, slots=True)
class Direction:
    """The figures of one direction of sound, for a table."""

    row: MediaRow
    lost_percent: float
    first: datetime | None
    last: datetime | None


def directions_of(call: CallRecord) -> list[Direction]:
    return [
        Direction(
            row, 100.0 * row.lost / (row.packets + row.lost) if row.packets + row.lost > 0 else 0.0,
            _moment(row.first_at), _moment(row.last_at),
        )
        for row in call.media_rows
    ]


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
