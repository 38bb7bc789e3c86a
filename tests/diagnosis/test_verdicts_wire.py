"""Verdicts from what really crossed the wire: a running ``runsip``, a phone of the tests' own, and ``why --json``."""

from __future__ import annotations

import json
import socket
import sys
from typing import Any

from tests.support.cases import PASSWORD, OnPostgres, OnSqlite, PbxCase
from tests.support.pbx import ROOT
from tests.support.phone import Phone, authorization
from tests.support.processes import DeadlinePassed, run_program, wait_until

LATER = 20.0
"""Seconds within which evidence is a verdict."""


class WireTests(PbxCase):
    settings = {"SIP_ALIASES": "sip.pbx.test"}

    def phone(self, number: str, password: str = PASSWORD, **options: Any) -> Phone:
        phone = Phone(self.pbx.server, number, password, options.pop("domain", self.pbx.domain), **options)
        self.addCleanup(phone.close)
        return phone

    def why(self, number: str) -> list[dict[str, Any]]:
        done = run_program(
            [sys.executable, "manage.py", "why", number, "--json"], env=self.pbx.env, cwd=ROOT, seconds=60
        )
        try:
            told = json.loads(done.stdout)
        except ValueError:
            raise AssertionError(done.stdout + done.stderr) from None
        codes = [verdict["code"] for verdict in told["verdicts"]]
        self.assertEqual("registered" not in codes, bool(done.returncode))
        return told["verdicts"]

    def first(self, number: str, *codes: str) -> dict[str, Any]:
        """The first verdict once these are exactly the codes."""
        found: list[dict[str, Any]] = []

        def right() -> bool:
            found[:] = self.why(number)
            return tuple(verdict["code"] for verdict in found) == codes

        try:
            wait_until(right, f"{number} to be {codes}", LATER, pause=0.5)
        except DeadlinePassed:
            self.fail(f"{number} should be {codes}:\n{json.dumps(found, indent=1, ensure_ascii=False)}")
        return found[0]

    def test_from_nothing_to_a_wrong_password_to_registered(self):
        number = self.new_extension()
        self.first(number, "advertises_bind_address", "nothing_received")  # this server listens on 127.0.0.1 only
        phone = self.phone(number, "mistyped-1")
        self.assertEqual(403, phone.register().status)
        told = self.first(number, "wrong_password")
        self.assertIn(f"127.0.0.1:{phone.port}", told["evidence"][0])
        self.assertIn("test-phone/1", told["evidence"][0])
        phone.password, phone.challenge = PASSWORD, None
        self.assertEqual(200, phone.register().status)
        self.first(number, "registered")
        self.assertEqual(200, phone.unregister().status)
        self.first(number, "signed_off")

    def test_a_changed_password(self):
        number = self.new_extension()
        phone = self.phone(number)
        self.assertEqual(200, phone.register().status)
        self.pbx.set_password(number, "another-Secret-9")
        told = self.first(number, "registered")
        self.assertEqual("warning", told["severity"])
        self.assertIn("old password", told["why"])
        phone.challenge = None
        self.assertEqual(403, phone.register().status)
        told = self.first(number, "wrong_password", "registered")
        self.assertIn("still has the old password", told["why"])

    def test_a_number_one_slip_away(self):
        number = self.new_extension()
        wrong = number + "0"
        self.assertEqual(403, self.phone(wrong).register().status)
        told = self.first(wrong, "unknown_extension")
        self.assertIn(number, told["why"])

    def test_capital_letters(self):
        self.pbx.create_extensions({"frontdesk": PASSWORD})
        self.assertEqual(403, self.phone("FrontDesk").register().status)
        told = self.first("FRONTDESK", "unknown_extension")
        self.assertIn("exactly like this: frontdesk", told["do"])

    def test_another_domain(self):
        number = self.new_extension()
        self.assertEqual(404, self.phone(number, domain="sip.provider.example").register().status)
        told = self.first(number, "wrong_domain")
        self.assertIn("sip.provider.example", told["what"])
        self.assertIn("sip.pbx.test", " ".join(told["evidence"]))

    def test_no_password_in_the_phone(self):
        number = self.new_extension()
        phone = self.phone(number)
        for _again in range(2):
            answer = phone.ask("REGISTER", [f"Contact: <{phone.contact_uri}>", "Expires: 300"])
            self.assertEqual(401, answer.status)
        self.assertEqual("likely", self.first(number, "challenge_unanswered")["confidence"])

    def test_answers_that_are_not_heard(self):
        number = self.new_extension()
        phone = self.phone(number)
        request = phone.request("REGISTER", [f"Contact: <{phone.contact_uri}>", "Expires: 300"])
        for _again in range(6):
            phone.socket.sendto(request, self.pbx.server)
        told = self.first(number, "reply_lost")
        self.assertEqual("certain", told["confidence"])

    def test_a_signature_for_another_address(self):
        number = self.new_extension()
        phone = self.phone(number)
        phone.challenge = phone._chosen_challenge(phone.ask("REGISTER", [f"Contact: <{phone.contact_uri}>"]))
        told_domain, phone.domain = phone.domain, "192.168.1.1"  # what it signs
        headers = self._authorized(phone)
        phone.domain = told_domain
        self.assertEqual(400, phone.ask("REGISTER", headers).status)
        told = self.first(number, "alg_tampering")
        self.assertIn("sip:192.168.1.1", told["why"])

    def _authorized(self, phone: Phone) -> list[str]:
        phone.nc += 1
        return [f"Contact: <{phone.contact_uri}>", "Expires: 300", "Authorization: " + authorization(
            phone.challenge, username=phone.number, password=phone.password, method="REGISTER",
            uri=f"sip:{phone.domain}", nc=phone.nc,
        )]

    def test_too_short_a_time(self):
        number = self.new_extension()
        self.assertEqual(423, self.phone(number).register(expires=10).status)
        self.assertIn("10 seconds", self.first(number, "expires_too_short")["why"])

    def test_tls_to_the_port_of_tcp(self):
        number = self.new_extension()
        with socket.create_connection(self.pbx.server, 5) as connection:
            connection.sendall(bytes.fromhex("16030100c8010000c40303") + bytes(192))
            connection.settimeout(5)
            self.assertEqual(b"", connection.recv(10))
        told = self.first(number, "wrong_transport", "nothing_received")
        self.assertEqual("likely", told["confidence"])

    def test_a_second_phone_fails_beside_the_first(self):
        number = self.new_extension()
        self.assertEqual(200, self.phone(number).register().status)
        self.assertEqual(403, self.phone(number, "mistyped-2", user_agent="Zoiper rv2").register().status)
        self.first(number, "registered", "wrong_password")

    def test_hostile_texts_on_the_wire(self):
        number = self.new_extension()
        nasty = "<script>\u202e\U0001f4a3</script>" + "A" * 200
        self.assertEqual(403, self.phone(number, "mistyped-3", user_agent=nasty).register().status)
        told = self.first(number, "wrong_password")
        self.assertTrue(all(letter.isprintable() or letter == "\ufffd" for letter in "".join(told["evidence"])))


class WireOnSqlite(WireTests, OnSqlite):
    pass


class WireOnPostgres(WireTests, OnPostgres):
    pass


del WireTests  # the loader would take it for a case of its own
