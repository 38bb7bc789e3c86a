"""Every verdict says what, why and what to do, in Uzbek, Russian and English."""

from __future__ import annotations

import unittest
from dataclasses import replace

from django.utils import translation

from extensions.states import CredentialState
from pbx.diagnosis.difference import difference_card
from pbx.diagnosis.explain import CAUSES, number_verdicts
from pbx.diagnosis.verdict import Confidence, Verdict
from tests.diagnosis.evidence_made import (
    ELSEWHERE,
    HOME,
    SERVER,
    ago,
    another_device,
    asked,
    attempt,
    device,
    ended_device,
    evidence,
    extension,
    period,
    sent,
    unknown,
)

CODES = {
    "registered", "no_credential", "stale_credential", "wrong_password", "unknown_extension", "disabled", "wrong_realm",
    "wrong_domain", "nothing_received", "challenge_unanswered", "reply_lost", "nonce_loop", "expires_too_short",
    "too_many_devices", "expired", "nat_keepalive_lost", "alg_tampering", "stun_enabled", "wrong_transport",
    "malformed", "unsupported_algorithm", "guessed_at", "signed_off", "cause_of_tomorrow",
}
"""Those of a number; for ``blocked`` and ``rate_limited`` see the guard's own tests."""

STALE = CredentialState.STALE
SITUATIONS = {
    "healthy": evidence(devices=(device(),)),
    "two phones": evidence(devices=(device(), another_device(), another_device(id=9, silent_since=ago(minutes=5)))),
    "old password": evidence(devices=(device(old_password=True),)),
    "no password left": evidence(devices=(device(),), extension=extension(credential_state=STALE)),
    "nothing": evidence(),
    "nothing, private domain": evidence(server=replace(SERVER, domain="192.168.1.5", started_at=ago(days=4))),
    "nothing, loopback domain": evidence(server=replace(SERVER, domain="127.0.0.1")),
    "nameless TLS": evidence(nameless=(attempt("wrong_transport", number=""),)),
    "nameless rubbish": evidence(nameless=(attempt("malformed", number="", source="192.168.1.9"),)),
    "nothing, others outside": evidence(server=replace(SERVER, phones_outside=2)),
    "nothing, others inside": evidence(server=replace(SERVER, phones_inside=2)),
    "renamed away": unknown(renamed_to="1005"),
    "no such number": unknown(),
    "no such number, tried": unknown(attempt("unknown_extension", count=1)),
    "no such number, similar": unknown(attempt("unknown_extension"), similar=("1001", "1011")),
    "no such number, guessed": unknown(attempt("unknown_extension", numbers_from_source=40)),
    "capital letters": evidence(attempt("unknown_extension", number="FRONT"), extension=extension(number="front")),
    "made since": evidence(attempt("unknown_extension"), extension=extension(created_at=ago(minutes=1))),
    "disabled": evidence(extension=extension(enabled=False)),
    "disabled, tried": evidence(attempt("disabled"), extension=extension(enabled=False)),
    "enabled since": evidence(attempt("disabled")),
    "no credential": evidence(extension=extension(credential_state=CredentialState.MISSING)),
    "stale": evidence(extension=extension(credential_state=STALE)),
    "renamed": evidence(extension=extension(credential_state=STALE, former_number="1007")),
    "given since": evidence(attempt("no_credential")),
    "wrong password": evidence(*(attempt("wrong_password", source=f"198.51.100.{n}") for n in range(1, 9))),
    "changed password": evidence(attempt("wrong_password"), devices=(ended_device(),),
                                 extension=extension(password_changed_at=ago(minutes=30))),
    "fails on": evidence(attempt("wrong_password"), extension=extension(password_changed_at=ago(minutes=10))),
    "password given since": evidence(attempt("wrong_password"),
                                     extension=extension(password_changed_at=ago(minutes=1))),
    "second phone": evidence(attempt("wrong_password", user_agent="x", asked=asked(call_id="o", contact="sip:a@b")),
                             devices=(device(port=9, refreshed_at=ago(minutes=1)),)),
    "realm": evidence(attempt("wrong_realm", asked=asked(digest_realm="asterisk"))),
    "realm unread": evidence(attempt("wrong_realm", asked=asked(digest_realm=""))),
    "algorithm": evidence(attempt("unsupported_algorithm", asked=asked(digest_algorithm="SHA-512-256"))),
    "no qop": evidence(attempt("unsupported_algorithm", asked=asked(digest_qop=""))),
    "third party": evidence(attempt("third_party", asked=asked(digest_username="1002"))),
    "alg": evidence(attempt("alg_tampering", asked=asked(digest_uri="sip:192.168.1.1"))),
    "alg, length": evidence(attempt("alg_tampering", asked=asked(content_length=90, body_bytes=99))),
    "marks of an alg": evidence(attempt("challenge_unanswered", asked=asked(via=f"{HOME}:5060"))),
    "malformed": evidence(attempt("malformed", asked=asked(fault="Bad Expires"))),
    "cut": evidence(attempt("malformed", asked=asked(content_length=90, body_bytes=1))),
    "domain": evidence(attempt("wrong_domain", asked=asked(to_uri="sip:1001@other.example"))),
    "transport": evidence(attempt("wrong_transport", transport="TCP")),
    "unanswered": evidence(attempt("challenge_unanswered", asked=asked(digest_username=""))),
    "lost": evidence(attempt("reply_lost", repeats=2, messages=(sent("401 Unauthorized"),))),
    "lost for sure": evidence(attempt("reply_lost", repeats=9, messages=(sent("200 OK"),))),
    "let in again": evidence(attempt("blocked")),
    "newer engine": evidence(attempt("cause_of_tomorrow")),
    "loop": evidence(attempt("nonce_loop", sources=("198.51.100.7:1", "198.51.100.8:2"))),
    "old question": evidence(attempt("nonce_loop")),
    "too short": evidence(attempt("expires_too_short", asked=asked(expires=5))),
    "too short, unread": evidence(attempt("expires_too_short", asked=asked(expires=None))),
    "too many": evidence(attempt("too_many_devices", proven=True), devices=(another_device(),),
                         extension=extension(max_devices=1)),
    "room again": evidence(attempt("too_many_devices", proven=True)),
    "asleep": evidence(devices=(ended_device(silent_since=ago(minutes=40)),),
                       periods=(period(1), period(2), period(5))),
    "asleep over TCP": evidence(devices=(ended_device(transport="TCP", expires_at=ago(hours=7)),)),
    "desk phone off": evidence(devices=(ended_device(user_agent="Yealink SIP-T31P", expires_at=ago(days=3)),)),
    "signed off": evidence(devices=(ended_device(refreshed_at=ago(minutes=20), signed_off=True),)),
    "silent": evidence(devices=(device(silent_since=ago(minutes=4)),)),
    "silent desk phone": evidence(devices=(another_device(silent_since=ago(minutes=4)),)),
    "stun": evidence(devices=(device(contact=f"sip:1001@{HOME}:61000"),)),
    "guessed at": evidence(attempt("wrong_password", source=ELSEWHERE, asked=asked(call_id="s", contact="sip:a@b")),
                           devices=(device(),)),
    "guessed at from inside": evidence(
        attempt("wrong_password", source="10.9.9.9", count=1, asked=asked(call_id="s", contact="sip:a@b")),
        devices=(device(),)),
}


def verdicts_in(language: str) -> dict[str, list[Verdict]]:
    with translation.override(language):
        return {name: number_verdicts(found) for name, found in SITUATIONS.items()}


class WordsTests(unittest.TestCase):
    def test_every_code_of_a_number_is_there(self):
        found = {verdict.code for verdicts in verdicts_in("en").values() for verdict in verdicts}
        self.assertEqual(CODES, found)

    def test_every_cause_of_an_attempt_has_its_function(self):
        without = {"registered", "nothing_received", "expired", "nat_keepalive_lost", "stun_enabled", "guessed_at",
                   "signed_off", "cause_of_tomorrow"}
        self.assertEqual(set(), CODES - without - set(CAUSES))

    def test_three_sentences_in_three_languages(self):
        english = verdicts_in("en")
        for language in ("uz", "ru"):
            for name, verdicts in verdicts_in(language).items():
                for verdict, original in zip(verdicts, english[name], strict=True):
                    with self.subTest(language=language, situation=name, code=verdict.code):
                        self.assertEqual(original.code, verdict.code)
                        for text, before in ((verdict.what, original.what), (verdict.why, original.why),
                                             (verdict.do, original.do)):
                            self.assertTrue(text.strip())
                            self.assertNotEqual(before, text)
                            self.assertNotRegex(text, r"%\(|\.\.$|\. \.(?=\s|$)|  ")

    def test_no_english_sentence_is_left_in_another_language(self):
        for language in ("uz", "ru"):
            for name, verdicts in verdicts_in(language).items():
                for verdict in verdicts:
                    for text in (verdict.what, verdict.why, verdict.do, *verdict.evidence):
                        self.assertNotRegex(text, r"\b(the|and|phone|is|was|of|by)\b", f"{language} {name}")

    def test_what_is_only_likely_says_what_else_it_may_be(self):
        marks = ("may also", "it may be", "can look like", "can also", "either", "usually", "rarely", "or ")
        for name, verdicts in verdicts_in("en").items():
            for verdict in verdicts:
                if verdict.confidence is Confidence.LIKELY:
                    self.assertTrue(any(mark in verdict.why.lower() for mark in marks), f"{name}: {verdict.why}")

    def test_the_cards_fields_are_translated_but_for_the_apps_own(self):
        for name, found in SITUATIONS.items():
            with translation.override("ru"):
                card = difference_card(found)
            for row in card.rows if card is not None else ():
                own = row.general or row.field
                if own not in ("STUN",):
                    self.assertRegex(own, "[а-яё]", f"{name}: {row}")
