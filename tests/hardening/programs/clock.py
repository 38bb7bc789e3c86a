"""The clock of the machine is set by two hours, forth and back: while ``runsip`` runs, between its stop and its start,
and after a kill -9. What is measured by the program's own monotonic clock must not notice."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.set_clock import ClockedPbx
from tests.hardening.programs.talking import (
    PASSWORD,
    connect,
    ended_record,
    hang_up,
    phones,
    records,
    settings,
)
from tests.support.caller import Caller, Dialog, Fault
from tests.support.pbx import SqliteStore, manage
from tests.support.phone import AnswerFault, NoAnswer, Phone
from tests.support.processes import wait_until

HOURS = 7200
KEEPALIVE = 5
BANNED = "127.0.0.77"
SESSION = 90
"""Seconds, the least that RFC 4028 allows: a phone that knows no timers is asked after half of it."""


@dataclass
class Seen:
    """Deviations in seconds from what the monotonic clock says; ``faults`` in words."""

    kept: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    trips: list[int] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    bans: list[float] = field(default_factory=list)
    pings: float = 0.0
    pages: list[float] = field(default_factory=list)
    session: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def measure(scale: Scale) -> Iterator[Figure]:
    scenes = [(HOURS, False), (-HOURS, True)]
    for moved, kills in scenes[1:] if scale.quick else scenes:
        seen = Seen()
        how = "killed" if kills else "stopped"
        name = f"clock set by {moved // 3600:+d} h while running, and back while {how}"
        _Scene(scale, moved, kills, seen).play()
        yield Figure(
            f"{name}: registrations",
            f"{len(seen.kept)} of {len(seen.kept)} looks found theirs, seconds left wrong by {_worst(seen.kept)}; "
            f"ended {_worst(seen.ended)} off; {_faults(seen)}",
            "registrations kept, expiry right within 2 s",
            not seen.faults and _within(seen.kept, 2) and _within(seen.ended, 2) and len(seen.ended) == 2,
        )
        yield Figure(
            f"{name}: refreshes with the nonce of before", f"{seen.trips} round trips, no refusal",
            "accepted, or one round trip more", bool(seen.trips) and max(seen.trips) <= 2,
        )
        yield Figure(
            f"{name}: calls", f"went on; length on record wrong by {_worst(seen.calls)}, never negative",
            "go on, right within 2 s", _within(seen.calls, 2) and len(seen.calls) == 2,
        )
        yield Figure(
            f"{name}: blocks", f"still there, their end wrong by {_worst(seen.bans)}", "right within 2 s",
            _within(seen.bans, 2) and len(seen.bans) == 2,
        )
        yield Figure(
            f"{name}: pages and commands say registered and running",
            " and ".join(f"{one:.1f}" for one in seen.pages) + " s after it", "within 10 s of it",
            len(seen.pages) == 2 and max(seen.pages) < 10, timed=True,
        )
        if scale.quick:
            continue
        yield Figure(
            f"{name}: keep-alive", f"longest silence {seen.pings:.1f} s", f"every {KEEPALIVE} s, 2 s later at most",
            0 < seen.pings <= KEEPALIVE + 2, timed=True,
        )
        yield Figure(
            f"{name}: session timer", f"phones asked {_worst(seen.session)} off", "right within 2 s",
            _within(seen.session, 2) and len(seen.session) == 2, timed=True,
        )


class _Scene:
    def __init__(self, scale: Scale, moved: int, kills: bool, seen: Seen) -> None:
        self.scale, self.moved, self.kills, self.seen = scale, moved, kills, seen
        self.short = scale.of(20, 3)
        self.pings: list[float] = []
        self.over = threading.Event()

    def play(self) -> None:
        told = settings(
            SIP_MIN_EXPIRES=str(self.short), SIP_KEEPALIVE_INTERVAL=str(KEEPALIVE), LOCAL_NETS="10.0.0.0/8",
            SIP_SESSION_EXPIRES=str(SESSION), EXTERNAL_IP="127.0.0.1",
        )
        with (
            ClockedPbx(SqliteStore(), told) as pbx,
            phones(pbx, "1001", "1002", "1003", "1004", "1005", "1006") as (ann, ben, *_others, idle),
            Phone(pbx.server, "1003", PASSWORD, pbx.domain) as kept,
            Phone(pbx.server, "1004", PASSWORD, pbx.domain) as short,
        ):
            self.pbx, self.kept, self.short_phone, self.ann, self.ben = pbx, kept, short, ann, ben
            idle.on_ping = self._pinged
            threading.Thread(target=self._answer_pings, args=(idle,), daemon=True).start()
            kept.unregister_all(), short.unregister_all()
            pbx.manage("bans", "--add", BANNED, "--hours", "1")
            self._wait_for_ban()
            self.granted, self.since = self._register(kept, 3600)
            try:
                self._while_running()
                self._across_a_restart()
            finally:
                self.over.set()

    # The two scenes

    def _while_running(self) -> None:
        ours, theirs = connect(self.ann, self.ben)
        answered = time.monotonic()
        granted, since = self._register(self.short_phone, self.short)
        until = self._ban_left()
        self.pbx.set_clock(self.moved)
        stepped = time.monotonic()
        self.pbx.program.wait_for(r"was set by [+-]72\d\d s", 15)
        self._right_on_pages(stepped)
        self._look(self.kept)
        self._refresh(self.kept)
        self._reinvite(ours)
        refreshed = time.monotonic()
        self._wait_for_end(self.short_phone, since + granted)
        if not self.scale.quick:
            self._idle(2 * KEEPALIVE + 1 - (time.monotonic() - stepped))
            around = [one for one in self.pings if one > stepped - 2 * KEEPALIVE]
            self.seen.pings = max(after - before for before, after in pairwise([*around, time.monotonic()]))
        self.seen.bans.append(self._ban_left() - (until - (time.monotonic() - stepped)))
        self._still_banned()
        if not self.scale.quick:
            self._session_timer(answered, refreshed)
        talked = time.monotonic() - answered
        hang_up(self.ann, ours, self.ben, theirs)
        self._record(talked)

    def _across_a_restart(self) -> None:
        ours, theirs = connect(self.ann, self.ben)
        answered = time.monotonic()
        until, looked = self._ban_left(), time.monotonic()
        wait_until(lambda: records(self.pbx, "1001", "1002")[-1]["answer"], "the call on record", 10)
        self._wait_for_beat()
        granted, since = self._register(self.short_phone, self.short)
        if self.kills:
            self.pbx.kill9()
            ended = time.monotonic()
        else:
            self.pbx.signal()
            self.ann.take_bye(ours, 5)
            self.ben.take_bye(theirs, 5)
            ended = time.monotonic()
            self.pbx.program.wait(10)
        self.pbx.set_clock(0)
        stepped = time.monotonic()
        self.pbx.start()
        self._right_on_pages(stepped)
        self._look(self.kept)
        self._refresh(self.kept)
        self._wait_for_end(self.short_phone, since + granted)
        self.seen.bans.append(self._ban_left() - (until - (time.monotonic() - looked)))
        self._still_banned()
        # After a kill the record ends with the last heartbeat, at most five seconds before.
        self._record(ended - answered, 5.0 if self.kills else 0.0)

    # Parts of them

    def _answer_pings(self, phone: Caller) -> None:
        """A phone that does nothing of itself: whatever it hears is the keep-alive."""
        with contextlib.suppress(OSError, Fault):
            while not self.over.is_set():
                phone.pump(0.2)

    def _pinged(self, _ping: object) -> bool:
        self.pings.append(time.monotonic())
        return True

    def _idle(self, seconds: float) -> None:
        """Both phones of the call go on answering."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._pump(0.1)

    def _pump(self, seconds: float) -> None:
        self.ben.pump(seconds)
        self.ann.pump(0)
        for phone in (self.ann, self.ben):
            for asked in [one for one in phone.inbox if one.method == "OPTIONS" and not one.status]:
                phone.inbox.remove(asked)
                phone.respond(asked, 200)

    def _register(self, phone: Phone, seconds: int) -> tuple[int, float]:
        """What was granted, and when."""
        for _try in range(30):
            answer = phone.register(seconds)
            if answer.status != 503:
                break
            time.sleep(1)  # the machine is busy; what is measured here is something else
        assert answer.status == 200, answer.text
        return answer.contacts[phone.contact_uri], time.monotonic()

    def _look(self, phone: Phone) -> None:
        answer = phone.query()
        left = answer.contacts.get(phone.contact_uri)
        if left is None:
            self.seen.faults.append(f"{phone.number} is not registered any more ({answer.status})")
        else:
            self.seen.kept.append(left - (self.granted - (time.monotonic() - self.since)))

    def _refresh(self, phone: Phone) -> None:
        before = len(phone.answers)
        self.granted, self.since = self._register(phone, 3600)
        self.seen.trips.append(len(phone.answers) - before)

    def _wait_for_end(self, phone: Phone, expected: float) -> None:
        """It is registered until ``expected`` and no longer. Between two looks nobody can tell."""
        there = 0.0
        while (looked := time.monotonic()) < expected + 60:
            answer = phone.query()
            if answer.status == 200 and not answer.contacts:
                gone = time.monotonic()
                self.seen.ended.append(min(gone - expected, 0.0) or max(there - expected, 0.0))
                return
            there = looked if answer.contacts else there
            self._pump(0.1)
        self.seen.faults.append(f"{phone.number} is registered for ever")

    def _reinvite(self, ours: Dialog) -> None:
        sent = self.ann.reinvite(ours, self.ann.sdp(version=2))
        self.ben.answer(self.ben.expect("INVITE", 10), ack=False)
        answer = self.ann.final(sent, 10)
        if answer.status != 200:
            raise Fault(f"a re-INVITE got {answer.status}")
        self.ann.ack(ours, answer.cseq)
        self.ben.expect("ACK", 10)

    def _session_timer(self, *begun: float) -> None:
        """Both are asked whether they are still there at half of the time, since the answer or, whom the re-INVITE was
        passed on to, since then."""
        waiting: set[Caller] = {self.ann, self.ben}
        while waiting and time.monotonic() - begun[-1] < SESSION:
            for phone in list(waiting):
                phone.pump(0.05)
                for asked in [one for one in phone.inbox if one.method in ("OPTIONS", "UPDATE") and not one.status]:
                    phone.inbox.remove(asked)
                    phone.respond(asked, 200)
                    late = (time.monotonic() - one - SESSION / 2 for one in begun)
                    self.seen.session.append(min(late, key=abs))
                    waiting.discard(phone)

    def _record(self, talked: float, less: float = 0.0) -> None:
        row = ended_record(self.pbx, "1001", "1002")
        wrong = row["billsec"] - talked
        if not 0 <= row["billsec"] <= row["duration"]:
            self.seen.faults.append(f"a call of {row['billsec']} s within one of {row['duration']} s")
        self.seen.calls.append(min(wrong + less, 0.0) if wrong < 0 else wrong)

    def _ban_left(self) -> float:
        (row,) = self.pbx.store.rows("SELECT until AS expires_at FROM diagnosis_block WHERE source = %s", BANNED)
        return row["expires_at"].timestamp() - (datetime.now(UTC).timestamp() + self.pbx.moved)

    def _wait_for_ban(self) -> None:
        wait_until(self._is_banned, "the block is in force", 10, pause=0.2)

    def _is_banned(self) -> bool:
        with Phone(self.pbx.server, "1005", PASSWORD, self.pbx.domain, local_host=BANNED, patience=0.4) as phone:
            try:
                phone.register()
            except NoAnswer:
                return True
            except AnswerFault:
                return False
        return False

    def _still_banned(self) -> None:
        if not self._is_banned():
            self.seen.faults.append(f"{BANNED} is answered again")

    def _wait_for_beat(self) -> None:
        """At a kill in the first second of a step nobody has seen, there is a heartbeat all the same."""
        def beats() -> object:
            return self.pbx.store.rows("SELECT beat_at FROM system_sipprocess")
        before = beats()
        wait_until(lambda: beats() != before, "a heartbeat", 10)

    def _right_on_pages(self, stepped: float) -> None:
        """Of the phone that answers the keep-alive."""

        def right() -> bool:
            try:
                said = json.loads(manage("why", "1006", "--json", env=self.pbx.env))
            except AssertionError:
                return False
            return "sip_not_running" not in json.dumps(said)

        wait_until(right, "why says that 1006 is registered", 60)
        self.seen.pages.append(time.monotonic() - stepped)


def _within(values: list[float], seconds: float) -> bool:
    return bool(values) and max(abs(one) for one in values) <= seconds


def _worst(values: list[float]) -> str:
    return f"{max(values, key=abs):+.1f} s at most" if values else "(nothing seen)"


def _faults(seen: Seen) -> str:
    return f"{len(seen.faults)} faults: {seen.faults[0]}" if seen.faults else "no faults"
