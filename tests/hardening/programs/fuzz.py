"""200,000 spoiled messages: of strangers by UDP and TCP, of somebody who has a password, and within calls, while an
honest phone registers throughout."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.answers import Answers
from tests.hardening.programs.barrier import Barrier
from tests.hardening.programs.fuzzing.insider import Insider
from tests.hardening.programs.fuzzing.strangers import Strangers
from tests.hardening.programs.fuzzing.talk import Talk
from tests.hardening.programs.honest import HonestPhone, broken_lines, memory, odd_lines, some
from tests.hardening.programs.outage.small_disk import SmallDisk
from tests.support.pbx import RunningPbx

PASSWORD = "s3cret-pass"
BATCH, BATCH_BYTES = 40, 150_000
STALL = 0.250  # seconds
GROWTH = 10.0  # megabytes
HONEST, INSIDER, OTHER, CALLER, CALLED = "1001", "1101", "1102", "1103", "1104"
OF_STRANGERS = (
    "The messages of the last two minutes are kept as evidence, 4 MB of strangers' and 6 MB of what went well, and "
    "with what each takes beside its bytes that is more: it is bounded and ends there. Smaller pools would lower it."
)
OF_INSIDERS = (
    "What known phones said in the last five minutes is kept as evidence, up to 24 MB, and 32 MB of their calls "
    "(sipcore/evidence/recorder.py): it is bounded and ends there. Smaller pools would lower it, and tell less of why."
)
STREAM = 20
"""Messages on one connection."""


@dataclass(frozen=True)
class Shares:
    """Of a hundred messages."""

    streams: int = 4
    insider: int = 10
    talk: int = 6


SHARES = Shares()


def measure(scale: Scale) -> Iterator[Figure]:
    seeds, each = scale.of(20, 4), scale.of(10_000, 1_000)
    settings = {"GUARD_TRUSTED_NETS": "127.0.0.0/8"}  # who is blocked is not heard, and nothing would be tried
    # The database in memory: its own disk, which others use too, would hide what a message costs.
    with SmallDisk(100) as disk, RunningPbx(disk.sqlite(), settings=settings) as pbx:
        pbx.create_extensions(dict.fromkeys((HONEST, INSIDER, OTHER, CALLER, CALLED), PASSWORD))
        barrier = Barrier(pbx, "127.0.0.1")
        with Answers(pbx.port) as answers, HonestPhone(pbx, HONEST, PASSWORD) as honest:
            barrier.wait()
            held = [memory(pbx)]
            sent = 0
            for who in (_strangers, _insiders):
                for seed in range(scale.seed, scale.seed + seeds):
                    sent += who(pbx, seed, each, answers, barrier)
                held.append(memory(pbx))
            barrier.close()
        yield from _figures(pbx, seeds, sent, answers, barrier, honest, held)


def _strangers(pbx: RunningPbx, seed: int, count: int, answers: Answers, barrier: Barrier) -> int:
    streams = count * SHARES.streams // 100
    single = count * (100 - SHARES.streams - SHARES.insider - SHARES.talk) // 100
    hosts = [f"127.{100 + seed % 100}.{n}.1" for n in range(8)]
    with contextlib.closing(Strangers(pbx.server, hosts, random.Random(seed))) as strangers:
        for _ in range(streams // STREAM):
            strangers.stream(STREAM, answers)
        barrier.wait()
        _in_batches(single, strangers.send, _nothing, _nothing, answers, barrier)
    return single + streams // STREAM * STREAM


def _insiders(pbx: RunningPbx, seed: int, count: int, answers: Answers, barrier: Barrier) -> int:
    chance = random.Random(seed)
    alone, talking = count * SHARES.insider // 100, count * SHARES.talk // 100
    talk = Talk(pbx, (CALLER, CALLED), PASSWORD, "127.78.0.1", chance)
    with contextlib.closing(Insider(pbx, INSIDER, OTHER, PASSWORD, "127.77.0.1", chance)) as insider:
        _in_batches(alone, insider.send, insider.settle, insider.answer, answers, barrier)
        try:
            _in_batches(talking, talk.send, talk.begin, talk.answer, answers, barrier)
        finally:
            talk.end()
    return alone + talking


def _in_batches(
    count: int, send: Callable[[], int], prepare: Callable[[], None], between: Callable[[], None],
    answers: Answers, barrier: Barrier,
) -> None:  # fmt: skip
    """``prepare`` now and then, ``between`` after each batch."""
    sent = waiting = size = batches = 0
    while sent < count:
        if waiting == 0 and batches % 5 == 0:
            prepare()
        size += send()
        sent, waiting = sent + 1, waiting + 1
        if waiting >= BATCH or size >= BATCH_BYTES or sent == count:
            between()
            barrier.wait()
            between()
            answers.gather()
            waiting = size = 0
            batches += 1


def _nothing() -> None:
    pass


def _figures(
    pbx: RunningPbx, seeds: int, sent: int, answers: Answers, barrier: Barrier, honest: HonestPhone, held: list[float],
) -> Iterator[Figure]:  # fmt: skip
    alive = pbx.program.running
    yield Figure(
        f"{sent} spoiled messages over {seeds} seeds, the process", "alive" if alive else "gone", "alive", alive
    )
    told = ", ".join(f"{count} x {status}" for status, count in sorted(answers.counts.items()))
    yield Figure(
        "answers 500 that nobody asked for", f"{some(answers.broken)} of {told} "
        f"({answers.demanded} that RFC 3261 12.2.2 and 14.2 demand)", "none", not answers.broken,
    )
    slowest = max(barrier.seconds)
    yield Figure(
        f"longest wait for the answer behind {BATCH} of them", f"{slowest * 1000:.0f} ms",
        f"at most {STALL * 1000:.0f} ms", slowest <= STALL, timed=True,
    )
    yield Figure("registrations of the honest phone that failed", some(honest.faults), "none", not honest.faults)
    yield Figure(
        "its registrations", str(honest), f"no stall over {STALL * 1000:.0f} ms", honest.slowest <= STALL, timed=True
    )
    for what, after, cause in (("strangers", held[1], OF_STRANGERS), ("insiders", held[2], OF_INSIDERS)):
        yield Figure(
            f"memory, after the messages of {what}", f"{held[0]:.1f} to {after:.1f} MB", f"+{GROWTH:.0f} MB at most",
            after - held[0] <= GROWTH, cause=cause,
        )
    broken, odd = broken_lines(pbx.log), odd_lines(pbx.log)
    yield Figure("exceptions in the log", some(broken), "none", not broken)
    yield Figure("log lines that are no record of their own", some(odd), "none", not odd)
