"""The passive detective: routers that rewrite, and STUN."""

from __future__ import annotations

import unittest

from pbx.diagnosis.explain import number_verdicts
from pbx.diagnosis.networks import is_private, is_public
from pbx.diagnosis.verdict import Severity, Stage
from tests.diagnosis.evidence_made import HOME, LINPHONE, asked, attempt, device, evidence


def codes(found) -> list[str]:
    return [verdict.code for verdict in found]


class RewrittenTests(unittest.TestCase):
    def test_a_signature_for_another_address(self):
        row = attempt("alg_tampering", asked=asked(digest_uri="sip:192.168.1.1", request_uri="sip:pbx.example.uz"))
        (verdict,) = number_verdicts(evidence(row))
        self.assertEqual(("alg_tampering", Stage.CHALLENGE), (verdict.code, verdict.stopped_at))
        for word in ("sip:192.168.1.1", "sip:pbx.example.uz"):
            self.assertIn(word, verdict.why)
        self.assertIn("SIP ALG", verdict.do)

    def test_two_numbers_in_one_message_name_both_possibilities(self):
        row = attempt("third_party", asked=asked(from_uri="sip:anonymous@pbx.example.uz"))
        (verdict,) = number_verdicts(evidence(row))
        self.assertEqual("alg_tampering", verdict.code)
        self.assertIn("anonymous", verdict.why)
        self.assertIn("account settings", verdict.why)
        self.assertIn("SIP ALG", verdict.why)

    def test_half_a_replacement_is_a_mark(self):
        for changed in (
            {"via": f"{HOME}:5060"}, {"contact": f"sip:1001@{HOME}:5060"}, {"via": "10.1.1.1:5060"},
            {"from_uri": "sip:1001@192.168.1.1"},
        ):
            row = attempt("challenge_unanswered", asked=asked(**changed))
            verdicts = number_verdicts(evidence(row))
            self.assertEqual(["challenge_unanswered", "alg_tampering"], codes(verdicts), changed)
            self.assertIs(verdicts[1].severity, Severity.WARNING)

    def test_linphone_learns_its_public_address_by_itself(self):
        row = attempt("challenge_unanswered", user_agent=LINPHONE, asked=asked(contact=f"sip:1001@{HOME}:40112"))
        self.assertEqual(["challenge_unanswered"], codes(number_verdicts(evidence(row))))

    def test_plain_nat_is_no_mark(self):
        self.assertEqual(["challenge_unanswered"], codes(number_verdicts(evidence(attempt("challenge_unanswered")))))


class StunTests(unittest.TestCase):
    def verdicts(self, **changed) -> list[str]:
        return codes(number_verdicts(evidence(devices=(device(**changed),))))

    def test_a_public_contact_with_another_port(self):
        verdicts = number_verdicts(evidence(devices=(device(contact=f"sip:1001@{HOME}:61000"),)))
        self.assertEqual(["registered", "stun_enabled"], codes(verdicts))
        self.assertIn("Use STUN", verdicts[1].do)

    def test_documentation_addresses_count_as_public(self):
        self.assertEqual(["registered", "stun_enabled"], self.verdicts(contact="sip:1001@203.0.113.9:5060"))

    def test_what_is_no_stun(self):
        for changed in (
            {"contact": f"sip:1001@{HOME}:40112"},  # rewritten rightly
            {"contact": "sip:1001@100.64.3.4:5060"},  # behind the provider's NAT
            {"contact": "sip:1001@phone.example.uz"},  # a name
            {"contact": f"sip:1001@{HOME}:61000", "user_agent": LINPHONE},
            {"contact": f"sip:1001@{HOME}:5060", "transport": "TCP"},
            {"contact": "sip:abc@x7.invalid;transport=ws", "transport": "WS"},
        ):
            self.assertEqual(["registered"], self.verdicts(**changed), changed)


class NetworksTests(unittest.TestCase):
    def test_our_own_list(self):
        for host in ("10.1.2.3", "172.31.255.255", "192.168.0.1", "100.100.1.1", "169.254.1.1", "127.0.0.1", "::1",
                     "fe80::1", "fd00::5", "::ffff:192.168.1.1"):
            self.assertTrue(is_private(host), host)
        for host in ("203.0.113.5", "198.51.100.7", "192.0.2.1", "8.8.8.8", "172.32.0.1", "2001:db8::1"):
            self.assertTrue(is_public(host), host)
        for host in ("pbx.example.uz", "", "1.2.3", "300.1.1.1"):
            self.assertFalse(is_public(host) or is_private(host), host)
