"""Messages of real flows as an arrow diagram in plain words."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from itertools import count

from django.test import SimpleTestCase, TestCase
from django.utils import timezone, translation

from pbx.diagnosis import ladder as ladders
from pbx.diagnosis.ladder import Ladder, ladder_of, ladder_of_call, ladders_of_number
from pbx.diagnosis.models import Attempt, CallTrace, WatchedMessage
from sipcore.evidence.facts import WireMessage
from tests.calls.rows import ended, write
from tests.calls_flow.case import FlowCase
from tests.diagnosis.kept import kept, only_trace
from tests.engine.calls_under_test import PASSWORD, CallWorld

SECRETS = ("nonce=", "response=", PASSWORD)


class TickingClock:
    """No two messages at the same moment, as in the world outside."""

    def __init__(self, clock) -> None:
        self._clock, self._ticks = clock, count(1)
        self.now = clock.now

    def wall(self) -> float:
        return self._clock.wall() + next(self._ticks) * 1e-5


class WorldCase(FlowCase):
    def setUp(self) -> None:
        super().setUp()
        self.world = CallWorld()
        self.addCleanup(self.world.close)
        core = self.world.core
        core._clock = core.recorder._clock = core._short_way.__self__._clock = TickingClock(self.world.clock)
        english = translation.override("en")
        english.__enter__()
        self.addCleanup(english.__exit__, None, None, None)


def drawn(ladder: Ladder) -> list[tuple[str, str]]:
    return [(arrow.way, arrow.label) for arrow in ladder.arrows]


def words(ladder: Ladder) -> str:
    return "\n".join(f"{arrow.way} {arrow.label}: {arrow.caption}" for arrow in ladder.arrows)


class RegistrationTests(WorldCase):
    def watched(self, number: str) -> Ladder:
        messages = [one.message for one in kept(self.world, 0.0).watched if one.number == number]
        return ladder_of(messages)

    def test_the_normal_two_steps_are_no_failure(self):
        number = self.world.new_number()
        self.world.core.recorder.watch(frozenset({number}))
        phone = self.phone(number)
        ladder = self.watched(number)
        self.assertEqual(f"Registration of {number}", ladder.title)
        self.assertEqual([number, "PBX"], [str(column) for column in ladder.columns])
        self.assertIn(f"Tester {number}", ladder.columns[0].detail)
        self.assertEqual([
            (f"{number} → PBX", "REGISTER"), (f"PBX → {number}", "401 Unauthorized"),
            (f"{number} → PBX", "REGISTER"), (f"PBX → {number}", "200 OK"),
        ], drawn(ladder))
        captions = [arrow.caption for arrow in ladder.arrows]
        self.assertEqual("Step 1 of 2: the phone knocks.", captions[0])
        self.assertEqual("Normal, step 1 of 2: we ask for the password.", captions[1])
        self.assertEqual("Step 2 of 2: the phone proves its password.", captions[2])
        self.assertTrue(captions[3].startswith("Registered until "), captions[3])
        self.assertEqual(["normal", "normal", "normal", "good"], [arrow.tone for arrow in ladder.arrows])
        for arrow in ladder.arrows:
            for secret in ("nonce=\"0", PASSWORD):
                self.assertNotIn(secret, arrow.text)
        phone.register(expires=0)
        self.assertIn("Signed off, as the phone wished.", words(self.watched(number)))

    def test_a_wrong_password_is_named(self):
        number = self.world.new_number()
        phone = self.world.phone(number, register=False, password="another one")
        self.addCleanup(phone.close)
        with self.assertRaises(AssertionError):
            phone.register()
        [attempt] = kept(self.world, 0.0).attempts
        ladder = ladder_of(attempt.messages, attempt.cause)
        self.assertEqual("403 Forbidden", ladder.arrows[-1].label)
        self.assertEqual(("Refused: wrong password.", "bad"), (ladder.arrows[-1].caption, ladder.arrows[-1].tone))
        self.assertNotIn("bad", [arrow.tone for arrow in ladder.arrows[:-1]])

    def test_repetitions_are_one_arrow(self):
        number = self.world.new_number()
        phone = self.world.phone(number, register=False, password=None)
        self.addCleanup(phone.close)
        lines = [("From", f"<{phone.aor}>;tag=1"), ("To", f"<{phone.aor}>"), ("Call-ID", "again"),
                 ("CSeq", "1 REGISTER"), ("Contact", phone.contact)]
        for _ in range(3):
            phone.send("REGISTER", f"sip:{phone.domain}", lines, branch="z9hG4bKagain")
            self.world.pass_time(1)
        [attempt] = kept(self.world, 0.0).attempts
        ladder = ladder_of(attempt.messages, attempt.cause)
        self.assertEqual(["REGISTER", "401 Unauthorized"], [arrow.label for arrow in ladder.arrows])
        self.assertEqual([2, 2], [arrow.repeated for arrow in ladder.arrows])
        self.assertIn("our answer did not arrive", ladder.arrows[0].caption)
        self.assertEqual("bad", ladder.arrows[0].tone)


class CallTests(WorldCase):
    def trace(self) -> Ladder:
        return ladder_of(only_trace(self.world))

    def test_a_good_call_leaves_nothing(self):
        a, b = self.phones()
        ours, theirs = self.connect(a, b)
        self.hang_up(a, ours, b, theirs)
        self.assertEqual({}, kept(self.world).traces)

    def test_a_busy_phone_caller_at_the_left_pbx_in_the_middle(self):
        a, b = self.phones()
        call = a.invite(b.number)
        invite = b.expect("INVITE")
        b.ring(invite)
        call.provisional(180)
        b.respond(invite, 486, "Busy Here")
        call.refused(486)
        ladder = self.trace()
        self.assertEqual([a.number, "PBX", b.number], [str(column) for column in ladder.columns])
        self.assertEqual(f"Call from {a.number} to {b.number}", ladder.title)
        way = {"a": f"{a.number} → PBX", "A": f"PBX → {a.number}", "b": f"{b.number} → PBX", "B": f"PBX → {b.number}"}
        expected = [("a", "INVITE"), ("A", "401 Unauthorized"), ("a", "ACK"), ("a", "INVITE"), ("A", "100 Trying"),
                    ("B", "INVITE"), ("b", "180 Ringing"), ("A", "180 Ringing"), ("b", "486 Busy Here"), ("B", "ACK"),
                    ("A", "486 Busy Here"), ("a", "ACK")]
        self.assertEqual([(way[who], what) for who, what in expected], drawn(ladder))
        text = words(ladder)
        for sentence in (f"{a.number} calls {b.number}.", "Normal: we ask for the password first.",
                         f"{a.number} calls {b.number} and proves its password.",
                         f"The PBX rings {b.number}: {a.number} calls.", f"{b.number} rings.",
                         f"The PBX tells {a.number}: it rings there.", f"{b.number} is busy", "Heard, says the PBX.",
                         "Not connected: it is busy there", "Heard, says the phone."):
            self.assertIn(sentence, text)
        self.assertNotIn(PASSWORD, "".join(arrow.text for arrow in ladder.arrows))
        self.assertEqual(["bad", "bad"], [arrow.tone for arrow in ladder.arrows if arrow.label.startswith("486")])

    def test_hold_resume_and_hanging_up_of_a_watched_call(self):
        a, b = self.phones()
        self.world.core.recorder.watch(frozenset({a.number}))
        ours, theirs = self.connect(a, b)
        for version, direction, answer in ((2, "sendonly", "recvonly"), (3, "sendrecv", "sendrecv")):
            sent = a.reinvite(ours, a.sdp(direction, version=version))
            again = b.expect("INVITE")
            b.respond(again, 200, "OK", [("Contact", b.contact)], b.sdp(answer, version=version))
            b.expect("ACK")
            a.ack(ours, a.final(sent).cseq)
        self.hang_up(a, ours, b, theirs)
        text = words(self.trace())
        for sentence in (f"{b.number} answers the call.", f"{a.number} confirms: it is connected.",
                         f"{a.number} puts the other party on hold.", f"The PBX puts {b.number} on hold.",
                         f"{a.number} takes the other party back from hold.", f"{a.number} hangs up.",
                         f"The PBX hangs up on {b.number}.", "Agreed, says the phone."):
            self.assertIn(sentence, text)

    def test_an_answer_that_is_never_confirmed(self):
        a, b = self.phones()
        call = a.invite(b.number)
        b.answer(b.expect("INVITE"))
        call.final()
        self.world.pass_time(40)
        ladder = self.trace()
        answer = next(arrow for arrow in ladder.arrows if arrow.label == "200 OK" and arrow.way.endswith(a.number))
        self.assertGreater(answer.repeated, 5)
        self.assertIn("did not confirm", answer.caption)
        self.assertEqual("bad", answer.tone)
        self.assertIn("the phone never confirmed that it was answered", words(ladder))

    def test_who_was_not_first_hears_that_another_has_answered(self):
        a = self.phone()
        first, second = self.devices(2)
        self.world.core.recorder.watch(frozenset({a.number}))
        call = a.invite(first.number)
        ringing = [phone.expect("INVITE") for phone in (first, second)]
        for phone, invite in zip((first, second), ringing, strict=True):
            phone.ring(invite)
        theirs = first.answer(ringing[0], ack=False)
        ours = call.connected()
        first.expect("ACK")
        second.respond(second.expect("CANCEL"), 200)
        second.respond(ringing[1], 487, "Request Terminated")
        self.hang_up(a, ours, first, theirs)
        ladder = self.trace()
        self.assertEqual([a.number, "PBX", first.number, first.number], [str(column) for column in ladder.columns])
        self.assertIn(f"{first.number} need not ring any more: another phone has answered.", words(ladder))
        self.assertIn(f"{first.number} has stopped ringing, as it was told.", words(ladder))
        self.assertIn("pbx-from-1-to-3 pbx-right", [arrow.place for arrow in ladder.arrows])

    def test_a_call_of_a_watched_phone_is_shown_while_it_goes_on(self):
        a, b = self.phones()
        self.world.core.recorder.watch(frozenset({b.number}))
        ours, theirs = self.connect(a, b)
        self.world.board.every_second()
        [trace] = kept(self.world, 0.0).traces.values()
        self.assertEqual({a.number, b.number}, {message.number for message in trace.messages})
        self.world.board.every_second()
        self.assertEqual({}, kept(self.world, 0.0).traces, "written again without news")
        self.hang_up(a, ours, b, theirs)
        [trace] = kept(self.world).traces.values()
        self.assertIn("BYE", [message.text.partition(" ")[0] for message in trace.messages])

    def test_a_number_that_does_not_exist(self):
        a = self.phone()
        a.invite("4711").refused(404)
        ladder = self.trace()
        self.assertEqual([a.number, "PBX"], [str(column) for column in ladder.columns])
        self.assertIn("Not connected: there is no such number.", words(ladder))

    def test_the_doctors_calls_leave_no_message(self):
        a = self.phone()
        directory = self.world.directory
        directory.by_number[a.number] = replace(directory.by_number[a.number], hidden=True)
        parties = directory.parties

        def hidden(numbers, now):
            return {name: replace(party, hidden=True) for name, party in parties(numbers, now).items()}

        directory.parties = hidden
        a.invite("4711").refused(404)
        self.assertEqual({}, kept(self.world).traces)


class HostileTests(SimpleTestCase):
    def message(self, text: str, at: float = 1.0, sent: bool = False) -> WireMessage:
        return WireMessage(at, sent, "UDP", "192.0.2.1:5060", "203.0.113.9:5062", len(text), text)

    def test_whatever_a_message_holds_it_becomes_an_arrow(self):
        for text in ("", "\0", "\r\n\r\n", "x" * 20_000, "REGISTER", "SIP/2.0", "SIP/2.0 999999 x", "SIP/2.0 200",
                     "SIP/2.0 ٣٣٣ x\r\n", ":\r\n" * 3000, "INVITE sip:%s%(x)s SIP/2.0\r\nTo: <sip:%d@x>\r\n\r\nm=audio",
                     "REGISTER sip:x SIP/2.0\r\nCSeq: 99999999999999999999 REGISTER\r\nContact: <\r\nExpires: 0\r\n",
                     "SIP/2.0 480 %(phone)s %d\r\nCSeq: 1 INVITE\r\n", "SIP/2.0 599 %(phone)s\r\nCSeq: 1 INVITE\r\n",
                     "SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\nContact: <sip:x>;expires=99999999999\r\n",
                     "\ud800 \u202e\x1b[2J SIP/2.0\r\n"):
            with self.subTest(text[:30]):
                for sent in (False, True):
                    [arrow] = ladder_of([self.message(text, sent=sent)]).arrows
                    self.assertTrue(arrow.caption)
                    self.assertLess(len(arrow.label) + len(arrow.caption), 500)

    def test_times_out_of_this_world(self):
        for at in (-1.0, 1e300, float("inf")):
            self.assertEqual(1, len(ladder_of([self.message("x", at)]).arrows))

    def test_a_long_conversation_keeps_its_beginning_and_its_end(self):
        texts = [f"OPTIONS sip:x SIP/2.0\r\nCall-ID: a\r\nCSeq: {n} OPTIONS\r\n\r\n" for n in range(500)]
        ladder = ladder_of([self.message(text, at) for at, text in enumerate(texts)])
        self.assertEqual(ladders.MOST_ARROWS, len(ladder.arrows))
        self.assertEqual(500 - ladders.MOST_ARROWS, ladder.left_out)
        self.assertEqual(499.0, ladder.arrows[-1].after)

    def test_reading_takes_no_longer_than_a_message_is_long(self):
        started = time.process_time()
        for text in ("a: <" * 16_000, "SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\nContact: " + "<;" * 32_000, ";" * 65_000):
            ladder_of([self.message(text)])
        self.assertLess(time.process_time() - started, 1.0)


class StoredTests(TestCase):
    def wire(self, at: float, call_id: str, text: str = "REGISTER sip:x SIP/2.0", sent: bool = False) -> dict:
        text = f"{text}\r\nCall-ID: {call_id}\r\nCSeq: {at:.0f} REGISTER\r\nTo: <sip:1001@x>\r\n\r\n"
        return asdict(WireMessage(at, sent, "UDP", "192.0.2.1:5060", "203.0.113.9:5062", len(text), text))

    def test_failures_and_what_was_watched_newest_first(self):
        now = time.time()
        moment = timezone.now()
        failure = [self.wire(now - 50, "a"), self.wire(now - 49, "a", "SIP/2.0 403 Forbidden", True)]
        Attempt.objects.create(number="1001", source="203.0.113.9", port=5062, transport="UDP", cause="wrong_password",
                               first_at=moment, last_at=moment, messages=failure)
        for message in (*failure, self.wire(now - 5, "a"), self.wire(now - 4, "b")):
            WatchedMessage.objects.create(number="1001", call_id="a", at=moment, message=message)
        found = ladders_of_number("1001")
        self.assertEqual(3, len(found), "a failure that was watched is shown once, a pause begins anew")
        with translation.override("en"):
            self.assertEqual("Refused: wrong password.", ladders_of_number("1001")[-1].arrows[-1].caption)
        self.assertEqual(sorted((one.ended for one in found), reverse=True), [one.ended for one in found])
        self.assertEqual([one.key for one in found], [one.key for one in ladders_of_number("1001")])

    def test_rows_of_another_version_are_read_as_far_as_they_go(self):
        moment = timezone.now()
        Attempt.objects.create(
            number="1001", source="x", port=1, transport="UDP", cause="later", first_at=moment, last_at=moment,
            messages=[{"at": 1, "text": "x"}, None, "x", {**self.wire(1, "a"), "more": 1},
                      {**self.wire(2, "a"), "at": "?"}],
        )
        [ladder] = ladders_of_number("1001")
        self.assertEqual(1, len(ladder.arrows))

    def test_of_a_call(self):
        call = write(ended("pbx1-9.1"))
        self.assertIsNone(ladder_of_call(call))
        CallTrace.objects.create(uniqueid="pbx1-9.1", messages=[self.wire(1, "a", "INVITE sip:1002@x SIP/2.0")])
        with translation.override("en"):
            self.assertEqual("Call from 1001 to 1002", ladder_of_call(call).title)
