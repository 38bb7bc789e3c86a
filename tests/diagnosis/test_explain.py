"""From the rows of the database to the verdicts of a number, in the order of what to fix first."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import timedelta
from unittest import mock

from django.db import OperationalError
from django.test import TestCase
from django.utils import timezone

from extensions.models import DigestCredential, Extension
from pbx.diagnosis.explain import Explanation, explain_number, verdicts_of
from pbx.diagnosis.gather import gather_number
from pbx.diagnosis.likeness import likely_meant
from pbx.diagnosis.models import Attempt, OnlinePeriod
from pbx.diagnosis.verdict import Severity, Stage, Verdict
from pbx.system.models import SipProcess
from sipcore.evidence.facts import WireMessage
from tests.calls.rows import row, write
from tests.diagnosis.evidence_made import asked, attempt, device, evidence
from tests.extensions.rows import make_binding, make_extension


def codes(explanation: Explanation) -> list[str]:
    return [verdict.code for verdict in explanation.verdicts]


def fault(code: str, severity: Severity = Severity.ERROR, stopped_at: Stage | None = Stage.OUR_PORT) -> Verdict:
    return Verdict(code, severity, "what", "why", "do", stopped_at=stopped_at)


class DatabaseCase(TestCase):
    def setUp(self):
        self.now = timezone.now()
        SipProcess.objects.create(
            node="test", pid=1, started_at=self.now - timedelta(hours=1), beat_at=self.now,
            listening="udp and tcp 0.0.0.0:5060", version="1",
        )
        quick = mock.patch("pbx.diagnosis.explain.server_verdicts", return_value=[])
        self.server = quick.start()
        self.addCleanup(quick.stop)

    def fails(self, number: str, cause: str, *, minutes: float = 5, source: str = "198.51.100.7", **changed) -> Attempt:
        extension = Extension.objects.by_number(number).first()
        at = self.now - timedelta(minutes=minutes)
        message = WireMessage(at.timestamp(), False, "UDP", "192.0.2.1:5060", f"{source}:5062", 400, "REGISTER sip:x")
        return Attempt.objects.create(**{
            "extension": extension, "number": number, "source": source, "port": 5062, "transport": "UDP",
            "cause": cause, "first_at": at, "last_at": at, "user_agent": "Zoiper",
            "asked": asdict(asked(number, user_agent="Zoiper")), "messages": [asdict(message)], **changed,
        })


class GatherTests(DatabaseCase):
    def test_all_of_a_number(self):
        extension = make_extension("1001")
        make_binding(extension, remote_host="198.51.100.8", domain="pbx.example.uz")
        self.fails("1001", "wrong_password", count=4)
        OnlinePeriod.objects.create(
            extension=extension, started_at=self.now - timedelta(hours=3), ended_at=self.now - timedelta(hours=2),
            ending="expired",
        )
        found = gather_number("1001")
        self.assertEqual("1001", found.extension.number)
        self.assertEqual(["198.51.100.8"], [device.source for device in found.devices])
        self.assertEqual("pbx.example.uz", found.devices[0].domain)
        (row,) = found.attempts
        self.assertEqual((4, "wrong_password", "1001"), (row.count, row.cause, row.number))
        self.assertEqual("sip:1001@pbx.example.uz", row.asked.to_uri)
        self.assertEqual(["expired"], [period.ending for period in found.periods])
        self.assertTrue(found.server.running)
        self.assertIn("0.0.0.0:5060", found.server.listening)

    def test_capital_and_small_letters_are_the_same(self):
        make_extension("front-desk")
        self.fails("FRONT-desk", "unknown_extension", extension=None)
        found = gather_number("Front-Desk")
        self.assertEqual("front-desk", found.number)
        self.assertEqual(["FRONT-desk"], [row.number for row in found.attempts])
        self.assertEqual("unknown_extension", explain_number("front-DESK").first.code)

    def test_history_says_nothing(self):
        make_extension("1001")
        self.fails("1001", "wrong_password", minutes=60 * 25)
        self.assertEqual((), gather_number("1001").attempts)
        self.assertEqual(["nothing_received"], codes(explain_number("1001")))

    def test_a_failure_under_the_former_number_does_not_accuse_the_new_one(self):
        extension = make_extension("1001")
        self.fails("1001", "wrong_password")
        extension.number = "1005"
        extension.save()
        self.assertEqual(["stale_credential"], codes(explain_number("1005")))
        self.assertIn("1001", explain_number("1005").first.why)

    def test_a_number_that_is_none(self):
        make_extension("1001")
        self.fails("1010", "unknown_extension")
        explanation = explain_number("1010")
        self.assertIsNone(explanation.evidence.extension)
        self.assertEqual(("1001",), explanation.evidence.similar)
        self.assertEqual(["unknown_extension"], codes(explanation))
        self.assertIs(explanation.stopped_at, Stage.PASSWORD)

    def test_the_former_number_of_an_extension(self):
        extension = make_extension("1001")
        extension.number = "2001"
        extension.save()
        self.fails("1001", "unknown_extension")
        first = explain_number("1001").first
        self.assertEqual("unknown_extension", first.code)
        self.assertIn("another one now: 2001", first.why)

    def test_what_other_phones_prove(self):
        make_extension("1001")
        self.assertIn("No phone at all", explain_number("1001").first.why)
        make_binding(make_extension("1002"), remote_host="192.168.1.7")
        self.assertIn("none from outside", explain_number("1001").first.why)
        make_binding(make_extension("1003"), remote_host="198.51.100.7")
        self.assertIn("port of the PBX is open", explain_number("1001").first.why)

    def test_numbers_that_a_source_has_tried_are_counted(self):
        make_extension("1001")
        for number in ("1001", "2000", "2001", "2002"):
            self.fails(number, "wrong_password")
        self.assertEqual(4, gather_number("1001").attempts[0].numbers_from_source)

    def test_a_source_with_a_registered_phone_is_known(self):
        make_extension("1001")
        make_binding(make_extension("1002"), remote_host="198.51.100.7")
        self.fails("1001", "wrong_password")
        self.assertTrue(gather_number("1001").attempts[0].source_known)

    def test_a_message_of_no_number_is_kept_for_an_hour(self):
        make_extension("1001")
        self.fails("", "wrong_transport", minutes=30)
        self.assertEqual(["nothing_received"], codes(explain_number("1001")), "a stranger's probe")
        Attempt.objects.update(source="192.168.1.9")
        self.assertEqual(["wrong_transport", "nothing_received"], codes(explain_number("1001")))
        Attempt.objects.update(last_at=self.now - timedelta(minutes=90))
        self.assertEqual(["nothing_received"], codes(explain_number("1001")))

    def test_rows_of_another_version_of_the_engine_are_read(self):
        make_extension("1001")
        asked = {"to_uri": "sip:1001@x", "new_field": 1}
        self.fails("1001", "wrong_password", asked=asked, messages=[{"text": "x"}, 3])
        self.assertEqual(["wrong_password"], codes(explain_number("1001")))
        Attempt.objects.update(cause="cause_of_tomorrow")
        self.assertEqual(["cause_of_tomorrow"], codes(explain_number("1001")))

    def test_messages_are_read_where_they_are_judged(self):
        make_extension("1001")
        self.fails("1001", "reply_lost", repeats=5)
        self.assertEqual("REGISTER sip:x", gather_number("1001").attempts[0].messages[0].text)

    def test_the_number_of_queries_is_bounded(self):
        extension = make_extension("1001")
        for port in range(8):
            make_binding(extension, key=f"<urn:uuid:{port}>", remote_port=port + 1)
            self.fails("1001", "wrong_password", source=f"198.51.100.{port}")
        with self.assertNumQueries(10):
            gather_number("1001")

    def test_a_number_that_somebody_dialled(self):
        write(row(src="1001", dst="7777", cause="unknown_number", disposition="FAILED", end=time.time()))
        first = explain_number("7777").first
        self.assertEqual("unknown_extension", first.code)
        self.assertIn("1001 dialled it at", first.why)
        self.assertNotIn("dialled", explain_number("7778").first.why)

    def test_what_no_database_takes(self):
        for number in ("\0", "\ud800", "1001\0", "x" * 4000, "", "' OR 1=1 --", "%", "🙂🙂"):
            self.assertEqual("unknown_extension", explain_number(number).first.code, repr(number))


class OrderTests(DatabaseCase):
    def test_a_healthy_phone_is_registered_and_nothing_else(self):
        make_binding(make_extension("1001"))
        explanation = explain_number("1001")
        self.assertEqual(["registered"], codes(explanation))
        self.assertTrue(explanation.registered)
        self.assertIsNone(explanation.stopped_at)

    def test_the_path_of_the_guide(self):
        """A phone fails, Password is pressed, the phone registers."""
        extension = make_extension("1001", password=None)
        self.fails("1001", "no_credential")
        self.assertEqual(["no_credential"], codes(explain_number("1001")))
        extension.set_password("another-secret-2")
        extension.save()
        waiting = explain_number("1001").first
        self.assertEqual(("no_credential", Severity.WARNING), (waiting.code, waiting.severity))
        make_binding(extension, remote_host="198.51.100.7", refreshed_at=timezone.now())
        self.assertEqual(["registered"], codes(explain_number("1001")))

    def test_other_realm(self):
        make_extension("1001")
        DigestCredential.objects.update(realm="old.example")
        self.assertEqual(["stale_credential"], codes(explain_number("1001")))

    def test_the_server_comes_before_all(self):
        make_extension("1001", enabled=False)
        self.server.return_value = [fault("sip_not_running"), fault("disk_full", Severity.WARNING, None)]
        explanation = explain_number("1001")
        self.assertEqual(["sip_not_running", "disabled"], codes(explanation))
        self.assertIs(explanation.stopped_at, Stage.OUR_PORT)

    def test_without_a_server_nobody_is_registered(self):
        make_binding(make_extension("1001"))
        self.server.return_value = [fault("sip_not_running")]
        explanation = explain_number("1001")
        self.assertEqual(["sip_not_running"], codes(explanation))
        self.assertFalse(explanation.registered)

    def test_a_closed_firewall_explains_silence_but_no_registered_phone(self):
        closed = [fault("firewall_closed")]
        self.assertEqual(["firewall_closed", "nothing_received"],
                         [verdict.code for verdict in verdicts_of(evidence(), closed)])
        here = evidence(devices=(device(),))
        self.assertEqual(["registered"], [verdict.code for verdict in verdicts_of(here, closed)])

    def test_a_wrong_name_of_the_server_explains_silence_only(self):
        wrong = [fault("domain_wrong_address", stopped_at=Stage.INTERNET)]
        self.assertEqual("domain_wrong_address", verdicts_of(evidence(), wrong)[0].code)
        self.assertEqual(["wrong_password"],
                         [verdict.code for verdict in verdicts_of(evidence(attempt("wrong_password")), wrong)])

    def test_faults_of_calls_come_last(self):
        found = verdicts_of(evidence(devices=(device(),)), (), (fault("no_audio", Severity.WARNING),))
        self.assertEqual(["registered", "no_audio"], [verdict.code for verdict in found])

    def test_there_is_always_a_verdict(self):
        self.assertTrue(explain_number("1001").verdicts)

    def test_json_has_exactly_the_public_keys(self):
        make_extension("1001")
        told = explain_number("1001").as_json()
        self.assertEqual({"number", "language", "verdicts"}, set(told))
        self.assertEqual({"code", "severity", "confidence", "what", "why", "do", "evidence"}, set(told["verdicts"][0]))


class DatabaseAwayTests(DatabaseCase):
    def test_that_is_a_verdict(self):
        self.server.return_value = [fault("database_down"), fault("clock_skew", Severity.WARNING, None)]
        with mock.patch("pbx.diagnosis.explain.gather_number", side_effect=OperationalError("secret")):
            explanation = explain_number("1001")
        self.assertEqual(["database_down"], codes(explanation))
        self.assertIsNone(explanation.evidence)

    def test_it_went_between_the_two_questions(self):
        with mock.patch("pbx.diagnosis.explain.gather_number", side_effect=OperationalError("secret")):
            explanation = explain_number("1001")
        self.assertEqual(["database_down"], codes(explanation))
        self.assertNotIn("secret", str(explanation.as_json()))


class LikenessTests(TestCase):
    def test_one_slip_away(self):
        for written, meant in (
            ("1010", "1001"), ("100", "1001"), ("10011", "1001"), ("1o01", "1001"), ("01001", "1001"),
            ("+998711001", "1001"), ("1001a", "1001"), ("10-01", "1001"), ("test1001", "1001"), ("1021", "1001"),
            ("front_desk", "frontdesk"), ("ali", "alim"),
        ):
            self.assertIn(meant, likely_meant(written), written)

    def test_it_is_bounded(self):
        self.assertLessEqual(len(likely_meant("a" * 64)), 400)
        self.assertEqual([], likely_meant(""))
