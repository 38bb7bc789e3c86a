"""What is written down as evidence, and what the engine asks of the place where it is kept.

The Django side (``pbx/diagnosis/store.py``) fulfils :class:`EvidenceStore`; tests fulfil it with a list. Times are
seconds since 1970 (UTC) as floats, as everywhere in the engine. Nothing here holds a secret: texts of messages have
been through ``sipcore.evidence.scrub``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

ENDINGS = ("expired", "signed_off", "connection_lost", "silent")
"""How a period of being online ended. ``silent``: the registration went on, but the phone answered nothing."""


@dataclass(frozen=True, slots=True)
class WireMessage:
    """One SIP message as it was on the wire, scrubbed."""

    at: float
    sent: bool  # by us
    transport: str
    local: str  # host:port, IPv6 in brackets
    remote: str
    size: int  # bytes on the wire, before scrubbing and cutting
    text: str
    number: str = ""  # whose leg of a call it belongs to; empty for a REGISTER


@dataclass(frozen=True, slots=True)
class Asked:
    """What a phone asked with, as it wrote it: cleaned and cut, for the comparison with what it should be. An empty
    text, or None, means that the message did not have it."""

    method: str = "REGISTER"
    request_uri: str = ""
    from_uri: str = ""
    to_uri: str = ""
    contact: str = ""
    contacts: int = 0
    via: str = ""  # sent-by of the top Via: the phone's own idea of its address
    via_transport: str = ""
    vias: int = 0  # more than one: a proxy stands between
    route: str = ""  # the Route header: an outbound proxy is set in the phone
    expires: int | None = None  # seconds, as asked
    user_agent: str = ""
    call_id: str = ""
    digest_username: str = ""
    digest_realm: str = ""
    digest_uri: str = ""
    digest_algorithm: str = ""
    digest_qop: str = ""
    fault: str = ""  # what the parser found wrong: a fixed English phrase
    content_length: int | None = None  # as the header says
    body_bytes: int = 0  # as they came


@dataclass(slots=True)
class Attempt:
    """A failed attempt. Those of one number, source and cause are one, counted; ``asked`` and ``messages`` are of the
    latest. ``number`` as the phone gave it, cleaned; empty when it could not be read."""

    number: str
    source: str
    port: int
    transport: str
    cause: str  # a code of the diagnosis
    first_at: float
    last_at: float
    count: int = 1
    proven: bool = False  # it knew the password: not a stranger
    repeats: int = 0  # how often the phone sent the same message again, for want of an answer
    sources: tuple[str, ...] = ()  # host:port of the last ones, when the address changed between two messages
    asked: Asked = field(default_factory=Asked)
    messages: tuple[WireMessage, ...] = ()


@dataclass(frozen=True, slots=True)
class Period:
    """A time at which a phone was online (or silent) and which is over, told when the next one begins."""

    account_id: int
    started_at: float
    ended_at: float
    ending: str  # one of ENDINGS
    source: str  # host:port
    user_agent: str


@dataclass(frozen=True, slots=True)
class CallTrace:
    """The messages of one call, both legs, in the order of time."""

    uniqueid: str
    messages: tuple[WireMessage, ...]


@dataclass(frozen=True, slots=True)
class Watched:
    """A message of a phone that an administrator is watching."""

    number: str
    call_id: str
    message: WireMessage


class EvidenceStore(Protocol):
    """Every method raises :class:`~sipcore.ports.StoreUnavailable` when the store is away; each may be done twice
    with the same arguments without harm but for a count."""

    def write_attempts(self, attempts: Sequence[Attempt]) -> None:
        """Add to what is known of the same number, source and cause. Keeps to its quotas whatever comes."""

    def write_periods(self, periods: Sequence[Period]) -> None:
        """Keeps at most the last few hundred of each extension."""

    def write_traces(self, traces: Sequence[CallTrace]) -> None:
        """The newest of each call counts."""

    def write_watched(self, messages: Sequence[Watched]) -> None:
        """Keeps the last few hundred of each number."""

    def watched_numbers(self, now: float) -> frozenset[str]:
        """The numbers that are being watched now, in lower case."""

    def sweep(self, before: float, limit: int) -> int:
        """Delete at most ``limit`` rows older than ``before``; returns how many."""
