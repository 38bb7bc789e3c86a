"""kill -9: nobody has to register again, whoever it hits and whenever.

* ``runsip``, twenty times on SQLite and twenty on PostgreSQL, in the middle of registrations, a call and refusals;
* its start with 100,000 registrations stored;
* the media relay in the middle of a call;
* the web process under ``manage.py start``."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.frontdoor.test_start import PATIENT, StartedPbx
from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.kill_rounds import Losses, kill_rounds
from tests.hardening.programs.kill_start import floors, starts
from tests.hardening.programs.talking import connect, ended_record, hang_up, phones, settings
from tests.support.caller import Fault
from tests.support.pbx import PostgresStore, RunningPbx, SqliteStore
from tests.support.phone import Phone
from tests.support.processes import wait_until


def measure(scale: Scale) -> Iterator[Figure]:
    dice = random.Random(scale.seed)
    rounds, least = scale.of(20, 3), scale.of(510, 340)
    # In small on SQLite alone: making a second crowd takes longer than all the rest.
    stores = (SqliteStore,) if scale.quick else (SqliteStore, PostgresStore)
    for kind in stores:
        yield from _losses(kind.name, kill_rounds(kind(), rounds, least, dice), rounds * least)
    yield from _starts(scale, stores)
    yield _relay_killed()
    if not scale.quick:
        yield _web_killed()


def _losses(name: str, seen: Losses, wanted: int) -> Iterator[Figure]:
    yield Figure(
        f"kill -9 in the middle of registrations, {name}",
        f"{seen.kills} kills, {seen.acknowledged} acknowledged: {seen.lost_on_disk} not on the disk, "
        f"{seen.not_known} of {seen.asked} asked not known to the restarted server",
        "none of 10,000 acknowledged registrations lost in 20 kills",
        seen.acknowledged >= wanted and seen.lost_on_disk == seen.not_known == 0,
    )
    failed = seen.calls_failed
    yield Figure(
        f"calls right after it without anybody registering again, {name}",
        f"{seen.calls - len(failed)} of {seen.calls}" + (f"; {failed[0]}" if failed else ""), "every one", not failed,
    )
    wrong = seen.cut_without_record + seen.damage
    yield Figure(
        f"records of the calls that were cut off, database read to the end, {name}",
        f"{seen.cut} cut off ({seen.refusals} refusals being written down beside), {len(wrong)} faults"
        + (f"; {wrong[0]}" if wrong else ""),
        "each says so and has an end, nothing damaged",
        seen.cut > 0 and not wrong,
    )


def _starts(scale: Scale, stores: tuple[type[SqliteStore] | type[PostgresStore], ...]) -> Iterator[Figure]:
    count, times = scale.of(100_000, 10_000), scale.of(5, 1)
    for kind in stores:
        store = kind()
        seen = starts(store, count, times)
        listening = ", ".join(f"{one.listening:.2f}" for one in seen)
        answers = [one.first_answer for one in seen]
        yield Figure(
            f"from the start of the process to the first 200, {count} registrations stored, {kind.name}",
            f"{', '.join(f'{one:.2f}' for one in answers)} s (listening after {listening})",
            "within 1 s of the start with 100,000 bindings stored",
            max(answers) < 1.0,
            timed=True,
        )
    with RunningPbx(SqliteStore(), start=False) as pbx:
        alone = floors(dict(pbx.env))
    yield Figure("of that, this machine at this moment needs", f"{alone} s", "(for comparison)", True)


def _relay_killed() -> Figure:
    with RunningPbx(SqliteStore(), settings=settings()) as pbx, phones(pbx, "1001", "1002") as (ann, ben):
        ours, theirs = connect(ann, ben)
        (relay,) = _children(pbx.program.pid, "sipcore.media.relay")
        begin = time.monotonic()
        os.kill(relay, signal.SIGKILL)
        what = "kill -9 of the media relay during a call"
        goal = "both phones are told a new place for the sound, the call goes on and ends as usual"
        try:
            for phone in (ann, ben):
                moved = phone.expect("INVITE", 10)
                phone.respond(moved, 200, "OK", [("Contact", phone.contact)], phone.sdp(version=2))
            for phone, dialog in ((ann, ours), (ben, theirs)):
                phone.expect("ACK", 5, call_id=dialog.call_id)
            seconds = time.monotonic() - begin
            hang_up(ann, ours, ben, theirs)
            row = ended_record(pbx, ann.number, ben.number)
        except Fault as fault:
            return Figure(what, str(fault).partition("\n")[0], goal, False)
        ended = (row["disposition"], row["cause"])
        return Figure(what, f"moved after {seconds:.2f} s, then {ended}", goal, ended == ("ANSWERED", "normal"))


def _web_killed() -> Figure:
    """The processes of ``manage.py start`` die alone, and come back alone."""
    what, goal = "kill -9 of the web processes, then of runsip, under manage.py start", "the other goes on, both return"
    pbx = StartedPbx(SIP_DOMAIN="pbx.test", **settings())
    started = pbx.start()
    try:
        started.wait_for("The first passwords are in", PATIENT)
        text = (pbx.var / "first-login.txt").read_text()
        password = text.partition("Your first phone")[2].partition("Password")[2].split()[0]
        web, sip = _children(started.pid, "gunicorn"), _children(started.pid, "runsip")
        with Phone(("127.0.0.1", pbx.sip_port), "1001", password, "pbx.test", patience=20) as phone:
            statuses = [phone.register().status]
            begin = time.monotonic()
            os.kill(web[0], signal.SIGKILL)
            statuses.append(phone.register().status)
            wait_until(lambda: _answers(pbx), "the pages again", 30, pause=0.05)
            web_away = time.monotonic() - begin
            begin = time.monotonic()
            os.kill(sip[0], signal.SIGKILL)
            pages_meanwhile = _answers(pbx)
            asked = len(phone.answers)
            statuses.append(phone.register().status)
            sip_away = time.monotonic() - begin
            trips = len(phone.answers) - asked
    finally:
        started.stop(10)
    right = statuses == [200, 200, 200] and pages_meanwhile and trips == 1
    return Figure(
        what,
        f"pages back after {web_away:.1f} s, a phone registered meanwhile; runsip back after {sip_away:.1f} s, pages "
        f"{'answered' if pages_meanwhile else 'did not answer'} meanwhile, answers {statuses}, {trips} round trip(s)",
        goal,
        right,
    )


def _answers(pbx: StartedPbx) -> bool:
    with contextlib.suppress(OSError):
        return pbx.get("/admin/login/").status == 200
    return False


def _children(pid: int, word: str) -> list[int]:
    """Those of this process whose command line has the word."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if word.encode() in Path(f"/proc/{child}/cmdline").read_bytes():
            found.append(int(child))
    return found
