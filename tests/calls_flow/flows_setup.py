"""A call from its INVITE to its end: answered, refused, cancelled, unanswered."""

from __future__ import annotations

from tests.calls_flow.case import FlowCase


class SetupFlows(FlowCase):
    def test_a_call_and_its_record(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        call.provisional(100)
        invite = b.expect("INVITE")
        tag = b.ring(invite)
        self.assertEqual(b"", call.provisional(180).body)
        theirs = b.answer(invite, tag=tag, ack=False)
        ours = call.connected()
        ack = b.expect("ACK")
        self.assertEqual((theirs.remote_tag, theirs.local_tag), (ack.from_tag, ack.to_tag))
        self.assertEqual(b.contact.strip("<>"), ack.uri)
        self.hang_up(a, ours, b, theirs)
        row = self.ended(a, b, "normal", "ANSWERED", "caller")
        self.assertEqual(1, len(row["legs"]))
        leg = row["legs"][0]
        self.assertEqual((b.number, "answered", 200), (leg["number"], leg["state"], leg["code"]))
        self.assertEqual(b.sent_by, leg["remote"])
        for name in ("ringing_at", "answered_at", "ended_at"):
            self.assertIsNotNone(leg[name], name)
        self.assertLessEqual(row["billsec"], row["duration"])
        a.quiet(), b.quiet()

    def test_two_legs_are_two_dialogs(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        self.assertNotEqual(call.dialog.call_id, invite.call_id)
        self.assertNotEqual(call.dialog.local_tag, invite.from_tag)
        theirs = b.answer(invite, ack=False)
        ours = call.connected()
        b.expect("ACK")
        self.assertNotIn(b.sent_by, str(call.answer))
        self.assertNotIn(a.sent_by, str(invite))
        b.bye(theirs)
        a.take_bye(ours)
        self.ended(a, b, "normal", "ANSWERED", "callee")

    def test_the_bye_may_cross_another(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        first, second = a.request(ours, "BYE"), b.request(theirs, "BYE")
        self.assertEqual(200, a.final(first).status)
        self.assertEqual(200, b.final(second).status)
        for phone in (a, b):
            for bye in [m for m in phone.inbox if m.method == "BYE"]:
                phone.respond(bye, 200)
                phone.inbox.remove(bye)
        self.assertEqual(1, len(self.world.records(a.number, b.number)))
        self.ended(a, b, "normal", "ANSWERED")

    def test_a_bye_that_had_left_before_ours_came(self) -> None:
        """RFC 5407 3.3.1: the dialog is over for us, and its BYE gets 200 all the same; nothing else does."""
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        a.bye(ours)
        ours_to_b = b.expect("BYE")
        self.assertEqual(481, b.final(b.request(theirs, "INFO")).status)
        self.assertEqual(200, b.final(b.request(theirs, "BYE")).status)
        b.respond(ours_to_b, 200)
        stranger = self.phone(b.number, host="127.0.0.3", register=False, password=None)
        self.assertEqual(481, stranger.final(stranger.request(theirs, "BYE")).status)
        self.ended(a, b, "normal", "ANSWERED", "caller")

    def test_a_bye_repeated_after_the_end_gets_200_or_481(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        self.hang_up(a, ours, b, theirs)
        self.assertIn(a.final(a.request(ours, "BYE")).status, (200, 481))

    def test_busy(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        b.respond(b.expect("INVITE"), 486, "Rejected")
        b.expect("ACK")
        self.refused(call, 486, "Busy Here")
        row = self.ended(a, b, "busy", "BUSY")
        self.assertEqual((486, "failed"), (row["legs"][0]["code"], row["legs"][0]["state"]))

    def test_declined(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        b.respond(b.expect("INVITE"), 603, "Decline")
        b.expect("ACK")
        self.refused(call, 603, "Decline")
        self.ended(a, b, "declined", "BUSY")

    def test_unknown_number(self) -> None:
        a = self.phone()
        self.refused(a.invite("998877"), 404, "No Such Number")
        self.ended(a, "998877", "unknown_number", "FAILED")

    def test_not_registered(self) -> None:
        a = self.phone()
        number = self.world.new_number()
        self.refused(a.invite(number), 480, "Not Registered")
        self.ended(a, number, "not_registered", "FAILED")

    def test_disabled(self) -> None:
        a, b = self.phones()
        self.world.disable(b.number)
        self.refused(a.invite(b.number), 480, "Extension Disabled")
        self.ended(a, b, "disabled", "FAILED")

    def test_unanswered(self) -> None:
        a, b = self.phones()
        self.world.set_ring_seconds(b.number, 5)
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        b.ring(invite)
        cancel = b.expect("CANCEL", 8)
        self.assertNotIn("elsewhere", str(cancel))
        self.assertEqual(invite.branch, cancel.branch)
        b.respond(cancel, 200), b.respond(invite, 487, "Request Terminated")
        b.expect("ACK")
        self.refused(call, 480, "No Answer", 8)
        self.ended(a, b, "no_answer", "NO ANSWER")

    def test_cancel_before_answer(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        tag = b.ring(invite)
        call.provisional(180)
        self.assertEqual(200, call.cancel().status)
        cancel = b.expect("CANCEL")
        self.assertEqual((invite.branch, invite.uri, invite.call_id), (cancel.branch, cancel.uri, cancel.call_id))
        self.assertNotIn("elsewhere", str(cancel))
        b.respond(cancel, 200, tag=tag)
        b.respond(invite, 487, "Request Terminated", tag=tag)
        b.expect("ACK")
        call.refused(487)
        self.ended(a, b, "cancelled", "NO ANSWER", "caller")
        a.quiet(), b.quiet()

    def test_cancel_before_the_phone_has_said_anything(self) -> None:
        """RFC 3261 9.1: the CANCEL waits for the first provisional response."""
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        self.assertEqual(200, call.cancel().status)
        call.refused(487)
        b.quiet(0.2)
        tag = b.ring(invite)
        cancel = b.expect("CANCEL")
        b.respond(cancel, 200, tag=tag), b.respond(invite, 487, "Terminated", tag=tag)
        b.expect("ACK")
        self.ended(a, b, "cancelled", "NO ANSWER", "caller")

    def test_cancel_crosses_the_200(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        tag = b.ring(invite)
        call.provisional(180)
        call.cancel()
        cancel = b.expect("CANCEL")
        theirs = b.answer(invite, tag=tag)  # picked up in the same moment; the ACK must come
        b.respond(cancel, 200, tag=tag)
        b.take_bye(theirs)
        call.refused(487)
        self.ended(a, b, "cancelled", "NO ANSWER", "caller")
        a.quiet(), b.quiet()

    def test_cancel_after_the_200_changes_nothing(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        theirs = b.answer(b.expect("INVITE"), ack=False)
        answer = call.final()
        self.assertEqual(200, answer.status)
        self.assertEqual(200, call.cancel().status)
        a.ack(call.dialog, answer.cseq)
        b.expect("ACK")
        b.quiet(0.2)
        self.hang_up(a, call.dialog, b, theirs)
        self.ended(a, b, "normal", "ANSWERED", "caller")

    def test_bye_in_the_early_dialog(self) -> None:
        """RFC 3261 15: the caller may."""
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        tag = b.ring(invite)
        call.provisional(180)
        a.bye(call.dialog)
        call.refused(487)
        b.respond(b.expect("CANCEL"), 200, tag=tag), b.respond(invite, 487, tag=tag)
        b.expect("ACK")
        self.assertEqual("NO ANSWER", self.record(a, b)["disposition"])

    def test_a_repeated_invite_is_one_call(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        a.wire.send(call.sent.data, a.server)
        invite = b.expect("INVITE")
        a.wire.send(call.sent.data, a.server)
        theirs = b.answer(invite, ack=False)
        ours = call.connected()
        b.expect("ACK")
        b.quiet(0.2)
        self.hang_up(a, ours, b, theirs)
        self.ended(a, b, "normal", "ANSWERED")
        self.assertEqual(1, len(self.world.records(a.number, b.number)))

    def test_a_repeated_200_of_the_callee_gets_its_ack_again(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        for _ in range(2):
            b.answer(invite, tag="abc")  # each time with its ACK
        ours = call.connected()
        theirs = b.dialog_of(invite, "abc")
        self.hang_up(a, ours, b, theirs)

    def test_a_second_phone_behind_the_callee_is_told_at_once(self) -> None:
        """Somebody downstream forked and two answered (RFC 3261 13.2.2.4)."""
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        theirs = b.answer(invite, tag="one")
        other = b.answer(invite, tag="two")
        b.take_bye(other)
        ours = call.connected()
        self.hang_up(a, ours, b, theirs)

    def test_the_callee_hangs_up_before_the_callers_ack(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        theirs = b.answer(b.expect("INVITE"))
        answer = call.final()
        self.assertEqual(200, answer.status)
        b.bye(theirs)
        # RFC 3261 15: no BYE to the caller before its ACK has come.
        a.quiet(0.3, 200)
        a.ack(call.dialog, answer.cseq)
        a.take_bye(call.dialog)
        self.ended(a, b, "normal", "ANSWERED", "callee")

    def test_the_200_is_repeated_until_the_ack(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        theirs = b.answer(b.expect("INVITE"), ack=False)
        call.final()
        a.pump(1.9)
        self.assertGreaterEqual(a.times_repeated("SIP/2.0 200"), 2)
        a.ack(call.dialog, call.answer.cseq)
        b.expect("ACK")
        a.pump(0.2)
        before = a.times_repeated("SIP/2.0 200")
        a.pump(4.5)
        self.assertEqual(before, a.times_repeated("SIP/2.0 200"))
        self.hang_up(a, call.dialog, b, theirs)

    def test_echo(self) -> None:
        a = self.phone()
        call = a.invite("*43")
        ours = call.connected()
        self.assertIn("m=audio", call.answer.sdp)
        a.bye(ours)
        self.ended(a, "*43", "normal", "ANSWERED", "caller")

    def test_options_within_a_call(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        for phone, dialog in ((a, ours), (b, theirs)):
            answer = phone.final(phone.request(dialog, "OPTIONS"))
            self.assertEqual(200, answer.status)
            self.assertIn("INVITE", answer.one("Allow"))
        self.hang_up(a, ours, b, theirs)

    def test_info_and_its_answer(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        digits = b"Signal=5\r\nDuration=160\r\n"
        for phone, dialog, other in ((a, ours, b), (b, theirs, a)):
            sent = phone.request(dialog, "INFO", body=digits, kind="application/dtmf-relay")
            info = other.expect("INFO")
            self.assertEqual((digits, "application/dtmf-relay"), (info.body, info.one("Content-Type")))
            other.respond(info, 200)
            self.assertEqual(200, phone.final(sent).status)
        sent = a.request(ours, "INFO", body=b"x", kind="text/x")
        b.respond(b.expect("INFO"), 415)
        self.assertEqual(415, a.final(sent).status)
        self.hang_up(a, ours, b, theirs)

    def test_a_strange_method_within_a_call(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        self.assertIn(a.final(a.request(ours, "PUBLISH")).status, (405, 489, 501))
        self.hang_up(a, ours, b, theirs)
