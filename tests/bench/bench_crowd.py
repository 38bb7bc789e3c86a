"""100,000 phones on one runsip: its memory, its start, its longest stall, and the administrator's pages.

Most of the registrations are written straight into the database; runsip takes them up after its start and pings them,
and they answer. The others register at once, as fast as they are let. Then those of the start all end in one second.

- memory: resident bytes of runsip when all are registered and those have just come (proportional ones in the note);
- first REGISTER after start: from the start of the process, after a kill -9, to the first 200;
- longest stall: of an OPTIONS every 5 ms the longest time to its answer, while phones are pinged and while they end;
  the note has the same of the idle server, and of the time in which they were taken up;
- admin pages: the slowest *list* beside an empty page (see ``crowd_pages``); the note names it and others.

    python -m tests.bench.bench_crowd [--quick]  # alone; 10,000 phones with --quick"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from unittest import SkipTest

from tests.bench.crowd_pages import EMPTY_PAGE, LISTS
from tests.bench.phones import make_phones
from tests.bench.rows import Found, Goal, Missing, Row, Rows, Scale, figure
from tests.hardening.programs.kill_start import start_again
from tests.support.many_bindings import FIRST, execute, store_bindings, store_calls, store_passwords
from tests.support.pbx import ROOT, PostgresStore, RunningPbx, SqliteStore, Store
from tests.support.phone import Phone
from tests.support.processes import Program, run_program, scratch_directory, wait_until

LIKE, OTHER, PASSWORD = "1001", "1002", "load-secret-7"
COMING = 0.4
"""Of the phones, those that register while runsip runs."""

STARTS = 3
WATCHED = 12.0
"""Seconds for which the pinging of all is watched, and from before they end to after it."""


class Probe(threading.Thread):
    """An OPTIONS every 5 ms, whatever became of the last one. ``took``: seconds to each answer."""

    def __init__(self, server: tuple[str, int]) -> None:
        super().__init__(name="probe", daemon=True)
        self._server = server
        self._over = threading.Event()
        self._sent: list[float] = []
        self._ended = 0.0
        self.took: dict[int, float] = {}

    def __enter__(self) -> Probe:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(5)
        self._ended = time.perf_counter()

    def run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.connect(self._server)
            host, port = udp.getsockname()
            head = (
                "OPTIONS sip:pbx.test SIP/2.0\r\nMax-Forwards: 70\r\nFrom: <sip:probe@pbx.test>;tag=1\r\n"
                "To: <sip:pbx.test>\r\nContent-Length: 0\r\nCSeq: 1 OPTIONS\r\n"
                f"Via: SIP/2.0/UDP {host}:{port};rport;branch=z9hG4bK"
            )
            while not self._over.is_set():
                number = len(self._sent)
                self._sent.append(time.perf_counter())
                udp.send(f"{head}{number}\r\nCall-ID: probe-{number}-\r\n\r\n".encode())
                due = self._sent[-1] + 0.005
                while (left := due - time.perf_counter()) > 0:
                    udp.settimeout(left)
                    try:
                        data = udp.recv(65_535)
                    except TimeoutError:
                        break
                    now = time.perf_counter()
                    if found := re.search(rb"probe-(\d+)-", data):
                        number = int(found[1])
                        self.took.setdefault(number, now - self._sent[number])

    @property
    def longest(self) -> float:
        """Milliseconds; one without an answer counts from its sending to the end."""
        return max((self.took.get(n, self._ended - sent) for n, sent in enumerate(self._sent)), default=0.0) * 1000

    def share(self, percent: float) -> float:
        took = sorted(self.took.values())
        return took[min(len(took) - 1, int(len(took) * percent / 100))] * 1000 if took else 0.0


def measure(scale: Scale) -> Rows:
    for make in (SqliteStore, PostgresStore):
        if not scale.wants("crowd", make.name.lower(), f"crowd-{make.name.lower()}"):
            continue
        try:
            store = make()
        except SkipTest as reason:
            yield Missing(f"a crowd on {make.name}", str(reason))
            continue
        yield from _crowd(store, 10_000 if scale.quick else 100_000)


def _crowd(store: Store, count: int) -> Rows:
    title = f"{count:,} phones, {store.name}"
    coming = int(count * COMING)
    with RunningPbx(store) as pbx:
        pbx.create_extensions({LIKE: PASSWORD, OTHER: PASSWORD})
        with Phone(pbx.server, LIKE, PASSWORD, pbx.domain) as like:
            like.register()
        with Probe(pbx.server) as idle:
            time.sleep(WATCHED / 4)
        pbx.terminate()
        store_bindings(store, like=LIKE, count=count, expires=7200.0)
        store_passwords(store, PASSWORD, count, realm=pbx.domain)
        store_calls(store, count)
        _analyze(store)
        yield _pages(title, pbx)

        those = f"(SELECT id FROM extensions_extension WHERE number >= '{FIRST + count - coming}')"
        execute(store, f"DELETE FROM extensions_binding WHERE extension_id IN {those}")
        _analyze(store)
        (row,) = pbx.bindings(LIKE)
        with _answering(row["remote_port"]):
            pbx.start()
            with Phone(pbx.server, OTHER, PASSWORD, pbx.domain) as other:
                other.register()
                starts = [start_again(pbx, other) for _ in range(STARTS - 1)]
                # The last start takes up what will end together, when all else is done.
                end = time.time() + 40.0 + count / 1600
                _end_at(store, end)
                starts.append(start_again(pbx, other))
            yield Row(
                title, "first REGISTER after start", unit="s",
                value=round(median(one.first_answer for one in starts), 2),
                note=f"listening after {median(one.listening for one in starts):.2f} s",
            )
            yield from _living(title, pbx, store, idle, count, coming, end)


def _living(
    title: str, pbx: RunningPbx, store: Store, idle: Probe, count: int, coming: int, end: float
) -> Iterator[Row]:
    with Probe(pbx.server) as taking_up:
        time.sleep(count / 4000)
    with Probe(pbx.server) as pinging:
        time.sleep(WATCHED)
    with make_phones(
        server=pbx.server, domain=pbx.domain, first=FIRST + count - coming, count=coming, password=PASSWORD
    ) as load:
        report = load.run("register", 60)
    memory = _memory(pbx.program.pid)
    yield Row(
        title, "memory", value=memory["Rss"], unit="MB", worst=True, failed=sum(report.failures.values()),
        note=f"{memory['Pss']} MB its own share; {coming:,} had just come at {report.rate:.0f}/s",
    )
    wait_until(lambda: time.time() > end - 2, "the time before they end", 180)
    with Probe(pbx.server) as ending:
        wait_until(lambda: time.time() > end + WATCHED - 2, "the time after they ended", 60)
    worst = max(pinging, ending, key=lambda one: one.longest)
    yield Row(
        title, "longest stall", value=round(worst.longest, 1), unit="ms", worst=True, p50=worst.share(50),
        p99=worst.share(99), note=f"pinged {pinging.longest:.0f}, ended {ending.longest:.0f}, taken up "
        f"{taking_up.longest:.0f}, idle {idle.longest:.0f} ms",
    )


def _pages(title: str, pbx: RunningPbx) -> Row:
    done = run_program([sys.executable, "-m", "tests.bench.crowd_pages", "3"], env=pbx.env, cwd=ROOT, seconds=170)
    assert done.returncode == 0, done.stderr
    took: dict[str, float] = json.loads(done.stdout)
    empty = took[EMPTY_PAGE]
    times = {name: took[name] / empty for name in took}
    slowest = max(LISTS, key=lambda name: times[name])
    others = ", ".join(
        f"{name} {ratio:.1f}" for name, ratio in sorted(times.items(), key=lambda item: -item[1])[:8]
    )
    return Row(
        title, "admin pages", value=round(times[slowest], 1), unit="times",
        note=f"an empty one {empty:.0f} ms; {slowest}; of all, the slowest: {others}",
    )


@contextmanager
def _answering(port: int) -> Iterator[None]:
    program = Program(
        [sys.executable, "-m", "tests.bench.ping_answers", str(port)], cwd=ROOT,
        log_path=scratch_directory("answers") / "log", name="ping answers",
    )
    try:
        program.wait_for("listening")
        yield
    finally:
        program.stop()


def _end_at(store: Store, end: float) -> None:
    if isinstance(store, SqliteStore):
        moment = f"strftime('%Y-%m-%d %H:%M:%f', {end}, 'unixepoch')"
    else:
        moment = f"to_timestamp({end})"
    execute(store, f"UPDATE extensions_binding SET expires_at = {moment}")
    _analyze(store)


def _analyze(store: Store) -> None:
    if isinstance(store, PostgresStore):
        store.cluster.execute("VACUUM ANALYZE", store.database)  # as autovacuum does for tables that grew by themselves


def _memory(pid: int) -> dict[str, int]:
    """Megabytes (of a million bytes)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.findall(r"^(Rss|Pss):\s+(\d+)", text, re.M)
    return {name: int(int(kilobytes) * 1024 / 1e6) for name, kilobytes in found}


def goals(found: Found) -> Iterator[Goal]:
    for subject in dict.fromkeys(subject for subject, what in found if what == "admin pages"):
        yield Goal(f"memory of runsip ({subject})", figure(found, subject, "memory", "value"), 300, False, "MB")
        yield Goal(
            f"start to the first 200 ({subject})", figure(found, subject, "first REGISTER after start", "value"), 1.0,
            False, "s",
        )
        yield Goal(f"longest stall ({subject})", figure(found, subject, "longest stall", "value"), 50, False, "ms")
        pages = figure(found, subject, "admin pages", "value")
        yield Goal(f"list page beside an empty one ({subject})", pages, 3, False)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10,000 phones")
    parser.add_argument("--only", default="", help="sqlite or postgresql")
    options = parser.parse_args(arguments)
    found: dict[tuple[str, str], Row] = {}
    for one in measure(Scale(options.quick, frozenset(filter(None, options.only.split(","))))):
        if isinstance(one, Missing):
            print(f"without {one.subject}: {one.sentence}")
        else:
            found[one.subject, one.what] = one
            failed = f"  {one.failed:.0f} FAILED" if one.failed else ""
            print(f"{one.subject}: {one.what} {one.value:g} {one.unit}  ({one.note}){failed}", flush=True)
    for goal in goals(found):
        print(f"  {goal}")


if __name__ == "__main__":
    main(sys.argv[1:])
