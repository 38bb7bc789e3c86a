"""SIGTERM in the middle of everything: new work is told to come back, what rings is ended, and it is over soon.

* ``runsip`` with a call in progress, one that rings, one that is being transferred, a REGISTER in flight, its database
  locked; once more with SIGINT and a second SIGTERM;
* while it starts;
* ``manage.py start`` with all its processes;
* its successor on the same port: phones refresh with the nonces of before, one round trip each."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.frontdoor.test_start import PATIENT, StartedPbx
from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.drain_middle import LONGEST, in_the_middle, in_words
from tests.hardening.programs.talking import PASSWORD, connect, phones, settings
from tests.support.caller import Caller, Fault, UdpWire
from tests.support.loadgen import LoadGenerator
from tests.support.pbx import CROWD, CROWD_PASSWORD, RunningPbx, SqliteStore
from tests.support.phone import AnswerFault, NoAnswer, Phone
from tests.support.processes import DeadlinePassed, Program, wait_until


def measure(scale: Scale) -> Iterator[Figure]:
    for numbers in ((signal.SIGTERM,), (signal.SIGINT, signal.SIGTERM)):
        yield from in_the_middle(numbers)
        if scale.quick:
            break
    yield _locked()
    yield _while_starting(scale)
    if not scale.quick:
        yield from _all_processes()
    yield from _successor(scale)


# --- the database is locked ----------------------------------------------------------------------------------------


def _locked() -> Figure:
    """A REGISTER in flight that cannot be written, a phone that answers nothing, and then SIGTERM."""
    store = SqliteStore()
    with (
        RunningPbx(store, settings=settings()) as pbx,
        phones(pbx, "1001", "1002") as (ann, ben),
        Phone(pbx.server, "1001", PASSWORD, pbx.domain) as refreshing,
        contextlib.closing(sqlite3.connect(store.path, timeout=20, isolation_level=None)) as other,
    ):
        assert refreshing.register().status == 200
        connect(ann, ben)
        ann.invite("1002")
        ben.expect("INVITE", 10)
        other.execute("BEGIN IMMEDIATE")
        answers: list[str] = []

        def refresh() -> None:
            with contextlib.suppress(NoAnswer, AnswerFault):
                answers.append(in_words(refreshing.register()))

        thread = threading.Thread(target=refresh, daemon=True)
        thread.start()
        pbx.program.wait_for(r"Processing REGISTER 1001(.|\n)*Processing REGISTER 1001", 10)
        begin = time.monotonic()
        pbx.signal()
        status: int | None = None
        with contextlib.suppress(DeadlinePassed):
            status = pbx.program.wait(20)
        seconds = time.monotonic() - begin
        thread.join(40 if not answers else 1)
        other.rollback()
    return Figure(
        "SIGTERM with the database locked, a REGISTER in flight, phones that answer nothing",
        f"status {status} after {seconds:.2f} s, the REGISTER got {answers or 'nothing'}",
        "exit 0 within 5 s, 503 with Retry-After",
        status == 0 and seconds < LONGEST and answers == ["503 with Retry-After"],
    )


# --- while it starts -----------------------------------------------------------------------------------------------


def _while_starting(scale: Scale) -> Figure:
    dice = random.Random(scale.seed)
    longest, statuses, faults = 0.0, set(), []
    with RunningPbx(SqliteStore(), settings=settings()) as pbx:
        pbx.terminate()
        times = scale.of(12, 4)
        for step in range(times):
            pbx.start(wait=False)
            time.sleep((step + dice.random()) / times * 1.2)
            begin = time.monotonic()
            pbx.signal()
            try:
                statuses.add(pbx.program.wait(15))
            except DeadlinePassed:
                faults.append("it did not end")
                pbx.kill9()
            longest = max(longest, time.monotonic() - begin)
            if "Traceback" in pbx.log:
                faults.append("a traceback")
        wait_until(lambda: _is_free(pbx.port), "the port is free", 5)
        pbx.start()
    ended = {0, -signal.SIGTERM}  # before Python has a handler, the signal itself ends it
    return Figure(
        f"SIGTERM at {times} moments of the start",
        f"ended after {longest:.2f} s at most, statuses {sorted(statuses)}, {faults or 'no faults'}; then it starts",
        "over within 5 s, nothing left behind",
        not faults and longest < LONGEST and statuses <= ended,
    )


# --- manage.py start -----------------------------------------------------------------------------------------------


def _all_processes() -> Iterator[Figure]:
    pbx = StartedPbx(SIP_DOMAIN="pbx.test", **settings())
    started = pbx.start()
    try:
        started.wait_for("The first passwords are in", PATIENT)
        for numbers in ((signal.SIGTERM,), (signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM)):
            if not started.running:
                started = pbx.start()
                started.wait_for("Administration: http", PATIENT)
            yield _ended_together(pbx, started, numbers)
        longest, left = 0.0, 0
        for moment in (0.2, 0.8, 1.5, 2.2, 3.0):
            started = pbx.start()
            time.sleep(moment)
            family = _family(started.pid)
            begin = time.monotonic()
            started.signal(signal.SIGTERM)
            started.wait(15)
            longest = max(longest, time.monotonic() - begin)
            left += sum(map(_lives, family))
        yield Figure(
            "manage.py start, SIGTERM at 5 moments of the start",
            f"ended after {longest:.2f} s at most, {left} processes left behind", "over within 5 s, none",
            longest < LONGEST and not left,
        )
    finally:
        started.stop(10)


def _ended_together(pbx: StartedPbx, started: Program, numbers: tuple[signal.Signals, ...]) -> Figure:
    password = _first_password(pbx)
    ann = Caller(UdpWire(), ("127.0.0.1", pbx.sip_port), "1001", password, "pbx.test")
    ben = Caller(UdpWire(), ("127.0.0.1", pbx.sip_port), "1001", password, "pbx.test")
    faults: list[str] = []
    with contextlib.closing(ann), contextlib.closing(ben):
        ben.register()
        call = ann.invite("1001")
        ben.ring(ben.expect("INVITE", 10))
        call.provisional(180, 10)
        family = _family(started.pid)
        begin = time.monotonic()
        for number in numbers:
            started.signal(number)
        try:
            ben.expect("CANCEL", 5)
            refusal = call.final(5)
            if refusal.status not in (480, 503):
                faults.append(f"the caller got {refusal.status}")
        except Fault as fault:
            faults.append(str(fault).partition("\n")[0])
        status: int | None = None
        with contextlib.suppress(DeadlinePassed):
            status = started.wait(15)
        seconds = time.monotonic() - begin
    left = sum(map(_lives, family))
    name = " and again ".join(one.name for one in numbers)
    return Figure(
        f"manage.py start with a call ringing, {name}",
        f"status {status} after {seconds:.2f} s, {left} of {len(family)} processes left, {faults or 'phones told'}",
        "exit 0 within 5 s, all processes end, ringing is ended",
        status == 0 and seconds < LONGEST and not left and not faults,
    )


def _first_password(pbx: StartedPbx) -> str:
    text = (pbx.var / "first-login.txt").read_text()
    return text.partition("Your first phone")[2].partition("Password")[2].split()[0]


def _family(pid: int) -> list[int]:
    """All processes below this one."""
    found, todo = [], [pid]
    while todo:
        for task in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = [int(one) for one in task.read_text().split()]
                found += children
                todo += children
    return found


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


# --- the successor -------------------------------------------------------------------------------------------------


def _successor(scale: Scale) -> Iterator[Figure]:
    """Started the moment the first has ended; meanwhile one phone is refreshed ten times a second."""
    count = scale.of(3000, 500)
    with RunningPbx(SqliteStore(), crowd=True, settings=settings()) as pbx:
        number = CROWD.stop - 1
        with (
            LoadGenerator(
                server=pbx.server, domain=pbx.domain, first=CROWD.start, count=count, password=CROWD_PASSWORD
            ) as load,
            Phone(pbx.server, str(number), CROWD_PASSWORD.format(number=number), pbx.domain) as phone,
        ):
            registered = load.run("register")
            phone.register()
            trips = len(phone.answers)
            pbx.signal()
            pbx.program.wait(15)
            gap = time.monotonic()
            pbx.start(wait=False)
            # Sent into the gap, and repeated by Timer E as any phone does.
            answer = phone.register()
            gap = time.monotonic() - gap
            trips = len(phone.answers) - trips
            report = load.run("refresh")
    challenges = report.answers["challenge"]
    yield Figure(
        f"the successor on the same port: {count} phones refresh with the nonces of before",
        f"{len(report.confirmed)} of {len(registered.confirmed)} confirmed, {challenges} challenged anew, "
        f"failures {report.failures or 'none'}",
        "one round trip each, no storm of 401",
        len(report.confirmed) == count and not challenges and not report.failures,
    )
    yield Figure(
        "a phone that refreshes while nobody is there",
        f"{answer.status} in {trips} round trip(s), {gap:.2f} s after the first had ended ({answer.sendings} sendings)",
        "200 from the successor by its own retransmissions",
        answer.status == 200 and trips == 1,
    )
