"""Flows between sipps: another reader of what we send, with another idea of what is right.

What "at the same moment" means for two phones is on the wire that one has sent before it has seen what the other sent.
Two processes cannot be made to do that by the clock; the called sipp therefore looks at what came, sends its own, and
answers only then. For the PBX between them that is the same, and it happens each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from tests.calls_flow.real import RealCase
from tests.support import sipp_calls
from tests.support.cases import PASSWORD
from tests.support.sipp_calls import Sipp

Row = dict[str, Any]
ACK_LOST_SECONDS = 60.0
"""64*T1 = 32 s from its 200 to its BYE, and patience for a slow machine."""


class SippFlows(RealCase):
    unconfirmed: ClassVar[tuple[str, str, Sipp, Sipp] | None] = None
    """The call that is never confirmed takes 32 seconds: it is made first and goes on beside all others."""

    def setUp(self) -> None:
        super().setUp()
        if self.unconfirmed is None:
            src, dst = self.new_extension(), self.new_extension()
            answering = self.callee(dst, "callee", cleanup=self.addClassCleanup)
            calling = self.caller(src, dst, "no_ack_caller", cleanup=self.addClassCleanup)
            type(self).unconfirmed = src, dst, calling, answering

    def callee(self, dst: str, scenario: str, src: str = "", cleanup: Callable[..., None] | None = None) -> Sipp:
        """A phone of the number ``dst`` that takes one call. Keys: domain, caller."""
        pbx = self.pbx
        keys = {"domain": pbx.domain, "caller": src}
        program = sipp_calls.callee(pbx.server, pbx.domain, dst, PASSWORD, scenario, count=1, keys=keys)
        (cleanup or self.addCleanup)(program.stop)
        return program

    def caller(self, src: str, dst: str, scenario: str, cleanup: Callable[..., None] | None = None) -> Sipp:
        program = sipp_calls.caller(
            self.pbx.server,
            self.pbx.domain,
            dst,
            [(src, PASSWORD)],
            count=1,
            rate=1,
            at_once=1,
            hold=300,
            scenario=scenario,
        )
        (cleanup or self.addCleanup)(program.stop)
        return program

    def finished(self, *programs: Sipp, seconds: float = 60) -> None:
        """All have come to the end of their scenario, and met nothing that is not in it."""
        for program in programs:
            status = program.wait(seconds)
            if (status, program.errors) != (0, ""):
                self.fail("\n".join(f"{p.name}: {p.errors}\n{p.messages}" for p in programs))

    def play(self, caller: str, *callees: str, by: str = "caller", cause: str = "normal", how: str = "ANSWERED") -> Row:
        """One call to a number with so many devices; its record."""
        src, dst = self.new_extension(), self.new_extension()
        answering = [self.callee(dst, callee, src) for callee in callees]
        calling = self.caller(src, dst, caller)
        self.finished(calling, *answering)
        return self.ended(src, dst, cause, how, by)

    def test_offer_in_the_invite(self) -> None:
        self.play("caller", "callee")

    def test_late_offer(self) -> None:
        self.play("late_offer_caller", "callee")

    def test_early_media(self) -> None:
        self.play("early_media_caller", "early_media_callee")

    def test_prack(self) -> None:
        self.play("prack_caller", "callee")

    def test_glare(self) -> None:
        self.play("glare_caller", "glare_callee")

    def test_cancel_crosses_the_200(self) -> None:
        row = self.play("cancel_caller", "answers_cancel_callee", cause="cancelled", how="NO ANSWER")
        self.assertIsNone(row["answer"])

    def test_bye_crosses_a_bye(self) -> None:
        self.play("caller", "crossing_bye_callee")

    def test_one_device_is_busy_and_another_answers(self) -> None:
        row = self.play("caller", "busy_callee", "slow_callee")
        self.assertEqual(
            [(200, "answered"), (486, "failed")], sorted((leg["code"], leg["state"]) for leg in row["legs"])
        )

    def test_an_invite_that_came_back(self) -> None:
        """482, and it is one call in the records still."""
        row = self.play("refused_caller", "looping_callee", by="", cause="busy", how="BUSY")
        self.assertEqual([486], [leg["code"] for leg in row["legs"]])
        self.assertEqual([], self.world.rows(row["dst"]))

    def test_without_an_ack(self) -> None:
        """The last by its name, so that the others have used the time."""
        assert self.unconfirmed is not None
        src, dst, calling, answering = self.unconfirmed
        self.finished(calling, answering, seconds=ACK_LOST_SECONDS)
        self.assertGreaterEqual(calling.messages.count("SIP/2.0 200 OK"), 8)
        row = self.ended(src, dst, "ack_lost", "ANSWERED", "pbx")
        self.assertGreaterEqual(row["billsec"], 30)
