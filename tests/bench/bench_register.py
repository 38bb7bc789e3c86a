"""How many phones a second register for good: ``python -m tests.bench.bench_register [--quick]``.

Each phone does what a phone does after a power cut (REGISTER, 401, REGISTER with digest, 200) and later (refresh with
the kept nonce; unregister). Every 200 is durable: committed with fsync to SQLite, or to a PostgreSQL of the benchmark's
own with synchronous_commit. Logging is on at INFO. In the same run, on the same machine:

- the floor: a bare UDP echo through runsip's own read loop, two datagrams for each registration;
- Kamailio, where installed, write-through (``usrloc db_mode 1``, ``auth_db``) on the same PostgreSQL.

Processor time is taken from /proc: of the server with all its threads or processes, and of the database's processes.
Figures are medians; a generator near 100 % busy would be the limit itself and is told."""

from __future__ import annotations

import argparse
import os
import sys
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from tests.bench.kamailio_peer import KamailioPeer
from tests.support.loadgen import LoadGenerator, LoadReport
from tests.support.pbx import CROWD, CROWD_PASSWORD, ROOT, PostgresStore, RunningPbx, SqliteStore
from tests.support.postgres import PostgresCluster
from tests.support.processes import Program, cpu_seconds, free_port, main_thread_cpu_seconds, scratch_directory

PHASES = ("register", "refresh", "unregister")


@dataclass(frozen=True)
class Subject:
    """A running server under test. The three functions give processor seconds so far."""

    server: tuple[str, int]
    domain: str
    cpu: Callable[[], float]
    database_cpu: Callable[[], float]
    main_thread_cpu: Callable[[], float] | None = None


@dataclass(frozen=True)
class Figures:
    rate: float
    """Confirmed requests a second."""
    cpu: float
    """Microseconds of the server for each."""
    main_thread: float
    """Of these, in its main thread (runsip: reading, parsing, answering; the rest is the store's thread)."""
    database_cpu: float
    p50: float
    """Milliseconds from the first REGISTER to the 200."""
    p99: float
    generator: float
    failures: int


@contextmanager
def echo() -> Iterator[Subject]:
    port = free_port()
    program = Program(
        [sys.executable, "-m", "tests.bench.echo_server", str(port)], cwd=ROOT,
        log_path=scratch_directory("echo") / "log", name="echo",
    )
    try:
        program.wait_for("listening")
        yield Subject(("127.0.0.1", port), "floor.test", lambda: cpu_seconds(program.pid), lambda: 0.0)
    finally:
        program.stop()


@contextmanager
def runsip(store: SqliteStore | PostgresStore) -> Iterator[Subject]:
    with RunningPbx(store, crowd=True) as pbx:
        yield Subject(
            pbx.server, pbx.domain, lambda: pbx.cpu_seconds, lambda: store.cpu_seconds,
            lambda: main_thread_cpu_seconds(pbx.program.pid),
        )


@contextmanager
def kamailio(cluster: PostgresCluster, children: int) -> Iterator[Subject]:
    peer = KamailioPeer(cluster, children=children)
    try:
        peer.add_accounts((str(number), CROWD_PASSWORD.format(number=number)) for number in CROWD)
        yield Subject(("127.0.0.1", peer.port), peer.realm, lambda: peer.cpu_seconds, lambda: cluster.cpu_seconds)
    finally:
        peer.stop()


def measure(subject: Subject, phases: tuple[str, ...], numbers: int, window: int) -> dict[str, Figures]:
    found: dict[str, Figures] = {}
    with LoadGenerator(
        server=subject.server, domain=subject.domain, first=CROWD.start, count=numbers, password=CROWD_PASSWORD,
        window=window,
    ) as load:
        # The first request of a server loads and connects what it needs: not what is measured.
        with LoadGenerator(
            server=subject.server, domain=subject.domain, first=CROWD.stop - 5, count=5, password=CROWD_PASSWORD
        ) as warm:
            warm.run(phases[0])
        for phase in phases:
            cpu, database = subject.cpu(), subject.database_cpu()
            main_thread = subject.main_thread_cpu() if subject.main_thread_cpu else 0.0
            report = load.run(phase, 300)
            done = max(1, len(report.confirmed)) / 1e6
            found[phase] = Figures(
                report.rate, (subject.cpu() - cpu) / done,
                ((subject.main_thread_cpu() - main_thread) if subject.main_thread_cpu else 0.0) / done,
                (subject.database_cpu() - database) / done, report.percentile(50) * 1000, report.percentile(99) * 1000,
                report.own_load, _failed(report),
            )
    return found


def _failed(report: LoadReport) -> int:
    return sum(report.failures.values())


def middle(runs: list[dict[str, Figures]]) -> dict[str, Figures]:
    return {
        phase: Figures(*(median(getattr(run[phase], name) for run in runs) for name in Figures.__dataclass_fields__))
        for phase in runs[0]
    }


def show(name: str, figures: dict[str, Figures]) -> None:
    for phase, one in figures.items():
        parts = f" (main thread {one.main_thread:.0f})" if one.main_thread else ""
        notes = f"  {one.failures:.0f} FAILED" if one.failures else ""
        notes += "  the generator was the limit" if one.generator > 0.9 else ""
        print(
            f"{name:<24} {phase:<10} {one.rate:7.0f}/s  cpu {one.cpu:5.0f} us{parts} "
            f"+ database {one.database_cpu:4.0f} us  p50 {one.p50:6.1f} ms  p99 {one.p99:6.1f} ms  "
            f"generator {one.generator:4.0%}{notes}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, default=5000, help="phones, at most 9,990")
    parser.add_argument("--runs", type=int, default=3, help="runs of which the medians are told")
    parser.add_argument("--window", type=int, default=200, help="requests under way at once")
    parser.add_argument("--quick", action="store_true", help="1,000 phones, one run")
    parser.add_argument("--only", default="", help="comma-separated: echo, sqlite, postgres, kamailio")
    options = parser.parse_args()
    numbers, runs = (1000, 1) if options.quick else (min(options.numbers, len(CROWD) - 10), options.runs)
    wanted = set(options.only.split(",")) if options.only else {"echo", "sqlite", "postgres", "kamailio"}

    print(f"{numbers} phones, medians of {runs}, {os.cpu_count()} processors, load average "
          f"{os.getloadavg()[0]:.1f} at the start (others' work costs everybody rate, not processor time)")
    subjects: list[tuple[str, Callable, tuple[str, ...]]] = []
    if "echo" in wanted:
        subjects.append(("UDP echo (floor)", echo, ("echo",)))
    if "sqlite" in wanted:
        subjects.append(("runsip, SQLite", lambda: runsip(SqliteStore()), PHASES))
    cluster = None
    try:
        if wanted & {"postgres", "kamailio"}:
            cluster = PostgresCluster()
        if "postgres" in wanted:
            subjects.append(("runsip, PostgreSQL", lambda: runsip(PostgresStore(cluster)), PHASES))
        if "kamailio" in wanted:
            for children in (4,) if options.quick else (4, 1):
                subjects.append((
                    f"Kamailio, {children} children", lambda children=children: kamailio(cluster, children), PHASES
                ))
    except unittest.SkipTest as missing:
        print(f"without PostgreSQL and Kamailio: {missing}")
    # Round by round, so that a noisy minute of the machine hits all alike.
    results: dict[str, list[dict[str, Figures]]] = {}
    for _ in range(runs):
        for name, subject, phases in subjects:
            try:
                with subject() as running:
                    results.setdefault(name, []).append(measure(running, phases, numbers, options.window))
            except unittest.SkipTest as missing:
                print(f"without {name}: {missing}")
    if cluster:
        cluster.stop()

    found = {name: middle(figures) for name, figures in results.items()}
    for name, figures in found.items():
        show(name, figures)
    ours = found.get("runsip, PostgreSQL")
    for name, figures in found.items():
        if ours and name.startswith("Kamailio"):
            for phase in PHASES:
                rate = ours[phase].rate / figures[phase].rate
                cpu = (ours[phase].cpu + ours[phase].database_cpu) / (figures[phase].cpu + figures[phase].database_cpu)
                print(f"{phase}: runsip on PostgreSQL has {rate:.2f} times the rate of {name} "
                      f"with {cpu:.2f} times its processor time")
    if ours and "UDP echo (floor)" in found:
        floor = found["UDP echo (floor)"]["echo"]
        print(f"register: the echo takes {floor.cpu / ours['register'].cpu:.0%} of runsip's own processor time")


if __name__ == "__main__":
    main()
