"""Verdicts on who a phone says it is and how it proves it."""

from __future__ import annotations

import unittest

from extensions.states import CredentialState
from pbx.diagnosis.causes import credentials
from pbx.diagnosis.explain import number_verdicts
from pbx.diagnosis.verdict import Confidence, Repair, Severity, Stage
from tests.diagnosis.evidence_made import (
    ELSEWHERE,
    HOME,
    LINPHONE,
    ago,
    another_device,
    asked,
    attempt,
    device,
    ended_device,
    evidence,
    extension,
    unknown,
)

ELSEWHERE_ASKED = asked(
    to_uri="sip:1001@other.example", from_uri="sip:1001@other.example", request_uri="sip:other.example"
)


class WrongPasswordTests(unittest.TestCase):
    def test_it_names_the_button_and_what_a_silent_phone_needs(self):
        (verdict,) = number_verdicts(evidence(attempt("wrong_password")))
        self.assertEqual(("wrong_password", Severity.ERROR), (verdict.code, verdict.severity))
        self.assertEqual((Repair.PASSWORD, Stage.PASSWORD), (verdict.repair, verdict.stopped_at))
        self.assertIs(verdict.confidence, Confidence.CERTAIN)
        self.assertIn("press “Password”", verdict.do)
        self.assertIn("switch the account off and on", verdict.do)
        self.assertIn(f"{HOME}:40112", verdict.evidence[0])
        self.assertIn("3 times", verdict.evidence[0])
        self.assertIn("Zoiper", verdict.evidence[0])

    def test_a_phone_from_before_a_change_of_the_password_has_the_old_one(self):
        facts = extension(password_changed_at=ago(minutes=30))
        verdicts = number_verdicts(evidence(attempt("wrong_password"), extension=facts, devices=(ended_device(),)))
        self.assertEqual(["wrong_password", "expired"], [verdict.code for verdict in verdicts])
        self.assertIn("still has the old password", verdicts[0].why)

    def test_another_phone_of_long_ago_says_nothing_about_this_one(self):
        facts = extension(password_changed_at=ago(minutes=30))
        gone = another_device(refreshed_at=ago(hours=20), expires_at=ago(hours=19))
        verdict = number_verdicts(evidence(attempt("wrong_password"), extension=facts, devices=(gone,)))[0]
        self.assertNotIn("old password", verdict.why)

    def test_after_the_button_was_pressed_it_waits_for_the_phone(self):
        facts = extension(password_changed_at=ago(minutes=1))
        (verdict,) = number_verdicts(evidence(attempt("wrong_password"), extension=facts))
        self.assertEqual(("wrong_password", Severity.WARNING), (verdict.code, verdict.severity))
        self.assertIn("has not tried since", verdict.what)
        self.assertIs(verdict.repair, Repair.NONE)

    def test_a_phone_that_fails_on_after_the_button_was_pressed(self):
        facts = extension(password_changed_at=ago(minutes=10))
        (verdict,) = number_verdicts(evidence(attempt("wrong_password"), extension=facts))
        self.assertIs(verdict.severity, Severity.ERROR)
        self.assertIn("has failed before that and after", verdict.why)

    def test_a_second_phone_with_a_wrong_password_stands_behind_the_registered_one(self):
        other = asked(call_id="x", contact="sip:1001@192.168.1.77")
        wrong = attempt("wrong_password", port=1, user_agent=LINPHONE, asked=other)
        verdicts = number_verdicts(evidence(wrong, devices=(device(refreshed_at=ago(minutes=1)),)))
        self.assertEqual(["registered", "wrong_password"], [verdict.code for verdict in verdicts])
        self.assertIn("Another phone", verdicts[1].what)

    def test_the_registered_phone_itself_stands_before_its_registration(self):
        facts = extension(password_changed_at=ago(minutes=5))
        verdicts = number_verdicts(
            evidence(attempt("wrong_password"), extension=facts, devices=(device(old_password=True),))
        )
        self.assertEqual(["wrong_password", "registered"], [verdict.code for verdict in verdicts])
        self.assertNotIn("Another phone", verdicts[0].what)


class CuredTests(unittest.TestCase):
    def test_a_later_registration_cures(self):
        verdicts = number_verdicts(
            evidence(attempt("wrong_password"), devices=(device(refreshed_at=ago(minutes=1)),))
        )
        self.assertEqual(["registered"], [verdict.code for verdict in verdicts])

    def test_the_phone_that_has_moved_cures_its_own_failures(self):
        moved = another_device(call_id="a1b2c3", refreshed_at=ago(minutes=1))
        verdicts = number_verdicts(evidence(attempt("wrong_password"), devices=(moved,)))
        self.assertEqual(["registered"], [verdict.code for verdict in verdicts])

    def test_a_later_step_of_the_same_phone_overtakes_an_earlier_one(self):
        old = attempt("wrong_domain", last_at=ago(minutes=30), asked=ELSEWHERE_ASKED)
        (verdict,) = number_verdicts(evidence(old, attempt("wrong_password")))
        self.assertEqual("wrong_password", verdict.code)

    def test_a_step_back_leaves_both(self):
        old = attempt("wrong_password", last_at=ago(minutes=30))
        verdicts = number_verdicts(evidence(old, attempt("wrong_domain", asked=ELSEWHERE_ASKED)))
        self.assertEqual(["wrong_domain", "wrong_password"], [verdict.code for verdict in verdicts])


class UnknownExtensionTests(unittest.TestCase):
    def test_a_number_that_looks_like_it_is_named(self):
        verdict = number_verdicts(unknown(attempt("unknown_extension", number="1010"), similar=("1001",)))[0]
        self.assertEqual(("unknown_extension", Stage.PASSWORD), (verdict.code, verdict.stopped_at))
        self.assertIn("1001", verdict.why)
        self.assertIs(verdict.repair, Repair.ADD_EXTENSION)

    def test_a_number_of_which_nothing_came(self):
        (verdict,) = number_verdicts(unknown())
        self.assertEqual("There is no extension with the number 1010.", verdict.what)

    def test_a_guesser_is_told_from_a_phone(self):
        row = attempt("unknown_extension", source=ELSEWHERE, numbers_from_source=37, number="admin")
        (verdict,) = number_verdicts(unknown(row, number="admin"))
        self.assertIn("37 numbers", verdict.why)
        self.assertIn("nothing has to be done", verdict.do)
        near = attempt("unknown_extension", source=ELSEWHERE, numbers_from_source=9)
        (verdict,) = number_verdicts(unknown(near, similar=("1001",)))
        self.assertNotIn("Add extension", verdict.do)
        self.assertIs(verdict.repair, Repair.NONE)
        slip = attempt("unknown_extension")
        (verdict,) = number_verdicts(unknown(slip, near, similar=("1001",)))
        self.assertIs(verdict.repair, Repair.ADD_EXTENSION)

    def test_capital_letters_in_the_phone(self):
        row = attempt("unknown_extension", number="FRONT-desk")
        (verdict,) = number_verdicts(evidence(row, number="front-desk", extension=extension(number="front-desk")))
        self.assertIn("FRONT-desk", verdict.what)
        self.assertIn("exactly like this: front-desk", verdict.do)

    def test_an_extension_made_after_the_attempt(self):
        facts = extension(created_at=ago(minutes=1))
        (verdict,) = number_verdicts(evidence(attempt("unknown_extension"), extension=facts))
        self.assertEqual(("unknown_extension", Severity.WARNING), (verdict.code, verdict.severity))
        self.assertIn("now there is", verdict.what)

    def test_another_cause_of_a_number_that_is_none_follows(self):
        row = attempt("challenge_unanswered", number="1010")
        self.assertEqual(
            ["unknown_extension", "challenge_unanswered"],
            [verdict.code for verdict in number_verdicts(unknown(row))],
        )


class StateTests(unittest.TestCase):
    """Of the extension itself: known without any attempt."""

    def test_disabled(self):
        (verdict,) = number_verdicts(evidence(extension=extension(enabled=False)))
        self.assertEqual(("disabled", Repair.ENABLE), (verdict.code, verdict.repair))
        self.assertIn("press “Enable”", verdict.do)

    def test_disabled_and_a_wrong_password_too(self):
        verdicts = number_verdicts(evidence(attempt("wrong_password"), extension=extension(enabled=False)))
        self.assertEqual(["disabled", "wrong_password"], [verdict.code for verdict in verdicts])

    def test_enabled_since(self):
        (verdict,) = number_verdicts(evidence(attempt("disabled")))
        self.assertEqual(("disabled", Severity.WARNING), (verdict.code, verdict.severity))
        self.assertIn("now it is enabled", verdict.what)

    def test_without_a_password(self):
        facts = extension(credential_state=CredentialState.MISSING, password_changed_at=None)
        for rows in ((), (attempt("no_credential"),)):
            (verdict,) = number_verdicts(evidence(*rows, extension=facts))
            self.assertEqual(("no_credential", Repair.PASSWORD), (verdict.code, verdict.repair))
            self.assertIn("The password in the phone is not to blame", verdict.why)

    def test_given_a_password_since(self):
        (verdict,) = number_verdicts(evidence(attempt("no_credential"), extension=extension()))
        self.assertEqual(("no_credential", Severity.WARNING), (verdict.code, verdict.severity))

    def test_another_realm(self):
        facts = extension(credential_state=CredentialState.STALE)
        (verdict,) = number_verdicts(evidence(attempt("stale_credential"), extension=facts))
        self.assertIn("SIP_REALM", verdict.why)

    def test_renamed(self):
        facts = extension(credential_state=CredentialState.STALE, former_number="1007")
        (verdict,) = number_verdicts(evidence(attempt("stale_credential"), extension=facts))
        self.assertIn("1007", verdict.why)
        self.assertIn("user name has to be 1001", verdict.do)

    def test_a_registered_phone_whose_extension_has_lost_its_password(self):
        facts = extension(credential_state=CredentialState.STALE)
        verdicts = number_verdicts(evidence(extension=facts, devices=(device(),)))
        self.assertEqual(["registered", "stale_credential"], [verdict.code for verdict in verdicts])
        self.assertIs(verdicts[0].severity, Severity.WARNING)


class DigestTests(unittest.TestCase):
    def test_another_realm_in_the_phone(self):
        (verdict,) = number_verdicts(evidence(attempt("wrong_realm", asked=asked(digest_realm="asterisk"))))
        self.assertEqual(("wrong_realm", Stage.CHALLENGE), (verdict.code, verdict.stopped_at))
        self.assertIn("asterisk", verdict.why)
        self.assertIn("pbx.example.uz", verdict.do)

    def test_an_algorithm_that_is_not_offered(self):
        row = attempt("unsupported_algorithm", asked=asked(digest_algorithm="SHA-512-256"))
        (verdict,) = number_verdicts(evidence(row))
        self.assertIn("SHA-512-256", verdict.why)
        self.assertIn("MD5", verdict.why)

    def test_a_phone_from_before_qop(self):
        row = attempt("unsupported_algorithm", asked=asked(digest_qop=""))
        (verdict,) = number_verdicts(evidence(row))
        self.assertIn("qop", verdict.why)

    def test_the_cause_functions_are_silent_without_evidence(self):
        for cause in (credentials.wrong_password, credentials.wrong_realm, credentials.unsupported_algorithm,
                      credentials.disabled, credentials.no_credential, credentials.stale_credential,
                      credentials.unknown_extension):
            self.assertIsNone(cause(evidence()), cause.__name__)
