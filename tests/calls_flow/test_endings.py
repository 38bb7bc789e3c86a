"""``runsip`` ends in the midst of calls: asked to, or killed."""

from __future__ import annotations

import os
import signal

from tests.calls_flow.real import RealCase
from tests.support.caller import Caller, Outbound
from tests.support.processes import wait_until

STOP_SECONDS = 5.0


class Endings(RealCase):
    def ringing(self) -> tuple[Caller, Caller, Outbound]:
        a, b = self.phones()
        call = a.invite(b.number)
        b.ring(b.expect("INVITE"))
        call.provisional(180)
        return a, b, call

    def test_killed(self) -> None:
        a, b = self.phones()
        self.connect(a, b)
        c, d, _ = self.ringing()
        self.world.record_that(a.number, b.number, lambda row: row["answer"])
        self.world.record_that(c.number, d.number, lambda row: not row["end"])
        self.pbx.kill9()
        self.pbx.start()
        row = self.ended(a, b, "pbx_crashed", "ANSWERED", "pbx")
        self.assertGreaterEqual(row["end"], row["answer"])
        self.ended(c, d, "pbx_crashed", "FAILED", "pbx")
        for phone in (a, b, c, d):
            phone.inbox.clear()
        # Nobody has registered again, and calls work at once.
        e, f = self.connect(b, a)
        self.hang_up(b, e, a, f)
        self.ended(b, a, "normal", "ANSWERED")

    def test_asked_to_stop(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        c, d, call = self.ringing()
        self.addCleanup(self.pbx.start)
        self.pbx.signal(signal.SIGTERM)
        a.take_bye(ours), b.take_bye(theirs)
        cancel = d.expect("CANCEL")
        d.respond(cancel, 200)
        refusal = call.final()
        self.assertEqual(503, refusal.status)
        self.assertGreater(int(refusal.one("Retry-After")), 0)
        c.ack_failure(call.sent, refusal)
        self.assertEqual(0, self.pbx.program.wait(STOP_SECONDS))
        self.ended(a, b, "pbx_stopped", "ANSWERED", "pbx")
        self.ended(c, d, "pbx_stopped", "NO ANSWER", "pbx")

    def test_stopped_with_nobody_answering_any_more(self) -> None:
        """Phones that are gone do not hold it up."""
        a, b = self.phones()
        self.connect(a, b)
        c, d, _ = self.ringing()
        self.addCleanup(self.pbx.start)
        self.pbx.signal(signal.SIGTERM)
        self.assertEqual(0, self.pbx.program.wait(STOP_SECONDS))
        self.ended(a, b, "pbx_stopped", "ANSWERED", "pbx")
        self.ended(c, d, "pbx_stopped", "NO ANSWER", "pbx")

    def test_the_relays_end_with_it(self) -> None:
        wait_until(self.children, "the relays")
        children = self.children()
        self.pbx.kill9()
        self.addCleanup(self.pbx.start)
        wait_until(lambda: not any(map(_runs, children)), "the end of the relays", 5)

    def children(self) -> list[int]:
        pid = self.pbx.program.pid
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"
