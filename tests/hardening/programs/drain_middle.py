"""SIGTERM to ``runsip`` with calls in all their states, while others go on asking for something."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import dropwhile

from tests.hardening.programs import Figure
from tests.hardening.programs.talking import PASSWORD, connect, ended_record, phones, settings
from tests.support.caller import Caller, Fault, UdpWire
from tests.support.pbx import RunningPbx, SqliteStore
from tests.support.phone import Answer, AnswerFault, NoAnswer, Phone
from tests.support.processes import DeadlinePassed

LONGEST = 5.0
"""Seconds from the signal to the end."""


@dataclass
class Ending:
    seconds: float = 0.0
    status: int | None = None
    new_work: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def expect(self, phone: Caller, what: str | int, seconds: float = 3.0, **more: str) -> bool:
        try:
            message = phone.expect(what, seconds, **more)
        except Fault as fault:
            self.faults.append(str(fault).partition(";")[0])
            return False
        if not message.status and message.method not in ("CANCEL", "ACK"):
            phone.respond(message, 200)
        return True


def in_the_middle(numbers: tuple[signal.Signals, ...]) -> Iterator[Figure]:
    seen = Ending()
    name = " and ".join(one.name for one in numbers)
    with (
        RunningPbx(SqliteStore(), settings=settings()) as pbx,
        phones(pbx, *map(str, range(1001, 1009))) as (ann, ben, cid, dan, eve, fay, gil, _hal),
        Phone(pbx.server, "1008", PASSWORD, pbx.domain, patience=1.0) as knocking,
    ):
        assert knocking.register().status == 200
        talking = connect(ann, ben)
        ringing = cid.invite("1004")
        asked = dan.expect("INVITE", 10)
        dan.ring(asked)
        ringing.provisional(180, 10)
        moving = connect(eve, fay)
        eve.final(eve.request(moving[0], "REFER", [("Refer-To", f"<sip:1007@{pbx.domain}>")]), 10)
        target = gil.expect("INVITE", 10)
        gil.ring(target)
        # The phone that rings confirms nothing: it is told again, and others come meanwhile.
        guests = _guests(pbx, knocking, seen)
        ended = _await_end(pbx, seen)
        pbx.signal(numbers[0])
        for number in numbers[1:]:
            pbx.signal(number)
        seen.expect(dan, "CANCEL", call_id=asked.call_id)
        try:
            refusal = ringing.final(3)
            if refusal.status not in (480, 503) or (refusal.status == 503 and not refusal.get("Retry-After")):
                seen.faults.append(f"the caller of the ringing phone got {refusal.status}")
            cid.ack_failure(ringing.sent, refusal)
        except Fault as fault:
            seen.faults.append(str(fault).partition("\n")[0])
        seen.expect(ann, "BYE", call_id=talking[0].call_id)
        seen.expect(ben, "BYE", call_id=talking[1].call_id)
        seen.expect(gil, "CANCEL", call_id=target.call_id)
        seen.expect(fay, "BYE", call_id=moving[1].call_id)
        seen.expect(eve, "BYE", call_id=moving[0].call_id)
        ended.join(25)
        guests.join(5)
        pairs = (("1001", "1002"), ("1003", "1004"), ("1005", "1006"), ("1006", "1007"))
        for src, dst in pairs:
            try:
                row = ended_record(pbx, src, dst, 1)
                if row["cause"] not in ("pbx_stopped", "cancelled") or not 0 <= row["billsec"] <= row["duration"]:
                    seen.faults.append(f"the record of {src} to {dst} says {row['cause']}")
            except DeadlinePassed as late:
                seen.faults.append(str(late))
    what = f"{name} with a call in progress, one ringing, one being transferred"
    yield Figure(
        f"{what}: the end", f"status {seen.status} after {seen.seconds:.2f} s", "exit 0 within 5 s",
        seen.status == 0 and seen.seconds < LONGEST,
    )
    yield Figure(
        f"{what}: the phones", f"{len(seen.faults)} not told" + (f"; {seen.faults[0]}" if seen.faults else ""),
        "ringing is ended (CANCEL to the phone, 480 or 503 to the caller), calls get BYE, records say so",
        not seen.faults,
    )
    # What came in the moment of the signal may still have been served.
    meanwhile = list(dropwhile(lambda one: one != "503 with Retry-After", seen.new_work))
    yield Figure(
        f"{what}: new work meanwhile", f"{len(meanwhile)} answers, {sorted(set(meanwhile))}",
        "503 with Retry-After", set(meanwhile) == {"503 with Retry-After"},
    )


def _await_end(pbx: RunningPbx, seen: Ending) -> threading.Thread:
    """The phones may be slow to look; the end is timed all the same."""
    begin = time.monotonic()

    def wait() -> None:
        with contextlib.suppress(DeadlinePassed):
            seen.status = pbx.program.wait(20)
        seen.seconds = time.monotonic() - begin

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def _guests(pbx: RunningPbx, knocking: Phone, seen: Ending) -> threading.Thread:
    """A known phone refreshes, asks and calls until nobody is there any more."""
    begun = threading.Event()

    def knock() -> None:
        caller = Caller(UdpWire(), pbx.server, "1008", PASSWORD, pbx.domain)
        begun.set()
        with contextlib.closing(caller):
            while pbx.program.running:
                for ask in (lambda: knocking.register(), lambda: knocking.options(), lambda: _call(caller)):
                    try:
                        seen.new_work.append(in_words(ask()))
                    except (NoAnswer, AnswerFault, Fault, OSError):
                        return  # it has ended
                    time.sleep(0.02)

    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    begun.wait(5)
    return thread


def _call(caller: Caller) -> tuple[int, str]:
    answer = caller.invite("1001").final(1.0)
    return answer.status, answer.get("Retry-After")


def in_words(answer: Answer | tuple[int, str]) -> str:
    if isinstance(answer, Answer):
        answer = answer.status, "".join(answer.all("Retry-After"))
    return f"{answer[0]}" + (" with Retry-After" if answer[1] else "")
