"""Packets that wait when more come than can be served: who is served first, and who is shed.

Pure, and looked at only under overload. What is shed is shed in silence: a 503 to a stranger would cost as much as the
answer he asked for, one to an answer or an ACK is forbidden, and a phone sends again by itself (RFC 3261 17.1.2)."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from enum import IntEnum

from sipcore.protocol.flow import Flow

MOST_PACKETS = 8_000
MOST_BYTES = 16 * 1024 * 1024
OVERHEAD = 600
"""Bytes that a packet takes beside its own."""

OUT_OF_TURN = 16
"""Each packet of so many is taken from another rank in its turn: addresses can be forged, and whoever floods the first
rank must not silence all others."""

LOOKED_AT = 4_096
"""Bytes of a message in which its To and Authorization are looked for."""

_METHODS = frozenset((
    b"REGISTER", b"INVITE", b"ACK", b"CANCEL", b"BYE", b"OPTIONS", b"PRACK", b"UPDATE", b"INFO", b"REFER", b"MESSAGE",
    b"SUBSCRIBE", b"NOTIFY", b"PUBLISH",
))  # fmt: skip
_ENDING = frozenset((b"ACK", b"CANCEL", b"BYE", b"PRACK"))


class Rank(IntEnum):
    """The order of admission. The first is served first and the last is shed first."""

    EMERGENCY = 0
    """A call of a known phone to an emergency number."""
    DIALOG = 1
    """Of a call that is, from wherever; answers, ACK, CANCEL and BYE of known phones."""
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
    """No message of SIP."""


class Classifier:
    """Ranks raw bytes without parsing them, in linear time. ``is_phone``: whether a phone is registered at this very
    address and port; ``is_known``: whether one has ever been at this address; ``in_dialog``: whether there is a dialog
    of this Call-ID and this tag of ours; ``gave_nonce``: whether this nonce was given to this address."""

    def __init__(
        self,
        is_phone: Callable[[tuple[str, int]], bool],
        is_known: Callable[[str], bool],
        in_dialog: Callable[[str, str], bool],
        emergency: frozenset[str] = frozenset(),
        gave_nonce: Callable[[str, str], bool] = lambda nonce, host: True,
    ) -> None:
        self._is_phone, self._is_known, self._in_dialog = is_phone, is_known, in_dialog
        self._emergency, self._gave_nonce = emergency, gave_nonce

    def __call__(self, data: bytes, flow: Flow) -> Rank:
        phone = self._is_phone(flow.remote)
        known = phone or self._is_known(flow.remote[0])
        method = data[: data.find(b" ", 0, 12)]
        if method != b"REGISTER":
            if method not in _METHODS:
                if method == b"SIP/2.0":
                    return Rank.DIALOG if known else Rank.STRANGER
                return Rank.REFRESH if phone and len(data) < 8 else Rank.NOISE  # its keep-alive
            if known and method in _ENDING:
                return Rank.DIALOG
            if self._is_of_dialog(data[:LOOKED_AT]):
                return Rank.DIALOG
            if method == b"INVITE" and _user(data[7:600]) in self._emergency:
                return Rank.EMERGENCY if known else Rank.URGENT
            if phone and method != b"OPTIONS":
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


def _nonce(credentials: bytes) -> str:
    """"" when there is none; the value of ``cnonce`` is none."""
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


class _Lane:
    """Packets of one rank. Each address has its turn, so that one that sends much waits behind itself alone."""

    __slots__ = ("by_host", "fattest")

    def __init__(self) -> None:
        self.by_host: OrderedDict[str, deque[tuple[bytes, Flow]]] = OrderedDict()
        self.fattest = ""

    def put(self, data: bytes, flow: Flow) -> None:
        host = flow.remote[0]
        waiting = self.by_host.get(host)
        if waiting is None:
            waiting = self.by_host[host] = deque()
        waiting.append((data, flow))
        fattest = self.by_host.get(self.fattest)
        if fattest is None or len(waiting) > len(fattest):
            self.fattest = host

    def take(self) -> tuple[bytes, Flow]:
        host, waiting = next(iter(self.by_host.items()))
        packet = waiting.popleft()
        if waiting:
            self.by_host.move_to_end(host)
        else:
            del self.by_host[host]
        return packet

    def shed(self) -> tuple[bytes, Flow]:
        """The newest of the address that has most, as far as is known: the older ones are nearer to their turn."""
        host = self.fattest if self.fattest in self.by_host else next(reversed(self.by_host))
        waiting = self.by_host[host]
        packet = waiting.pop()
        if not waiting:
            del self.by_host[host]
        return packet


class Inbox:
    """Bounded in packets and bytes; what does not fit is shed from the last rank that has any. What waits already and
    comes again is dropped: a phone that hears nothing repeats itself, and would be answered for each time."""

    def __init__(self, most: int = MOST_PACKETS, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._lanes = [_Lane() for _ in Rank]
        self._waiting: set[tuple[tuple[str, int], bytes]] = set()
        self._count = self._bytes = 0
        self._shed = [0] * len(Rank)
        self._taken = 0

    def __len__(self) -> int:
        return self._count

    def put(self, data: bytes, flow: Flow, rank: Rank) -> None:
        key = flow.remote, data
        if key in self._waiting:
            return
        self._waiting.add(key)
        self._lanes[rank].put(data, flow)
        self._count += 1
        self._bytes += len(data) + OVERHEAD
        while self._count > self._most or self._bytes > self._most_bytes:
            self._shed_one()

    def take(self) -> tuple[bytes, Flow] | None:
        """The next packet to serve, or None."""
        if not self._count:
            return None
        self._taken += 1
        turn, rest = divmod(self._taken, OUT_OF_TURN)
        first = turn % len(self._lanes) if not rest else 0
        for lane in (*self._lanes[first:], *self._lanes[:first]) if first else self._lanes:
            if lane.by_host:
                return self._gone(lane.take())
        return None

    def take_shed(self) -> dict[Rank, int]:
        """How many of each rank were shed since the last time."""
        shed = {rank: count for rank, count in zip(Rank, self._shed, strict=True) if count}
        self._shed = [0] * len(Rank)
        return shed

    def _shed_one(self) -> None:
        for rank, lane in self._from_last():
            if lane.by_host:
                self._gone(lane.shed())
                self._shed[rank] += 1
                return

    def _from_last(self) -> Iterator[tuple[Rank, _Lane]]:
        return zip(reversed(Rank), reversed(self._lanes), strict=True)

    def _gone(self, packet: tuple[bytes, Flow]) -> tuple[bytes, Flow]:
        data, flow = packet
        self._waiting.discard((flow.remote, data))
        self._count -= 1
        self._bytes -= len(data) + OVERHEAD
        return packet
