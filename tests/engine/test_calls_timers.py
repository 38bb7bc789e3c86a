"""What takes half an hour of a call, or 32 seconds of silence: the engine's clock jumps."""

from __future__ import annotations

from sipcore.calls.ports import Heard
from tests.calls_flow import flows_timers
from tests.engine.calls_in_memory import InMemory
from tests.support.caller import Caller

TIMER = [("Supported", "timer")]


class TimersInMemory(InMemory, flows_timers.TimerFlows):
    pass


class LongTimersInMemory(InMemory):
    def idle(self, phone: Caller, seconds: float) -> None:
        """Time in which the phone only answers whether it is still there; until it is hung up on at the latest."""
        end = self.world.loop.time() + seconds
        while self.world.loop.time() < end and not any(m.method == "BYE" for m in phone.inbox):
            phone.pump(end - self.world.loop.time())
            for ask in [m for m in phone.inbox if m.method == "OPTIONS"]:
                phone.respond(ask, 200)
                phone.inbox.remove(ask)

    def test_what_is_said_at_the_end_of_the_process_is_repeated_until_it_is_confirmed(self) -> None:
        for answers in (True, False):
            with self.subTest(answers=answers):
                self.world.board.draining = False
                a, b = self.phones()
                call = a.invite(b.number)
                invite = b.expect("INVITE")
                b.ring(invite)
                call.provisional(180)
                began = self.world.loop.time()
                stopping = self.world.loop.create_task(self.world.board.stop(1.2))
                cancel, refusal = b.expect("CANCEL"), call.final()
                self.assertEqual(503, refusal.status)
                if answers:
                    b.respond(cancel, 200), b.respond(invite, 487), a.ack_failure(call.sent, refusal)
                self.world.run_until(stopping.done, 5)
                self.assertTrue(stopping.done())
                self.assertAlmostEqual(0 if answers else 1.2, self.world.loop.time() - began, delta=0.1)
                b.pump(0.01), a.pump(0.01)
                self.assertEqual(not answers, b.times_repeated("CANCEL") > 0)
                self.assertEqual(not answers, a.times_repeated("SIP/2.0 503") > 0)

    def test_the_clock_of_the_machine_is_set_while_they_talk(self) -> None:
        for moved in (7200.0, -7200.0):
            a, b = self.phones()
            ours, theirs = self.connect(a, b)
            self.idle(a, 30)
            self.world.clock.epoch += moved
            self.world.board.clock_set(moved)
            now = self.world.clock.wall()
            self.idle(a, 20)
            self.hang_up(a, ours, b, theirs)
            row = self.ended(a, b, "normal", "ANSWERED", "caller")
            self.assertAlmostEqual(50, row["billsec"], delta=2)
            self.assertLessEqual(row["billsec"], row["duration"])
            self.assertAlmostEqual(now - 30, row["start"], delta=2)
            self.assertAlmostEqual(50, row["legs"][0]["ended_at"] - row["legs"][0]["answered_at"], delta=2)

    def test_an_answer_that_is_never_confirmed(self) -> None:
        """64*T1 after the 200 both sides get BYE and the record says why."""
        a, b = self.phones()
        call = a.invite(b.number)
        theirs = b.answer(b.expect("INVITE"), ack=False)
        call.final()
        b.expect("ACK")
        started = self.world.loop.time()
        b.take_bye(theirs, 40)
        self.assertAlmostEqual(32.0, self.world.loop.time() - started, delta=1)
        a.take_bye(call.dialog)
        self.assertGreaterEqual(a.times_repeated("SIP/2.0 200"), 9)  # T1, doubled up to T2
        self.ended(a, b, "ack_lost", "ANSWERED", "pbx")

    def test_a_late_offer_that_is_never_confirmed(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number, b"")
        theirs = b.answer(b.expect("INVITE"), ack=False)
        call.final()
        b.expect("ACK", 40)  # RFC 3261 13.2.2.4: it has to come in any case
        b.take_bye(theirs)
        a.take_bye(call.dialog)
        self.ended(a, b, "ack_lost", "ANSWERED", "pbx")

    def test_a_lost_ack_to_a_reinvite(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        sent = a.reinvite(ours, a.sdp(version=2))
        b.answer(b.expect("INVITE"))
        self.assertEqual(200, a.final(sent).status)
        b.take_bye(theirs, 40), a.take_bye(ours)
        self.ended(a, b, "ack_lost", "ANSWERED", "pbx")

    def test_a_phone_that_vanishes_after_its_100_to_a_reinvite(self) -> None:
        """It is missed all the same: neither leg is busy with that re-INVITE for ever."""
        a, b = self.phones()
        ours, _ = self.connect(a, b)
        sent = a.reinvite(ours, a.sdp("sendonly", version=2))
        b.respond(b.expect("INVITE"), 100)
        b.wire.deaf = True
        self.assertEqual(487, a.final(sent, 240).status)
        self.idle(a, 3600)
        a.take_bye(ours)
        self.ended(a, b, "session_expired", "ANSWERED", "pbx")
        self.world.pass_time(40)
        self.assertEqual(0, self.world.core.endpoint.transactions)

    def test_a_call_that_ends_while_a_reinvite_waits_leaves_nothing_behind(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        a.reinvite(ours, a.sdp("sendonly", version=2))
        b.respond(b.expect("INVITE"), 100)
        b.request(theirs, "BYE")
        self.ended(a, b, "normal", "ANSWERED", "callee")
        a.wire.deaf = b.wire.deaf = True
        self.world.pass_time(100)
        self.assertEqual(0, self.world.core.endpoint.transactions)

    def test_a_phone_that_vanishes_while_it_rings_leaves_nothing_behind(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        b.ring(b.expect("INVITE"))
        call.provisional(180)
        b.wire.deaf = True
        call.refused(480, 40)
        self.world.pass_time(100)
        self.assertEqual(0, self.world.core.endpoint.transactions)
        self.assertEqual({}, self.world.board._requests._open)

    def test_calls_go_on_when_the_clock_is_set_back(self) -> None:
        """Two hours back: all nonces seem to be from before the start, and no phone could call until then."""
        a, b = self.phones()
        wall = self.world.clock.wall
        self.world.clock.wall = lambda: wall() - 7200
        self.world.directory.shift_times("n1", -7200)
        ours, theirs = self.connect(a, b)
        self.hang_up(a, ours, b, theirs)

    def test_a_prack_that_never_comes(self) -> None:
        a, b = self.phones()
        self.world.set_ring_seconds(b.number, 120)
        call = a.invite(b.number, headers=[("Require", "100rel")])
        invite = b.expect("INVITE")
        tag = b.ring(invite)
        call.provisional(180)
        cancel = b.expect("CANCEL", 70)
        b.respond(cancel, 200, tag=tag), b.respond(invite, 487, tag=tag)
        b.expect("ACK")
        self.assertGreaterEqual(call.final().status, 480)
        a.ack_failure(call.sent, call.answer)
        self.assertGreaterEqual(a.times_repeated("SIP/2.0 180"), 6)

    def test_a_phone_that_does_not_answer_the_invite_at_all(self) -> None:
        a, b = self.phones()
        self.world.set_ring_seconds(b.number, 60)
        call = a.invite(b.number)
        b.expect("INVITE")
        self.refused(call, 480, "Phone Does Not Answer", 40)
        row = self.ended(a, b, "no_answer", "NO ANSWER")
        [leg] = row["legs"]
        self.assertEqual(("failed", True, None, ""), (leg["state"], leg["silent"], leg["code"], leg["reason"]))

    def died(self) -> list[str]:
        """The numbers whose phone is said not to answer."""
        owner = {account.id: account.number for account in self.world.directory.by_number.values()}
        return [owner[id.account_id] for id in self.world.core.keepalive.died]

    def test_a_phone_that_rang_out_without_a_word_is_not_there(self) -> None:
        """Its time to ring is over before the INVITE gives up. It never rang, and sent no 487."""
        a, b = self.phones()
        b.wire.deaf = True
        call = a.invite(b.number)
        self.world.pass_time(1)
        self.assertEqual(["calling"], [leg["state"] for leg in self.world.records(a.number)[0]["legs"]])
        call.refused(480, 40)
        row = self.ended(a, b, "no_answer", "NO ANSWER")
        self.assertEqual([b.number], self.died())
        self.world.pass_time(70)
        [leg] = self.world.records(a.number)[0]["legs"]
        self.assertEqual(("failed", True, None, None), (leg["state"], leg["silent"], leg["code"], leg["ringing_at"]))
        self.assertLessEqual(leg["ended_at"], row["end"])

    def test_one_given_up_by_the_caller_after_ten_silent_seconds_is_not_there(self) -> None:
        a, b = self.phones()
        b.wire.deaf = True
        call = a.invite(b.number)
        self.world.pass_time(10)
        call.cancel()
        call.refused(487)
        self.ended(a, b, "cancelled", "NO ANSWER", "caller")
        self.assertEqual([b.number], self.died())
        b.wire.deaf = False
        b.register()
        self.world.pass_time(1)
        self.hang_up(a, (d := self.connect(a, b))[0], b, d[1])

    def test_one_that_only_missed_that_invite_is_there_again_at_once(self) -> None:
        """Its answer to the ping that is sent at once undoes it."""
        a, b = self.phones()
        b.wire.deaf = True
        call = a.invite(b.number)
        self.world.pass_time(10)
        b.wire.deaf = False
        call.cancel()
        self.assertEqual([b.number], self.died())
        b.pump(1.0)
        self.assertEqual(1, len(self.world.core.keepalive.revived))
        call.refused(487)

    def test_a_phone_that_says_it_rings_and_one_given_up_at_once_are_there(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        b.ring(invite)
        call.provisional(180)
        row = self.world.record_that(a.number, b.number, lambda row: row["legs"][0]["state"] != "calling")
        self.assertEqual(["ringing"], [leg["state"] for leg in row["legs"]])
        self.world.pass_time(10)
        call.cancel()
        b.respond(b.expect("CANCEL"), 200), b.respond(invite, 487)
        call.refused(487)
        b.expect("ACK")
        [leg] = self.ended(a, b, "cancelled", "NO ANSWER", "caller")["legs"]
        self.assertEqual((False, []), (leg["silent"], self.died()))

    def test_a_large_invite_without_an_answer_was_fragmented(self) -> None:
        a, b = self.phones()
        self.world.set_ring_seconds(b.number, 60)
        call = a.invite(b.number, a.sdp() + b"".join(b"a=x-%d:%s\r\n" % (i, b"y" * 60) for i in range(20)))
        b.expect("INVITE")
        call.refused(480, 40)
        self.assertEqual("fragmented", self.record(a, b)["legs"][0]["reason"])

    def test_a_cancel_that_is_never_answered(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        b.ring(invite)
        call.provisional(180)
        call.cancel()
        call.refused(487)
        b.expect("CANCEL")
        self.ended(a, b, "cancelled", "NO ANSWER", "caller")

    def test_we_refresh_a_phone_that_leaves_it_to_us(self) -> None:
        a, b = self.phones()
        call = a.invite(
            b.number, headers=[("Session-Expires", "600;refresher=uas"), *TIMER, ("Allow", "INVITE, UPDATE, BYE")]
        )
        theirs = b.answer(b.expect("INVITE"), ack=False)
        ours = call.connected()
        b.expect("ACK")
        for _ in range(3):
            update = a.expect("UPDATE", 301)
            self.assertEqual((b"", "uac"), (update.body, update.one("Session-Expires").partition("=")[2]))
            a.respond(update, 200, headers=[("Session-Expires", "600;refresher=uac"), ("Contact", a.contact)])
        b.quiet(0.1, "OPTIONS")
        self.hang_up(a, ours, b, theirs)

    def test_a_phone_without_update_is_refreshed_by_reinvite(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number)
        theirs = b.answer(b.expect("INVITE"), headers=[("Session-Expires", "600;refresher=uac"), *TIMER], ack=False)
        ours = call.connected()
        ack = b.expect("ACK")
        self.assertEqual(b"", ack.body)
        for _ in range(2):
            invite = b.expect("INVITE", 301)
            self.assertIn("m=audio", invite.sdp)
            b.answer(invite, headers=[("Session-Expires", "600;refresher=uac"), *TIMER])
        a.quiet(0.1, "OPTIONS")
        self.hang_up(a, ours, b, theirs)

    def test_the_phone_refreshes(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number, headers=[("Session-Expires", "600;refresher=uac"), *TIMER])
        theirs = b.answer(b.expect("INVITE"), ack=False)
        ours = call.connected()
        b.expect("ACK")
        for index in range(4):
            # At its latest once, which is allowed too.
            self.idle(b, 300.0 if index % 2 else 560.0)
            sent = a.request(ours, "UPDATE", [("Session-Expires", "600;refresher=uac"), *TIMER])
            answer = a.final(sent)
            self.assertEqual("600;refresher=uac", answer.one("Session-Expires"))
        self.assertIsNone(self.world.records(a.number, b.number)[0]["end"])
        self.hang_up(a, ours, b, theirs)

    def test_a_phone_that_should_refresh_and_does_not_is_gone(self) -> None:
        a, b = self.phones()
        call = a.invite(b.number, headers=[("Session-Expires", "600;refresher=uac"), *TIMER])
        theirs = b.answer(b.expect("INVITE"), ack=False)
        ours = call.connected()
        b.expect("ACK")
        started = self.world.loop.time()
        a.take_bye(ours, 601)
        self.assertGreater(self.world.loop.time() - started, 500)
        b.take_bye(theirs)
        self.ended(a, b, "session_expired", "ANSWERED", "pbx")

    def test_a_dead_phone_without_timers_ends_the_call(self) -> None:
        """It knows no session timers: it is asked by OPTIONS, at half of ours."""
        a, b = self.phones()
        ours, _theirs = self.connect(a, b)
        b.wire.deaf = True
        self.idle(a, 1000)
        a.take_bye(ours)
        self.ended(a, b, "session_expired", "ANSWERED", "pbx")

    def test_a_phone_that_knows_the_call_no_more(self) -> None:
        """481 to the question whether it is alive."""
        a, b = self.phones()
        ours, _theirs = self.connect(a, b)
        b.respond(b.expect("OPTIONS", 901), 481)
        a.take_bye(ours, 40)
        self.assertEqual("session_expired", self.record(a, b)["cause"])

    def test_sound_that_stopped_and_a_phone_that_does_not_answer(self) -> None:
        a, b = self.phones()
        ours, _theirs = self.connect(a, b)
        [id] = self.world.board.calls
        leg = self.world.board.calls[id].callee
        wall = self.world.clock.wall()
        self.world.media.figures[id] = [Heard(leg.tag, 500, 80000, 0, 1.0, wall, wall + 1, 0)]
        b.wire.deaf = True
        a.take_bye(ours, 130)
        row = self.ended(a, b, "media_timeout", "ANSWERED", "pbx")
        self.assertEqual(
            (b.number, a.number, 500), tuple(row["media"][0][k] for k in ("from_number", "to_number", "packets"))
        )

    def test_silence_alone_ends_nothing(self) -> None:
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        [id] = self.world.board.calls
        leg = self.world.board.calls[id].callee
        wall = self.world.clock.wall()
        self.world.media.figures[id] = [Heard(leg.tag, 500, 80000, 0, 1.0, wall, wall + 1, 0)]
        for _ in range(3):
            b.respond(b.expect("OPTIONS", 130), 200)
        self.hang_up(a, ours, b, theirs)
