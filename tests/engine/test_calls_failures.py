"""The media engine or the store is away, refuses, is slow; and what a call must leave behind then: nothing."""

from __future__ import annotations

from tests.calls_flow.flows_offers import port_of
from tests.engine.calls_in_memory import InMemory


class FailuresInMemory(InMemory):
    def test_no_media_engine(self) -> None:
        a, b = self.phones()
        self.world.media.away = True
        answer = a.invite(b.number).refused(503)
        self.assertGreater(int(answer.one("Retry-After")), 0)
        b.quiet(0.2)
        self.ended(a, b, "failed", "CONGESTION")
        self.world.media.away = False
        self.hang_up(a, (d := self.connect(a, b))[0], b, d[1])

    def test_the_media_engine_goes_away_while_it_rings(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        self.world.media.away = True
        theirs = b.answer(invite)
        b.take_bye(theirs)
        call.refused(503)
        self.ended(a, b, "failed", "CONGESTION")

    def test_the_media_engine_refuses_the_offer(self) -> None:
        a, b = self.phones()
        self.world.media.refuse = "x-bad"
        self.refused(a.invite(b.number, a.sdp() + b"a=x-bad\r\n"), 488, "Not Acceptable Here")
        self.ended(a, b, "codec_mismatch", "FAILED")
        b.quiet(0.2)

    def test_the_media_engine_refuses_the_answer(self) -> None:
        a, b = self.phones()
        self.world.media.refuse = "x-bad"
        call = a.invite(b.number)
        theirs = b.answer(b.expect("INVITE"), b.sdp() + b"a=x-bad\r\n")
        b.take_bye(theirs)
        self.refused(call, 488, "Not Acceptable Here")

    def test_an_answer_without_a_description(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        theirs = b.answer(b.expect("INVITE"), b"")
        b.take_bye(theirs)
        call.refused(488)

    def test_a_refusal_of_an_update_that_means_the_other_leg_alone_is_488(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        for version, status in enumerate((401, 407, 408), start=2):
            sent = a.request(ours, "UPDATE", body=a.sdp(version=version))
            b.respond(b.expect("INVITE"), status)
            b.expect("ACK")
            self.assertEqual(488, a.final(sent).status)
        self.hang_up(a, ours, b, theirs)

    def test_the_media_engine_refuses_a_reinvite(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        self.world.media.refuse = "x-bad"
        sent = a.reinvite(ours, a.sdp(version=2) + b"a=x-bad\r\n")
        a.ack_failure(sent, answer := a.final(sent))
        self.assertEqual(488, answer.status)
        self.hang_up(a, ours, b, theirs)

    def test_each_device_has_its_own_branch_and_losers_are_deleted(self) -> None:
        a, (b, c) = self.phone(), self.devices(2)
        call = a.invite(b.number)
        invites = [b.expect("INVITE"), c.expect("INVITE")]
        c.ring(invites[1])
        offers = [line for line in self.world.media.log if line[0] == "offer"]
        self.assertEqual(2, len({branch for *_, branch in offers}))
        theirs = b.answer(invites[0], ack=False)
        ours = call.connected()
        b.expect("ACK")
        c.respond(c.expect("CANCEL"), 200), c.respond(invites[1], 487)
        c.expect("ACK")
        self.world.pass_time(0.1)
        deleted = [line for line in self.world.media.log if line[0] == "delete" and line[3]]
        self.assertEqual([invites[1].from_tag], [branch for *_, branch in deleted])
        self.hang_up(a, ours, b, theirs)

    def test_the_engine_of_a_call_is_lost(self) -> None:
        """Both phones get new ports by re-INVITE, and the call goes on."""
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        theirs = b.answer(invite, ack=False)
        ours = call.connected()
        b.expect("ACK")
        [id] = self.world.board.calls
        self.world.media.open.pop(id), self.world.media._port_of.clear()
        self.world.loop.call_soon(self.world.board.move_media, [id])
        asked = a.expect("INVITE")
        self.assertEqual(b"", asked.body)
        a.answer(asked, ack=False)
        offered = b.expect("INVITE")
        self.assertNotEqual(port_of(invite.body), port_of(offered.body))
        b.answer(offered)
        self.assertNotEqual(port_of(call.answer.body), port_of(a.expect("ACK").body))
        self.hang_up(a, ours, b, theirs)

    def test_cancel_while_the_store_looks_the_caller_up(self) -> None:
        a, b = self.phones()
        self.world.store.delay = 0.4
        call = a.invite(b.number)
        self.assertEqual(200, call.cancel().status)
        call.refused(487)
        b.quiet(1.0)

    def test_cancel_while_the_callee_is_looked_up(self) -> None:
        a, b = self.phones()
        self.world.store.delay = 0.8
        call = a.invite(b.number)
        self.world.pass_time(0.6)
        call.cancel()
        call.refused(487)
        b.quiet(1.0)

    def test_cancel_while_the_media_engine_thinks(self) -> None:
        a, b = self.phones()
        self.world.media.seconds = 0.5
        call = a.invite(b.number)
        self.world.pass_time(0.2)
        call.cancel()
        call.refused(487)
        b.quiet(1.0)

    def test_cancel_while_the_answer_goes_through_the_media_engine(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        self.world.media.seconds = 0.5
        theirs = b.answer(invite)
        call.cancel()
        call.refused(487)
        b.take_bye(theirs)

    def test_the_store_is_away(self) -> None:
        a, b = self.phones()
        self.world.directory.away = True
        answer = a.invite(b.number).refused(503)
        self.assertGreater(int(answer.one("Retry-After")), 0)
        self.world.directory.away = False

    def test_the_callees_flow_breaks(self) -> None:
        """Nothing but the end of its own attempt."""
        a, (b, c) = self.phone(), self.devices(2)
        call = a.invite(b.number)
        b.expect("INVITE")
        theirs = c.answer(c.expect("INVITE"), ack=False)
        ours = call.connected()
        c.expect("ACK")
        self.hang_up(a, ours, c, theirs)
