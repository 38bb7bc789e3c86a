"""What the guard's blocks and its slowing look like to the administrator."""

from __future__ import annotations

from datetime import timedelta
from unittest import TestCase

from extensions.states import CredentialState
from pbx.diagnosis.evidence import BlockFacts
from pbx.diagnosis.explain import number_verdicts
from pbx.diagnosis.verdict import Confidence, Repair, Severity, Stage
from tests.diagnosis.evidence_made import (
    ELSEWHERE,
    HOME,
    NOW,
    ago,
    another_device,
    attempt,
    device,
    ended_device,
    evidence,
    extension,
    unknown,
)


def block(**changed) -> BlockFacts:
    facts = {
        "id": 5, "source": HOME, "number": "", "reason": "guessing", "by": "", "since": ago(minutes=3),
        "until": NOW + timedelta(minutes=7), "numbers": tuple(str(number) for number in range(1001, 1009)),
        "tries": 12, "last_try_at": ago(minutes=1), "failures": 8, "user_agent": "Zoiper",
    }
    return BlockFacts(**facts | changed)


def hammered(**changed) -> BlockFacts:
    return block(**{"number": "1001", "reason": "wrong_password", "numbers": ("1001",), "failures": 104, **changed})


def codes(verdicts) -> list[str]:
    return [verdict.code for verdict in verdicts]


class BlockedTests(TestCase):
    def test_it_says_who_blocked_what_until_when_and_what_to_do(self):
        found = number_verdicts(evidence(attempt("blocked"), attempt("wrong_password"), blocks=(hammered(),)))
        first = found[0]
        self.assertEqual((first.code, first.severity), ("blocked", Severity.ERROR))
        self.assertEqual(first.confidence, Confidence.CERTAIN)
        self.assertEqual((first.repair, first.repair_key, first.stopped_at), (Repair.UNBLOCK, 5, Stage.OUR_PORT))
        self.assertIn("the number 1001 from the address 198.51.100.7 until", first.what)
        self.assertIn("wrong password 104 times within ten minutes", first.why)
        self.assertIn("12 messages came from there", first.why)
        self.assertIn("Put the right password of extension 1001 into the phone (Zoiper rv2.10.20.6)", first.do)
        self.assertIn("press “Unblock”", first.do)

    def test_one_that_waits_for_its_password_is_not_said_to_have_a_wrong_one(self):
        """Giving it a password is what ends the block."""
        for state, cause in ((CredentialState.MISSING, "no_credential"), (CredentialState.STALE, "stale_credential")):
            facts = extension(credential_state=state)
            rows = (attempt("blocked"), attempt(cause))
            found = number_verdicts(evidence(*rows, blocks=(hammered(),), extension=facts))
            self.assertEqual((cause, Repair.PASSWORD), (found[0].code, found[0].repair))
            self.assertNotIn("blocked", codes(found))

    def test_a_phone_at_an_address_where_somebody_guessed(self):
        found = number_verdicts(evidence(attempt("blocked"), blocks=(block(),)))
        self.assertEqual(found[0].code, "blocked")
        self.assertIn("answers nothing that comes from the address 198.51.100.7", found[0].what)
        self.assertIn("… 1003, 1004, 1005, 1006, 1007, 1008", found[0].why)
        self.assertEqual(found[0].confidence, Confidence.LIKELY)
        self.assertIn("stranger", found[0].why)
        self.assertIn("If the address 198.51.100.7 is not yours, leave it as it is.", found[0].do)
        self.assertIn("that tried these numbers (… 1003, 1004, 1005, 1006, 1007, 1008)", found[0].do)

    def test_an_administrators_block_names_him(self):
        mine = block(reason="administrator", by="nodira", numbers=())
        found = number_verdicts(evidence(attempt("blocked"), blocks=(mine,)))
        self.assertIn("The administrator nodira blocked it.", found[0].why)
        self.assertIn("If that was a mistake", found[0].do)

    def test_an_administrators_block_of_a_registered_phone_comes_before_registered(self):
        mine = block(reason="administrator", by="nodira")
        found = number_verdicts(evidence(blocks=(mine,), devices=(device(),)))
        self.assertEqual(codes(found), ["blocked", "registered"])
        self.assertEqual(found[0].severity, Severity.ERROR)

    def test_a_second_phone_with_an_old_password_does_not_accuse_the_registered_one(self):
        other = attempt("blocked", port=50999, user_agent="Linphone", asked=attempt("x").asked.__class__(call_id="z"))
        found = number_verdicts(evidence(other, blocks=(hammered(),), devices=(device(),)))
        self.assertEqual(codes(found)[:2], ["registered", "blocked"])
        self.assertEqual(found[1].severity, Severity.WARNING)

    def test_a_stranger_who_had_guessed_at_the_number_elsewhere_concerns_no_phone(self):
        far = block(source=ELSEWHERE)
        found = number_verdicts(evidence(blocks=(far,), devices=(device(),)))
        self.assertEqual(codes(found), ["registered"])
        found = number_verdicts(evidence(blocks=(far,), devices=(ended_device(),)))
        self.assertNotIn("blocked", codes(found))

    def test_a_scanner_that_goes_on_is_no_phone(self):
        scan = attempt("blocked", source=ELSEWHERE, user_agent="friendly-scanner")
        found = number_verdicts(evidence(scan, blocks=(block(source=ELSEWHERE),)))
        self.assertNotIn("blocked", codes(found))

    def test_a_number_that_is_no_extension(self):
        found = number_verdicts(unknown(attempt("blocked"), blocks=(hammered(number="1010"),)))
        self.assertEqual(found[0].code, "blocked")
        self.assertIn("There is no extension 1010", found[0].do)

    def test_without_a_block_old_tries_say_nothing(self):
        self.assertNotIn("blocked", codes(number_verdicts(evidence(attempt("blocked")))))


class RateLimitedTests(TestCase):
    def slowed(self, **changed):
        return attempt("rate_limited", **{"last_at": ago(seconds=20), **changed})

    def test_a_phone_that_has_to_wait(self):
        found = number_verdicts(evidence(self.slowed(), attempt("wrong_password", last_at=ago(seconds=25))))
        self.assertEqual(codes(found)[:2], ["rate_limited", "wrong_password"])
        self.assertEqual(found[0].repair, Repair.PASSWORD)
        self.assertIn("slowed, not blocked", found[0].why)
        self.assertIn("a new password ends the waiting at once", found[0].do)

    def test_a_minute_later_only_its_cause_is_left(self):
        late = self.slowed(last_at=ago(minutes=3))
        found = number_verdicts(evidence(late, attempt("wrong_password", last_at=ago(minutes=4))))
        self.assertEqual(codes(found), ["wrong_password"])

    def test_a_new_password_ends_it(self):
        repaired = extension(password_changed_at=ago(seconds=5))
        found = number_verdicts(evidence(self.slowed(), extension=repaired))
        self.assertNotIn("rate_limited", codes(found))

    def test_beside_a_registered_phone_it_comes_after_it(self):
        found = number_verdicts(evidence(
            self.slowed(port=50999, asked=attempt("x").asked.__class__(call_id="z")),
            devices=(device(), another_device()),
        ))
        self.assertEqual(codes(found)[:2], ["registered", "rate_limited"])
