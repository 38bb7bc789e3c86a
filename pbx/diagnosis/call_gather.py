"""Reads what is kept of one call into plain evidence: its record, and its messages where there are any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from extensions.models import Extension
from pbx.calls.models import CallRecord
from pbx.calls.words import media_facts
from pbx.diagnosis.call_evidence import CallEvidence, SideFacts, Unanswered
from pbx.diagnosis.models import CallTrace
from pbx.diagnosis.sip_text import SipText, messages_from_json, read
from sipcore.protocol.errors import SipError
from sipcore.protocol.sdp import parse_sdp
from sipcore.protocol.uri import parse_host_port

LARGE = 1300
"""Bytes of a datagram above which some network on the way may cut it in pieces (RFC 3261 18.1.1)."""


def gather_call(record: CallRecord, now: datetime | None = None) -> CallEvidence:
    """:raises django.db.Error: when the database is away."""
    now = now or timezone.now()
    trace = CallTrace.objects.filter(uniqueid=record.uniqueid).first()
    texts = [read(message) for message in messages_from_json(trace.messages if trace is not None else [])]
    media = record.media_rows
    packets: dict[str, int] = {}
    for row in media:
        packets[row.from_number] = packets.get(row.from_number, 0) + row.packets
    known = [number for number in {record.src, record.dst} if Extension.objects.by_number(number).exists()]
    return CallEvidence(
        uniqueid=record.uniqueid, src=record.src, dst=record.dst, start=record.start, now=now, cause=record.cause,
        disposition=record.disposition, hung_up_by=record.hung_up_by, answered=record.answer is not None,
        lives=record.lives, talked=record.talk_seconds(now), legs=tuple(record.leg_rows),
        facts=tuple(media_facts(media, record.talk_seconds(now))), packets=tuple(packets.items()),
        sides=sides_of(texts), unanswered=unanswered_of(texts), answer_repeats=_answer_repeats(texts),
        external_ip=settings.EXTERNAL_IP, rtp_ports=settings.RTP_PORTS, has_messages=bool(texts),
        numbers=frozenset(known),
    )


@dataclass(slots=True)
class _Side:
    """What is being found out of one phone."""

    remote: str = ""
    media_host: str = ""
    told_host: str = ""
    codecs: tuple[str, ...] = ()
    profile: str = ""
    direction: str = ""
    user_agent: str = ""
    seen: set[str] = field(default_factory=set)


def sides_of(texts: Iterable[SipText]) -> tuple[SideFacts, ...]:
    """Of each number that speaks in these messages. What it said last counts."""
    found: dict[str, _Side] = {}
    for text in texts:
        if not text.phone:
            continue
        side = found.setdefault(text.phone, _Side())
        sound = _sound(text)
        if text.sent:
            if sound is not None:
                side.told_host = sound.media_host
            continue
        side.remote = _host(text.message.remote)
        side.user_agent = text.user_agent or side.user_agent
        if sound is not None:
            side.media_host, side.codecs, side.profile = sound.media_host, sound.codecs, sound.profile
            side.direction = sound.direction
    return tuple(
        SideFacts(number, side.remote, side.media_host, side.told_host, side.codecs, side.profile, side.direction,
                  side.user_agent)
        for number, side in found.items()
    )


def _sound(text: SipText) -> _Side | None:
    if "m=audio" not in text.body:
        return None
    try:
        sdp = parse_sdp(text.body.replace("\n", "\r\n").encode("utf-8", "replace"))
    except SipError:
        return None
    audio = next((media for media in sdp.media if media.kind == "audio"), None)
    if audio is None:
        return None
    connection = audio.connection or sdp.connection
    codecs = tuple(codec.name for codec in audio.codecs if codec.name.lower() != "telephone-event")
    return _Side(
        media_host=connection.address if connection is not None else "", codecs=codecs, profile=audio.protocol,
        direction=text.direction,
    )


def unanswered_of(texts: Sequence[SipText]) -> tuple[Unanswered, ...]:
    """INVITEs and 200s of ours to an INVITE, larger than every network passes, that nothing came back for."""
    answered: set[tuple[str, int]] = set()
    for text in texts:
        if not text.sent and (text.method == "ACK" or (text.method == "INVITE" and text.status)):
            answered.add((text.call_id, text.cseq))
    found: dict[tuple[object, ...], Unanswered] = {}
    for text in texts:
        large = text.sent and text.message.transport == "UDP" and text.message.size > LARGE
        ours = text.method == "INVITE" and (not text.status or 200 <= text.status < 300)
        if large and ours and (text.call_id, text.cseq) not in answered:
            before = found.get(text.repeats_as)
            label = f"{text.status} {text.reason}" if text.status else text.method
            found[text.repeats_as] = Unanswered(
                text.phone, label, text.message.size, before.sendings + 1 if before is not None else 1
            )
    return tuple(found.values())


def _answer_repeats(texts: Iterable[SipText]) -> int:
    answers = [text.repeats_as for text in texts if text.sent and text.method == "INVITE" and 200 <= text.status < 300]
    return len(answers) - len(set(answers))


def _host(remote: str) -> str:
    try:
        return parse_host_port(remote)[0]
    except SipError:
        return ""
