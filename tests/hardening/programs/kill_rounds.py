"""runsip is killed again and again in the middle of a morning's registrations, calls and refusals."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.hardening.programs.talking import connect, hang_up, phones, records, settings
from tests.support.caller import Caller, Fault
from tests.support.loadgen import LoadGenerator
from tests.support.many_bindings import execute
from tests.support.pbx import CROWD, CROWD_PASSWORD, RunningPbx, SqliteStore, Store
from tests.support.phone import AnswerFault, NoAnswer, Phone
from tests.support.processes import DeadlinePassed, wait_until

ASKED = 20
"""Confirmed phones that ask the restarted server what it knows of them, each round."""


@dataclass
class Losses:
    """What was acknowledged, and what of it was not there after the kill."""

    kills: int = 0
    acknowledged: int = 0
    lost_on_disk: int = 0
    asked: int = 0
    not_known: int = 0
    calls: int = 0
    calls_failed: list[str] = field(default_factory=list)
    cut: int = 0
    cut_without_record: list[str] = field(default_factory=list)
    refusals: int = 0
    damage: list[str] = field(default_factory=list)


def kill_rounds(store: Store, rounds: int, least: int, dice: random.Random) -> Losses:
    """``least``: phones that are confirmed before each kill."""
    seen = Losses()
    crowd = min(len(CROWD), least * 2 + 600)
    with RunningPbx(store, crowd=True, settings=settings()) as pbx, phones(pbx, "1001", "1002") as (ann, ben):
        for number in range(rounds):
            first = CROWD.start + number * crowd % (len(CROWD) - crowd + 1)
            _forget(store, first, crowd)
            # The generator makes its phones ready while the PBX runs already.
            with LoadGenerator(
                server=pbx.server, domain=pbx.domain, first=first, count=crowd, password=CROWD_PASSWORD
            ) as load:
                before = len(records(pbx, ann.number, ben.number))
                connect(ann, ben)
                with _wrong_passwords(pbx, seen):
                    load.start("register")
                    load.wait_for_progress(least + dice.randrange(300))
                    pbx.kill9()
                report = load.give_up()
            seen.kills += 1
            seen.acknowledged += len(report.confirmed)
            there = pbx.registered_numbers()
            seen.lost_on_disk += sum(str(one) not in there for one in report.confirmed)
            pbx.start()
            _ask(pbx, dice.sample(report.confirmed, min(ASKED, len(report.confirmed))), seen)
            _calls(pbx, ann, ben, before, seen)
        _look_for_damage(pbx, seen)
    return seen


def _forget(store: Store, first: int, count: int) -> None:
    """These phones register for the first time again: what was stored of them before proves nothing."""
    execute(
        store,
        "DELETE FROM extensions_binding WHERE extension_id IN (SELECT id FROM extensions_extension "
        f"WHERE number >= '{first}' AND number < '{first + count}')",
    )


def _ask(pbx: RunningPbx, numbers: list[int], seen: Losses) -> None:
    for number in numbers:
        seen.asked += 1
        with Phone(pbx.server, str(number), CROWD_PASSWORD.format(number=number), pbx.domain, patience=8) as phone:
            try:
                answer = phone.query()
                seen.not_known += answer.status != 200 or len(answer.contacts) != 1
            except (AnswerFault, NoAnswer):
                seen.not_known += 1


def _calls(pbx: RunningPbx, ann: Caller, ben: Caller, before: int, seen: Losses) -> None:
    """Nobody registers again: a call works at once. The one that was cut off is on record as such."""
    for phone in (ann, ben):
        while phone.pump(0):
            pass
        phone.inbox.clear()
    seen.calls += 1
    try:
        ours, theirs = connect(ann, ben)
        hang_up(ann, ours, ben, theirs)
    except (Fault, AssertionError) as fault:
        seen.calls_failed.append(str(fault).partition("\n")[0])
    rows = records(pbx, ann.number, ben.number)
    if len(rows) > before:  # it had been written down at the time of the kill
        seen.cut += 1
        row = rows[before]
        if not row["end"] or row["cause"] != "pbx_crashed" or not 0 <= row["billsec"] <= row["duration"] < 120:
            seen.cut_without_record.append(str({name: row[name] for name in ("end", "cause", "duration", "billsec")}))


@contextlib.contextmanager
def _wrong_passwords(pbx: RunningPbx, seen: Losses) -> Iterator[None]:
    """Evidence is being written at the moment of the kill."""
    over = threading.Event()

    def guess() -> None:
        number = CROWD.stop - 1
        while not over.is_set():
            with (
                contextlib.suppress(AnswerFault, NoAnswer),
                Phone(pbx.server, str(number), "wrong", pbx.domain, patience=0.4) as phone,
            ):
                phone.register()
                seen.refusals += 1
            number -= 1

    guesser = threading.Thread(target=guess, daemon=True)
    guesser.start()
    try:
        yield
    finally:
        over.set()
        guesser.join(5)


def _open_calls(pbx: RunningPbx) -> list[str]:
    return [row["uniqueid"] for row in pbx.store.rows('SELECT uniqueid FROM calls_callrecord WHERE "end" IS NULL')]


def _look_for_damage(pbx: RunningPbx, seen: Losses) -> None:
    """Whatever a page or a command reads can be read."""
    if isinstance(pbx.store, SqliteStore):
        with contextlib.closing(sqlite3.connect(pbx.store.path, timeout=20)) as connection:
            said = [row[0] for row in connection.execute("PRAGMA integrity_check")]
            said += [str(row) for row in connection.execute("PRAGMA foreign_key_check")]
        seen.damage += [line for line in said if line != "ok"]
    with contextlib.suppress(DeadlinePassed):  # of the call just ended the record is on its way
        wait_until(lambda: not _open_calls(pbx), "the last record", 5)
    seen.damage += [f"call {uniqueid} is open for ever" for uniqueid in _open_calls(pbx)]
    for words in (("why", "1001", "--json"), ("why", str(CROWD.stop - 1), "--json")):
        try:
            json.loads(pbx.manage(*words))
        except (AssertionError, DeadlinePassed, ValueError) as fault:
            if "ended with 1" not in str(fault).partition("\n")[0]:  # 1 says that something is wrong with the phone
                seen.damage.append(str(fault).partition("\n")[0])
