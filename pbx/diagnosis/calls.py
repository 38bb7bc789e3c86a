"""All verdicts on one call, and what the calls of a number say about its sound."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from pbx.calls.models import CallRecord
from pbx.calls.words import media_facts
from pbx.diagnosis.call_evidence import CallEvidence
from pbx.diagnosis.call_gather import gather_call
from pbx.diagnosis.causes import calls as causes
from pbx.diagnosis.cured import is_cured, later_calls
from pbx.diagnosis.verdict import Severity, Verdict
from sipcore.protocol.headers import clean_text

SOUND_FAULTS = ("no_audio", "no_audio_one_way", "media_from_elsewhere", "codec_mismatch", "ack_lost", "fragmented")
"""Faults of a call that are told of its numbers too."""

SUSPECT = frozenset({"codec_mismatch", "ack_lost", "no_answer", "cancelled", "failed"})
"""Ends of calls that one of these faults may be behind, besides those that the counters of sound tell."""

MOST_CALLS = 50
LONGEST_CALL = timedelta(hours=24)


def explain_call(record: CallRecord) -> tuple[Verdict, ...]:
    """What to fix first comes first; of a good call there is one, ``normal``.

    :raises django.db.Error: when the database is away."""
    return call_verdicts(gather_call(record))


def call_verdicts(evidence: CallEvidence) -> tuple[Verdict, ...]:
    """Pure."""
    sound = [verdict for function in causes.SOUND if (verdict := function(evidence)) is not None]
    judge = causes.in_progress if evidence.lives else causes.ENDS.get(evidence.cause, causes.other)
    end = judge(evidence)
    large = causes.fragmented(evidence)
    first = [large] if large is not None else []
    if end is None:
        return (*first, *sound)
    if end.severity in (Severity.ERROR, Severity.WARNING):
        return (*first, end, *sound)
    return (*first, *sound, end)


def call_faults(number: str, since: datetime) -> tuple[Verdict, ...]:
    """The faults of the calls of this number since then that no later call has shown to be gone, the newest of each
    code.

    :raises django.db.Error: when the database is away."""
    found: dict[str, Verdict] = {}
    now = timezone.now()
    suspect = [
        record for record in _calls_of(number, since)
        if record.cause in SUSPECT or media_facts(record.media_rows, record.talk_seconds(now))
    ]
    later = later_calls(suspect)
    for record in suspect:
        for verdict in explain_call(record):
            if verdict.code in SOUND_FAULTS and not is_cured(verdict.code, record, later, now, number):
                found.setdefault(verdict.code, verdict)
    return tuple(found.values())


def _calls_of(number: str, since: datetime) -> list[CallRecord]:
    calls = CallRecord.objects.filter(Q(src=number) | Q(dst=number), start__gt=since - LONGEST_CALL)
    return list(calls.filter(Q(end__isnull=True) | Q(end__gt=since)).order_by("-start", "-id")[:MOST_CALLS])


def find_call(id: str) -> CallRecord | None:
    """By its ``uniqueid``, or by the Call-ID of the caller's phone: then the newest."""
    id = id.strip()
    if not id or clean_text(id, 255) != id:  # no database is asked for what none can hold
        return None
    found = CallRecord.objects.filter(uniqueid=id).first()
    recent = CallRecord.objects.filter(sip_call_id=id, start__gt=timezone.now() - timedelta(days=366))
    return found or recent.order_by("-start", "-id").first()
