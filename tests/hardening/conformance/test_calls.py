"""Calls on the wire: RFC 3261 sections 9, 12 to 17, RFC 6026. ``Caller`` checks every message that it gets as well:
mandatory headers, branches, tags, Contact, Content-Length."""

from __future__ import annotations

import re

from tests.hardening.conformance.case import ConformanceCase, for_each
from tests.support.caller import Caller, Dialog, Msg, Outbound, Sent, param
from tests.support.processes import wait_until


class CallCase(ConformanceCase):
    def connected(self) -> tuple[Caller, Dialog, Caller, Dialog]:
        caller, called = self.phones()
        call = caller.invite(called.number)
        theirs = called.answer(called.expect("INVITE"), ack=False)
        ours = call.connected()
        called.expect("ACK")
        return caller, ours, called, theirs

    def hang_up(self, caller: Caller, ours: Dialog, called: Caller, theirs: Dialog) -> None:
        caller.bye(ours)
        called.take_bye(theirs)

    def ringing(self) -> tuple[Caller, Outbound, Caller, Msg]:
        caller, called = self.phones()
        call = caller.invite(called.number)
        invite = called.expect("INVITE")
        called.ring(invite)
        call.provisional(180)
        return caller, call, called, invite

    def again(self, phone: Caller, sent: Sent, start: str) -> None:
        """The same bytes again are answered by the same bytes again."""
        before = phone.times_repeated(start)
        phone.wire.send(sent.data, phone.server)
        wait_until(lambda: phone.pump(0.01) or phone.times_repeated(start) > before, f"{start} again")


class Inviting(CallCase):
    def test_17_2_1_an_invite_gets_100_at_once(self) -> None:
        """A server transaction that will take longer says 100 first, and without a To-tag."""
        caller, call, called, _ = self.ringing()
        self.assertEqual("", caller.expect(100, method="INVITE").to_tag)
        call.cancel()
        called.expect("CANCEL")

    def test_12_1_1_the_answers_of_one_dialog_have_one_tag(self) -> None:
        """180 and 200 bear the same To-tag, and a Contact."""
        caller, called = self.phones()
        call = caller.invite(called.number)
        invite = called.expect("INVITE")
        tag = called.ring(invite)
        ringing = call.provisional(180)
        theirs = called.answer(invite, tag=tag, ack=False)
        ours = call.connected()
        called.expect("ACK")
        assert call.answer is not None
        self.assertEqual(ringing.to_tag, call.answer.to_tag)
        self.hang_up(caller, ours, called, theirs)

    def test_12_1_1_record_route_is_copied(self) -> None:
        """A 2xx that makes a dialog has the Record-Route lines of the INVITE in their order."""
        caller, called = self.phones()
        routes = [("Record-Route", f"<sip:{caller.sent_by};lr;x={number}>") for number in (1, 2)]
        call = caller.invite(called.number, headers=routes)
        theirs = called.answer(called.expect("INVITE"), ack=False)
        answer = call.final()
        self.assertEqual([value for _, value in routes], answer.all("Record-Route"))
        caller.ack(call.dialog, answer.cseq)
        self.hang_up(caller, call.dialog, called, theirs)

    def test_16_6_max_forwards_is_lowered(self) -> None:
        """A request that is passed on has a hop less, so that circles end."""
        caller, called = self.phones()
        call = caller.invite(called.number, headers=[("Max-Forwards", "17")])
        invite = called.expect("INVITE")
        self.assertLess(int(invite.one("Max-Forwards")), 17)
        called.respond(invite, 486)
        call.refused(486)

    def test_12_1_two_legs_are_two_dialogs(self) -> None:
        """A B2BUA is a user agent on both sides: other Call-ID, tags, Via and Contact, nothing of the caller's path."""
        caller, call, called, invite = self.ringing()
        self.assertNotEqual(call.dialog.call_id, invite.call_id)
        self.assertEqual(1, len(invite.all("Via")))
        self.assertNotIn(caller.sent_by, invite.one("Contact") + invite.all("Via")[0])
        self.assertEqual("", invite.to_tag)
        call.cancel()
        called.expect("CANCEL")

    @for_each(busy=(486, 486), declined=(603, 603), gone=(410, 410), not_acceptable=(488, 488))
    def test_13_3_1_3_a_refusal_goes_through(self, codes: tuple[int, int]) -> None:
        """What the called phone says reaches the caller, and the phone gets its ACK (17.1.1.3)."""
        caller, called = self.phones()
        call = caller.invite(called.number)
        invite = called.expect("INVITE")
        called.respond(invite, codes[0])
        ack = called.expect("ACK")
        self.assertEqual((invite.branch, invite.uri, invite.cseq), (ack.branch, ack.uri, ack.cseq))
        self.assertEqual(1, len(ack.all("Via")))
        call.refused(codes[1])

    def test_17_1_1_3_a_repeated_refusal_gets_its_ack_again(self) -> None:
        """In the Completed state every repetition is acknowledged, and not passed on."""
        caller, called = self.phones()
        call = caller.invite(called.number)
        invite = called.expect("INVITE")
        called.respond(invite, 486, tag="one")
        called.expect("ACK")
        call.refused(486)
        called.respond(invite, 486, tag="one")
        wait_until(lambda: called.pump(0.01) or called.times_repeated("ACK"), "the ACK again")
        caller.quiet(0.1)

    def test_17_2_1_a_refusal_is_repeated_until_the_ack(self) -> None:
        """Timer G: without an ACK the answer to an INVITE comes again, with it no more."""
        caller, called = self.phones()
        call = caller.invite(called.number)
        called.respond(called.expect("INVITE"), 486)
        called.expect("ACK")
        answer = call.final()
        wait_until(lambda: caller.pump(0.05) or caller.times_repeated("SIP/2.0 486"), "the 486 again")
        caller.ack_failure(call.sent, answer)
        caller.ack_failure(call.sent, answer)  # a second ACK is absorbed
        stands = caller.times_repeated("SIP/2.0 486")
        caller.quiet(1.2)
        self.assertEqual(stands, caller.times_repeated("SIP/2.0 486"))

    def test_13_3_1_4_a_200_is_repeated_until_the_ack(self) -> None:
        """The user agent repeats its 2xx itself, beginning with T1."""
        caller, called = self.phones()
        call = caller.invite(called.number)
        theirs = called.answer(called.expect("INVITE"), ack=False)
        answer = call.final()
        wait_until(lambda: caller.pump(0.05) or caller.times_repeated("SIP/2.0 200"), "the 200 again")
        caller.ack(call.dialog, answer.cseq)
        called.expect("ACK")
        self.hang_up(caller, call.dialog, called, theirs)

    def test_13_2_2_4_a_repeated_200_gets_its_ack_again(self) -> None:
        """Whenever the 2xx comes again, so does the ACK, with the CSeq of the INVITE."""
        caller, called = self.phones()
        call = caller.invite(called.number)
        invite = called.expect("INVITE")
        for _ in range(2):
            theirs = called.answer(invite, tag="same", ack=False)
            ack = called.expect("ACK")
            self.assertEqual((invite.cseq, "same"), (ack.cseq, ack.to_tag))
            self.assertNotEqual(invite.branch, ack.branch)
            if not call.answer:
                call.connected()
        self.hang_up(caller, call.dialog, called, theirs)

    def test_17_2_1_a_repeated_invite_is_one_call(self) -> None:
        """It is absorbed, and answered with what was last said."""
        caller, call, called, _ = self.ringing()
        self.again(caller, call.sent, "SIP/2.0 180")
        called.quiet(0.2)
        call.cancel()
        called.expect("CANCEL")

    def test_rfc6026_7_1_an_invite_repeated_after_the_200(self) -> None:
        """It is absorbed in the Accepted state: no new call, no other answer."""
        caller, called = self.phones()
        call = caller.invite(called.number)
        theirs = called.answer(called.expect("INVITE"), ack=False)
        ours = call.connected()
        called.expect("ACK")
        caller.wire.send(call.sent.data, caller.server)
        caller.quiet(0.2, 200)
        called.quiet(0.05)
        self.hang_up(caller, ours, called, theirs)

    def test_17_1_1_2_an_invite_is_repeated_until_an_answer(self) -> None:
        """Timer A: over UDP the same bytes after T1, and none after a 1xx."""
        caller, called = self.phones()
        call = caller.invite(called.number)
        invite = called.expect("INVITE")
        wait_until(lambda: called.pump(0.05) or called.times_repeated("INVITE"), "the INVITE again")
        called.respond(invite, 100, "Trying")
        call.cancel()
        called.expect("CANCEL")

    def test_13_2_1_an_invite_without_contact_is_400(self) -> None:
        """It must have one: where would requests within the dialog go?"""
        peer = self.owner()
        self.assertEqual(400, peer.prove("INVITE", f"sip:3001@{peer.domain}", but={"Contact": None}).status)

    def test_16_7_all_devices_ring_and_the_losers_are_cancelled(self) -> None:
        """The first 2xx wins; every other branch gets a CANCEL (16.7 step 10), and its 487 an ACK."""
        caller, first = self.phones()
        second = self.phone(first.number)
        call = caller.invite(first.number)
        here, there = first.expect("INVITE"), second.expect("INVITE")
        first.ring(here)
        second.ring(there)
        theirs = first.answer(here, ack=False)
        ours = call.connected()
        first.expect("ACK")
        second.respond(second.expect("CANCEL"), 200)
        second.respond(there, 487)
        second.expect("ACK")
        self.assertNotEqual(here.branch, there.branch)
        self.hang_up(caller, ours, first, theirs)

    def test_rfc3262_3_a_caller_that_requires_reliable_answers(self) -> None:
        """Require: 100rel: the 180 has RSeq and Require, comes again until its PRACK, and the PRACK gets a 200."""
        caller, called = self.phones()
        call = caller.invite(called.number, headers=[("Require", "100rel")])
        called.ring(called.expect("INVITE"))
        ringing = call.provisional(180)
        self.assertIn("100rel", ringing.one("Require"))
        wait_until(lambda: caller.pump(0.05) or caller.times_repeated("SIP/2.0 180"), "the 180 again")
        rack = [("RAck", f"{ringing.one('RSeq')} {ringing.one('CSeq')}")]
        self.assertEqual(200, caller.final(caller.request(call.dialog, "PRACK", rack)).status)
        self.assertEqual(481, caller.final(caller.request(call.dialog, "PRACK", rack)).status)
        call.cancel()
        called.expect("CANCEL")

    @for_each(unknown="9999", unregistered="3400")
    def test_13_3_1_nobody_is_there(self, number: str) -> None:
        """404 for a number that does not exist, 480 for one without a phone; the caller has proven who he is."""
        caller = self.phone()
        call = caller.invite(number)
        call.refused(404 if number == "9999" else 480)


class Cancelling(CallCase):
    def test_9_2_cancel_ends_what_rings(self) -> None:
        """200 to the CANCEL, 487 to the INVITE, both with the same To-tag, and the phone is told."""
        _, call, called, invite = self.ringing()
        answer = call.cancel()
        refused = call.refused(487)
        self.assertEqual((200, refused.to_tag), (answer.status, answer.to_tag))
        cancel = called.expect("CANCEL")
        self.assertEqual(
            (invite.uri, invite.branch, invite.call_id, invite.cseq, invite.one("To"), invite.one("From")),
            (cancel.uri, cancel.branch, cancel.call_id, cancel.cseq, cancel.one("To"), cancel.one("From")),
        )
        called.respond(cancel, 200)
        called.respond(invite, 487)
        called.expect("ACK")

    def test_9_1_no_cancel_before_a_provisional_answer(self) -> None:
        """A CANCEL that overtakes its INVITE would be lost: it waits for the first 1xx."""
        caller, called = self.phones()
        call = caller.invite(called.number)
        invite = called.expect("INVITE")
        call.cancel()
        call.refused(487)
        called.quiet(0.2, "INVITE")
        called.respond(invite, 100, "Trying")
        called.expect("CANCEL")

    def test_9_2_a_cancel_after_the_200_changes_nothing(self) -> None:
        """It comes too late: 200, and the call goes on."""
        caller, called = self.phones()
        call = caller.invite(called.number)
        theirs = called.answer(called.expect("INVITE"), ack=False)
        ours = call.connected()
        called.expect("ACK")
        self.assertEqual(200, call.cancel().status)
        called.quiet(0.1)
        self.hang_up(caller, ours, called, theirs)

    def test_9_2_another_branch_cancels_nothing(self) -> None:
        """The CANCEL is matched by its branch: 481, and it rings on."""
        caller, call, called, _ = self.ringing()
        keep = [(n, v) for n, v in call.sent.headers if n in ("From", "To", "Call-ID")]
        sent = caller.send("CANCEL", call.sent.uri, [*keep, ("CSeq", f"{call.dialog.cseq} CANCEL")])
        self.assertEqual(481, caller.final(sent).status)
        called.quiet(0.1)
        call.cancel()
        called.expect("CANCEL")

    def test_9_2_the_same_cancel_again(self) -> None:
        """It has a transaction of its own, or is answered anew: 200 both times, the phone told once."""
        caller, call, called, _ = self.ringing()
        keep = [(n, v) for n, v in call.sent.headers if n in ("From", "To", "Call-ID")]
        sent = call.send_cancel(caller, keep)
        self.assertEqual(200, caller.final(sent).status)
        self.again(caller, sent, "SIP/2.0 200")
        cancel = called.expect("CANCEL")
        called.respond(cancel, 200)
        called.quiet(0.1)


class WithinDialogs(CallCase):
    def test_15_1_2_a_bye_gets_200_and_reaches_the_other(self) -> None:
        """It ends the dialog, from either side."""
        caller, ours, called, theirs = self.connected()
        called.bye(theirs)
        caller.take_bye(ours)

    def test_17_2_2_a_repeated_bye_gets_the_same_answer(self) -> None:
        """The server transaction answers it from memory."""
        caller, ours, called, theirs = self.connected()
        sent = caller.request(ours, "BYE")
        self.assertEqual(200, caller.final(sent).status)
        self.again(caller, sent, "SIP/2.0 200")
        called.take_bye(theirs)

    @for_each(from_="from", to="to", call_id="call")
    def test_12_2_2_a_dialog_is_known_by_all_three(self, what: str) -> None:
        """Call-ID and both tags: one that differs, and it is another dialog, which is not there: 481."""
        caller, ours, called, theirs = self.connected()
        local, remote, call_id = ours.local, ours.remote, ours.call_id
        other = Dialog(
            call_id + ("x" if what == "call" else ""),
            local + ("x" if what == "from" else ""),
            remote + ("x" if what == "to" else ""),
            ours.target,
            cseq=50,
        )
        self.assertEqual(481, caller.final(caller.request(other, "BYE")).status)
        self.hang_up(caller, ours, called, theirs)

    def test_12_2_2_a_lower_cseq_is_out_of_order(self) -> None:
        """500, and nothing happens."""
        caller, ours, called, theirs = self.connected()
        refused = caller.final(caller.request(ours, "BYE", cseq=1))
        self.assertEqual((500, "CSeq Out Of Order"), (refused.status, refused.reason))
        called.quiet(0.1)
        ours.cseq += 5  # a gap is no fault
        self.hang_up(caller, ours, called, theirs)

    def test_12_2_1_1_requests_of_the_server_have_rising_cseq(self) -> None:
        """Each has the next number, the dialog's tags and the remote target as its Request-URI."""
        caller, ours, called, theirs = self.connected()
        numbers = []
        for _ in range(2):
            sent = caller.request(ours, "INFO", [("Content-Type", "text/x")], b"x", kind="text/x")
            info = called.expect("INFO")
            numbers.append(info.cseq)
            self.assertEqual(f"sip:{called.number}@{called.sent_by}", info.uri)
            self.assertEqual((theirs.remote_tag, theirs.local_tag), (info.from_tag, info.to_tag))
            called.respond(info, 200)
            caller.final(sent)
        bye = caller.request(ours, "BYE")
        numbers.append(called.take_bye(theirs).cseq)
        caller.final(bye)
        self.assertEqual(sorted(set(numbers)), numbers)

    def test_12_2_2_options_within_a_dialog(self) -> None:
        """200 with Allow, as outside."""
        caller, ours, called, theirs = self.connected()
        answer = caller.final(caller.request(ours, "OPTIONS"))
        self.assertEqual(200, answer.status)
        self.assertIn("INVITE", answer.one("Allow"))
        self.hang_up(caller, ours, called, theirs)

    @for_each(bye="BYE", info="INFO", options="OPTIONS")
    def test_8_2_2_3_require_within_a_dialog(self, method: str) -> None:
        """Within a dialog the rule is the same: 420 with Unsupported, and nothing happens."""
        caller, ours, called, theirs = self.connected()
        answer = caller.final(caller.request(ours, method, [("Require", "nothing")]))
        self.assertEqual((420, "nothing"), (answer.status, answer.get("Unsupported")))
        called.quiet(0.1)
        self.hang_up(caller, ours, called, theirs)

    def test_14_2_a_reinvite_reaches_the_other_and_comes_back(self) -> None:
        """The answer's session description comes back, under the same dialog."""
        caller, ours, called, theirs = self.connected()
        sent = caller.reinvite(ours, caller.sdp("sendonly", version=2))
        offer = called.expect("INVITE")
        self.assertIn("a=sendonly", offer.sdp)
        called.answer(offer, called.sdp("recvonly"), tag=theirs.local_tag, ack=False)
        answer = caller.final(sent)
        self.assertIn("a=recvonly", answer.sdp)
        caller.ack(ours, answer.cseq)
        called.expect("ACK")
        self.hang_up(caller, ours, called, theirs)

    def test_14_2_the_called_phone_may_reinvite_too(self) -> None:
        """Who answered has the same rights within the dialog as who called."""
        caller, ours, called, theirs = self.connected()
        sent = called.reinvite(theirs, called.sdp("inactive", version=2))
        caller.answer(caller.expect("INVITE"), caller.sdp("inactive", version=2), tag=ours.local_tag, ack=False)
        answer = called.final(sent)
        self.assertEqual((200, "a=inactive" in answer.sdp), (answer.status, True))
        called.ack(theirs, answer.cseq)
        caller.expect("ACK")
        self.hang_up(caller, ours, called, theirs)

    def test_14_2_a_refused_reinvite_leaves_the_call(self) -> None:
        """488 and nothing has changed."""
        caller, ours, called, theirs = self.connected()
        sent = caller.reinvite(ours, caller.sdp("sendonly", version=2))
        called.respond(called.expect("INVITE"), 488)
        called.expect("ACK")
        answer = caller.final(sent)
        self.assertEqual(488, answer.status)
        caller.ack_failure(sent, answer)
        self.hang_up(caller, ours, called, theirs)

    def test_14_2_two_reinvites_at_once(self) -> None:
        """A second INVITE while the first is not answered: 491 or 500, never mixed up."""
        caller, ours, called, theirs = self.connected()
        first = caller.reinvite(ours, caller.sdp(version=2))
        offer = called.expect("INVITE")
        second = caller.reinvite(ours, caller.sdp(version=3))
        refused = caller.final(second)
        self.assertIn(refused.status, (491, 500))
        if refused.status == 500:
            self.assertLessEqual(int(refused.one("Retry-After").split()[0]), 10)
        caller.ack_failure(second, refused)
        called.answer(offer, tag=theirs.local_tag, ack=False)
        answer = caller.final(first)
        caller.ack(ours, answer.cseq)
        called.expect("ACK")
        self.hang_up(caller, ours, called, theirs)

    def test_12_2_1_2_the_remote_target_follows_the_contact(self) -> None:
        """A re-INVITE with another Contact moves where later requests point."""
        caller, ours, called, theirs = self.connected()
        moved = f"<sip:moved@{caller.sent_by}>"
        lines = [("From", ours.local), ("To", ours.remote), ("Call-ID", ours.call_id), ("Contact", moved)]
        ours.cseq += 1
        lines.append(("CSeq", f"{ours.cseq} INVITE"))
        sent = caller.send("INVITE", ours.target, lines, caller.sdp(version=2))
        called.answer(called.expect("INVITE"), tag=theirs.local_tag, ack=False)
        caller.ack(ours, caller.final(sent).cseq)
        called.expect("ACK")
        bye = called.request(theirs, "BYE")
        self.assertEqual(moved[1:-1], caller.take_bye(ours).uri)
        called.final(bye)

    def test_15_a_bye_in_the_early_dialog(self) -> None:
        """The caller may end an early dialog by BYE: 200, and the INVITE gets 487 (15.1.2)."""
        caller, call, called, _ = self.ringing()
        self.assertEqual(200, caller.final(caller.request(call.dialog, "BYE")).status)
        call.refused(487)
        called.expect("CANCEL")

    def test_8_2_1_a_method_nobody_knows_within_a_dialog(self) -> None:
        """405 or 501, and the call goes on."""
        caller, ours, called, theirs = self.connected()
        self.assertIn(caller.final(caller.request(ours, "DANCE")).status, (405, 501))
        self.hang_up(caller, ours, called, theirs)

    def test_12_2_2_an_ack_to_nothing_is_absorbed(self) -> None:
        """An ACK within the dialog that confirms nothing is dropped."""
        caller, ours, called, theirs = self.connected()
        caller.ack(ours, 77)
        caller.ack(ours, ours.cseq)
        caller.quiet(0.1)
        called.quiet(0.05)
        self.hang_up(caller, ours, called, theirs)

    def test_8_1_1_7_every_request_has_a_branch_of_its_own(self) -> None:
        """Branches begin with the magic cookie and differ from request to request."""
        caller, call, called, invite = self.ringing()
        theirs = called.answer(invite, tag="t", ack=False)
        ours = call.connected()
        ack = called.expect("ACK")
        bye = caller.request(ours, "BYE")
        branches = {invite.branch, ack.branch, called.take_bye(theirs).branch}
        caller.final(bye)
        self.assertEqual(3, len(branches))
        self.assertTrue(all(re.match(r"z9hG4bK\S+$", each) for each in branches))
        self.assertTrue(all("rport" in each.all("Via")[0] for each in (invite, ack)))

    def test_19_3_tags_of_calls_differ(self) -> None:
        """Two calls of the same two have other tags and Call-IDs."""
        caller, called = self.phones()
        seen = []
        for _ in range(2):
            call = caller.invite(called.number)
            invite = called.expect("INVITE")
            called.respond(invite, 486)
            seen.append((invite.call_id, param(invite.one("From"), "tag"), call.refused(486).to_tag))
            called.expect("ACK")
        self.assertTrue(all(one != other for one, other in zip(*seen, strict=True)), seen)
