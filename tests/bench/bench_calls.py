"""How many calls a second are set up and ended: ``python -m tests.bench.bench_calls [--quick]``.

sipp on both ends: INVITE, 401, INVITE with digest, 180, 200, ACK, BYE. In the same run, on the same machine:

- runsip: a B2BUA with two dialogs for each call, its relay arranged and released, a record written (SQLite, fsync);
- Kamailio, where installed, as a stateful proxy with digest and Record-Route: it arranges no media and writes nothing;
- Asterisk, where installed: a B2BUA that arranges media, and writes nothing;
- the floor: the bare loop of runsip's sockets sending as many datagrams as a call of the B2BUA has.

Processor time is taken from /proc: of the server with all its threads and processes. Figures are medians. sipp shares
the processors with what it measures: its own share is told."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench.asterisk_peer import AsteriskPeer
from tests.bench.kamailio_proxy import KamailioProxy
from tests.bench.processor import cpu_seconds, task_seconds
from tests.support.pbx import ROOT, RunningPbx, SqliteStore
from tests.support.processes import Program, free_port, scratch_directory, wait_until
from tests.support.sipp_calls import Report, Sipp, callee, caller

CALLERS = range(20000, 20100)
CALLEE = "20500"
WARM = 40
DATAGRAMS = 16
"""Of one call, both sides and both ways together, with the 100 to the caller."""


@dataclass(frozen=True)
class Figures:
    rate: float
    cpu: float
    """Microseconds of the server for each call."""
    signalling: float
    """Of these, of runsip's own process (the rest are its relays)."""
    sipp: float
    """Microseconds of both sipps for each call."""
    failed: int


@dataclass(frozen=True)
class Subject:
    server: tuple[str, int]
    domain: str
    answering: Sipp
    cpu: Callable[[], float]
    own: Callable[[], float]


def accounts() -> dict[str, str]:
    return {number: f"load-{number}" for number in [*map(str, CALLERS), CALLEE]}


@contextmanager
def runsip() -> Iterator[Subject]:
    many = {
        "SIP_MAX_CALLS": "2000",
        "SIP_MAX_RINGING": "1000",
        "SIP_MAX_CALLS_PER_EXTENSION": "1000",
        "RTP_PORTS": "10000-31999",
    }
    with RunningPbx(SqliteStore(), settings=many) as pbx:
        pbx.create_extensions(accounts())
        answering = callee(pbx.server, pbx.domain, CALLEE, accounts()[CALLEE])
        try:
            pid = pbx.program.pid
            yield Subject(pbx.server, pbx.domain, answering, lambda: cpu_seconds(pid), lambda: _without_children(pid))
        finally:
            answering.stop()


@contextmanager
def kamailio(children: int) -> Iterator[Subject]:
    port = free_port()
    proxy = KamailioProxy(port, children=children)
    try:
        answering = Sipp("callee", ("127.0.0.1", proxy.port), port)
        try:
            time.sleep(1.0)  # it binds its port before it forks the processes whose time is measured
            spent = lambda: cpu_seconds(proxy.pid)  # noqa: E731
            yield Subject(("127.0.0.1", proxy.port), proxy.domain, answering, spent, spent)
        finally:
            answering.stop()
    finally:
        proxy.stop()


@contextmanager
def asterisk() -> Iterator[Subject]:
    """A B2BUA too, with its media; no record of the calls. Raises ``unittest.SkipTest`` where there is none."""
    peer = AsteriskPeer(accounts().items(), calls=True)
    try:
        server = ("127.0.0.1", peer.port)
        answering = callee(server, peer.realm, CALLEE, accounts()[CALLEE])
        try:
            spent = lambda: cpu_seconds(peer.pid)  # noqa: E731
            yield Subject(server, peer.realm, answering, spent, spent)
        finally:
            answering.stop()
    finally:
        peer.stop()


def measure(subject: Subject, calls: int, at_once: int, rate: int) -> Figures:
    """After some calls that do not count: what is made at the first one alone is no price of a call."""
    _play(subject, WARM, at_once, rate)
    before = subject.cpu(), subject.own(), cpu_seconds(subject.answering.pid)
    report, spent = _play(subject, calls, at_once, rate)
    cpu, own = subject.cpu() - before[0], subject.own() - before[1]
    sipp = spent + cpu_seconds(subject.answering.pid) - before[2]
    if report.failed:
        print(report.errors[-500:], file=sys.stderr)
    done = max(1, report.calls)
    return Figures(report.rate, cpu / done * 1e6, own / done * 1e6, sipp / done * 1e6, report.failed)


def _play(subject: Subject, calls: int, at_once: int, rate: int) -> tuple[Report, float]:
    """So many calls, until all their work is done; with the seconds of the processor that the caller took."""
    callers = [(number, password) for number, password in accounts().items() if number != CALLEE]
    calling = caller(subject.server, subject.domain, CALLEE, callers, count=calls, rate=rate, at_once=at_once, hold=0)
    spent = 0.0
    try:
        while calling.running:
            spent = max(spent, cpu_seconds(calling.pid))
            time.sleep(0.05)
        report = calling.report()
    finally:
        calling.stop()
    wait_until(lambda: _idle(subject), "the end of its work")
    return report, spent


def _idle(subject: Subject) -> bool:
    before = subject.cpu()
    time.sleep(0.3)
    return subject.cpu() - before < 0.03


def _without_children(pid: int) -> float:
    return sum(task_seconds(task) for task in Path(f"/proc/{pid}/task").iterdir())


def floor(calls: int) -> Figures:
    """The bare loop takes and sends half as many datagrams each as a call has; 700 bytes is what they are long."""
    port = free_port()
    echo = Program(
        [sys.executable, "-m", "tests.bench.echo_server", str(port)],
        cwd=ROOT,
        log_path=scratch_directory("echo") / "log",
        name="echo",
    )
    try:
        echo.wait_for("listening")
        rounds = calls * DATAGRAMS // 2
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(2.0)
            asking.connect(("127.0.0.1", port))
            before, started = cpu_seconds(echo.pid), time.monotonic()
            for first in range(0, rounds, 20):
                some = min(20, rounds - first)
                for _ in range(some):
                    asking.send(b"x" * 700)
                for _ in range(some):
                    asking.recv(2000)
            seconds, cpu = time.monotonic() - started, cpu_seconds(echo.pid) - before
        return Figures(calls / seconds, cpu / calls * 1e6, cpu / calls * 1e6, 0.0, 0)
    finally:
        echo.stop()


def middle(runs: list[Figures]) -> Figures:
    return Figures(
        *(median(getattr(run, name) for run in runs) for name in ("rate", "cpu", "signalling", "sipp")),
        sum(run.failed for run in runs),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short run: do the figures come at all")
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--at-once", type=int, default=40)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    calls, runs = (400, 1) if options.quick else (options.calls, options.runs)
    print(
        f"{calls} calls, {options.at_once} at once, medians of {runs}, {os.cpu_count()} processors, load average "
        f"{os.getloadavg()[0]:.1f} at the start (others' work costs everybody rate, not processor time)"
    )
    subjects: list[tuple[str, Callable]] = [
        ("runsip", runsip),
        ("Kamailio, 2 children", lambda: kamailio(2)),
        ("Kamailio, 1 child", lambda: kamailio(1)),
        ("Asterisk, chan_pjsip", asterisk),
    ]
    results: dict[str, list[Figures]] = {}
    for _ in range(runs):
        results.setdefault("bare loop", []).append(floor(calls))
        for name, subject in subjects:
            try:
                with subject() as running:
                    results.setdefault(name, []).append(measure(running, calls, options.at_once, 5000))
            except unittest.SkipTest as missing:
                print(f"without {name}: {missing}")
    found = {name: middle(figures) for name, figures in results.items()}
    print(f"{'':22}{'calls/s':>9}{'us/call':>9}{'of these signalling':>21}{'sipp us/call':>14}{'failed':>8}")
    for name, f in found.items():
        print(f"{name:22}{f.rate:9.0f}{f.cpu:9.0f}{f.signalling:21.0f}{f.sipp:14.0f}{f.failed:8}")
    ours = found["runsip"]
    for name, f in found.items():
        if name != "runsip":
            print(
                f"runsip: {ours.rate / f.rate:.2f} times the calls a second of {name}, "
                f"{ours.cpu / f.cpu:.1f} times its processor time ({ours.signalling / f.cpu:.1f} without the relay)"
            )
    return 1 if any(f.failed for f in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
