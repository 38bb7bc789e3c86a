"""Nine kinds of flood without a password, 2,000 packets a second of each (see flooding), while honest phones register
again and again. The guard takes the attackers for what they are: strangers, though they send from this machine.

Four of five tries are of one phone whose address the PBX knows, the fifth of a phone that it has never seen, from an
address that it has never seen. Each try begins without credentials: two round trips and a commit."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.hardening.conformance.peer import SECONDS, TcpPeer
from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.flooding import KINDS, Flood
from tests.hardening.programs.honest import memory
from tests.support.media_engines import rtp_ports
from tests.support.pbx import RunningPbx, SqliteStore
from tests.support.phone import Phone
from tests.support.processes import DeadlinePassed, wait_until

RATE = 2_000
PASSWORD = "s3cret-pass"
KNOWN, STREAM = "2001", "2002"
GUESSED = range(1000, 1100)
NEWCOMERS = range(3000, 5000)
KNOWN_HOST = "127.0.0.2"
PATIENCE = 32.0
"""Seconds after which a phone gives up (timer F, 64*T1)."""

PAUSE = 0.004
MEMORY_GOAL = 5.0  # MB
P99_GOAL = 0.1


@dataclass
class Tries:
    """Of honest phones while one flood lasted."""

    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        return 1 - len(self.faults) / max(1, len(self.seconds))

    def slowest(self, percent: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


class StreamPhone(TcpPeer):
    """Over TCP, from the address of the known phone."""

    def _open(self) -> socket.socket:
        return socket.create_connection(self.server, SECONDS, source_address=(KNOWN_HOST, 0))

    def register(self) -> int:
        self.host, self.port = self.socket.getsockname()
        # Always the same Contact: one device that comes back, not ten.
        contact = f"<sip:{self.number}@{self.host}:5060;transport=tcp>"
        return self.prove("REGISTER", but={"Contact": contact, "Expires": "600"}).status


class Honest:
    """The phones of one PBX."""

    def __init__(self, pbx: RunningPbx) -> None:
        self._pbx = pbx
        self._phone = self._new(KNOWN, KNOWN_HOST)
        self._turn = itertools.count()
        self._newcomers = itertools.count()

    def _new(self, number: str, host: str) -> Phone:
        return Phone(self._pbx.server, number, PASSWORD, self._pbx.domain, local_host=host, patience=PATIENCE)

    def close(self) -> None:
        self._phone.close()

    def during(self, seconds: float, streams: bool) -> Tries:
        tries = Tries()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.monotonic()
            try:
                status = self._once(next(self._turn), streams)
                if status != 200:
                    tries.faults.append(str(status))
            except (AssertionError, OSError) as fault:  # AnswerFault, NoAnswer, Silence, a connection that is refused
                tries.faults.append(str(fault).partition("\n")[0] or type(fault).__name__)
            tries.seconds.append(time.monotonic() - begin)
            time.sleep(PAUSE)
        return tries

    def _once(self, turn: int, streams: bool) -> int:
        if turn % 5 == 4:
            new = next(self._newcomers)
            number = NEWCOMERS[new % len(NEWCOMERS)]
            with self._new(str(number), f"127.{10 + new // 62_500 % 50}.{new // 250 % 250}.{1 + new % 250}") as phone:
                return phone.register(600).status
        if streams and turn % 2:
            with StreamPhone(self._pbx.server, self._pbx.domain, STREAM, PASSWORD) as stream:
                return stream.register()
        self._phone.challenge = None
        return self._phone.register(600).status


def measure(scale: Scale) -> Iterator[Figure]:
    first, last = rtp_ports()
    settings = {"RTPENGINE_URLS": "", "RTP_PORTS": f"{first}-{last}", "GUARD_TRUSTED_NETS": "none"}
    with RunningPbx(SqliteStore(), settings=settings) as pbx:
        numbers = [KNOWN, STREAM, *map(str, GUESSED), *map(str, NEWCOMERS)]
        pbx.create_extensions(dict.fromkeys(numbers, PASSWORD))
        honest = Honest(pbx)
        try:
            _warm(pbx, honest, scale)
            began_with = memory(pbx)
            for number, kind in enumerate(KINDS):
                yield from _one(pbx, honest, kind, number, scale)
            yield _total(pbx, began_with, scale)
        finally:
            honest.close()


def _warm(pbx: RunningPbx, honest: Honest, scale: Scale) -> None:
    """What every PBX has done after a day: phones came, and one had a wrong password."""
    honest.during(scale.of(4, 1), streams=True)
    with Phone(pbx.server, KNOWN, "wrong", pbx.domain, local_host="127.0.0.3", patience=PATIENCE) as phone:
        phone.register()
    wait_until(lambda: pbx.store.rows("SELECT id FROM diagnosis_attempt LIMIT 1"), "the wrong password is evidence")


def _one(pbx: RunningPbx, honest: Honest, kind: str, number: int, scale: Scale) -> Iterator[Figure]:
    before = memory(pbx)
    with Flood(kind, pbx.server, pbx.domain, rate=RATE, seed=scale.seed * 100 + number) as flood:
        tries = honest.during(scale.of(12, 0) or 0.6, streams=kind.startswith("TCP"))
        most = memory(pbx)
    why = f", the first: {tries.faults[0]}" if tries.faults else ""
    yield Figure(
        kind,
        f"{len(tries.seconds) - len(tries.faults)} of {len(tries.seconds)} registrations{why}",
        "99.9 %",
        tries.share >= 0.999,
    )
    if not pbx.program.running:
        raise AssertionError(f"the PBX has ended:\n{pbx.program.tail()}")
    waited, left = _settle(pbx, before, scale)
    p99 = tries.slowest(99)
    yield Figure(
        f"  at {flood.sent.rate:,.0f} a second",
        f"p50 {tries.slowest(50) * 1000:.0f}, p99 {p99 * 1000:.0f}, slowest {tries.slowest(100) * 1000:.0f} ms; "
        f"memory {before:.0f} MB, then {most - before:+.1f}, after {waited:.0f} s {left - before:+.1f} MB",
        f"2,000 a second, p99 at most {P99_GOAL * 1000:.0f} ms, +{MEMORY_GOAL:.0f} MB within 40 s",
        p99 <= P99_GOAL and flood.sent.rate >= 0.95 * RATE and left - before <= MEMORY_GOAL,
        timed=True,
    )


def _settle(pbx: RunningPbx, before: float, scale: Scale) -> tuple[float, float]:
    """Seconds until its memory was back, at most 40, and what it was then (MB)."""
    begin = time.monotonic()
    with contextlib.suppress(DeadlinePassed):
        wait_until(lambda: memory(pbx) - before <= MEMORY_GOAL, "its memory is back", scale.of(40, 1), 0.1)
    return time.monotonic() - begin, memory(pbx)


def _total(pbx: RunningPbx, began_with: float, scale: Scale) -> Figure:
    """A little of each must not come to much of all."""
    waited, left = _settle(pbx, began_with, scale)
    return Figure(
        "memory after all nine",
        f"{left - began_with:+.1f} MB over the {began_with:.0f} MB of before the first, {waited:.0f} s after the last",
        f"+{MEMORY_GOAL:.0f} MB within 40 s",
        left - began_with <= MEMORY_GOAL,
        timed=True,
    )
