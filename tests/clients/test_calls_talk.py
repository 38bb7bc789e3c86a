"""Real phones call each other through the PBX, and each hears what the other says: baresip and linphonec, over our own
relay and over rtpengine."""

from __future__ import annotations

from tests.support.calling import HIGH, LOW, MIDDLE, CallCase
from tests.support.cases import OnSqlite
from tests.support.media_engines import OnOurRelay, OnRtpengine


class TalkTests(CallCase):
    def test_two_people_hear_each_other_also_after_each_has_held_the_other(self):
        ann, ben = self.baresip(LOW), self.baresip(MIDDLE)
        ann.dial(ben.number)
        ben.answer_next()
        self.expect_talk(ann, LOW, ben, MIDDLE)
        for holder, held in ((ann, ben), (ben, ann)):
            holder.command("hold")
            held.ear.expect_silence()
            holder.command("resume")
            self.expect_talk(ann, LOW, ben, MIDDLE)
        ann.command("hangup")
        ben.wait_event("CALL_CLOSED")
        record = self.record(ann.number, ben.number)
        self.assertEqual(record.outcome, ("ANSWERED", "normal"))
        self.assertEqual(record.hung_up_by, "caller")
        (leg,) = record.legs
        self.assertEqual((leg["number"], leg["state"], leg["code"]), (ben.number, "answered", 200))
        for speaker, listener in ((ann, ben), (ben, ann)):
            figures = record.heard_from(speaker.number)
            self.assertEqual(figures["to_number"], listener.number)
            # Packets of 20 ms: at least three seconds were listened to above, and none more than the call was long.
            self.assertGreater(figures["packets"], 150)
            self.assertLess(figures["packets"], 50 * (record.billsec + 2))
            self.assertLess(figures["lost"], 10)
            self.assertEqual(figures["foreign_packets"], 0)
            self.assertIsNotNone(figures["last_at"])

    def test_linphone_calls_baresip(self):
        ann, ben = self.linphone(LOW), self.baresip(MIDDLE)
        mark = ann.dial(ben.number)
        ben.answer_next()
        ann.wait_connected(mark)
        self.expect_talk(ann, LOW, ben, MIDDLE)
        ann.say("pause")
        ann.ear.expect_silence()  # to the other it plays music: its own tone
        ann.say("resume")
        self.expect_talk(ann, LOW, ben, MIDDLE)
        ben.command("hangup")
        ann.wait_ended(mark)
        record = self.record(ann.number, ben.number)
        self.assertEqual((*record.outcome, record.hung_up_by), ("ANSWERED", "normal", "callee"))

    def test_baresip_calls_linphone(self):
        ann, ben = self.baresip(LOW), self.linphone(MIDDLE)
        ann.dial(ben.number)
        ben.answer_next()
        self.expect_talk(ann, LOW, ben, MIDDLE)
        ann.command("hold")
        ben.ear.expect_silence()
        ann.command("resume")
        self.expect_talk(ann, LOW, ben, MIDDLE)
        mark = ben.say("terminate")
        ann.wait_event("CALL_CLOSED")
        ben.wait_ended(mark)
        record = self.record(ann.number, ben.number)
        self.assertEqual((*record.outcome, record.hung_up_by), ("ANSWERED", "normal", "callee"))

    def test_linphone_calls_linphone_with_the_codec_they_like_best(self):
        ann, ben = self.linphone(LOW), self.linphone(MIDDLE)
        mark = ann.dial(ben.number)
        ben.answer_next()
        ann.wait_connected(mark)
        self.expect_talk(ann, LOW, ben, MIDDLE)
        self.assertIn("opus", ben.log.partition("SIP/2.0 200")[2].lower())
        ann.say("terminate")
        ben.wait_ended()
        self.assertEqual(self.record(ann.number, ben.number).outcome, ("ANSWERED", "normal"))

    def test_somebody_with_one_phone_hears_himself_at_star_43(self):
        ann = self.baresip(LOW)
        ann.dial("*43")
        ann.wait_event("CALL_ESTABLISHED")
        ann.ear.wait_tone(LOW)
        ann.command("hangup")
        record = self.record(ann.number, "*43")
        self.assertEqual(record.outcome, ("ANSWERED", "normal"))
        self.assertGreater(record.heard_from(ann.number)["packets"], 40)

    def test_linphone_hears_itself_at_star_43(self):
        ann = self.linphone(LOW)
        mark = ann.dial("*43")
        ann.wait_connected(mark)
        ann.ear.wait_tone(LOW)
        ann.say("terminate")
        self.assertEqual(self.record(ann.number, "*43").outcome, ("ANSWERED", "normal"))

    def test_digits_arrive(self):
        ann, ben = self.baresip(LOW), self.baresip(MIDDLE)
        ann.dial(ben.number)
        ben.answer_next()
        ann.wait_event("CALL_ESTABLISHED")
        ben.ear.wait_tone(LOW)
        for digit in "4*9#":
            seen = len(ben.events)
            ann.command("sndcode", digit)
            self.assertEqual(ben.wait_event("CALL_DTMF_START", after=seen)["param"], digit)
            ben.wait_event("CALL_DTMF_END", after=seen)
        ann.command("hangup")

    def test_digits_arrive_at_linphone(self):
        ann, ben = self.baresip(LOW), self.linphone(MIDDLE)
        ann.dial(ben.number)
        ben.answer_next()
        self.expect_talk(ann, LOW, ben, MIDDLE)
        for digit in "17":
            ann.command("sndcode", digit)
            ben.program.wait_for(f"Receiving tone {digit} from")
        ann.command("hangup")

    def test_blind_transfer_by_baresip(self):
        ann, ben, carl = self.baresip(LOW), self.baresip(MIDDLE), self.baresip(HIGH)
        ann.dial(ben.number)
        ben.answer_next()
        self.expect_talk(ann, LOW, ben, MIDDLE)
        ben.command("transfer", f"sip:{carl.number}@{self.pbx.domain}")
        carl.answer_next()
        self.expect_talk(ann, LOW, carl, HIGH)
        ben.wait_event("CALL_CLOSED")
        carl.command("hangup")
        ann.wait_event("CALL_CLOSED")
        self.assertEqual(self.record(ann.number, ben.number).outcome, ("ANSWERED", "transferred"))
        record = self.record(ann.number, carl.number)
        self.assertEqual(record.outcome, ("ANSWERED", "normal"))
        for number in (ann.number, carl.number):
            self.assertGreater(record.heard_from(number)["packets"], 40)

    def test_blind_transfer_by_linphone(self):
        ann, ben, carl = self.baresip(LOW), self.linphone(MIDDLE), self.linphone(HIGH)
        ben.dial(ann.number)
        ann.answer_next()
        self.expect_talk(ann, LOW, ben, MIDDLE)
        mark = ben.say(f"transfer 1 sip:{carl.number}@{self.pbx.domain}")
        carl.answer_next()
        self.expect_talk(ann, LOW, carl, HIGH)
        ben.wait_ended(mark)
        ann.command("hangup")
        carl.wait_ended()
        self.assertEqual(self.record(ann.number, carl.number).outcome, ("ANSWERED", "normal"))

    def test_attended_transfer_by_linphone(self):
        ann, ben, carl = self.baresip(LOW), self.linphone(MIDDLE), self.baresip(HIGH)
        ann.dial(ben.number)
        ben.answer_next()
        self.expect_talk(ann, LOW, ben, MIDDLE)
        ben.say("pause")
        mark = ben.dial(carl.number)
        carl.answer_next()
        ben.wait_connected(mark, call=2)
        self.expect_talk(ben, MIDDLE, carl, HIGH)
        mark = ben.say("transfer 1 --to-call 2")
        self.expect_talk(ann, LOW, carl, HIGH)
        ben.wait_ended(mark)
        ann.command("hold")
        carl.ear.expect_silence()
        ann.command("resume")
        self.expect_talk(ann, LOW, carl, HIGH)
        carl.command("hangup")
        ann.wait_event("CALL_CLOSED")
        self.assertEqual(self.record(ann.number, carl.number).outcome, ("ANSWERED", "normal"))
        for src, dst in ((ann, ben), (ben, carl)):
            self.assertEqual(self.record(src.number, dst.number).outcome, ("ANSWERED", "transferred"))

    def test_attended_transfer_between_linphones(self):
        ann, ben, carl = self.linphone(LOW), self.linphone(MIDDLE), self.linphone(HIGH)
        ben.dial(ann.number)
        ann.answer_next()
        self.expect_talk(ann, LOW, ben, MIDDLE)
        ben.say("pause")
        mark = ben.dial(carl.number)
        carl.answer_next()
        ben.wait_connected(mark, call=2)
        self.expect_talk(ben, MIDDLE, carl, HIGH)
        mark = ben.say("transfer 1 --to-call 2")
        self.expect_talk(ann, LOW, carl, HIGH)
        ben.wait_ended(mark)
        ann.say("terminate")
        carl.wait_ended()
        self.assertEqual(self.record(ann.number, carl.number).outcome, ("ANSWERED", "normal"))


class TalkOverOurRelay(TalkTests, OnOurRelay, OnSqlite):
    pass


class TalkOverRtpengine(TalkTests, OnRtpengine, OnSqlite):
    pass


del TalkTests  # the loader would take it for a case of its own
