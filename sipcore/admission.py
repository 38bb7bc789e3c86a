"""Which rank a packet has under overload, from its raw bytes.

A source can be forged, and most ranks can be claimed without a password: what is claimed without proof is believed only
so often a second."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from enum import IntEnum

from sipcore.protocol.flow import Flow

LOOKED_AT = 4_096
"""Bytes of a message in which its To and Authorization are looked for."""

LARGE = 4_096
"""Bytes above which a message takes several turns; of who has proved nothing it goes last."""

CALLS_FOR_HELP, CALLS_FOR_HELP_IN_ALL = 5, 50
"""A second, of one phone or address and of all: more would have the rank that they have otherwise."""

ENDINGS, ENDINGS_IN_ALL = 20, 400
"""A second: ACK, CANCEL and the like that are believed without a dialog of ours."""

_METHODS = frozenset((
    b"REGISTER", b"INVITE", b"ACK", b"CANCEL", b"BYE", b"OPTIONS", b"PRACK", b"UPDATE", b"INFO", b"REFER", b"MESSAGE",
    b"SUBSCRIBE", b"NOTIFY", b"PUBLISH",
))  # fmt: skip
_ENDING = frozenset((b"ACK", b"CANCEL", b"BYE", b"PRACK"))


class Rank(IntEnum):
    """The order of admission: the first has the most turns, and those that others do not need; the last is shed
    first."""

    EMERGENCY = 0
    """A call of a known phone to an emergency number."""
    DIALOG = 1
    """Of a call that is, from wherever; answers to requests of ours; a few ACK, CANCEL and BYE of known phones."""
    CALL = 2
    """Calls, texts and lamps of known phones."""
    REFRESH = 3
    """Registrations of known phones."""
    NEIGHBOUR = 4
    """With credentials, from an address where a phone was registered, but another port: a phone that started anew, or
    another one behind the same router."""
    NEW_NEIGHBOUR = 5
    """From there, without credentials yet. What was begun is ended first: else all would wait and nobody be served."""
    URGENT = 6
    """A stranger calls an emergency number."""
    RETURNING = 7
    """A stranger with credentials made for a nonce that his address was given: what looks like them costs nothing."""
    STRANGER = 8
    NOISE = 9
    """No message of SIP, an answer to nothing that we asked, or a large one of who has proved nothing."""


class _Believed:
    """How often a second something is believed that nothing proves: of each who claims it, and of all."""

    def __init__(self, of_one: int, in_all: int) -> None:
        self._of_one, self._in_all = of_one, in_all
        self._second = 0
        self._left = in_all
        self._of: Counter[str | tuple[str, int]] = Counter()

    def __call__(self, who: str | tuple[str, int], now: float) -> bool:
        if int(now) != self._second:
            self._second, self._left = int(now), self._in_all
            self._of.clear()
        if self._left <= 0 or self._of[who] >= self._of_one:
            return False
        self._left -= 1
        self._of[who] += 1
        return True


class Classifier:
    """Ranks raw bytes without parsing them, in linear time. ``is_phone``: whether a phone is registered at this very
    address and port; ``is_known``: whether one has ever been at this address; ``in_dialog``: whether there is a dialog
    of this Call-ID and this tag of ours; ``gave_nonce``: whether this nonce was given to this address;
    ``is_ours``: whether we made this branch. ``now``: any clock in seconds."""

    def __init__(
        self,
        is_phone: Callable[[tuple[str, int]], bool],
        is_known: Callable[[str], bool],
        in_dialog: Callable[[str, str], bool],
        emergency: frozenset[str] = frozenset(),
        gave_nonce: Callable[[str, str], bool] = lambda nonce, host: True,
        is_ours: Callable[[str], bool] = lambda branch: False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_phone, self._is_known, self._in_dialog = is_phone, is_known, in_dialog
        self._emergency, self._gave_nonce, self._is_ours, self._now = emergency, gave_nonce, is_ours, now
        self._helps = _Believed(CALLS_FOR_HELP, CALLS_FOR_HELP_IN_ALL)
        self._ends = _Believed(ENDINGS, ENDINGS_IN_ALL)

    def __call__(self, data: bytes, flow: Flow) -> Rank:
        host = flow.remote[0]
        phone = self._is_phone(flow.remote)
        known = phone or self._is_known(host)
        who = flow.remote if phone else host  # what somebody else at its address claims costs the phone nothing
        method = data[: data.find(b" ", 0, 12)]
        if method not in _METHODS:
            if method == b"SIP/2.0":
                return Rank.DIALOG if known and self._is_ours(_branch(data[:LOOKED_AT])) else Rank.NOISE
            return Rank.REFRESH if phone and len(data) < 8 else Rank.NOISE  # its keep-alive
        if method != b"REGISTER":
            if self._is_of_dialog(data[:LOOKED_AT]):
                return Rank.DIALOG
            if known and method in _ENDING and len(data) <= LARGE and self._ends(who, self._now()):
                return Rank.DIALOG
        if not phone and len(data) > LARGE:
            return Rank.NOISE
        if method == b"INVITE" and _user(data[7:600]) in self._emergency:
            if not known:
                return Rank.URGENT
            if self._helps(who, self._now()):
                return Rank.EMERGENCY
        if phone and method not in (b"REGISTER", b"OPTIONS"):
            return Rank.CALL
        if phone:
            return Rank.REFRESH
        credentials = data.find(b"uthorization:", 0, LOOKED_AT)
        if credentials >= 0:
            if known:
                return Rank.NEIGHBOUR
            if self._gave_nonce(_nonce(data[credentials:LOOKED_AT]), flow.remote[0]):
                return Rank.RETURNING
        return Rank.NEW_NEIGHBOUR if known else Rank.STRANGER

    def _is_of_dialog(self, head: bytes) -> bool:
        """Our tags cannot be guessed, so a stranger's claim is as good as anybody's: a phone changes its address."""
        to = _value(head, b"\nTo:") or _value(head, b"\nt:")
        tag = to.partition(b";tag=")[2].partition(b";")[0].strip()
        if not tag:
            return False
        call_id = (_value(head, b"\nCall-ID:") or _value(head, b"\ni:")).strip()
        return self._in_dialog(call_id.decode("utf-8", "replace"), tag.decode("ascii", "replace"))


def _value(head: bytes, name: bytes) -> bytes:
    start = head.find(name)
    if start < 0:
        return b""
    start += len(name)
    end = head.find(b"\n", start)
    return head[start : end if end >= 0 else None]


def _branch(head: bytes) -> str:
    """Of the top Via."""
    via = (_value(head, b"\nVia:") or _value(head, b"\nv:")).partition(b",")[0]
    return via.partition(b";branch=")[2].partition(b";")[0].strip().decode("ascii", "replace")


def _nonce(credentials: bytes) -> str:
    """ "" when there is none; the value of ``cnonce`` is none."""
    start = credentials.find(b'nonce="')
    if credentials[start - 1 : start] == b"c":
        start = credentials.find(b'nonce="', start + 7)
    if start < 0:
        return ""
    end = credentials.find(b'"', start + 7)
    return credentials[start + 7 : end].decode("ascii", "replace") if end >= 0 else ""


def _user(rest: bytes) -> str:
    """The user part of the Request-URI, from what stands behind the method."""
    user, at, _ = rest.partition(b" ")[0].partition(b":")[2].partition(b"@")
    return user.decode("ascii", "replace") if at else ""
