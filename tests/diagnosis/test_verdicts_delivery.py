"""Verdicts on what arrives and what does not."""

from __future__ import annotations

import unittest
from dataclasses import replace

from pbx.diagnosis.explain import number_verdicts
from pbx.diagnosis.verdict import Confidence, Stage
from tests.diagnosis.evidence_made import SERVER, ago, asked, attempt, device, evidence, sent


def codes(found) -> list[str]:
    return [verdict.code for verdict in found]


class NothingReceivedTests(unittest.TestCase):
    def test_it_says_since_when_and_what_should_stand_in_the_phone(self):
        (verdict,) = number_verdicts(evidence())
        self.assertEqual(("nothing_received", Stage.PHONE), (verdict.code, verdict.stopped_at))
        self.assertIs(verdict.confidence, Confidence.CERTAIN)
        self.assertIn("Since the SIP server was started", verdict.why)
        for word in ("firewall", "network", "server name", "not set up"):
            self.assertIn(word, verdict.why)
        for word in ("pbx.example.uz", "5060", "UDP", "Test from outside", "check-sip-connection.sh"):
            self.assertIn(word, verdict.do)

    def test_a_server_that_runs_for_days(self):
        server = replace(SERVER, started_at=ago(days=9))
        (verdict,) = number_verdicts(evidence(server=server))
        self.assertIn("For 24 hours", verdict.why)

    def test_a_private_domain_is_out_of_reach_from_elsewhere(self):
        (verdict,) = number_verdicts(evidence(server=replace(SERVER, domain="192.168.1.5")))
        self.assertIn("local network", verdict.do)
        (verdict,) = number_verdicts(evidence(server=replace(SERVER, domain="127.0.0.1")))
        self.assertIn("this computer itself", verdict.do)
        (verdict,) = number_verdicts(evidence(server=replace(SERVER, domain="203.0.113.5")))
        self.assertNotIn("local network", verdict.do)

    def test_a_try_by_tls_may_have_been_this_phone(self):
        strange = attempt("wrong_transport", number="", transport="TCP", asked=asked(""))
        verdicts = number_verdicts(evidence(nameless=(strange,)))
        self.assertEqual(["wrong_transport", "nothing_received"], codes(verdicts))
        self.assertIs(verdicts[0].confidence, Confidence.LIKELY)
        self.assertIn("another phone", verdicts[0].why)

    def test_the_rubbish_of_the_internet_is_not_this_phone(self):
        rubbish = attempt("malformed", number=""), attempt("wrong_transport", number="", last_at=ago(minutes=40))
        self.assertEqual(["nothing_received"], codes(number_verdicts(evidence(nameless=rubbish))))
        near = attempt("malformed", number="", source="10.0.0.7")
        self.assertEqual(["malformed", "nothing_received"], codes(number_verdicts(evidence(nameless=(near,)))))

    def test_a_nameless_try_says_nothing_about_a_phone_that_is_registered(self):
        strange = attempt("wrong_transport", number="")
        self.assertEqual(["registered"], codes(number_verdicts(evidence(nameless=(strange,), devices=(device(),)))))


class WayTests(unittest.TestCase):
    def only(self, row):
        (verdict,) = number_verdicts(evidence(row))
        return verdict

    def test_wrong_domain(self):
        verdict = self.only(attempt("wrong_domain", asked=asked(
            request_uri="sip:sip.provider.example", to_uri="sip:1001@sip.provider.example",
            from_uri="sip:1001@sip.provider.example")))
        self.assertEqual(("wrong_domain", Stage.CHALLENGE), (verdict.code, verdict.stopped_at))
        self.assertIn("sip.provider.example", verdict.what)
        self.assertIn("Write pbx.example.uz", verdict.do)
        self.assertIn("sip.example.uz", verdict.evidence[-1])

    def test_a_challenge_without_an_answer(self):
        verdict = self.only(attempt("challenge_unanswered", asked=asked(digest_username="")))
        self.assertEqual(("challenge_unanswered", Confidence.LIKELY), (verdict.code, verdict.confidence))
        self.assertIn("no password is set", verdict.why)
        self.assertIn("SIP ALG", verdict.do)
        self.assertIn("192.168.1.20:5062", verdict.evidence[-1])

    def test_answers_that_do_not_arrive(self):
        few = self.only(attempt("reply_lost", repeats=2, messages=(sent("401 Unauthorized"),)))
        self.assertEqual((Confidence.LIKELY, Stage.CHALLENGE), (few.confidence, few.stopped_at))
        self.assertIn("loses very many packets", few.why)
        many = self.only(attempt("reply_lost", repeats=7, messages=(sent("200 OK"),)))
        self.assertEqual((Confidence.CERTAIN, Stage.REGISTERED), (many.confidence, many.stopped_at))
        self.assertIn("7 times", many.why)

    def test_a_phone_that_heard_the_last_of_our_answers_is_healthy(self):
        here = device(refreshed_at=ago(minutes=10, seconds=8))
        row = attempt("reply_lost", repeats=2, last_at=ago(minutes=10), messages=(sent("200 OK"),))
        self.assertEqual(["registered"], codes(number_verdicts(evidence(row, devices=(here,)))))
        late = attempt("reply_lost", repeats=2, last_at=ago(minutes=1), messages=(sent("200 OK"),))
        self.assertEqual(["reply_lost", "registered"], codes(number_verdicts(evidence(late, devices=(here,)))))

    def test_a_lost_question_explains_the_missing_answer(self):
        rows = attempt("reply_lost", repeats=4, last_at=ago(seconds=130)), attempt("challenge_unanswered")
        self.assertEqual(["challenge_unanswered", "reply_lost"], codes(number_verdicts(evidence(*rows))))

    def test_an_address_that_changes_between_two_messages(self):
        verdict = self.only(attempt("nonce_loop", sources=("198.51.100.7:4000", "198.51.100.8:4001")))
        self.assertEqual(("nonce_loop", Confidence.CERTAIN), (verdict.code, verdict.confidence))
        self.assertIn("198.51.100.7, 198.51.100.8", verdict.why)

    def test_a_phone_that_keeps_an_old_question(self):
        verdict = self.only(attempt("nonce_loop", sources=("198.51.100.7:4000",)))
        self.assertIs(verdict.confidence, Confidence.LIKELY)
        self.assertIn("update its software", verdict.do)

    def test_a_message_that_cannot_be_read(self):
        verdict = self.only(attempt("malformed", asked=asked(fault="Bad Expires")))
        self.assertEqual("malformed", verdict.code)
        self.assertIn("Bad Expires", verdict.evidence[-1])

    def test_a_message_that_was_cut(self):
        verdicts = number_verdicts(evidence(attempt("malformed", asked=asked(content_length=120, body_bytes=40))))
        self.assertEqual(["malformed", "alg_tampering"], codes(verdicts))
        self.assertIn("120 bytes", verdicts[0].why)

    def test_tls_on_the_port_without(self):
        verdict = self.only(attempt("wrong_transport", transport="TCP"))
        self.assertEqual(
            ("wrong_transport", Confidence.CERTAIN, Stage.OUR_PORT),
            (verdict.code, verdict.confidence, verdict.stopped_at),
        )
        self.assertIn("UDP instead of TLS", verdict.do)
