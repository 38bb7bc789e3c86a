"""REFER: blind and attended, carried out by the PBX, with NOTIFY progress (RFC 3515, RFC 3891)."""

from __future__ import annotations

from urllib.parse import quote

from tests.calls_flow.case import FlowCase
from tests.support.caller import Caller, Dialog


class TransferFlows(FlowCase):
    def refer(self, phone: Caller, dialog: Dialog, target: str, status: int = 202) -> None:
        sent = phone.request(dialog, "REFER", [("Refer-To", target), ("Referred-By", f"<{phone.aor}>")])
        self.assertEqual(status, phone.final(sent).status)

    def progress(self, phone: Caller, dialog: Dialog, status: int) -> None:
        """The next NOTIFY says this."""
        notify = phone.expect("NOTIFY", 10, call_id=dialog.call_id)
        phone.respond(notify, 200)
        self.assertIn(f"SIP/2.0 {status} ", notify.sdp)
        self.assertTrue(notify.one("Event").startswith("refer"))
        self.assertTrue(notify.one("Content-Type").startswith("message/sipfrag"))
        wanted = "active" if status < 200 else "terminated"
        self.assertTrue(notify.one("Subscription-State").startswith(wanted), notify)

    def blind(self, transferor_calls: bool) -> None:
        a, b, c = self.phones(3)
        if transferor_calls:
            ours, theirs = self.connect(a, b)
        else:
            theirs, ours = self.connect(b, a)
        self.refer(a, ours, f"<sip:{c.number}@{a.domain}>")
        self.progress(a, ours, 100)
        invite = c.expect("INVITE")
        self.assertIn(f"<{b.aor}>", invite.one("From"))
        tag = c.ring(invite)
        self.progress(a, ours, 180)
        third = c.answer(invite, tag=tag)
        moved = b.expect("INVITE")
        self.assertEqual(theirs.call_id, moved.call_id)
        b.answer(moved)
        self.progress(a, ours, 200)
        a.take_bye(ours)
        sent = b.request(theirs, "INFO", body=b"x", kind="text/plain")
        c.respond(c.expect("INFO"), 200)
        self.assertEqual(200, b.final(sent).status)
        c.bye(third)
        b.take_bye(theirs)
        self.ended(*((a, b) if transferor_calls else (b, a)), "transferred", "ANSWERED")
        self.ended(b, c, "normal", "ANSWERED", "callee")

    def test_blind_by_the_caller(self) -> None:
        self.blind(True)

    def test_blind_by_the_callee(self) -> None:
        self.blind(False)

    def test_the_transferor_hangs_up_at_once(self) -> None:
        """Many phones send BYE right after the 202: the transfer goes on."""
        a, b, c = self.phones(3)
        ours, theirs = self.connect(a, b)
        self.refer(a, ours, f"<sip:{c.number}@{a.domain}>")
        a.bye(ours)
        third = c.answer(c.expect("INVITE"))
        b.answer(b.expect("INVITE"))
        b.quiet(0.2), c.quiet(0.2)
        self.hang_up(b, theirs, c, third)
        self.ended(a, b, "transferred", "ANSWERED", "caller")
        self.ended(b, c, "normal", "ANSWERED", "caller")

    def test_the_transferor_hangs_up_and_nobody_answers(self) -> None:
        a, b, c = self.phones(3)
        ours, theirs = self.connect(a, b)
        self.refer(a, ours, f"<sip:{c.number}@{a.domain}>")
        a.bye(ours)
        c.respond(c.expect("INVITE"), 486)
        c.expect("ACK")
        b.take_bye(theirs)
        self.assertEqual("ANSWERED", self.record(a, b)["disposition"])
        self.ended(b, c, "busy", "BUSY")

    def test_a_blind_transfer_that_fails_leaves_the_call(self) -> None:
        a, b, c = self.phones(3)
        ours, theirs = self.connect(a, b)
        for target, status in ((c.number, 486), ("998877", 404), (self.world.new_number(), 480)):
            with self.subTest(target=target):
                self.refer(a, ours, f"<sip:{target}@{a.domain}>")
                self.progress(a, ours, 100)
                if target == c.number:
                    c.respond(c.expect("INVITE"), 486)
                    c.expect("ACK")
                self.progress(a, ours, status)
        sent = a.request(ours, "INFO", body=b"x", kind="text/plain")
        b.respond(b.expect("INFO"), 200)
        self.assertEqual(200, a.final(sent).status)
        self.hang_up(a, ours, b, theirs)
        self.ended(a, b, "normal", "ANSWERED")

    def test_the_transferred_party_hangs_up_while_it_rings(self) -> None:
        a, b, c = self.phones(3)
        ours, theirs = self.connect(a, b)
        self.refer(a, ours, f"<sip:{c.number}@{a.domain}>")
        self.progress(a, ours, 100)
        invite = c.expect("INVITE")
        tag = c.ring(invite)
        b.bye(theirs)
        cancel = c.expect("CANCEL")
        c.respond(cancel, 200, tag=tag), c.respond(invite, 487, tag=tag)
        c.expect("ACK")
        a.take_bye(ours)
        self.ended(b, c, "cancelled", "NO ANSWER")

    def test_the_transferred_party_does_not_take_the_new_call(self) -> None:
        a, b, c = self.phones(3)
        ours, theirs = self.connect(a, b)
        self.refer(a, ours, f"<sip:{c.number}@{a.domain}>")
        self.progress(a, ours, 100)
        third = c.answer(c.expect("INVITE"))
        b.respond(b.expect("INVITE"), 488)
        b.expect("ACK")
        c.take_bye(third)
        self.progress(a, ours, 480)
        self.hang_up(a, ours, b, theirs)

    def attended(self, replaced_is_callers: bool) -> None:
        """a talks with b, then with c, and joins the two."""
        a, b, c = self.phones(3)
        ours, theirs = self.connect(a, b)
        second, third = self.connect(a, c) if replaced_is_callers else self.connect(c, a)[::-1]
        tags = f"to-tag={second.remote_tag};from-tag={second.local_tag}"
        replaces = quote(f"{second.call_id};{tags}", safe="")
        self.refer(a, ours, f"<sip:{c.number}@{a.domain}?Replaces={replaces}>")
        self.progress(a, ours, 100)
        asked = b.expect("INVITE")
        self.assertEqual((theirs.call_id, b""), (asked.call_id, asked.body))
        b.answer(asked, ack=False)
        offered = c.expect("INVITE")
        self.assertEqual(third.call_id, offered.call_id)
        self.assertIn("m=audio", offered.sdp)
        c.answer(offered)
        self.assertIn("m=audio", b.expect("ACK").sdp)
        self.progress(a, ours, 200)
        a.take_bye(ours), a.take_bye(second)
        b.quiet(0.2), c.quiet(0.2)
        sent = b.request(theirs, "INFO", body=b"x", kind="text/plain")
        c.respond(c.expect("INFO"), 200)
        self.assertEqual(200, b.final(sent).status)
        self.hang_up(b, theirs, c, third)
        self.ended(a, b, "transferred", "ANSWERED")
        self.ended(*((a, c) if replaced_is_callers else (c, a)), "transferred", "ANSWERED")
        self.ended(b, c, "normal", "ANSWERED", "caller")

    def test_attended_both_calls_made_by_the_transferor(self) -> None:
        self.attended(True)

    def test_attended_when_the_other_had_called(self) -> None:
        self.attended(False)

    def test_attended_refused_by_the_target_restores_the_call(self) -> None:
        a, b, c = self.phones(3)
        ours, theirs = self.connect(a, b)
        second, third = self.connect(a, c)
        replaces = quote(f"{second.call_id};to-tag={second.remote_tag};from-tag={second.local_tag}", safe="")
        self.refer(a, ours, f"<sip:{c.number}@{a.domain}?Replaces={replaces}>")
        self.progress(a, ours, 100)
        b.answer(b.expect("INVITE"), ack=False)
        c.respond(c.expect("INVITE"), 488)
        c.expect("ACK")
        b.expect("ACK")
        self.progress(a, ours, 488)
        for phone, dialog, other in ((a, ours, b), (a, second, c)):
            sent = phone.request(dialog, "INFO", body=b"x", kind="text/plain")
            other.respond(other.expect("INFO"), 200)
            self.assertEqual(200, phone.final(sent).status)
        self.hang_up(a, ours, b, theirs)
        self.hang_up(a, second, c, third)

    def test_semi_attended_while_the_target_rings(self) -> None:
        """The transferor lets go while the consultation call still rings: it becomes a blind transfer."""
        a, b, c = self.phones(3)
        ours, theirs = self.connect(a, b)
        second = a.invite(c.number)
        first_invite = c.expect("INVITE")
        tag = c.ring(first_invite)
        second.provisional(180)
        d = second.dialog
        replaces = quote(f"{d.call_id};to-tag={d.remote_tag};from-tag={d.local_tag}", safe="")
        self.refer(a, ours, f"<sip:{c.number}@{a.domain}?Replaces={replaces}>")
        self.progress(a, ours, 100)
        cancel = c.expect("CANCEL")
        c.respond(cancel, 200, tag=tag), c.respond(first_invite, 487, tag=tag)
        second.final()
        a.ack_failure(second.sent, second.answer)
        third = c.answer(c.expect("INVITE"))
        b.answer(b.expect("INVITE"))
        self.progress(a, ours, 200)
        a.take_bye(ours)
        self.hang_up(b, theirs, c, third)

    def test_replaces_of_a_call_that_is_not_there(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        self.refer(a, ours, f"<sip:1@{a.domain}?Replaces=nosuch%3Bto-tag%3D1%3Bfrom-tag%3D2>")
        self.progress(a, ours, 100)
        self.progress(a, ours, 481)
        self.hang_up(a, ours, b, theirs)

    def test_replaces_of_somebody_elses_call(self) -> None:
        """With the right tags of a call that the transferor has no part in."""
        a, b, c, d = self.phones(4)
        ours, theirs = self.connect(a, b)
        foreign, others = self.connect(c, d)
        replaces = quote(f"{foreign.call_id};to-tag={foreign.remote_tag};from-tag={foreign.local_tag}", safe="")
        self.refer(a, ours, f"<sip:{c.number}@{a.domain}?Replaces={replaces}>")
        self.progress(a, ours, 100)
        self.progress(a, ours, 481)
        c.quiet(0.2), d.quiet(0.2)
        self.hang_up(a, ours, b, theirs)
        self.hang_up(c, foreign, d, others)

    def test_targets_outside_are_refused(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        self.refer(a, ours, "<sip:900@203.0.113.7>", 603)
        self.refer(a, ours, "junk<", 400)
        self.refer(a, ours, "<http://192.0.2.66/>", 603)
        self.hang_up(a, ours, b, theirs)

    def test_a_refer_without_subscription(self) -> None:
        """Refer-Sub: false (RFC 4488)."""
        a, b, c = self.phones(3)
        ours, theirs = self.connect(a, b)
        sent = a.request(ours, "REFER", [("Refer-To", f"<sip:{c.number}@{a.domain}>"), ("Refer-Sub", "false")])
        answer = a.final(sent)
        self.assertEqual((202, "false"), (answer.status, answer.one("Refer-Sub")))
        third = c.answer(c.expect("INVITE"))
        b.answer(b.expect("INVITE"))
        a.take_bye(ours)
        a.quiet(0.2)
        self.hang_up(b, theirs, c, third)
