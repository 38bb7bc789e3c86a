"""What is known of one call, as plain dataclasses: all that the functions in ``causes.calls`` may know."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pbx.calls.words import MediaFact
from sipcore.calls.records import LegRow


@dataclass(frozen=True, slots=True)
class SideFacts:
    """One phone of the call, as its messages tell; empty texts where none were kept. Addresses without port."""

    number: str
    remote: str = ""  # where its messages came from
    media_host: str = ""  # where it said that its sound comes from
    told_host: str = ""  # where we told it to send its sound
    codecs: tuple[str, ...] = ()
    profile: str = ""  # RTP/AVP, RTP/SAVP ...
    direction: str = ""  # as it said last: sendrecv, sendonly, recvonly, inactive
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A message of ours, larger than every network passes in one piece, to which no answer came."""

    number: str
    label: str  # INVITE, 200 OK
    size: int  # bytes
    sendings: int


@dataclass(frozen=True, slots=True)
class CallEvidence:
    """``facts``: what the counters of its sound say. ``talked`` in seconds. ``domain`` and ``rtp_ports`` as set up."""

    uniqueid: str
    src: str
    dst: str
    start: datetime
    now: datetime
    cause: str = ""
    disposition: str = ""
    hung_up_by: str = ""
    answered: bool = False
    lives: bool = False
    talked: float = 0.0
    legs: tuple[LegRow, ...] = ()
    facts: tuple[MediaFact, ...] = ()
    packets: tuple[tuple[str, int], ...] = ()  # number, packets of its sound that came
    sides: tuple[SideFacts, ...] = ()
    unanswered: tuple[Unanswered, ...] = ()
    answer_repeats: int = 0  # how often our 200 went to the caller again, for want of an ACK
    external_ip: str = ""
    rtp_ports: str = ""
    has_messages: bool = False
    numbers: frozenset[str] = field(default_factory=frozenset)  # of the two, those that are extensions now

    def side(self, number: str) -> SideFacts:
        return next((side for side in self.sides if side.number == number), SideFacts(number))
