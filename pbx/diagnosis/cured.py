"""Whether a later call has shown that the fault of an earlier one is mended: what the administrator was told to do has
helped, and a fault that is gone is not told any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db.models import Q

from pbx.calls.models import CallRecord
from pbx.calls.words import media_facts

OF_THE_WAY = frozenset({"codec_mismatch", "ack_lost", "fragmented"})
"""Faults between two numbers; the others are faults of one whose sound does not arrive as it should."""

NOT_GOOD = frozenset({"codec_mismatch", "ack_lost"})
MOST_LATER = 200


def later_calls(calls: Sequence[CallRecord]) -> list[CallRecord]:
    """Those that may have shown that a fault of one of these calls is gone: of the same numbers, and newer.

    :raises django.db.Error: when the database is away."""
    if not calls:
        return []
    numbers = {number for call in calls for number in (call.src, call.dst)}
    found = CallRecord.objects.filter(Q(src__in=numbers) | Q(dst__in=numbers), answer__isnull=False)
    return list(found.filter(start__gt=min(call.start for call in calls)).order_by("-start", "-id")[:MOST_LATER])


def is_cured(code: str, call: CallRecord, later: Iterable[CallRecord], now: datetime, number: str = "") -> bool:
    """``code`` is one of ``calls.SOUND_FAULTS``. With ``number`` it is asked for this party alone where the fault is
    its own; without one for both."""
    newer = [other for other in later if other.start > call.start and other.answer is not None]
    if code in OF_THE_WAY:
        return any(_went_well(other, call) for other in newer)
    facts = [fact for fact in media_facts(call.media_rows, call.talk_seconds(now)) if fact.code == code]
    accused = {fact.number for fact in facts} | {fact.other for fact in facts if code == "no_audio"}
    if number in accused:
        accused = {number}
    return bool(accused) and all(any(_was_heard(one, other, now) for other in newer) for one in accused)


def _went_well(other: CallRecord, call: CallRecord) -> bool:
    """The same two came to talk. That an answer was confirmed is known at the end."""
    same = {other.src, other.dst} == {call.src, call.dst}
    return same and not other.lives and other.cause not in NOT_GOOD


def _was_heard(number: str, call: CallRecord, now: datetime) -> bool:
    media = call.media_rows
    if not any(row.from_number == number and row.packets for row in media):
        return False
    return not any(fact.number == number for fact in media_facts(media, call.talk_seconds(now)))
