"""A network that loses 15 % of all datagrams, doubles 10 % and reorders 15 %, in both directions; one that changes
bits; and TCP connections that are cut in the midst of a message."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.network_phones import ANSWERED, KINDS, OUTCOMES, Pair, wire_of
from tests.hardening.programs.network_real import WORDS, real_phones
from tests.hardening.programs.network_streams import StreamPair, streams_told
from tests.support.bad_network import Address, BadNetwork, Weather
from tests.support.cases import PASSWORD
from tests.support.loop_thread import LoopThread
from tests.support.patient_wire import PatientPhone, PatientWire
from tests.support.pbx import RunningPbx, SqliteStore
from tests.support.processes import DeadlinePassed, wait_until

FRONT, OTHER_FRONT = "127.0.0.9", "127.0.0.10"
"""What phones know as the server. The PBX believes to be behind a router with the first of them."""

SETTINGS = {"EXTERNAL_IP": FRONT, "LOCAL_NETS": "192.0.2.0/24"}
LOSSY = Weather()
DAMAGING = Weather(loss=0.0, doubled=0.0, reordered=0.0, damaged_up=1.0)


def measure(scale: Scale) -> Iterator[Figure]:
    """All at once: the phones mostly wait."""
    count, few = scale.of(100, 10), scale.of(20, 4)
    numbers, damaged_numbers, stream_numbers = (
        [str(first + one) for one in range(2 * pairs)] for first, pairs in ((1001, count), (2001, few), (3001, few))
    )
    real = ["4001", "4002"]
    with ExitStack() as stack:
        pbx = stack.enter_context(RunningPbx(SqliteStore(), settings=SETTINGS))
        pbx.create_extensions(dict.fromkeys([*numbers, *damaged_numbers, *stream_numbers, *real], PASSWORD))
        loop = stack.enter_context(LoopThread("network"))
        network, damaging = (
            BadNetwork(loop, (front, pbx.port), pbx.server, weather, scale.seed)
            for front, weather in ((FRONT, LOSSY), (OTHER_FRONT, DAMAGING))
        )
        pairs = _pairs(loop, network, (FRONT, pbx.port), pbx.domain, numbers, scale.seed)
        damaged = _pairs(loop, damaging, (OTHER_FRONT, pbx.port), pbx.domain, damaged_numbers, scale.seed)
        streams = [StreamPair(pbx, *two, n, scale.seed) for n, two in enumerate(_by_two(stream_numbers))]
        for one in (*pairs, *damaged, *streams):
            stack.callback(one.close)
        for bad in (network, damaging):
            stack.callback(bad.close)
        players = stack.enter_context(ThreadPoolExecutor(count + 2 * few, thread_name_prefix="pair"))

        lossy = [players.submit(Pair.live, pair) for pair in pairs]
        beside = [players.submit(one.live) for one in (*damaged, *streams)]
        if not scale.quick:
            yield from real_phones(pbx, (FRONT, pbx.port), *real)
        _wait(lossy)
        yield from _lossy(pbx, network, pairs, numbers, players)
        _wait(beside)
        yield _damaged(pbx, damaging, damaged)
        yield streams_told(pbx, streams)


def _pairs(
    loop: LoopThread, network: BadNetwork, front: Address, domain: str, numbers: list[str], seed: int
) -> list[Pair]:
    def phone(extension: str) -> PatientPhone:
        wire = PatientWire(loop)
        network.know(wire.address)
        return PatientPhone(wire, front, extension, PASSWORD, domain)

    return [
        Pair(phone(one), phone(two), KINDS[n % len(KINDS)], random.Random(f"{seed}/pair {n}"))
        for n, (one, two) in enumerate(_by_two(numbers))
    ]


def _by_two(numbers: list[str]) -> list[tuple[str, str]]:
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _wait(futures: list[Future[None]]) -> None:
    for future in futures:
        future.result()


def _lossy(
    pbx: RunningPbx, network: BadNetwork, pairs: list[Pair], numbers: list[str], players: ThreadPoolExecutor
) -> Iterator[Figure]:
    list(players.map(Pair.refresh, pairs))
    double = [number for number in numbers if len(pbx.all_bindings(number)) != 1]
    records = _records(pbx, pairs)
    list(players.map(Pair.leave, pairs))

    done: Counter[str] = sum((pair.done for pair in pairs), Counter())
    steps = ("registered", "refreshed", "unregistered")
    yield Figure(
        f"registrations ({WORDS})", ", ".join(f"{done[step]} of {len(numbers)} {step}" for step in steps),
        "every one", all(done[step] == len(numbers) for step in steps), cause=_faults(pairs, "not"),
    )  # fmt: skip
    yield Figure(
        f"calls ({WORDS}; answered, held, cancelled, busy, both hang up)", f"{done['called']} of {len(pairs)}",
        "every one", done["called"] == len(pairs), cause=_faults(pairs, "call"),
    )  # fmt: skip
    yield Figure("numbers with another than one binding", str(len(double)), "0", not double)
    yield _recorded(pairs, records)
    yield _left_over(pbx, pairs, numbers)
    yield _repetitions(pairs, network)


def _records(pbx: RunningPbx, pairs: list[Pair]) -> list[dict[str, Any]]:
    """The call records, once all have ended or the longest timers of a call have."""
    callers = {pair.caller.number for pair in pairs}

    def found() -> list[dict[str, Any]]:
        rows = pbx.store.rows('SELECT src, dst, disposition, cause, "end" FROM calls_callrecord')
        return [row for row in rows if row["src"] in callers]

    with contextlib.suppress(DeadlinePassed):  # the figures say it
        wait_until(
            lambda: len(found()) >= len(pairs) and all(row["end"] is not None for row in found()), "the records", 70,
            pause=0.2,
        )  # fmt: skip
    return found()


def _recorded(pairs: list[Pair], records: list[dict[str, Any]]) -> Figure:
    """One record for each call, and the right one; one INVITE at each phone that was called."""
    found = Counter((row["src"], row["dst"]) for row in records)
    outcome = {(row["src"], row["dst"]): (row["disposition"], row["cause"]) for row in records}
    double = sum(found[pair.caller.number, pair.callee.number] != 1 for pair in pairs)
    wrong = [
        (pair.kind, outcome.get((pair.caller.number, pair.callee.number)))
        for pair in pairs
        if outcome.get((pair.caller.number, pair.callee.number)) != OUTCOMES.get(pair.kind, ANSWERED)
    ]
    extra = [line for pair in pairs for line in pair.extra_messages()]
    return Figure(
        "calls with another than one record, records with a wrong outcome, requests too many at a phone",
        f"{double}, {len(wrong)}, {len(extra)}", "0, 0, 0", not (double or wrong or extra),
        cause=f"{wrong[:3]} {extra[:3]}",
    )  # fmt: skip


def _left_over(pbx: RunningPbx, pairs: list[Pair], numbers: list[str]) -> Figure:
    living = _living(pbx, numbers)
    bound = len(pbx.registered_numbers() & set(numbers))
    unacknowledged = sum(wire_of(phone).unacknowledged for pair in pairs for phone in pair.phones)
    given_up = sum(wire_of(phone).counts["given up"] for pair in pairs for phone in pair.phones)
    return Figure(
        "left over: living calls, bindings after unregistering, answers without ACK, requests without answer",
        f"{living}, {bound}, {unacknowledged}, {given_up}", "0, 0, 0, 0",
        not (living or bound or unacknowledged or given_up) and pbx.program.running,
    )  # fmt: skip


def _living(pbx: RunningPbx, numbers: list[str]) -> int:
    rows = pbx.store.rows('SELECT src FROM calls_callrecord WHERE "end" IS NULL')
    return sum(row["src"] in numbers for row in rows)


def _repetitions(pairs: list[Pair], network: BadNetwork) -> Figure:
    counts: Counter[str] = sum((wire_of(phone).counts for pair in pairs for phone in pair.phones), Counter())
    retried = sum(pair.retried for pair in pairs)
    fates = network.fates
    return Figure(
        "datagrams",
        f"{fates['passed'] + fates['lost']}, {fates['lost']} lost, {fates['doubled']} doubled, "
        f"{fates['reordered']} reordered; phones repeated {counts['sent again']} of {counts['sent']}, were repeated to "
        f"{counts['received again']} times, {retried} re-INVITEs told to come later",
        "for information", True,
    )  # fmt: skip


def _damaged(pbx: RunningPbx, network: BadNetwork, pairs: list[Pair]) -> Figure:
    """Each datagram to the server is followed by a copy with some of its bits changed."""
    numbers = [phone.number for pair in pairs for phone in pair.phones]
    registered, called = (sum(pair.done[step] for pair in pairs) for step in ("registered", "called"))
    _records(pbx, pairs)
    living = _living(pbx, numbers)
    errors = pbx.log_lines(r" (ERROR|CRITICAL) |Traceback|exception")
    return Figure(
        f"bits changed in copies of {network.fates['damaged']} of {network.fates['passed']} datagrams",
        f"{registered} of {len(numbers)} registered, {called} of {len(pairs)} calls, {living} calls left, "
        f"{len(errors)} errors in the log", "no crash, every honest message passes",
        registered == len(numbers) and called == len(pairs) and not (living or errors) and pbx.program.running,
        cause="; ".join([*errors[:2], _faults(pairs, "")])[:800],
    )  # fmt: skip


def _faults(pairs: list[Pair], word: str) -> str:
    found = [fault for pair in pairs for fault in pair.faults if word in fault]
    return "; ".join(fault[:300] for fault in found[:3])
