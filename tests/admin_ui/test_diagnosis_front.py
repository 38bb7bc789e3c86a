"""The front page: what needs attention now, worst first; all is well when nothing does; three charts; its price."""

from __future__ import annotations

from datetime import timedelta
from unittest.mock import patch

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from extensions.models import Extension
from pbx.diagnosis.attention import MOST_EXTENSIONS
from pbx.diagnosis.charts import DAY_STEPS, HOUR_STEPS, calls_now, failed_attempts, phones_online
from pbx.diagnosis.models import Attempt, Block
from pbx.diagnosis.verdict import Severity, Verdict
from tests.admin_ui.cases import LIST, make_administrator
from tests.admin_ui.evidence_rows import (
    PHONE,
    SOURCE,
    make_attempt,
    make_block,
    make_old_extension,
    make_period,
)
from tests.admin_ui.test_diagnosis_panel import DiagnosisCase, page_of, page_of_number
from tests.calls.rows import ended, heard, write
from tests.extensions.rows import make_binding

FRONT = "/admin/"
PIECE = "/admin/diagnosis/front/"


class AttentionTests(DiagnosisCase):
    def items(self) -> list[tuple[str, str]]:
        return [(item.code, item.subject) for item in self.client.get(PIECE).context["front"].items]

    def test_all_is_well(self):
        make_binding(make_old_extension())
        for address in (FRONT, PIECE):
            self.assertContains(self.client.get(address), "All is well")
        self.assertEqual(self.items(), [])

    def test_a_phone_with_a_wrong_password_is_said_with_its_button(self):
        extension = make_old_extension("1001", display_name="Front desk")
        make_attempt("1001", "wrong_password", extension)
        response = self.client.get(FRONT)
        self.assertContains(response, "What needs attention now")
        self.assertContains(response, f'href="{page_of(extension)}"><bdi>1001 Front desk</bdi>')
        self.assertContains(response, f'href="{LIST}{extension.pk}/password/"')
        self.assertNotContains(response, "All is well")

    def test_the_worst_comes_first_and_the_server_before_phones(self):
        silent = make_old_extension("1002")
        make_binding(silent, unreachable_since=timezone.now() - timedelta(minutes=5))
        make_attempt("1001", "wrong_password", make_old_extension("1001"))
        verdict = Verdict("disk_full", Severity.ERROR, "The disk is full.", "", "Make room.")
        mild = Verdict("clock_skew", Severity.WARNING, "The clock is wrong.", "", "Set it.")
        with patch("pbx.diagnosis.attention.server_verdicts", return_value=[mild, verdict]):
            response = self.client.get(PIECE)
        codes = [item.code for item in response.context["front"].items]
        self.assertEqual(codes[0], "disk_full")
        self.assertGreater(codes.index("clock_skew"), codes.index("wrong_password"))
        severities = [item.severity for item in response.context["front"].items]
        self.assertEqual(severities, sorted(severities, key=[Severity.ERROR, Severity.WARNING].index))

    def test_extensions_without_a_password_are_one_sentence(self):
        for number in range(1001, 1005):
            make_old_extension(str(number), password=None)
        self.assertEqual(self.items(), [("no_credential", "")])
        self.assertContains(self.client.get(FRONT), "4 extensions have no password yet")

    def test_an_ended_registration_without_another_is_said(self):
        make_binding(make_old_extension("1001"), seconds_left=-300)
        twice = make_old_extension("1002")
        make_binding(twice, key="old", seconds_left=-300)
        make_binding(twice, key="new")
        self.assertNotIn("1002", [subject for _code, subject in self.items()])

    def test_a_slip_of_the_finger_inside_is_said_and_strangers_are_one_calm_sentence(self):
        make_attempt("10001", "unknown_extension", source="192.168.1.77")
        for place, number in enumerate(range(7001, 7021)):
            source = f"198.51.100.{place // 4}"
            make_attempt(str(number), "unknown_extension", source=source, phone="friendly-scanner")
        response = self.client.get(FRONT)
        self.assertEqual(self.items(), [("unknown_extension", "10001")])
        self.assertContains(response, f'href="{page_of_number("10001")}"')
        self.assertContains(response, "numbers: 20, addresses: 5")
        self.assertNotContains(response, "7001")

    def scan(self, source: str) -> None:
        """Of two extensions and seven numbers that are none."""
        for number in ("1001", "1002"):
            make_attempt(number, "wrong_password", make_old_extension(number), source=source, phone="sipsak 0.9.8")
        for number in range(2001, 2008):
            make_attempt(str(number), "unknown_extension", source=source, phone="sipsak 0.9.8")

    def test_an_address_that_guesses_at_many_numbers_is_one_calm_card(self):
        for source in ("192.168.1.200", "198.51.100.9"):
            with self.subTest(source):
                Attempt.objects.all().delete()
                Block.objects.all().delete()
                Extension.objects.all().delete()
                self.scan(source)
                make_block("", source, reason=Block.Reason.GUESSING, numbers=["2007"])
                response = self.client.get(PIECE)
                self.assertEqual(self.items(), [])
                self.assertContains(response, "All is well")
                self.assertContains(response, f"{source} guessed at 9 numbers: … ")
                self.assertContains(response, "It is blocked until ")
                self.assertContains(response, 'data-verdict="guessing"', 1)
                self.assertNotContains(response, "Add extension")
                self.assertNotContains(response, "address is blocked now")
                self.assertNotContains(response, "Strangers try this")

    def test_it_needs_no_block(self):
        self.scan("192.168.1.200")
        self.assertContains(self.client.get(PIECE), "It was refused; nothing has to be done.")
        self.assertEqual(self.items(), [])

    def test_a_phone_that_was_good_at_the_address_of_a_guesser_is_said(self):
        source = "203.0.113.9"
        self.scan(source)
        make_binding(Extension.objects.get(number="1001"), seconds_left=-600, remote_host=source,
                     refreshed_at=timezone.now() - timedelta(hours=1))
        make_attempt("1002", "wrong_password", Extension.objects.get(number="1002"), source="192.168.1.33")
        self.assertEqual(
            sorted(self.items()), [("wrong_password", "1001"), ("wrong_password", "1002")]
        )

    def test_an_office_whose_answers_get_lost_guesses_at_nothing(self):
        for number in range(1001, 1008):
            make_attempt(str(number), "challenge_unanswered", make_old_extension(str(number)), source="198.51.100.9")
        self.assertEqual(len(self.items()), 7)

    def test_phones_that_have_registered_since_take_no_place_from_others(self):
        make_attempt("1999", "wrong_password", make_old_extension("1999"), minutes_ago=30)
        for number in range(1001, 1001 + MOST_EXTENSIONS):
            extension = make_old_extension(str(number))
            make_attempt(str(number), "too_many_devices", extension)
            make_binding(extension, user_agent=PHONE, remote_host=SOURCE)
        self.assertEqual(self.items(), [("wrong_password", "1999")])

    def test_the_worst_are_explained_and_the_others_are_counted(self):
        for number in range(1001, 1004 + MOST_EXTENSIONS):
            make_attempt(str(number), "disabled", make_old_extension(str(number), enabled=False),
                         minutes_ago=2000 - number)
        response = self.client.get(PIECE)
        items = response.context["front"].items
        self.assertEqual(len(items), MOST_EXTENSIONS + 1)
        self.assertEqual(items[0].subject, str(1003 + MOST_EXTENSIONS))
        self.assertIn("with 3 more extensions.", items[-1].text)
        self.assertContains(response, 'href="/admin/diagnosis/attempt/?whose=known"')

    def test_blocked_addresses_are_counted(self):
        make_block("", "198.51.100.9")
        make_block("", "198.51.100.8", until=timezone.now() - timedelta(minutes=1))
        self.assertContains(self.client.get(FRONT), "1 address is blocked now.")

    def test_calls_without_sound(self):
        for place in range(5):
            write(ended(f"c{place}", ago=600 - place, media=[heard("1001", "1002", 0), heard("1002", "1001", 900)]))
        write(ended("fine", ago=900, media=[heard("1001", "1002", 900), heard("1002", "1001", 900)]),
              ended("old", ago=86400, media=[heard("1001", "1002", 0), heard("1002", "1001", 900)]))
        response = self.client.get(FRONT)
        self.assertEqual([code for code, _subject in self.items()], ["no_audio_one_way"] * 3 + ["no_audio"])
        self.assertContains(response, "2 more calls of the last hours")

    def test_calls_that_a_later_one_has_shown_to_be_mended(self):
        write(ended("c1", ago=600, media=[heard("1001", "1002", 0), heard("1002", "1001", 900)]),
              ended("c2", ago=500, answer=None, disposition="FAILED", cause="codec_mismatch"))
        self.assertEqual({code for code, _subject in self.items()}, {"no_audio_one_way", "codec_mismatch"})
        write(ended("echo", dst="*43", ago=300, media=[heard("1001", "1001", 900)]))
        self.assertEqual([code for code, _subject in self.items()], ["codec_mismatch"])
        write(ended("fine", ago=200, media=[heard("1001", "1002", 900), heard("1002", "1001", 900)]))
        self.assertEqual(self.items(), [])

    def test_who_sees_no_extensions_sees_nothing_of_it(self):
        make_attempt("1001", "wrong_password", make_old_extension())
        self.client.force_login(make_administrator("other"))
        response = self.client.get(FRONT)
        self.assertNotContains(response, "needs attention")
        self.assertNotContains(response, "1001")

    def test_the_price_is_bounded(self):
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                response = self.client.get(PIECE)
            self.assertLessEqual(len(response.context["front"].items), MOST_EXTENSIONS + 10)
            return len(captured)

        def fill(first: int, count: int) -> None:
            for number in range(first, first + count):
                extension = make_old_extension(str(number), password="aaaa-bbbb-7")
                make_attempt(str(number), "wrong_password", extension)
                make_attempt(f"9{number}", "unknown_extension", source="192.168.1.9")
                make_binding(extension, key="gone", seconds_left=-60)
                make_block(str(number))

        fill(1001, MOST_EXTENSIONS)
        queries()
        with_few = queries()
        fill(2001, 2 * MOST_EXTENSIONS)
        self.assertLessEqual(queries(), with_few + 1)  # the realm is asked for anew every few seconds

    def test_buttons_and_the_bundle_are_not_for_everybody(self):
        make_attempt("1001", "disabled", make_old_extension(enabled=False))
        self.client.force_login(make_administrator("reader", "view"))
        response = self.client.get(FRONT)
        self.assertContains(response, "See why")
        self.assertNotContains(response, "enable:")
        self.assertNotContains(response, "Support bundle")


class BundleTests(DiagnosisCase):
    def test_it_is_a_file_to_keep(self):
        response = self.client.post("/admin/diagnosis/bundle/")
        self.assertEqual(response["Content-Type"], "application/zip")
        self.assertIn("attachment", response["Content-Disposition"])
        self.assertEqual(response.content[:2], b"PK")


class ChartTests(DiagnosisCase):
    def test_phones_online_over_the_day(self):
        now = timezone.now()
        extension = make_old_extension()
        make_period(extension, 12, 6)
        make_period(extension, 8, 7, "silent")
        make_binding(extension, key="ended", seconds_left=-3 * 3600, refreshed_at=now - timedelta(hours=5))
        make_binding(extension)
        make_binding(extension, key="silent", unreachable_since=now)
        chart = phones_online(now)
        self.assertEqual(chart.value, 1)
        self.assertEqual(len(chart.values), DAY_STEPS)
        self.assertEqual(chart.values[DAY_STEPS // 2 + 2], 1)
        self.assertEqual((chart.values[10], chart.values[66], chart.values[79]), (0, 0, 1))
        self.assertEqual(chart.values[-1], 1)

    def test_calls_at_once_in_the_last_hour(self):
        write(ended("a", ago=1800, talked=600), ended("b", ago=1700, talked=60))
        chart = calls_now(timezone.now())
        self.assertEqual((chart.value, max(chart.values)), (0, 2))

    def test_failed_attempts_of_the_last_hour(self):
        make_attempt("1001", count=7, minutes_ago=10)
        make_attempt("1002", count=1, minutes_ago=10)
        make_attempt("1003", count=9, minutes_ago=100)
        chart = failed_attempts(timezone.now())
        self.assertEqual(chart.value, 8)
        self.assertEqual(len(chart.values), HOUR_STEPS)

    def test_a_group_that_goes_on_for_days_counts_its_share_of_the_hour(self):
        attempt = make_attempt("1001", count=240, minutes_ago=0)
        attempt.first_at = attempt.last_at - timedelta(hours=24)
        attempt.save()
        self.assertAlmostEqual(failed_attempts(timezone.now()).value, 10, delta=1)

    def test_they_are_drawn_without_script_and_have_words(self):
        response = self.client.get(FRONT)
        self.assertContains(response, 'role="img"', 3)
        self.assertContains(response, "0 attempts to register failed in the last hour.")
        self.assertNotContains(response, "style=")


class ListTests(DiagnosisCase):
    ADDRESS = "/admin/diagnosis/attempt/"

    def found(self, **query) -> list[str]:
        return [row.number for row in self.client.get(self.ADDRESS, query).context["cl"].result_list]

    def test_search_and_filters(self):
        make_attempt("1001", "wrong_password", make_old_extension("1001"), minutes_ago=1)
        make_attempt("1009", "unknown_extension", source="198.51.100.5", phone="friendly-scanner", minutes_ago=2)
        self.assertEqual(self.found(), ["1001", "1009"])
        self.assertEqual(self.found(q="scanner"), ["1009"])
        self.assertEqual(self.found(q="198.51"), ["1009"])
        self.assertEqual(self.found(reason="wrong_password"), ["1001"])
        self.assertEqual(self.found(whose="unknown"), ["1009"])
        self.assertEqual(self.found(reason="nix", whose="x"), ["1001", "1009"])
        self.assertEqual(self.client.get(self.ADDRESS, {"q": "\0"}).status_code, 200)

    def test_each_row_leads_to_the_explanation(self):
        extension = make_old_extension("1001")
        make_attempt("1001", "wrong_password", extension)
        make_attempt("1009", "unknown_extension")
        response = self.client.get(self.ADDRESS)
        self.assertContains(response, f'href="{page_of(extension)}"')
        self.assertContains(response, f'href="{page_of_number("1009")}"')
        self.assertContains(response, "wrong password")

    def test_an_attempt_without_a_number_shows_its_messages(self):
        attempt = make_attempt("", "malformed")
        response = self.client.get(f"{self.ADDRESS}{attempt.pk}/change/")
        self.assertContains(response, "damaged message")
        self.assertContains(response, "<pre")

    def test_nothing_can_be_changed(self):
        attempt = make_attempt("1009", "unknown_extension")
        for address in (f"{self.ADDRESS}add/", f"{self.ADDRESS}{attempt.pk}/delete/"):
            self.assertEqual(self.client.get(address).status_code, 403)
            self.assertEqual(self.client.post(address).status_code, 403)

    def test_fifty_rows_cost_as_many_queries_as_one_and_no_messages_are_read(self):
        make_attempt("1009", "unknown_extension")
        self.client.get(self.ADDRESS)
        with CaptureQueriesContext(connection) as captured:
            self.client.get(self.ADDRESS)
        with_one = len(captured)
        for number in range(2000, 2060):
            make_attempt(str(number), "unknown_extension")
        with CaptureQueriesContext(connection) as captured:
            self.client.get(self.ADDRESS)
        self.assertEqual(len(captured), with_one)
        for query in captured:
            self.assertNotIn('"messages"', query["sql"])

    def test_nobody_searches_inside_the_json(self):
        with self.assertLogs("django.security", "ERROR"):
            self.assertEqual(self.client.get(f"{self.ADDRESS}?asked__contains=1").status_code, 400)
