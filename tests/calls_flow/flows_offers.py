"""Offer and answer: late, early, renewed, refused; PRACK, UPDATE, re-INVITE."""

from __future__ import annotations

import re

from tests.calls_flow.case import FlowCase
from tests.support.caller import param


def port_of(sdp: bytes) -> int:
    return int(re.search(rb"(?m)^m=audio (\d+)", sdp)[1])  # type: ignore[index]


def version_of(sdp: bytes) -> tuple[bytes, int]:
    matched = re.search(rb"(?m)^o=\S+ (\d+) (\d+) ", sdp)
    assert matched, sdp
    return matched[1], int(matched[2])


class OfferFlows(FlowCase):
    def test_media_goes_through_the_engine(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        self.assertNotEqual(a.media_port, port_of(invite.body))
        self.assertIn(f"c=IN IP4 {a.server[0]}", invite.sdp)
        self.assertIn("a=rtpmap:101 telephone-event/8000", invite.sdp)
        theirs = b.answer(invite, ack=False)
        ours = call.connected()
        self.assertNotIn(port_of(call.answer.body), (b.media_port, port_of(invite.body)))
        b.expect("ACK")
        self.hang_up(a, ours, b, theirs)

    def test_late_offer(self) -> None:
        """The callee makes the offer in its 200, the caller's ACK brings the answer."""
        a, b = self.phones()
        call = a.invite(b.number, b"")
        invite = b.expect("INVITE")
        self.assertEqual(b"", invite.body)
        b.ring(invite)
        self.assertEqual(b"", call.provisional(180).body)
        theirs = b.answer(invite, ack=False)
        answer = call.final()
        self.assertEqual(200, answer.status)
        self.assertNotEqual(b.media_port, port_of(answer.body))
        b.quiet(0.2)  # its ACK waits for the answer
        a.ack(call.dialog, answer.cseq, a.sdp())
        ack = b.expect("ACK")
        self.assertNotEqual(a.media_port, port_of(ack.body))
        self.hang_up(a, call.dialog, b, theirs)
        self.ended(a, b, "normal", "ANSWERED", "caller")

    def test_late_offer_whose_answer_never_comes(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number, b"")
        theirs = b.answer(b.expect("INVITE"), ack=False)
        answer = call.final()
        a.ack(call.dialog, answer.cseq)
        b.expect("ACK")
        b.take_bye(theirs), a.take_bye(call.dialog)
        self.ended(a, b, "codec_mismatch", "ANSWERED", "pbx")

    def test_early_media_of_one_device(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        tag = b.ring(invite, body=b.sdp(), status=183)
        early = call.provisional(183)
        self.assertNotEqual(b.media_port, port_of(early.body))
        theirs = b.answer(invite, tag=tag, ack=False)
        ours = call.connected()
        self.assertEqual(port_of(early.body), port_of(call.answer.body))
        b.expect("ACK")
        self.hang_up(a, ours, b, theirs)
        self.ended(a, b, "normal", "ANSWERED")

    def test_no_early_media_of_several_devices(self) -> None:
        """Each would have another port at the engine: the caller hears ringing until one answers."""
        a, (b, c) = self.phone(), self.devices(2)
        call = a.invite(b.number)
        invites = {phone: phone.expect("INVITE") for phone in (b, c)}
        b.ring(invites[b], body=b.sdp(), status=183)
        self.assertEqual(b"", call.provisional(180).body)
        tag = c.ring(invites[c], body=c.sdp(), status=183)
        theirs = c.answer(invites[c], tag=tag, ack=False)
        ours = call.connected()
        self.assertEqual([], [m for m in a.inbox if m.status == 183])
        c.expect("ACK")
        b.respond(b.expect("CANCEL"), 200), b.respond(invites[b], 487)
        self.hang_up(a, ours, c, theirs)

    def test_prack_where_the_caller_requires_it(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number, headers=[("Require", "100rel"), ("Supported", "100rel")])
        invite = b.expect("INVITE")
        self.assertNotIn("100rel", invite.get("Require") + invite.get("Supported"))
        tag = b.ring(invite)
        ringing = call.provisional(180)
        self.assertIn("100rel", ringing.one("Require"))
        number = int(ringing.one("RSeq"))
        a.pump(1.7)
        self.assertGreaterEqual(a.times_repeated("SIP/2.0 180"), 2)  # until the PRACK comes
        b.ring(invite, tag=tag, body=b.sdp(), status=183)
        a.quiet(0.2)  # the next one waits for it
        wrong = a.request(call.dialog, "PRACK", [("RAck", f"{number + 1} {call.dialog.cseq} INVITE")])
        self.assertEqual(481, a.final(wrong).status)
        invite_cseq = int(call.sent.get("CSeq").split()[0])
        right = a.request(call.dialog, "PRACK", [("RAck", f"{number} {invite_cseq} INVITE")])
        self.assertEqual(200, a.final(right).status)
        progress = call.provisional(183)
        self.assertEqual(number + 1, int(progress.one("RSeq")))
        theirs = b.answer(invite, tag=tag)
        a.quiet(0.2, 183)  # the 200 comes after the PRACK
        a.final(a.request(call.dialog, "PRACK", [("RAck", f"{number + 1} {invite_cseq} INVITE")]))
        ours = call.connected()
        self.hang_up(a, ours, b, theirs)
        self.ended(a, b, "normal", "ANSWERED")

    def test_cancel_while_a_prack_is_due(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number, headers=[("Require", "100rel")])
        invite = b.expect("INVITE")
        tag = b.ring(invite)
        call.provisional(180)
        theirs = b.answer(invite, tag=tag)
        call.cancel()
        call.refused(487)
        b.take_bye(theirs)
        self.assertEqual("cancelled", self.record(a, b)["cause"])

    def test_hold_and_resume_both_ways(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        for phone, dialog, other, others in ((a, ours, b, theirs), (b, theirs, a, ours)):
            session = None
            for version, (asked, granted) in enumerate((("sendonly", "recvonly"), ("sendrecv", "sendrecv")), 2):
                sent = phone.reinvite(dialog, phone.sdp(asked, version=version))
                invite = other.expect("INVITE")
                self.assertEqual((others.call_id, others.remote_tag), (invite.call_id, invite.from_tag))
                self.assertIn(f"a={asked}", invite.sdp)
                if session is not None:
                    self.assertEqual((session[0], session[1] + 1), version_of(invite.body))
                session = version_of(invite.body)
                other.answer(invite, other.sdp(granted, version=version))
                answer = phone.final(sent)
                self.assertEqual(200, answer.status)
                self.assertIn(f"a={granted}", answer.sdp)
                phone.ack(dialog, answer.cseq)
        self.hang_up(a, ours, b, theirs)
        self.ended(a, b, "normal", "ANSWERED")

    def test_reinvite_without_an_offer(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        sent = a.reinvite(ours, b"")
        invite = b.expect("INVITE")
        self.assertEqual(b"", invite.body)
        b.answer(invite, ack=False)
        answer = a.final(sent)
        self.assertNotEqual(b.media_port, port_of(answer.body))
        a.ack(ours, answer.cseq, a.sdp())
        self.assertNotEqual(a.media_port, port_of(b.expect("ACK").body))
        self.hang_up(a, ours, b, theirs)

    def test_glare(self) -> None:
        """Both offer at once: both get 491 (RFC 3261 14.2), and who tries again succeeds."""
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        mine = a.reinvite(ours, a.sdp("sendonly", version=2))
        invite = b.expect("INVITE")
        yours = b.reinvite(theirs, b.sdp("sendonly", version=2))
        refusal = b.final(yours)
        self.assertEqual(491, refusal.status)
        b.ack_failure(yours, refusal)
        b.respond(invite, 491, "Request Pending")
        b.expect("ACK")
        refusal = a.final(mine)
        self.assertEqual(491, refusal.status)
        a.ack_failure(mine, refusal)
        again = a.reinvite(ours, a.sdp("sendonly", version=3))
        b.answer(b.expect("INVITE"), b.sdp("recvonly"))
        a.ack(ours, a.final(again).cseq)
        self.hang_up(a, ours, b, theirs)
        self.ended(a, b, "normal", "ANSWERED")

    def test_a_refused_reinvite_leaves_the_call_as_it_was(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        sent = a.reinvite(ours, a.sdp(codecs="18", version=2))
        b.respond(b.expect("INVITE"), 488, "Not Acceptable Here")
        b.expect("ACK")
        refusal = a.final(sent)
        self.assertEqual(488, refusal.status)
        a.ack_failure(sent, refusal)
        self.assertEqual(200, a.final(a.request(ours, "OPTIONS")).status)
        self.hang_up(a, ours, b, theirs)

    def test_a_bye_while_a_reinvite_waits(self) -> None:
        """RFC 3261 15.1.2: the re-INVITE gets its answer all the same."""
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        sent = a.reinvite(ours, a.sdp("sendonly", version=2))
        b.expect("INVITE")
        b.bye(theirs)
        refusal = a.final(sent)
        self.assertEqual(487, refusal.status)
        a.ack_failure(sent, refusal)
        a.take_bye(ours)
        self.ended(a, b, "normal", "ANSWERED", "callee")

    def test_update_with_and_without_an_offer(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        answer = a.final(a.request(ours, "UPDATE"))
        self.assertEqual((200, b""), (answer.status, answer.body))
        b.quiet(0.2)
        sent = a.request(ours, "UPDATE", body=a.sdp(codecs="8 101", version=2))
        self.assertIn("m=audio", (invite := b.expect("INVITE")).sdp)
        b.answer(invite, b.sdp(codecs="8 101"))
        answer = a.final(sent)
        self.assertEqual(200, answer.status)
        self.assertNotEqual(b.media_port, port_of(answer.body))
        sent = b.request(theirs, "UPDATE", body=b.sdp(codecs="18", version=2))
        a.respond(a.expect("INVITE"), 488)
        a.expect("ACK")
        self.assertEqual(488, b.final(sent).status)
        self.hang_up(a, ours, b, theirs)

    def test_update_in_the_early_dialog(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        tag = b.ring(invite)
        call.provisional(180)
        self.assertEqual(200, a.final(a.request(call.dialog, "UPDATE")).status)
        refusal = a.final(a.request(call.dialog, "UPDATE", body=a.sdp()))
        self.assertEqual(500, refusal.status)
        self.assertLess(int(refusal.one("Retry-After")), 11)  # RFC 3311 5.2
        theirs = b.answer(invite, tag=tag, ack=False)
        ours = call.connected()
        b.expect("ACK")
        self.hang_up(a, ours, b, theirs)

    def test_srtp_towards_a_phone_that_has_none(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number, a.sdp(profile="RTP/SAVP"))
        invite = b.expect("INVITE")
        self.assertIn("RTP/SAVP", invite.sdp)
        b.respond(invite, 488, "Not Acceptable Here")
        b.expect("ACK")
        self.refused(call, 488, "Not Acceptable Here")
        row = self.ended(a, b, "codec_mismatch", "FAILED")
        self.assertEqual(488, row["legs"][0]["code"])

    def test_a_body_of_another_kind(self) -> None:
        a, b = self.phones()
        answer = a.invite(b.number, b"<x/>", kind="text/xml").refused(415)
        self.assertIn("application/sdp", answer.one("Accept"))
        b.quiet(0.2)

    def test_an_unknown_extension_is_required(self) -> None:
        a, b = self.phones()
        answer = a.invite(b.number, headers=[("Require", "100rel, teleport")]).refused(420)
        self.assertEqual("teleport", answer.one("Unsupported"))
        b.quiet(0.2)

    def test_a_dialog_moves_with_its_contact(self) -> None:
        """The remote target follows each re-INVITE (RFC 3261 12.2.1.2)."""
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        moved = f"<sip:{a.number}-new@{a.sent_by}>"
        sent = a.request(ours, "INVITE", [], a.sdp(version=2))
        b.answer(b.expect("INVITE"))
        a.ack(ours, a.final(sent).cseq)
        lines = [("From", ours.local), ("To", ours.remote), ("Call-ID", ours.call_id)]
        ours.cseq += 1
        sent = a.send("UPDATE", ours.target, [*lines, ("CSeq", f"{ours.cseq} UPDATE"), ("Contact", moved)])
        self.assertEqual(200, a.final(sent).status)
        b.bye(theirs)
        bye = a.take_bye(ours)
        self.assertEqual(moved.strip("<>"), bye.uri)
        self.assertEqual(ours.local_tag, param(bye.one("To"), "tag"))

    def test_record_route_is_followed(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        route = f"<sip:proxy@{b.sent_by};lr>"
        theirs = b.answer(invite, headers=[("Record-Route", route)], ack=False)
        self.assertEqual(route, b.expect("ACK").one("Route"))
        ours = call.connected()
        a.bye(ours)
        self.assertEqual(route, b.take_bye(theirs).one("Route"))

    def test_a_request_out_of_order(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        self.assertEqual(500, a.final(a.request(ours, "INFO", cseq=1)).status)
        self.hang_up(a, ours, b, theirs)
