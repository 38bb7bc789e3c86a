"""The torture messages of RFC 4475 and RFC 5118 and our own, by UDP and TCP, while an honest phone registers."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

from tests.hardening.fuzz.kept import KEPT
from tests.hardening.fuzz.seeds import MESSAGES
from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.answers import Answers
from tests.hardening.programs.barrier import Barrier
from tests.hardening.programs.honest import HonestPhone, broken_lines, memory, odd_lines, some
from tests.hardening.programs.outage.small_disk import SmallDisk
from tests.hardening.programs.torments import Torment, torments
from tests.support.pbx import RunningPbx

PASSWORD = "s3cret-pass"
HONEST = "1001"
GOAL = 0.050  # seconds
STALL = 0.050  # seconds: what one message may hold up the answer to the next
GROWTH = 10.0  # megabytes
LARGEST_DATAGRAM = 65_507
SIP_TARGETS = ("message", "engine", "subscribe", "framing", "call")


def measure(scale: Scale) -> Iterator[Figure]:
    all_of_them = [
        *(Torment(f"corpus {place}", data) for place, data in enumerate(MESSAGES)),
        *(Torment(f"kept: {what}", data) for target, what, data in KEPT if target in SIP_TARGETS),
        *torments(),
    ]
    rounds = scale.of(10, 1)
    # An address that is blocked for what it sent is not heard, and nothing would be tried.
    settings = {"GUARD_TRUSTED_NETS": "127.0.0.0/8"}
    # The database in memory: its own disk, which others use too, would hide what a message costs.
    with SmallDisk(30) as disk, RunningPbx(disk.sqlite(), settings=settings) as pbx:
        pbx.create_extension(HONEST, PASSWORD)
        barrier = Barrier(pbx, "127.0.0.1")
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.bind(("127.66.0.1", 0))
        slowest: list[tuple[float, str]] = []
        with (
            contextlib.closing(barrier), contextlib.closing(sender), Answers(pbx.port) as answers,
            HonestPhone(pbx, HONEST, PASSWORD) as honest,
        ):  # fmt: skip
            barrier.wait()
            before = memory(pbx)
            for _ in range(rounds):
                for one in all_of_them:
                    if len(one.data) <= LARGEST_DATAGRAM:
                        sender.sendto(one.data, pbx.server)
                        slowest.append((barrier.wait(), f"{one.what}, UDP"))
                    _by_tcp(pbx.server, one.data, answers)
                    slowest.append((barrier.wait(), f"{one.what}, TCP"))
                answers.gather()
            after = memory(pbx)
        slowest.sort(reverse=True)
        alive = pbx.program.running
        yield Figure(
            f"{len(all_of_them)} torture messages, {rounds} times by UDP and TCP, the process",
            "alive" if alive else "gone", "alive", alive,
        )
        told = ", ".join(f"{count} x {status}" for status, count in sorted(answers.counts.items()))
        yield Figure("answers 500", f"{some(answers.broken)} of {told}", "none", not answers.broken)
        took, what = slowest[0]
        yield Figure(
            "longest that one of them holds up the next answer", f"{took * 1000:.1f} ms ({what})",
            f"no stall: {STALL * 1000:.0f} ms at most", took <= STALL, timed=True,
        )
        yield Figure("registrations of the honest phone that failed", some(honest.faults), "none", not honest.faults)
        yield Figure(
            "its registrations meanwhile", str(honest), f"each within {GOAL * 1000:.0f} ms", honest.slowest <= GOAL,
            timed=True,
        )
        yield Figure(
            "memory", f"{before:.1f} to {after:.1f} MB", f"+{GROWTH:.0f} MB at most", after - before <= GROWTH
        )
        broken, odd = broken_lines(pbx.log), odd_lines(pbx.log)
        yield Figure("exceptions in the log", some(broken), "none", not broken)
        yield Figure("log lines that are no record of their own", some(odd), "none", not odd)


def _by_tcp(server: tuple[str, int], data: bytes, answers: Answers) -> None:
    """On a connection of its own: what it says of its length may be a lie."""
    got = b""
    with contextlib.suppress(OSError):
        stream = socket.create_connection(server, 5, source_address=("127.66.0.2", 0))
        with contextlib.closing(stream):
            stream.settimeout(5)
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
            end = time.monotonic() + 5
            while time.monotonic() < end and (chunk := stream.recv(65536)):
                got += chunk
    for start in got.split(b"SIP/2.0 ")[1:]:
        answers.take(b"SIP/2.0 " + start)
