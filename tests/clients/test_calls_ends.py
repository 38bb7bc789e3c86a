"""Calls that do not come about, as the people at real phones see them: busy, declined, given up, answered elsewhere."""

from __future__ import annotations

from tests.support import wire
from tests.support.baresip import Baresip
from tests.support.calling import LOW, MIDDLE, CallCase
from tests.support.cases import OnSqlite
from tests.support.linphone import Linphone
from tests.support.media_engines import OnOurRelay
from tests.support.processes import wait_until


def final_answers(phone: Linphone | Baresip, method: str = "INVITE") -> list[int]:
    """The final answers to its requests of this method, without the challenge."""
    printed = phone.log if isinstance(phone, Linphone) else phone.program.log
    return [
        one.status for one in wire.messages(printed)
        if one.method == method and one.status >= 200 and one.status not in (401, 407)
        and f"sip:{phone.number}@" in one.get("From")
    ]


class EndingTests(CallCase):
    def test_somebody_who_is_talking_on_a_phone_for_one_call_is_busy(self):
        ann, ben, carl = self.baresip(LOW), self.baresip(MIDDLE, calls_at_once=1), self.linphone()
        ann.dial(ben.number)
        ben.answer_next()
        self.expect_talk(ann, LOW, ben, MIDDLE)
        carl.dial(ben.number)
        record = self.record(carl.number, ben.number)
        self.assertEqual(record.outcome, ("BUSY", "busy"))
        self.assertIsNone(record.answer)
        self.assertEqual([leg["code"] for leg in record.legs], [486])
        wait_until(lambda: final_answers(carl) == [486], "linphone to be told that it is busy there")
        # The call that was there is not disturbed.
        self.expect_talk(ann, LOW, ben, MIDDLE)

    def test_baresip_rejects_a_call(self):
        ann, ben = self.linphone(), self.baresip()
        mark = ann.dial(ben.number)
        ben.wait_event("CALL_INCOMING")
        ben.command("hangup")
        ann.program.wait_for(r"Call 1 with .* error", after=mark)
        self.assertEqual(self.record(ann.number, ben.number).outcome, ("BUSY", "busy"))
        wait_until(lambda: final_answers(ann) == [486], "linphone to get the 486")

    def test_linphone_declines_a_call(self):
        ann, ben = self.baresip(), self.linphone()
        ann.dial(ben.number)
        ben.wait_ringing()
        ben.say("terminate")
        self.assertIn("603", ann.wait_event("CALL_CLOSED")["param"])
        record = self.record(ann.number, ben.number)
        self.assertEqual(record.outcome, ("BUSY", "declined"))
        self.assertEqual([leg["code"] for leg in record.legs], [603])

    def test_nobody_answers(self):
        ann, ben = self.baresip(), self.linphone()
        self.pbx.manage(
            "shell", "-c",
            "from extensions.models import Extension\n"
            f"ben = Extension.objects.get(number='{ben.number}')\nben.ring_seconds = 5\nben.save()",
        )
        ann.dial(ben.number)
        ben.wait_ringing()
        self.assertIn("480", ann.wait_event("CALL_CLOSED")["param"])
        ben.wait_ended()
        record = self.record(ann.number, ben.number)
        self.assertEqual(record.outcome, ("NO ANSWER", "no_answer"))
        self.assertIn(record.duration, (5, 6, 7))
        ben.say("call-logs")
        ben.program.wait_for("Status: missed")

    def test_the_caller_gives_up_before_the_answer(self):
        ann, ben = self.linphone(), self.baresip()
        mark = ann.dial(ben.number)
        ben.wait_event("CALL_INCOMING")
        ann.program.wait_for("ringing", after=mark)
        ann.say("terminate")
        ben.wait_event("CALL_CLOSED")
        ann.wait_ended(mark)
        record = self.record(ann.number, ben.number)
        self.assertEqual((*record.outcome, record.hung_up_by), ("NO ANSWER", "cancelled", "caller"))
        wait_until(lambda: final_answers(ann) == [487], "linphone to get the 487")
        wait_until(
            lambda: [leg["state"] for leg in self.record(ann.number, ben.number).legs] == ["failed"],
            "the device that rang to be shown as not reached",
        )

    def test_the_caller_gives_up_and_linphone_shows_a_missed_call(self):
        ann, ben = self.baresip(), self.linphone()
        ann.dial(ben.number)
        ben.wait_ringing()
        ann.command("hangup")
        ben.wait_ended()
        ben.say("call-logs")
        ben.program.wait_for("Status: missed")
        self.assertEqual(self.record(ann.number, ben.number).outcome, ("NO ANSWER", "cancelled"))

    def test_two_phones_of_one_extension_ring_and_the_other_shows_no_missed_call(self):
        ann, desk = self.baresip(LOW), self.baresip(MIDDLE)
        pocket = self.linphone(number=desk.number)
        ann.dial(desk.number)
        pocket.wait_ringing()
        desk.answer_next()
        pocket.wait_ended()
        self.expect_talk(ann, LOW, desk, MIDDLE)
        (cancel,) = [one for one in wire.messages(pocket.log) if one.method == "CANCEL" and not one.status]
        self.assertEqual(cancel.get("Reason"), 'SIP;cause=200;text="Call completed elsewhere"')
        pocket.say("call-logs")
        self.assertIn("elsewhere", pocket.program.wait_for(r"Status: (.+)")[1])
        ann.command("hangup")
        record = self.record(ann.number, desk.number)
        self.assertEqual(record.outcome, ("ANSWERED", "normal"))
        self.assertEqual(sorted(leg["state"] for leg in record.legs), ["answered", "failed"])

    def test_one_of_two_phones_declines_and_the_other_takes_the_call(self):
        ann, desk = self.baresip(LOW), self.baresip(MIDDLE)
        pocket = self.linphone(number=desk.number)
        ann.dial(desk.number)
        pocket.wait_ringing()
        pocket.say("terminate")
        pocket.wait_ended()
        desk.answer_next()
        self.expect_talk(ann, LOW, desk, MIDDLE)
        ann.command("hangup")
        record = self.record(ann.number, desk.number)
        self.assertEqual({leg["state"]: leg["code"] for leg in record.legs}, {"answered": 200, "failed": 603})

    def test_somebody_whose_phone_is_off_and_a_number_that_does_not_exist(self):
        ann, off = self.baresip(), self.new_extension()
        for number, status, cause in ((off, "480", "not_registered"), ("4711", "404", "unknown_number")):
            mark = ann.dial(number)
            self.assertIn(status, ann.wait_event("CALL_CLOSED", after=mark)["param"])
            self.assertEqual(self.record(ann.number, number).outcome, ("FAILED", cause))

    def test_somebody_from_whom_nothing_is_heard_is_named_in_the_record(self):
        ann, ben = self.baresip(LOW), self.linphone()  # without a sound card it sends nothing
        ann.dial(ben.number)
        ben.answer_next()
        ann.program.wait_for(r"\[0:00:02\] audio=")  # seconds of talk
        ann.command("hangup")
        record = self.record(ann.number, ben.number)
        self.assertEqual(record.heard_from(ben.number)["packets"], 0)
        self.assertIsNone(record.heard_from(ben.number)["first_at"])
        heard = record.heard_from(ann.number)
        self.assertGreater(heard["packets"], 40)
        self.assertLess(heard["first_at"], heard["last_at"])

    def test_texts_from_linphone_to_linphone_and_to_baresip(self):
        ann, ben, carl = self.linphone(), self.linphone(), self.baresip()
        ann.say(f"chat sip:{ben.number}@{self.pbx.domain} Salom, ishlar qalay?")
        self.assertEqual(
            ben.program.wait_for(r"Message received from (\S+): (.*)").groups(),
            (f"sip:{ann.number}@{self.pbx.domain}", "Salom, ishlar qalay?"),
        )
        ann.say(f"chat sip:{carl.number}@{self.pbx.domain} Tushlik?")
        carl.program.wait_for("Tushlik[?]")
        wait_until(lambda: final_answers(ann, "MESSAGE") == [200, 200], "both texts to be confirmed")
        off = self.new_extension()
        ann.say(f"chat sip:{off}@{self.pbx.domain} Bormisan?")
        wait_until(lambda: final_answers(ann, "MESSAGE") == [200, 200, 480], "the third text to be refused")


class Endings(EndingTests, OnOurRelay, OnSqlite):
    pass


del EndingTests  # the loader would take it for a case of its own
