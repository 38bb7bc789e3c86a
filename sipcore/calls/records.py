"""What is written down of a call, and what the engine asks of the place where it is kept.

The Django side (``pbx/calls/store.py``) fulfils :class:`CallStore`; tests fulfil it with a dictionary. Times are
seconds since 1970 (UTC) as floats, as everywhere in the engine."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol, TypeVar

DISPOSITIONS = ("ANSWERED", "NO ANSWER", "BUSY", "FAILED", "CONGESTION")
"""Asterisk's words."""

CAUSES = (
    "normal",  # somebody hung up
    "cancelled",  # the caller gave up while it rang
    "busy",
    "declined",
    "no_answer",
    "not_registered",
    "unknown_number",
    "disabled",
    "ack_lost",  # the answer was never confirmed for 64*T1
    "session_expired",  # RFC 4028: a phone is gone
    "media_timeout",
    "codec_mismatch",
    "too_many_calls",
    "transferred",
    "hung_up_by_administrator",
    "pbx_stopped",
    "pbx_crashed",
    "failed",
)
"""Stable and public codes."""

LEG_STATES = ("calling", "ringing", "answered", "failed")
HUNG_UP_BY = ("caller", "callee", "pbx", "administrator", "")


@dataclass(slots=True)
class LegRow:
    """One device that was called, in the order in which they were rung."""

    number: str
    device: str  # its contact or what the phone calls itself
    state: str = "calling"  # one of LEG_STATES
    code: int | None = None  # the final SIP answer, if any
    reason: str = ""
    ringing_at: float | None = None
    answered_at: float | None = None
    ended_at: float | None = None
    remote: str = ""  # the address its packets come from, host:port
    user_agent: str = ""
    silent: bool = False  # nothing at all came from it, not even a 100

    def copy(self) -> LegRow:
        return LegRow(
            self.number, self.device, self.state, self.code, self.reason, self.ringing_at, self.answered_at,
            self.ended_at, self.remote, self.user_agent, self.silent,
        )  # fmt: skip


@dataclass(slots=True)
class MediaRow:
    """What was heard in one direction."""

    from_number: str
    to_number: str
    packets: int = 0
    bytes: int = 0
    lost: int = 0  # packets that never came, by their sequence numbers (RFC 3550)
    jitter_ms: float = 0.0
    first_at: float | None = None
    last_at: float | None = None
    foreign_packets: int = 0  # from another address than the phone's: not passed on


@dataclass(slots=True)
class CallRow:
    """One call. ``end`` None: it lives."""

    uniqueid: str
    node: str
    src: str
    dst: str
    clid: str
    start: float
    answer: float | None = None
    end: float | None = None
    disposition: str = "NO ANSWER"  # one of DISPOSITIONS; while the call lives, what it would be if it ended now
    cause: str = ""  # one of CAUSES once it has ended
    hung_up_by: str = ""  # one of HUNG_UP_BY
    sip_call_id: str = ""  # of the caller's leg
    legs: list[LegRow] = field(default_factory=list)
    media: list[MediaRow] = field(default_factory=list)

    @property
    def duration(self) -> int:
        """Whole seconds from the first INVITE to the end; 0 while the call lives."""
        return _seconds(self.start, self.end)

    @property
    def billsec(self) -> int:
        """Whole seconds that were talked; 0 while the call lives or when nobody answered."""
        return _seconds(self.answer, self.end)

    def copy(self) -> CallRow:
        """By name and not by ``dataclasses.replace``, at a tenth of its price: every call is copied a few times."""
        return CallRow(
            self.uniqueid, self.node, self.src, self.dst, self.clid, self.start, self.answer, self.end,
            self.disposition, self.cause, self.hung_up_by, self.sip_call_id,
            [leg.copy() for leg in self.legs], list(self.media),
        )  # fmt: skip

    def clock_set(self, moved: float) -> None:
        """The clock was set by so many seconds while the call goes on: all its times move along."""
        _move(self, ("start", "answer", "end"), moved)
        for leg in self.legs:
            _move(leg, ("ringing_at", "answered_at", "ended_at"), moved)
        for media in self.media:
            _move(media, ("first_at", "last_at"), moved)

    def legs_as_json(self) -> str:
        return _as_json(self.legs)

    def media_as_json(self) -> str:
        return _as_json(self.media)


@dataclass(frozen=True, slots=True)
class CallAction:
    """What an administrator asked for."""

    uniqueid: str
    action: str  # "hangup" is the only one
    by: str  # the administrator's name, for the log


class CallStore(Protocol):
    """Every method raises :class:`~sipcore.ports.StoreUnavailable` when the store is away or locked."""

    def write_calls(self, rows: Sequence[CallRow]) -> None:
        """Insert or renew, by ``uniqueid``; the same rows twice change nothing. Of two rows of one call the later in
        the list counts. Raises :class:`~sipcore.ports.StoreRejected` on data that the store refuses: the list can
        then be halved."""

    def close_orphans(self, node: str, now: float) -> int:
        """End every living call of this node, with cause ``pbx_crashed`` and the time of the node's last heartbeat
        (``now`` if there is none). For the start: before the first call, and before the first heartbeat of the new
        process. Returns how many there were."""

    def take_actions(self, node: str) -> list[CallAction]:
        """What was asked of this node since; each is given once. One indexed read when there is nothing."""

    def sweep_calls(self, before: float, limit: int) -> int:
        """Delete at most ``limit`` calls that ended before then, and actions nobody took; returns how many calls."""


def legs_from_json(text: str | bytes | list[Any] | None) -> list[LegRow]:
    """Never raises: what cannot be read is left out."""
    return _from_json(LegRow, text)


def media_from_json(text: str | bytes | list[Any] | None) -> list[MediaRow]:
    """Never raises: what cannot be read is left out."""
    return _from_json(MediaRow, text)


T = TypeVar("T", LegRow, MediaRow)


def _as_json(rows: Collection[LegRow] | Collection[MediaRow]) -> str:
    return json.dumps([asdict(row) for row in rows], ensure_ascii=False)


def _from_json(kind: type[T], text: str | bytes | list[Any] | None) -> list[T]:
    try:
        found = json.loads(text) if isinstance(text, str | bytes) else text
    except ValueError:
        return []
    if not isinstance(found, list):
        return []
    names = {part.name for part in fields(kind)}
    rows = []
    for entry in found:
        if isinstance(entry, dict):
            try:
                rows.append(kind(**{name: value for name, value in entry.items() if name in names}))
            except TypeError:  # a part that has no default is missing
                continue
    return rows


def _move(row: CallRow | LegRow | MediaRow, names: tuple[str, ...], seconds: float) -> None:
    for name in names:
        if (time := getattr(row, name)) is not None:
            setattr(row, name, time + seconds)


def _seconds(since: float | None, until: float | None) -> int:
    if since is None or until is None:
        return 0
    return max(0, math.floor(until - since))
