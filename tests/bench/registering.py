"""Registrations: how many a second, what each costs, how long it takes at half of the highest rate.

Each phone does what a phone does after a power cut (REGISTER, 401, REGISTER with digest, 200) and later (refresh with
the kept nonce; unregister). PostgreSQL is the benchmark's own, with fsync and synchronous_commit on as it comes; SQLite
is as runsip opens it (WAL, synchronous=FULL). runsip logs at INFO and keeps its evidence."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import replace
from unittest import SkipTest

from tests.bench import single
from tests.bench.phones import Phones, SlowPhones, make_phones
from tests.bench.registrars import Registrar, Running, registrars
from tests.bench.rows import LEFT_OUT, Found, Goal, Missing, Row, Rows, Scale, figure, ratio
from tests.support.loadgen import LoadReport
from tests.support.pbx import CROWD, CROWD_PASSWORD
from tests.support.postgres import PostgresCluster
from tests.support.processes import DeadlinePassed, wait_until

PHASES = ("register", "refresh", "unregister")
LATENCY = "at half that rate"
ALONE = ("sqlite", "postgres")
"""Of which one registration on an idle server is measured too."""

WARM = 300
"""Phones that register before anything is measured: what a server loads and connects at its first requests is not what
is measured."""

PHONES = 6000
ENOUGH = 1.5
"""Seconds that the phases of one kind last together: who is through sooner does them all again."""

MOST_TIMES = 4
OPEN_SECONDS = 4.0
WINDOWS = (400, 200, 50, 15)
"""Registrations under way at once, with two workers of ours twice as many: with half of them each would have batches of
half the size. The first at which no phone has to repeat itself gives the highest clean rate. (One that repeats at 400
would at 800.)"""

OURS, SQLITE, WORKERS = "runsip, PostgreSQL", "runsip, SQLite", "runsip --workers 2, PostgreSQL"
WRITE_THROUGH = ("Kamailio write-through, 4 children", "Kamailio write-through, 16 children")
ASTERISK = "Asterisk, chan_pjsip"


def measure(scale: Scale, cluster: PostgresCluster | None) -> Rows:
    for one in registrars(cluster):
        alone = one.name in ALONE and scale.wants("single", one.name)
        crowd = scale.wants("register", one.name)
        if crowd and scale.quick and not one.quick and one.name not in scale.only:
            yield Missing(one.title, LEFT_OUT)
            crowd = False
        if not alone and not crowd:
            continue
        try:
            with one.start() as running:
                if alone:
                    _wait_for_rest(running)
                    yield from single.measure(one.title, running)
                if crowd:
                    yield from _registrar(one, running, scale)
        except SkipTest as reason:
            yield Missing(one.title, str(reason))
        except Exception as error:  # the others go on
            traceback.print_exc()
            yield Missing(one.title, f"it did not work: {type(error).__name__}", broken=True)


def _registrar(one: Registrar, running: Running, scale: Scale) -> Iterator[Row]:
    numbers, windows = (2000 if scale.quick else PHONES), [one.workers * window for window in WINDOWS]
    with _phones(running, CROWD.stop - WARM, WARM) as warm:
        warm.run("echo" if one.echoes else "register")
    _wait_for_rest(running)
    with _phones(running, CROWD.start, numbers) as load:
        if one.echoes:
            yield _row(one, "register", [_phase(running, load, "echo", windows[0])])
            return
        spent: dict[str, list[Spent]] = {phase: [] for phase in PHASES}
        for window in windows:
            spent = {phase: [] for phase in PHASES}
            for times in range(1 if scale.quick else MOST_TIMES):
                if times and sum(part.report.seconds for part in spent["register"]) > ENOUGH:
                    break
                for phase in PHASES:
                    spent[phase].append(_phase(running, load, phase, window))
            if not any(part.report.retransmissions for part in spent["register"]):
                break
        rows = {phase: _row(one, phase, parts, f"{window} at once") for phase, parts in spent.items()}
        yield from rows.values()
        if one.floor or isinstance(load, SlowPhones):
            return
        _wait_for_rest(running)
        rate = rows["register"].rate / 2
        seconds = OPEN_SECONDS / 2 if scale.quick else OPEN_SECONDS
        yield _row(one, LATENCY, [_phase(running, load, "register", 0, rate, int(rate * seconds))])


class Spent:
    """One phase, and the processor time of everybody in it."""

    def __init__(self, report: LoadReport, server: float, main_thread: float, database: float) -> None:
        self.report, self.server, self.main_thread, self.database = report, server, main_thread, database


def _phones(running: Running, first: int, count: int) -> Phones | SlowPhones:
    return make_phones(
        server=running.server, domain=running.domain, first=first, count=count, password=CROWD_PASSWORD
    )


def _phase(
    running: Running, load: Phones | SlowPhones, phase: str, window: int, rate: float = 0.0, requests: int = 0
) -> Spent:
    main_thread = running.main_thread_cpu or (lambda: 0.0)
    before = running.cpu(), main_thread(), running.database_cpu()
    if isinstance(load, SlowPhones):
        report = load.run(phase)
    else:
        report = load.run(phase, window=window, rate=rate, requests=requests)
    return Spent(report, running.cpu() - before[0], main_thread() - before[1], running.database_cpu() - before[2])


def _row(one: Registrar, what: str, parts: list[Spent], *notes: str) -> Row:
    reports = [part.report for part in parts]
    together = replace(reports[0], latencies=[second for report in reports for second in report.latencies])
    confirmed = sum(len(report.confirmed) for report in reports)
    each = 1e6 / max(1, confirmed)
    seconds = sum(report.seconds for report in reports)
    failed = sum(sum(report.failures.values()) for report in reports)
    told = [*notes]
    if one.floor:
        told.append(f"generator {sum(report.own_cpu for report in reports) * each:.1f} us")
    if main_thread := sum(part.main_thread for part in parts):
        told.append(f"main thread {main_thread * each:.0f} us")
    if again := sum(report.retransmissions for report in reports):
        told.append(f"{again} retransmissions")
    if failed:
        told.append(f"failed: {reports[-1].failures}")
    return Row(
        one.title, what, confirmed / seconds, sum(part.server for part in parts) * each,
        sum(part.database for part in parts) * each, together.percentile(50) * 1000, together.percentile(99) * 1000,
        sum(report.own_cpu for report in reports) / seconds, failed=failed, note=", ".join(told),
    )


def _wait_for_rest(running: Running) -> None:
    """Until the server and its database have done what they do afterwards."""

    def rests() -> bool:
        before, begin = running.cpu() + running.database_cpu(), time.monotonic()
        time.sleep(0.2)
        return running.cpu() + running.database_cpu() - before < 0.05 * (time.monotonic() - begin)

    try:
        wait_until(rests, "a server at rest", 5.0)
    except DeadlinePassed:
        return  # it never rests: then that is part of what it costs


def goals(found: Found) -> Iterator[Goal]:
    theirs = {name: found[name, "register"] for name in WRITE_THROUGH if (name, "register") in found}
    best = max(theirs, key=lambda name: theirs[name].rate, default=WRITE_THROUGH[0])
    # One process of ours or two, as their children are 4 or 16: the better one counts on both sides.
    for names, place in (((OURS, WORKERS), "PostgreSQL, 1 or 2 workers,"), ((SQLITE,), "SQLite")):
        value = _better(ratio(found, (name, "register"), (best, "register"), "rate") for name in names)
        yield Goal(f"registrations/s on {place} to {best}", value, 3, True)
    value = _better(ratio(found, (name, "register"), (ASTERISK, "register"), "rate") for name in (OURS, WORKERS))
    yield Goal("registrations/s on PostgreSQL to Asterisk", value, 3, True)
    fastest = max(WRITE_THROUGH, key=lambda name: figure(found, name, "refresh", "rate") or 0.0)
    value = _better(ratio(found, (name, "refresh"), (fastest, "refresh"), "rate") for name in (OURS, WORKERS))
    yield Goal(f"refreshes/s on PostgreSQL, 1 or 2 workers, to {fastest}", value, 4, True)
    cheapest = min(theirs, key=lambda name: theirs[name].cpu, default=best)
    value = ratio(found, (OURS, "register"), (cheapest, "register"), "cpu")
    yield Goal(f"CPU of a registration, server and database, to {cheapest}", value, 0.4, False)
    quickest = min(WRITE_THROUGH, key=lambda name: figure(found, name, LATENCY, "p99") or 1e9)
    value = ratio(found, (OURS, LATENCY), (quickest, LATENCY), "p99")
    yield Goal(f"p99 at half the highest clean rate to {quickest}", value, 1, False)
    value = ratio(found, (WORKERS, "register"), (OURS, "register"), "rate")
    yield Goal("registrations/s of 2 workers to 1", value, 1.6, True)
    yield from single.goals(found)


def _better(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
