"""By time: how long answers take for numbers that exist and for such that do not, tried in an order that chance makes,
from one source, a few milliseconds apart. The kernel says when an answer came."""

from __future__ import annotations

import random
import select
import socket
import statistics
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.hardening.conformance.peer import digest
from tests.hardening.programs.enumerating.house import CROWD_OF_KNOWN, CROWD_OF_UNKNOWN, At
from tests.support.pbx import RunningPbx

SO_TIMESTAMPNS = 35  # not in Python's socket module
WARM_UP = 100
APART = (0.004, 0.008)
"""Seconds from one try to the next: the work for one is done when the next one comes."""

AT_ONCE = 6
"""Tries on their way; on a busy machine the next one waits."""

PATIENCE = 5.0
"""Seconds for the last answers."""


@dataclass
class Times:
    """In microseconds."""

    known: list[float] = field(default_factory=list)
    unknown: list[float] = field(default_factory=list)

    @property
    def auc(self) -> float:
        """How probably a known number's answer takes longer than an unknown one's: 0.5 tells nothing."""
        ranked = sorted([(value, True) for value in self.known] + [(value, False) for value in self.unknown])
        total, place = 0.0, 0
        while place < len(ranked):
            same = place
            while same < len(ranked) and ranked[same][0] == ranked[place][0]:
                same += 1
            total += (place + 1 + same) / 2 * sum(known for _, known in ranked[place:same])
            place = same
        known, unknown = len(self.known), len(self.unknown)
        return (total - known * (known + 1) / 2) / (known * unknown)

    @property
    def gap(self) -> float:
        return statistics.median(self.known) - statistics.median(self.unknown)

    def noise(self, rnd: random.Random, rounds: int = 200) -> float:
        """How far the gap would be off by chance alone: its standard deviation when the labels are dealt anew."""
        together = self.known + self.unknown
        gaps = []
        for _ in range(rounds):
            rnd.shuffle(together)
            gaps.append(statistics.median(together[::2]) - statistics.median(together[1::2]))
        return statistics.pstdev(gaps)


class Stopwatch:
    """A stranger who measures."""

    def __init__(self, pbx: RunningPbx, rnd: random.Random) -> None:
        self._rnd = rnd
        self._peer = At(pbx, "3000")
        self._socket = self._peer.socket
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.connect(pbx.server)
        self._peer.send = self._socket.send  # type: ignore[method-assign,assignment]

    def close(self) -> None:
        self._peer.close()

    def measure(self, method: str, password: bool, tries: int) -> Times:
        """``password``: he shows a wrong one, else none."""
        peer, rnd = self._peer, self._rnd
        peer.number = "3000"
        peer.learn(peer.ask(peer.request("REGISTER")))
        uri = f"sip:{peer.domain}" if method == "REGISTER" else f"sip:7777@{peer.domain}"
        times = Times()
        order = [True, False] * ((tries + WARM_UP) // 2)
        rnd.shuffle(order)
        self._sent: dict[bytes, tuple[int, list[float]]] = {}
        for place, known in enumerate(order):
            peer.number = rnd.choice(CROWD_OF_KNOWN if known else CROWD_OF_UNKNOWN)
            peer.call_id, peer.tag = f"{rnd.getrandbits(64):016x}", f"{rnd.getrandbits(32):08x}"
            add = [("Event", "dialog")]
            if password:
                peer.count += 1
                value = digest(peer.challenge, peer.number, "wrong", method, uri, peer.count)
                add.append(("Authorization", value))
            data = peer.request(method, uri, None, add)
            into = [] if place < WARM_UP else times.known if known else times.unknown
            self._read(rnd.uniform(*APART))
            self._read(PATIENCE, until=AT_ONCE)
            self._sent[_branch(data)] = (time.clock_gettime_ns(time.CLOCK_REALTIME), into)
            self._socket.send(data)
        self._read(PATIENCE, until=0)
        if self._sent:
            raise AssertionError(f"{len(self._sent)} of {len(order)} got no answer in {PATIENCE:g} s")
        return times

    def _read(self, seconds: float, until: int = -1) -> None:
        """Take the answers that come within this time, or until so many are on their way. That their bytes are the
        same is seen elsewhere."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and len(self._sent) > until:
            if not select.select([self._socket], [], [], left)[0]:
                return
            answer, notes, _flags, _from = self._socket.recvmsg(65535, 256)
            begin, into = self._sent.pop(_branch(answer), (0, []))
            seconds_, nanoseconds = struct.unpack("qq", _stamp(notes))
            into.append((seconds_ * 10**9 + nanoseconds - begin) / 1000)


def _branch(data: bytes) -> bytes:
    return data.partition(b"branch=")[2][:19]


def _stamp(notes: Sequence[tuple[int, int, bytes]]) -> bytes:
    return next(data[:16] for level, kind, data in notes if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS))
