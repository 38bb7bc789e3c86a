"""Packets that wait when more come than can be served: who is served first, and who is shed.

Pure, and looked at only under overload. What is shed is shed in silence: a 503 to a stranger would cost as much as the
answer he asked for, one to an answer or an ACK is forbidden, and a phone sends again by itself (RFC 3261 17.1.2).

A source can be forged, and most ranks can be claimed without a password. So no rank starves another: each has turns and
places of its own."""

from __future__ import annotations

from collections import OrderedDict, deque

from sipcore.admission import LARGE, Rank
from sipcore.guard.blocks import source_key
from sipcore.protocol.flow import Flow

MOST_PACKETS = 8_000
MOST_BYTES = 16 * 1024 * 1024
OVERHEAD = 600
"""Bytes that a packet takes beside its own."""

TURNS = {
    Rank.EMERGENCY: 16, Rank.DIALOG: 20, Rank.CALL: 14, Rank.REFRESH: 14, Rank.NEIGHBOUR: 6, Rank.NEW_NEIGHBOUR: 4,
    Rank.URGENT: 2, Rank.RETURNING: 2, Rank.STRANGER: 1, Rank.NOISE: 1,
}  # fmt: skip
"""Of a round; those that a rank does not need are the first one's that has anything."""

PLACES = {rank: 8 if rank in (Rank.DIALOG, Rank.CALL, Rank.REFRESH, Rank.NEIGHBOUR) else 32 for rank in Rank}
"""One place of so many, and so much of the bytes, is nobody's to take from this rank."""


class _Lane:
    """Packets of one rank. Each address has its turn, so that one that sends much waits behind itself alone.
    ``owes``: turns that large messages have taken beforehand."""

    __slots__ = ("by_host", "bytes", "count", "fattest", "owes")

    def __init__(self) -> None:
        self.count = self.bytes = self.owes = 0
        self.by_host: OrderedDict[str, deque[tuple[bytes, Flow]]] = OrderedDict()
        self.fattest = ""

    def put(self, packet: tuple[bytes, Flow], size: int) -> None:
        host = source_key(packet[1].remote[0])
        waiting = self.by_host.get(host)
        if waiting is None:
            waiting = self.by_host[host] = deque()
        waiting.append(packet)
        self.count += 1
        self.bytes += size
        if host != self.fattest:
            fattest = self.by_host.get(self.fattest)
            if fattest is None or len(waiting) > len(fattest):
                self.fattest = host

    def take(self) -> tuple[bytes, Flow]:
        by_host = self.by_host
        for host, waiting in by_host.items():  # the first one
            packet = waiting.popleft()
            if not waiting:
                del by_host[host]
            elif len(by_host) > 1:
                by_host.move_to_end(host)
            break
        size = len(packet[0])
        self.owes = size // LARGE
        self.count -= 1
        self.bytes -= size + OVERHEAD
        return packet

    def shed(self) -> tuple[bytes, Flow]:
        """The newest of the address that has most, as far as is known: the older ones are nearer to their turn."""
        host = self.fattest if self.fattest in self.by_host else next(reversed(self.by_host))
        waiting = self.by_host[host]
        packet = waiting.pop()
        if not waiting:
            del self.by_host[host]
        self.count -= 1
        self.bytes -= len(packet[0]) + OVERHEAD
        return packet


def _round() -> tuple[Rank, ...]:
    """One round of turns, those of each rank spread over it evenly."""
    half = {Rank.EMERGENCY: 0.0}  # which begins
    spread = [
        ((number + half.get(rank, 0.5)) / turns, rank) for rank, turns in TURNS.items() for number in range(turns)
    ]
    return tuple(rank for _, rank in sorted(spread))


_ROUND = _round()
_LAST_TURN = len(_ROUND) - 1


class Inbox:
    """Bounded in packets and bytes; what does not fit is shed from the last rank that has more than its own places.
    What waits already and comes again is dropped: a phone that hears nothing repeats itself, and would be answered for
    each time."""

    def __init__(self, most: int = MOST_PACKETS, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._lanes = [_Lane() for _ in Rank]
        self._waiting: set[tuple[tuple[str, int], bytes]] = set()
        self._count = self._bytes = 0
        self._shed = [0] * len(Rank)
        self._turn = 0

    def __len__(self) -> int:
        return self._count

    def put(self, data: bytes, flow: Flow, rank: Rank) -> None:
        key = flow.remote, data
        if key in self._waiting:
            return
        self._waiting.add(key)
        size = len(data) + OVERHEAD
        self._lanes[rank].put((data, flow), size)
        self._count += 1
        self._bytes += size
        while self._count > self._most or self._bytes > self._most_bytes:
            self._shed_one()

    def take(self) -> tuple[bytes, Flow] | None:
        """The next packet to serve, or None."""
        if not self._count:
            self._turn = 0
            return None
        turn = self._turn
        lane = self._lanes[_ROUND[turn]]
        self._turn = turn + 1 if turn < _LAST_TURN else 0
        owed = lane.owes
        if owed:
            lane.owes -= 1
        if owed or not lane.by_host:
            lane = self._next_waiting()
        return self._gone(lane.take())

    def _next_waiting(self) -> _Lane:
        first = None
        for lane in self._lanes:
            if lane.by_host:
                if not lane.owes:
                    return lane
                first = first or lane
        assert first is not None
        return first

    def take_shed(self) -> dict[Rank, int]:
        """How many of each rank were shed since the last time."""
        shed = {rank: count for rank, count in zip(Rank, self._shed, strict=True) if count}
        self._shed = [0] * len(Rank)
        return shed

    def _shed_one(self) -> None:
        too_many, too_large = self._count > self._most, self._bytes > self._most_bytes
        for rank in reversed(Rank):
            lane, share = self._lanes[rank], PLACES[rank]
            if lane.by_host and (
                (too_many and lane.count * share > self._most) or (too_large and lane.bytes * share > self._most_bytes)
            ):
                self._gone(lane.shed())
                self._shed[rank] += 1
                return

    def _gone(self, packet: tuple[bytes, Flow]) -> tuple[bytes, Flow]:
        data, flow = packet
        self._waiting.discard((flow.remote, data))
        self._count -= 1
        self._bytes -= len(data) + OVERHEAD
        return packet
