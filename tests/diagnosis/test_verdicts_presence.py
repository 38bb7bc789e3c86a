"""Verdicts on phones that are registered, were, or find no room."""

from __future__ import annotations

import unittest

from pbx.diagnosis.explain import number_verdicts
from pbx.diagnosis.verdict import Confidence, Repair, Severity, Stage
from tests.diagnosis.evidence_made import (
    ELSEWHERE,
    ago,
    another_device,
    asked,
    attempt,
    device,
    ended_device,
    evidence,
    extension,
    period,
)


def codes(found) -> list[str]:
    return [verdict.code for verdict in found]


class RegisteredTests(unittest.TestCase):
    def test_a_healthy_phone(self):
        (verdict,) = number_verdicts(evidence(devices=(device(),)))
        self.assertEqual(("registered", Severity.OK), (verdict.code, verdict.severity))
        self.assertEqual("Nothing has to be done.", verdict.do)
        self.assertIsNone(verdict.stopped_at)

    def test_two_phones(self):
        (verdict,) = number_verdicts(evidence(devices=(device(), another_device())))
        self.assertIn("2 phones", verdict.what)
        self.assertEqual(2, len(verdict.evidence))

    def test_the_old_password_is_a_warning_with_the_time(self):
        (verdict,) = number_verdicts(evidence(devices=(device(old_password=True),)))
        self.assertEqual(("registered", Severity.WARNING, Repair.PASSWORD),
                         (verdict.code, verdict.severity, verdict.repair))
        self.assertIn("old password", verdict.why)
        self.assertRegex(verdict.why, r"at \d\d:50 ")

    def test_one_of_two_does_not_answer(self):
        (verdict,) = number_verdicts(evidence(devices=(device(), another_device(silent_since=ago(minutes=3)))))
        self.assertIn("1 other phone", verdict.why)


class GuessedTests(unittest.TestCase):
    def test_a_stranger_does_not_accuse_the_healthy_phone(self):
        row = attempt("wrong_password", source=ELSEWHERE, user_agent="friendly-scanner",
                      asked=asked(call_id="s", contact="sip:1001@1.1.1.1"))
        verdicts = number_verdicts(evidence(row, devices=(device(),)))
        self.assertEqual(["registered", "guessed_at"], codes(verdicts))
        self.assertIs(verdicts[1].severity, Severity.INFO)
        self.assertIn(ELSEWHERE, verdicts[1].what)

    def test_whoever_knew_the_password_is_no_stranger(self):
        row = attempt("expires_too_short", source=ELSEWHERE, proven=True, user_agent="other",
                      asked=asked(call_id="s", contact="sip:1001@1.1.1.1", expires=5))
        verdicts = number_verdicts(evidence(row, devices=(device(),)))
        self.assertEqual(["registered", "expires_too_short"], codes(verdicts))

    def test_without_a_phone_a_scanner_is_still_a_scanner(self):
        row = attempt("wrong_password", source=ELSEWHERE, user_agent="friendly-scanner")
        self.assertEqual(["nothing_received", "guessed_at"], codes(number_verdicts(evidence(row))))

    def test_an_office_with_many_failing_phones_is_no_scanner(self):
        row = attempt("wrong_password", source=ELSEWHERE, numbers_from_source=20, source_known=True)
        self.assertEqual(["wrong_password"], codes(number_verdicts(evidence(row))))


class EndedTests(unittest.TestCase):
    def test_an_app_that_went_to_sleep(self):
        (verdict,) = number_verdicts(evidence(devices=(ended_device(),)))
        self.assertEqual(("expired", Confidence.LIKELY, Stage.PHONE),
                         (verdict.code, verdict.confidence, verdict.stopped_at))
        self.assertIn("sleep", verdict.why)
        self.assertIn("Battery", verdict.do)

    def test_a_desk_phone_does_not_sleep(self):
        (verdict,) = number_verdicts(evidence(devices=(ended_device(user_agent="Grandstream GXP1625"),)))
        self.assertNotIn("sleep", verdict.why)
        self.assertIn("power", verdict.do)

    def test_a_habit_is_counted(self):
        periods = (period(1), period(3), period(6), period(9, "signed_off"))
        (verdict,) = number_verdicts(evidence(devices=(ended_device(),), periods=periods))
        self.assertIn("3 times", verdict.why)

    def test_signed_off(self):
        gone = device(refreshed_at=ago(minutes=5), expires_at=ago(minutes=5), signed_off=True)
        (verdict,) = number_verdicts(evidence(devices=(gone,)))
        self.assertEqual(("signed_off", Severity.INFO), (verdict.code, verdict.severity))

    def test_silent_while_registered(self):
        quiet = device(silent_since=ago(minutes=4))
        (verdict,) = number_verdicts(evidence(devices=(quiet,)))
        self.assertEqual(("nat_keepalive_lost", Stage.REACHABLE), (verdict.code, verdict.stopped_at))
        self.assertIn("calls do not reach it", verdict.what)

    def test_a_dead_phone_in_the_office_has_no_router_to_blame(self):
        quiet = device(silent_since=ago(minutes=4), source="192.168.1.20", port=5062)
        (verdict,) = number_verdicts(evidence(devices=(quiet,)))
        self.assertEqual(("nat_keepalive_lost", Stage.REACHABLE), (verdict.code, verdict.stopped_at))
        self.assertIn("switched off", verdict.why)
        self.assertNotIn("router", verdict.why + verdict.do)
        self.assertIs(verdict.repair, Repair.FORGET_DEVICES)

    def test_silent_because_it_came_back_with_a_wrong_password(self):
        quiet = device(silent_since=ago(minutes=9), refreshed_at=ago(minutes=30))
        verdicts = number_verdicts(evidence(attempt("wrong_password"), devices=(quiet,)))
        self.assertEqual(["wrong_password", "nat_keepalive_lost"], codes(verdicts))


class RoomTests(unittest.TestCase):
    def test_too_many_devices_stands_before_the_registered_one(self):
        row = attempt("too_many_devices", source=ELSEWHERE, proven=True, asked=asked(call_id="n", contact="sip:a@b"))
        verdicts = number_verdicts(evidence(row, devices=(device(),), extension=extension(max_devices=1)))
        self.assertEqual(["too_many_devices", "registered"], codes(verdicts))
        self.assertIs(verdicts[0].repair, Repair.FORGET_DEVICES)
        self.assertIn("Forget", verdicts[0].do)
        self.assertIn("Zoiper", verdicts[0].evidence[-1])

    def test_there_is_room_again(self):
        (verdict,) = number_verdicts(evidence(attempt("too_many_devices", proven=True)))
        self.assertIn("room again", verdict.why)

    def test_too_short_a_time(self):
        (verdict,) = number_verdicts(evidence(attempt("expires_too_short", proven=True, asked=asked(expires=10))))
        self.assertEqual(("expires_too_short", Stage.REGISTERED), (verdict.code, verdict.stopped_at))
        self.assertIn("10 seconds", verdict.why)
        self.assertIn("60 seconds or more", verdict.do)

