"""Session timers (RFC 4028), as far as they need no waiting."""

from __future__ import annotations

from tests.calls_flow.case import FlowCase
from tests.support.caller import param


class TimerFlows(FlowCase):
    def test_too_small_an_interval(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number, headers=[("Session-Expires", "30"), ("Supported", "timer")])
        self.assertEqual("90", call.refused(422).one("Min-SE"))
        b.quiet(0.2)
        ours, theirs = self.connect(a, b)
        sent = a.reinvite(ours, a.sdp(version=2), [("Session-Expires", "60"), ("Supported", "timer")])
        refusal = a.final(sent)
        self.assertEqual((422, "90"), (refusal.status, refusal.one("Min-SE")))
        a.ack_failure(sent, refusal)
        self.hang_up(a, ours, b, theirs)

    def test_who_refreshes_is_agreed_with_the_caller(self) -> None:
        a, b = self.phones()
        for asked, granted in (("1800;refresher=uac", "uac"), ("600;refresher=uas", "uas"), ("90", "uas")):
            with self.subTest(asked=asked):
                call = a.invite(b.number, headers=[("Session-Expires", asked), ("Supported", "timer")])
                theirs = b.answer(b.expect("INVITE"), ack=False)
                ours = call.connected()
                b.expect("ACK")
                value = call.answer.one("Session-Expires")
                self.assertEqual(
                    (asked.partition(";")[0], granted), (value.partition(";")[0], param(value, "refresher"))
                )
                self.assertEqual(granted == "uac", "timer" in call.answer.get("Require"))  # section 9
                self.hang_up(a, ours, b, theirs)

    def test_a_caller_without_timers_is_asked_for_none(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        self.assertEqual("1800", invite.one("Session-Expires").partition(";")[0])
        self.assertEqual("90", invite.one("Min-SE"))
        self.assertIn("timer", invite.one("Supported"))
        self.assertNotIn("timer", invite.get("Require"))
        theirs = b.answer(invite, ack=False)
        ours = call.connected()
        self.assertEqual([], call.answer.all("Session-Expires"))
        b.expect("ACK")
        self.hang_up(a, ours, b, theirs)

    def test_the_callee_wants_a_longer_interval(self) -> None:
        """Its 422 is met (RFC 4028 7.4), the caller notices nothing."""
        a, b = self.phones()
        call = a.invite(b.number)
        first = b.expect("INVITE")
        b.respond(first, 422, "Session Interval Too Small", [("Min-SE", "3600")])
        b.expect("ACK")
        again = b.expect("INVITE")
        self.assertEqual(("3600", "3600"), (again.one("Session-Expires").partition(";")[0], again.one("Min-SE")))
        self.assertEqual(first.cseq + 1, again.cseq)
        theirs = b.answer(again, ack=False)
        ours = call.connected()
        b.expect("ACK")
        self.hang_up(a, ours, b, theirs)
        self.assertEqual(1, len(self.ended(a, b, "normal", "ANSWERED")["legs"]))
