"""Flows between two sipps: another reader of what we send, with another idea of what is right."""

from __future__ import annotations

from tests.calls_flow.real import RealCase
from tests.support import sipp_calls
from tests.support.cases import PASSWORD


class SippFlows(RealCase):
    def play(self, caller: str, callee: str, hold: int = 300) -> None:
        number, calling_number = self.new_extension(), self.new_extension()
        answering = sipp_calls.callee(self.pbx.server, self.pbx.domain, number, PASSWORD, callee)
        self.addCleanup(answering.stop)
        calling = sipp_calls.caller(
            self.pbx.server,
            self.pbx.domain,
            number,
            [(calling_number, PASSWORD)],
            count=1,
            rate=1,
            at_once=1,
            hold=hold,
            scenario=caller,
        )
        self.addCleanup(calling.stop)
        status = calling.wait(60)
        self.assertEqual(0, status, calling.errors + answering.errors)
        self.assertEqual("", answering.errors)
        self.ended(calling_number, number, "normal", "ANSWERED", "caller")

    def test_offer_in_the_invite(self) -> None:
        self.play("caller", "callee")

    def test_late_offer(self) -> None:
        self.play("late_offer_caller", "callee")

    def test_early_media(self) -> None:
        self.play("early_media_caller", "early_media_callee")
