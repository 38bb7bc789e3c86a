"""``manage.py why``: its texts, its JSON, its exit status, whatever it is asked and whatever a phone has sent."""

from __future__ import annotations

import io
import json
import sys
import unittest
from dataclasses import asdict
from datetime import timedelta
from unittest import mock

from django.core.management import CommandError, call_command
from django.test import TestCase
from django.utils import timezone

from pbx.calls.models import CallRecord
from pbx.diagnosis.models import Attempt
from pbx.diagnosis.verdict import Severity, Verdict
from tests.diagnosis.evidence_made import asked
from tests.extensions.rows import make_binding, make_extension
from tests.support.pbx import ROOT, clean_environment
from tests.support.processes import run_program

NASTY = '<script>alert(1)</script>\x1b[2J\x07\r\n\u202e"; DROP TABLE \U0001f4a3\U0001f4a3' + "A" * 90


class WhyCase(TestCase):
    def setUp(self):
        quick = mock.patch("pbx.diagnosis.explain.server_verdicts", return_value=[])
        quick.start()
        self.addCleanup(quick.stop)

    def why(self, *arguments: str) -> tuple[int, str]:
        """Exit status and output."""
        out, status = io.StringIO(), 0
        try:
            call_command("why", *arguments, stdout=out)
        except SystemExit as end:
            status = int(str(end.code))
        return status, out.getvalue()

    def failed(self, number: str = "1001", cause: str = "wrong_password", **changed) -> None:
        now = timezone.now()
        Attempt.objects.create(**{
            "number": number, "source": "198.51.100.7", "port": 5062, "transport": "UDP", "cause": cause,
            "first_at": now, "last_at": now, "user_agent": "Zoiper", "asked": asdict(asked(number)), **changed,
        })


class TextTests(WhyCase):
    def test_a_registered_phone(self):
        make_binding(make_extension("1001"))
        status, text = self.why("1001")
        self.assertEqual(0, status)
        self.assertIn("✓ 1001 is registered. [registered]", text)
        self.assertIn("→ Nothing has to be done.", text)

    def test_a_fault_with_its_evidence_and_the_field_of_the_phone(self):
        make_extension("1001")
        elsewhere = asked(to_uri="sip:1001@other.example", request_uri="sip:other.example")
        self.failed(cause="wrong_domain", asked=asdict(elsewhere))
        status, text = self.why("1001")
        self.assertEqual(1, status)
        self.assertIn("✗ The phone of 1001 looks for another server: “other.example”.", text)
        self.assertIn("    · ", text)
        self.assertIn("198.51.100.7:5062", text)
        self.assertIn("In the phone (Zoiper):", text)
        self.assertIn("Domain: it has “other.example”", text)
        self.assertLessEqual(max(map(len, text.splitlines())), 100)

    def test_languages(self):
        make_extension("1001")
        self.failed()
        for language, word in (("uz", "noto‘g‘ri parol"), ("ru", "неверный пароль"), ("en", "wrong password")):
            _status, text = self.why("1001", "--language", language)
            self.assertIn(word, text)
            _status, text = self.why("1001", "--language", language, "--json")
            self.assertEqual(language, json.loads(text)["language"])

    def test_a_number_that_is_none(self):
        make_extension("1001")
        status, text = self.why("1010")
        self.assertEqual(1, status)
        self.assertIn("1001", text)

    def test_an_address_is_a_number_too(self):
        make_binding(make_extension("1001"))
        for written in ("sip:1001@pbx.example.uz", "1001@pbx.example.uz", " 1001 "):
            self.assertEqual(0, self.why(written)[0], written)

    def test_bad_arguments_say_the_remedy(self):
        for arguments in ((), ("1001", "--call", "x"), ("",), ("x" * 65,), ("--call", "no-such-call")):
            with self.assertRaises(CommandError) as caught:
                self.why(*arguments)
            self.assertRegex(str(caught.exception), r"why 1001|list of call records", arguments)


class JsonTests(WhyCase):
    def test_its_keys(self):
        make_extension("1001")
        self.failed()
        status, text = self.why("1001", "--json")
        told = json.loads(text)
        self.assertEqual((1, {"number", "language", "verdicts"}), (status, set(told)))
        (verdict,) = told["verdicts"]
        self.assertEqual({"code", "severity", "confidence", "what", "why", "do", "evidence"}, set(verdict))
        self.assertEqual(("wrong_password", "error", "certain"),
                         (verdict["code"], verdict["severity"], verdict["confidence"]))
        self.assertIsInstance(verdict["evidence"], list)


class HostileTests(WhyCase):
    def test_texts_of_a_phone_reach_the_terminal_harmlessly(self):
        make_extension("1001")
        causes = ("wrong_realm", "wrong_domain", "alg_tampering", "malformed", "nonce_loop", "third_party")
        for place, cause in enumerate(causes):
            nasty = asked(
                "1001", to_uri=f"sip:{NASTY}", from_uri=NASTY, request_uri=NASTY, user_agent=NASTY, via=NASTY,
                contact=NASTY, digest_username=NASTY, digest_realm=NASTY, digest_uri=NASTY, fault=NASTY, route=NASTY,
            )
            self.failed(cause=cause, source=f"198.51.100.{place}", user_agent=NASTY[:128], asked=asdict(nasty),
                        sources=[NASTY, NASTY])
        for arguments in (("1001",), ("1001", "--language", "uz")):
            _status, text = self.why(*arguments)
            self.assertTrue(all(letter.isprintable() for letter in text.replace("\n", "")), text)
        told = json.loads(self.why("1001", "--json")[1])
        self.assertEqual(set(causes[:-1]), {verdict["code"] for verdict in told["verdicts"]})

    def test_a_hostile_argument(self):
        _status, text = self.why("\x1b[31m<b>1001\u202e")
        self.assertTrue(all(letter.isprintable() for letter in text.replace("\n", "")), text)


class CallTests(WhyCase):
    def call(self, **fields) -> CallRecord:
        start = timezone.now() - timedelta(minutes=3)
        return CallRecord.objects.create(**{
            "uniqueid": "pbx-1", "node": "pbx", "src": "1001", "dst": "1002", "start": start,
            "end": start + timedelta(seconds=20), "disposition": "FAILED", "cause": "not_registered", **fields,
        })

    def test_a_call_is_explained(self):
        self.call()
        found = (Verdict("not_registered", Severity.ERROR, "what happened", "why", "do"),)
        with mock.patch("pbx.diagnosis.management.commands.why.explain_call", return_value=found):
            status, text = self.why("--call", "pbx-1")
            self.assertEqual(1, status)
            self.assertIn("what happened [not_registered]", text)
            status, text = self.why("--call", "pbx-1", "--json")
            told = json.loads(text)
        self.assertEqual(("pbx-1", ["not_registered"]), (told["call"], [one["code"] for one in told["verdicts"]]))

    def test_a_good_call(self):
        self.call(cause="normal", disposition="ANSWERED")
        status, text = self.why("--call", "pbx-1")
        self.assertEqual(0, status, text)


class WithoutDatabaseTests(unittest.TestCase):
    def test_that_is_the_verdict(self):
        env = clean_environment(DATABASE_URL="postgres://pbx:hidden-word@127.0.0.1:1/pbx", SIP_PORT="5999")
        for language, word in (("en", "database"), ("uz", "baza"), ("ru", "аза данных")):
            done = run_program([sys.executable, "manage.py", "why", "1001", "--json", "--language", language],
                               env=env, cwd=ROOT, seconds=60)
            self.assertEqual(1, done.returncode, done.stderr)
            told = json.loads(done.stdout)
            self.assertEqual("database_down", told["verdicts"][0]["code"])
            self.assertIn(word, told["verdicts"][0]["what"])
            self.assertNotIn("hidden-word", done.stdout + done.stderr)
