"""The difference card: what the phone sent beside what it should be, in the words of its own screens."""

from __future__ import annotations

import unittest
from dataclasses import replace

from pbx.diagnosis.difference import difference_card
from tests.diagnosis.evidence_made import (
    ELSEWHERE,
    HOME,
    LINPHONE,
    SERVER,
    another_device,
    asked,
    attempt,
    device,
    ended_device,
    evidence,
    unknown,
)


def fields(card) -> dict[str, object]:
    return {row.field: row for row in card.rows}


class DifferenceTests(unittest.TestCase):
    def wrong(self, *rows, **changed) -> list[str]:
        return [row.field for row in difference_card(evidence(*rows, **changed)).wrong_rows]

    def test_in_zoipers_words(self):
        provider = asked(to_uri="sip:1001@sip.provider.example", request_uri="sip:sip.provider.example")
        card = difference_card(evidence(attempt("wrong_domain", asked=provider)))
        self.assertEqual("Zoiper", card.app)
        row = fields(card)["Domain"]
        self.assertEqual(("sip.provider.example", "pbx.example.uz", True), (row.sent, row.expected, row.wrong))
        self.assertEqual("Server (domain)", row.general)
        self.assertEqual(["Domain"], [row.field for row in card.wrong_rows])

    def test_the_fields_of_other_apps(self):
        for user_agent, user, domain in (
            (LINPHONE, "Username", "SIP Domain"),
            ("MicroSIP/3.21.3", "Username", "Domain"),
            ("Grandstream GXP1625 1.0.7.13", "SIP User ID", "SIP Server"),
            ("Yealink SIP-T31P 124.86.0.40", "User Name", "Server Host"),
            ("Groundwire/5.8 (build 1; iOS 17; arm64-neon)", "Username", "Domain"),
            ("baresip v1.0.0", "User name", "Server (domain)"),
        ):
            card = difference_card(evidence(attempt("wrong_password", user_agent=user_agent)))
            self.assertIn(user, fields(card), user_agent)
            self.assertIn(domain, fields(card), user_agent)

    def test_the_password_is_marked_and_never_shown(self):
        card = difference_card(evidence(attempt("wrong_password")))
        self.assertEqual(["Password"], [row.field for row in card.wrong_rows])
        self.assertEqual("that of 1001", card.wrong_rows[0].expected)

    def test_a_typing_error_in_the_number(self):
        row = attempt("unknown_extension", number="1010", asked=asked("1010"))
        card = difference_card(unknown(row, similar=("1001",)))
        self.assertEqual(("1010", "1001", True), (card.rows[0].sent, card.rows[0].expected, card.rows[0].wrong))

    def test_two_names(self):
        self.assertEqual(["Auth. username"], self.wrong(attempt("third_party", asked=asked(digest_username="1002"))))

    def test_the_realm_the_time_and_the_algorithm(self):
        self.assertIn("Realm", self.wrong(attempt("wrong_realm", asked=asked(digest_realm="asterisk"))))
        self.assertIn("Registration expiry", self.wrong(attempt("expires_too_short", asked=asked(expires=5))))
        self.assertIn("Way of encrypting the password",
                      self.wrong(attempt("unsupported_algorithm", asked=asked(digest_algorithm="SHA-512-256"))))

    def test_grandstream_counts_minutes(self):
        row = attempt("expires_too_short", user_agent="Grandstream GXP1625", asked=asked(expires=30))
        found = fields(difference_card(evidence(row)))["Register Expiration"]
        self.assertEqual("this field counts minutes", found.note)

    def test_stun(self):
        row = attempt("wrong_password", asked=asked(contact=f"<sip:1001@{HOME}:61000>"))
        found = fields(difference_card(evidence(row)))["Use STUN"]
        self.assertTrue(found.wrong)
        self.assertIn("61000", found.note)

    def test_a_proxy_elsewhere(self):
        row = attempt("challenge_unanswered", asked=asked(route="<sip:proxy.other.example;lr>", digest_username=""))
        self.assertEqual(["Outbound proxy"], self.wrong(row))

    def test_another_port_is_written_where_the_app_wants_it(self):
        server = replace(SERVER, port=5070)
        zoiper = fields(difference_card(evidence(attempt("wrong_password"), server=server)))
        self.assertEqual("pbx.example.uz:5070", zoiper["Domain"].expected)
        yealink = attempt("wrong_password", user_agent="Yealink SIP-T31P")
        rows = fields(difference_card(evidence(yealink, server=server)))
        self.assertEqual(("pbx.example.uz", "5070"), (rows["Server Host"].expected, rows["Port"].expected))

    def test_a_registered_phone_has_its_own_card(self):
        card = difference_card(evidence(devices=(device(),)))
        self.assertEqual((), card.wrong_rows)
        self.assertEqual("Zoiper", card.app)
        self.assertEqual("pbx.example.uz", fields(card)["Domain"].sent)

    def test_any_address_of_the_server_is_ours_and_an_old_name_is_not(self):
        self.assertEqual((), difference_card(evidence(devices=(device(domain="192.168.77.1"),))).wrong_rows)
        self.assertEqual((), difference_card(evidence(devices=(device(domain="SIP.example.uz"),))).wrong_rows)
        renamed = difference_card(evidence(devices=(device(domain="old.example.uz"),)))
        self.assertEqual(["Domain"], [row.field for row in renamed.wrong_rows])

    def test_a_strangers_attempt_is_not_compared(self):
        stranger = attempt("wrong_password", source=ELSEWHERE, asked=asked(call_id="s", contact="sip:a@1.1.1.1"))
        card = difference_card(evidence(stranger, devices=(another_device(),)))
        self.assertEqual("Yealink", card.app)

    def test_a_phone_that_was_here_and_one_that_never_was(self):
        self.assertIsNotNone(difference_card(evidence(devices=(ended_device(),))))
        self.assertIsNone(difference_card(evidence()))

    def test_hostile_texts_are_short_and_on_one_line(self):
        nasty = "<script>\x1b[31m\r\nX: y" + "A" * 5000
        row = attempt("wrong_password", user_agent=nasty, asked=asked(
            nasty, to_uri=f"sip:{nasty}", from_uri=nasty, request_uri=nasty, route=nasty, digest_username=nasty,
            digest_realm=nasty, digest_algorithm=nasty, contact=nasty, user_agent=nasty))
        for one in difference_card(evidence(row)).rows:
            self.assertLessEqual(len(one.sent), 64)
            self.assertTrue(one.sent.isprintable(), one)
