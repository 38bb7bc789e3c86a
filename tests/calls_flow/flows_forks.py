"""One number, several devices; redirections and loops."""

from __future__ import annotations

from tests.calls_flow.case import FlowCase
from tests.support.caller import Caller, Msg


class ForkFlows(FlowCase):
    def ring_all(self, count: int = 2) -> tuple[Caller, list[Caller], list[Msg], object]:
        a, devices = self.phone(), self.devices(count)
        call = a.invite(devices[0].number)
        return a, devices, [device.expect("INVITE") for device in devices], call

    def test_the_first_answer_wins(self) -> None:
        a, devices, invites, call = self.ring_all(3)
        self.assertEqual(3, len({invite.branch for invite in invites}))
        self.assertEqual(3, len({invite.call_id for invite in invites}))
        tags = [device.ring(invite) for device, invite in zip(devices, invites, strict=True)]
        call.provisional(180)
        theirs = devices[1].answer(invites[1], tag=tags[1], ack=False)
        ours = call.connected()
        devices[1].expect("ACK")
        for index in (0, 2):
            cancel = devices[index].expect("CANCEL")
            self.assertEqual('SIP;cause=200;text="Call completed elsewhere"', cancel.one("Reason"))
            devices[index].respond(cancel, 200, tag=tags[index])
            devices[index].respond(invites[index], 487, tag=tags[index])
            devices[index].expect("ACK")
        self.hang_up(a, ours, devices[1], theirs)
        row = self.ended(a, devices[0], "normal", "ANSWERED", "caller")
        self.assertEqual(["answered", "failed", "failed"], sorted(leg["state"] for leg in row["legs"]))
        a.quiet()

    def test_one_is_busy_and_another_answers(self) -> None:
        a, (b, c), (first, second), call = self.ring_all()
        b.respond(first, 486, "Busy Here")
        b.expect("ACK")
        c.ring(second)
        call.provisional(180)
        theirs = c.answer(second, ack=False)
        ours = call.connected()
        c.expect("ACK")
        b.quiet(0.2)
        self.hang_up(a, ours, c, theirs)
        row = self.ended(a, b, "normal", "ANSWERED")
        self.assertEqual([200, 486], sorted(leg["code"] for leg in row["legs"]))

    def test_all_are_busy(self) -> None:
        a, devices, invites, call = self.ring_all()
        for device, invite in zip(devices, invites, strict=True):
            device.respond(invite, 486)
            device.expect("ACK")
        self.refused(call, 486, "Busy Here")
        self.ended(a, devices[0], "busy", "BUSY")

    def test_a_603_stops_only_its_own_device(self) -> None:
        """linphone declines with 603; the other device goes on ringing (a setting)."""
        a, (b, c), (first, second), call = self.ring_all()
        b.respond(first, 603, "Decline")
        b.expect("ACK")
        c.ring(second)
        call.provisional(180)
        c.quiet(0.3)
        theirs = c.answer(second, ack=False)
        ours = call.connected()
        c.expect("ACK")
        self.hang_up(a, ours, c, theirs)
        self.ended(a, b, "normal", "ANSWERED")

    def test_the_best_of_several_refusals(self) -> None:
        for statuses, status in (
            ((480, 486), 486),
            ((408, 486), 486),
            ((503, 404), 404),
            ((486, 603), 603),
            ((500, 480), 480),
        ):
            with self.subTest(statuses=statuses):
                _a, devices, invites, call = self.ring_all()
                for device, invite, code in zip(devices, invites, statuses, strict=True):
                    device.respond(invite, code, "No")
                    device.expect("ACK")
                call.refused(status)

    def test_two_answer_in_the_same_moment(self) -> None:
        a, (b, c), (first, second), call = self.ring_all()
        dialogs = [b.answer(first, ack=False), c.answer(second, ack=False)]
        ours = call.connected()
        b.expect("ACK"), c.expect("ACK")
        winners = [(p, d) for p, d in zip((b, c), dialogs, strict=True) if not (p.pump(0.3) and p.take_bye(d))]
        self.assertEqual(1, len(winners))
        a.bye(ours)
        winners[0][0].take_bye(winners[0][1])
        row = self.ended(a, b, "normal", "ANSWERED")
        self.assertEqual(["answered", "failed"], sorted(leg["state"] for leg in row["legs"]))

    def test_a_device_that_cannot_make_a_dialog_does_not_spoil_the_call(self) -> None:
        """Its 200 has no Contact: it is confirmed and hung up on, where the INVITE went; the other rings on."""
        a, (b, c), (first, second), call = self.ring_all()
        b.respond(first, 200, "OK", body=b.sdp(), tag="lost")
        self.assertEqual((first.uri, "lost"), ((ack := b.expect("ACK")).uri, ack.to_tag))
        bye = b.take_bye(b.dialog_of(first, "lost"))
        self.assertEqual(first.uri, bye.uri)
        c.ring(second)
        call.provisional(180)
        theirs = c.answer(second, ack=False)
        ours = call.connected()
        c.expect("ACK")
        self.hang_up(a, ours, c, theirs)
        row = self.ended(a, b, "normal", "ANSWERED")
        self.assertEqual([200, 502], sorted(leg["code"] for leg in row["legs"]))

    def test_the_only_device_cannot_make_a_dialog(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        b.respond(invite, 200, "OK", body=b.sdp(), tag="lost")
        b.expect("ACK")
        b.take_bye(b.dialog_of(invite, "lost"))
        self.refused(call, 502, "Bad Answer")
        self.ended(a, b, "failed", "FAILED", "")

    def test_redirection_within_the_pbx(self) -> None:
        a, b, c = self.phones(3)
        call = a.invite(b.number)
        b.respond(b.expect("INVITE"), 302, "Moved", [("Contact", f"<sip:{c.number}@{a.domain}>")])
        b.expect("ACK")
        theirs = c.answer(c.expect("INVITE"), ack=False)
        ours = call.connected()
        c.expect("ACK")
        self.hang_up(a, ours, c, theirs)
        row = self.ended(a, b, "normal", "ANSWERED")
        self.assertEqual([b.number, c.number], [leg["number"] for leg in row["legs"]])

    def test_redirection_to_the_outside_is_not_followed(self) -> None:
        a, b = self.phones()
        for contact in ("<sip:900123@203.0.113.7>", "<tel:+99890123>", "<sip:1@pbx.test.example.com>"):
            with self.subTest(contact=contact):
                call = a.invite(b.number)
                b.respond(b.expect("INVITE"), 302, "Moved", [("Contact", contact)])
                b.expect("ACK")
                answer = call.refused(480)
                self.assertNotIn("203.0.113.7", str(answer))
                self.assertEqual("", answer.get("Contact"))

    def test_redirections_in_a_ring_end(self) -> None:
        a, b, c = self.phones(3)
        call = a.invite(b.number)
        for phone, other in ((b, c), (c, b)):
            phone.respond(phone.expect("INVITE"), 302, "Moved", [("Contact", f"<sip:{other.number}@{a.domain}>")])
            phone.expect("ACK")
        call.refused(480)
        b.quiet(0.2)

    def test_an_invite_that_came_back_is_refused(self) -> None:
        """A phone that sends our INVITE on to us like a proxy: our own branch stands in its Via (RFC 3261 16.3)."""
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        looped = b.invite(a.number, headers=[("Via", value) for value in invite.all("Via")], authenticate=False)
        looped.refused(482)
        a.quiet(0.2, 180)
        b.respond(invite, 486)
        b.expect("ACK")
        call.refused(486)

    def test_one_invite_by_two_ways_is_one_call(self) -> None:
        """RFC 3261 8.2.2.2: the same call and number on another branch is a loop."""
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        twin = a.send(
            "INVITE", call.sent.uri, [(n, v) for n, v in call.sent.headers if n != "Authorization"], call.sent.body
        )
        refusal = a.final(twin)
        self.assertIn(refusal.status, (401, 482))
        a.ack_failure(twin, refusal)
        if refusal.status == 401:
            again = a.with_credentials(twin, refusal, cseq=call.dialog.cseq)
            refusal = a.final(again)
            self.assertEqual(482, refusal.status)
            a.ack_failure(again, refusal)
        b.quiet(0.2)
        theirs = b.answer(invite, ack=False)
        ours = call.connected()
        b.expect("ACK")
        self.hang_up(a, ours, b, theirs)

    def test_max_forwards(self) -> None:
        a, b = self.phones()
        a.invite(b.number, headers=[("Max-Forwards", "0")], authenticate=False).refused(483)
        call = a.invite(b.number, headers=[("Max-Forwards", "7")])
        invite = b.expect("INVITE")
        self.assertEqual("6", invite.one("Max-Forwards"))
        b.respond(invite, 486)
        b.expect("ACK")
        call.refused(486)

    def test_calling_oneself(self) -> None:
        a = self.phone()
        call = a.invite(a.number)
        self.assertEqual(486, call.refused(486).status)
        a.quiet(0.2)

    def test_calling_ones_own_other_device(self) -> None:
        a, b = self.devices(2)
        call = a.invite(a.number)
        theirs = b.answer(b.expect("INVITE"), ack=False)
        ours = call.connected()
        b.expect("ACK")
        a.quiet(0.2)
        self.hang_up(a, ours, b, theirs)
