"""A network that loses 15 % of all datagrams, doubles 10 % and reorders 15 %, in both directions; one that changes
bits; and TCP connections that are cut in the midst of a message."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.network_phones import ANSWERED, KINDS, OUTCOMES, Pair, wire_of
from tests.support.bad_network import BadNetwork, Weather
from tests.support.cases import PASSWORD
from tests.support.loop_thread import LoopThread
from tests.support.patient_wire import PatientPhone, PatientWire
from tests.support.pbx import RunningPbx, SqliteStore
from tests.support.processes import DeadlinePassed, wait_until

FRONT = "127.0.0.9"
"""What phones know as the server: the PBX believes to be behind a router with this address."""

SETTINGS = {"EXTERNAL_IP": FRONT, "LOCAL_NETS": "192.0.2.0/24"}
WORDS = "15 % lost, 10 % doubled, 15 % reordered"


def measure(scale: Scale) -> Iterator[Figure]:
    yield from _udp(scale)


def _udp(scale: Scale) -> Iterator[Figure]:
    count = scale.of(100, 10)
    with ExitStack() as stack:
        pbx = stack.enter_context(RunningPbx(SqliteStore(), settings=SETTINGS))
        numbers = [str(1001 + one) for one in range(2 * count)]
        pbx.create_extensions(dict.fromkeys(numbers, PASSWORD))
        loop = stack.enter_context(LoopThread("network"))
        network = BadNetwork(loop, (FRONT, pbx.port), pbx.server, Weather(), scale.seed)
        stack.callback(network.close)
        pairs = [_pair(loop, network, pbx, numbers[2 * n], numbers[2 * n + 1], n, scale.seed) for n in range(count)]
        for pair in pairs:
            stack.callback(pair.close)
        players = stack.enter_context(ThreadPoolExecutor(count, thread_name_prefix="pair"))

        list(players.map(Pair.live, pairs))
        list(players.map(Pair.refresh, pairs))
        bindings = {number: len(pbx.all_bindings(number)) for number in numbers}
        records = _records(pbx, count)
        list(players.map(Pair.leave, pairs))

        done: Counter[str] = sum((pair.done for pair in pairs), Counter())
        steps = ("registered", "refreshed", "unregistered")
        told = ", ".join(f"{done[step]} of {2 * count} {step}" for step in steps)
        yield Figure(f"registrations ({WORDS})", told, "every one", all(done[step] == 2 * count for step in steps),
                     cause=_faults(pairs, "not"))  # fmt: skip
        yield Figure("calls (answered, held, cancelled, busy, both hang up)", f"{done['called']} of {count}",
                     "every one", done["called"] == count, cause=_faults(pairs, "call"))  # fmt: skip
        double = [number for number, rows in bindings.items() if rows != 1]
        yield Figure("numbers with another than one binding", str(len(double)), "0", not double)
        yield _recorded(pairs, records)
        yield _left_over(pbx, pairs, numbers)
        yield _repetitions(pairs, network)


def _pair(
    loop: LoopThread, network: BadNetwork, pbx: RunningPbx, one: str, two: str, number: int, seed: int
) -> Pair:
    phones = []
    for extension in (one, two):
        wire = PatientWire(loop)
        network.know(wire.address)
        phones.append(PatientPhone(wire, (FRONT, pbx.port), extension, PASSWORD, pbx.domain))
    return Pair(phones[0], phones[1], KINDS[number % len(KINDS)], random.Random(f"{seed}/pair {number}"))


def _records(pbx: RunningPbx, count: int) -> list[dict[str, Any]]:
    """The call records, once all have ended or the longest timers of a call have."""

    def ended() -> list[dict[str, Any]] | None:
        rows = pbx.store.rows('SELECT src, dst, disposition, cause, "end" FROM calls_callrecord')
        return rows if len(rows) >= count and all(row["end"] is not None for row in rows) else None

    try:
        return wait_until(ended, "all call records", 70, pause=0.2) or []
    except DeadlinePassed:
        return pbx.store.rows('SELECT src, dst, disposition, cause, "end" FROM calls_callrecord')


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
    living = pbx.store.rows('SELECT count(*) AS living FROM calls_callrecord WHERE "end" IS NULL')[0]["living"]
    bound = len(pbx.registered_numbers() & set(numbers))
    unacknowledged = sum(wire_of(phone).unacknowledged for pair in pairs for phone in pair.phones)
    given_up = sum(wire_of(phone).counts["given up"] for pair in pairs for phone in pair.phones)
    return Figure(
        "left over: living calls, bindings after unregistering, answers without ACK, requests without answer",
        f"{living}, {bound}, {unacknowledged}, {given_up}", "0, 0, 0, 0",
        not (living or bound or unacknowledged or given_up) and pbx.program.running,
    )  # fmt: skip


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


def _faults(pairs: list[Pair], word: str) -> str:
    found = [fault for pair in pairs for fault in pair.faults if word in fault]
    return "; ".join(fault[:300] for fault in found[:3])
