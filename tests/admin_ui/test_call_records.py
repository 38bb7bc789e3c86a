"""Call Detail Records: the list with its search, filters, totals and CSV, and the page of one call."""

from __future__ import annotations

import csv
import io
import time
from datetime import datetime, timedelta
from unittest.mock import patch

from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pbx.calls import totals
from pbx.calls.models import CallRecord
from tests.admin_ui.cases import AdminCase, QuietCase
from tests.admin_ui.test_active_calls import PIECE, detail, make_caller
from tests.calls.rows import ended, heard, leg, row, write
from tests.extensions.rows import make_extension

RECORDS = "/admin/calls/callrecord/"
EXPORT = f"{RECORDS}export/"


def found(response) -> list[str]:
    return [call.uniqueid for call in response.context["cl"].result_list]


def table(response) -> list[list[str]]:
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline="")))


class ListTests(AdminCase):
    def test_a_row_says_when_who_result_talk_time_and_reason(self):
        call = write(ended(talked=125))
        response = self.client.get(RECORDS)
        for text in (f"{timezone.localtime(call.start):%Y-%m-%d %H:%M:%S}", "1001", "Front desk", "1002", "answered",
                     "2:05", "hung up", detail(call).removesuffix("change/")):
            self.assertContains(response, text)

    def test_newest_first(self):
        write(ended("a", ago=300), ended("c", ago=100), ended("b", ago=200))
        self.assertEqual(found(self.client.get(RECORDS)), ["c", "b", "a"])
        self.assertEqual(found(self.client.get(RECORDS, {"o": "0"})), ["a", "b", "c"])

    def test_a_call_that_is_going_on_is_in_progress(self):
        write(row())
        self.assertContains(self.client.get(RECORDS), "in progress")

    def test_nothing_found_is_said(self):
        self.assertContains(self.client.get(RECORDS), "Nobody has called yet.")
        self.assertContains(self.client.get(RECORDS, {"q": "9"}), "No call fits the search.")

    def test_search_takes_whole_numbers_first_then_parts_then_names(self):
        write(ended("a", ago=400), ended("b", ago=300, src="10010", clid='"Alisher" <10010>', dst="998901234567"),
              ended("c", ago=200, src="1005", clid="1005", dst="*43"))
        for text, expected in (("1001", ["a"]), (" 1002 ", ["a"]), ("10010", ["b"]), ("4567", ["b"]), ("alish", ["b"]),
                               ("*43", ["c"]), ("100", ["c", "b", "a"]), ("c", ["c"]), ("%", []), ("nix'--", [])):
            with self.subTest(text):
                self.assertEqual(found(self.client.get(RECORDS, {"q": text})), expected)

    def test_results_filter(self):
        write(ended("a"), ended("b", answer=None, disposition="BUSY", cause="busy"))
        self.assertEqual(found(self.client.get(RECORDS, {"disposition__exact": "BUSY"})), ["b"])
        self.assertContains(self.client.get(RECORDS), "busy")

    def test_odd_addresses_are_answered(self):
        write(ended())
        for query in ("since=x", "since=0001-01-01", "until=9999-12-31", "until=9999-99-99", "period=nonsense",
                      "since=2026-11-30&until=2026-11-01", "p=99", "p=x", "disposition__exact=nix", "nix=1", "o=99.x",
                      "q=%00", "since=%00", "all=", "q=" + "x" * 3000, "e=1", "src__exact=1001"):
            for address in (RECORDS, EXPORT):
                with self.subTest(query, address=address):
                    self.assertIn(self.client.get(f"{address}?{query}").status_code, (200, 302))

    def test_nobody_searches_inside_the_json(self):
        for query in ("legs__contains=1", "media=1", "legs__0__number=1"):
            with self.subTest(query), self.assertLogs("django.security", "ERROR"):
                self.assertEqual(self.client.get(f"{RECORDS}?{query}").status_code, 400)

    def test_fifty_rows_cost_as_many_queries_as_one_and_the_wide_columns_are_not_read(self):
        write(ended("first", legs=[leg()]))
        self.client.get(RECORDS)
        with CaptureQueriesContext(connection) as captured:
            self.client.get(RECORDS)
        with_one = len(captured)
        write(*[ended(f"c{number}", legs=[leg()]) for number in range(70)])
        with CaptureQueriesContext(connection) as captured:
            response = self.client.get(RECORDS)
        self.assertLessEqual(len(captured), with_one + 1)  # which of them stand on this page
        self.assertEqual(len(found(response)), 50)
        self.assertEqual(len(found(self.client.get(RECORDS, {"p": "2"}))), 21)
        for query in captured:
            self.assertNotIn('"legs"', query["sql"])

    def test_text_from_the_network_is_only_text(self):
        bad = '"><script>alert(1)</script>'
        call = write(ended(src=bad, dst=bad, clid=f'"{bad}" <1>', cause="<b>", sip_call_id=bad,
                           legs=[leg(bad, device=bad, user_agent=bad, remote=bad, state="failed", code=500, reason=bad,
                                     ended_at=time.time())],
                           media=[heard(bad, bad, 0, foreign=99)]))
        for address in (RECORDS, f"{RECORDS}?q=%3Cscript%3Ealert", detail(call), "/admin/"):
            with self.subTest(address):
                self.assertNotContains(self.client.get(address), "<script>alert")


@override_settings(TIME_ZONE="Asia/Tashkent")
class PeriodTests(AdminCase):
    """In a time zone where the day begins at 19:00 UTC of the day before."""

    def setUp(self):
        super().setUp()
        noon = timezone.localtime().replace(hour=12, minute=0, second=0, microsecond=0)
        self.midnight = noon.replace(hour=0)
        write(*[
            ended(name, start=moment.timestamp(), answer=None, end=moment.timestamp() + 9)
            for name, moment in (
                ("today", self.midnight), ("yesterday", self.midnight - timedelta(seconds=1)),
                ("week", noon - timedelta(days=5)), ("old", noon - timedelta(days=400)),
            )
        ])

    def test_named_periods(self):
        for period, expected in (("today", {"today"}), ("yesterday", {"yesterday"}),
                                 ("week", {"today", "yesterday", "week"})):
            with self.subTest(period):
                self.assertEqual(set(found(self.client.get(RECORDS, {"period": period}))), expected)
        self.assertIn("today", found(self.client.get(RECORDS, {"period": "month"})))
        self.assertNotIn("today", found(self.client.get(RECORDS, {"period": "last_month"})))

    def test_two_dates_both_included(self):
        day, before = (f"{self.midnight - timedelta(days=days):%Y-%m-%d}" for days in (0, 1))
        for query, expected in (
            ({"since": day, "until": day}, {"today"}), ({"since": before, "until": day}, {"today", "yesterday"}),
            ({"until": before}, {"yesterday", "week", "old"}), ({"since": day}, {"today"}),
        ):
            with self.subTest(query):
                response = self.client.get(RECORDS, query)
                self.assertEqual(set(found(response)), expected)
        self.assertContains(response, f'name="since" value="{day}"')

    def test_the_form_and_the_links_keep_what_else_was_asked(self):
        response = self.client.get(RECORDS, {"q": "1001", "disposition__exact": "ANSWERED", "since": "2026-01-01"})
        self.assertContains(response, '<input type="hidden" name="q" value="1001">')
        self.assertContains(response, '<input type="hidden" name="disposition__exact" value="ANSWERED">')
        self.assertContains(response, "disposition__exact=ANSWERED&amp;period=today&amp;q=1001")

    def test_the_export_takes_the_period_too(self):
        self.assertEqual([line[11] for line in table(self.client.get(EXPORT, {"period": "today"}))[1:]], ["today"])


class TotalsTests(AdminCase):
    def totals(self, **query) -> tuple[int, int, str]:
        shown = self.client.get(RECORDS, query).context["cl"].paginator.totals
        return shown.calls, shown.answered, shown.talk_time

    def test_calls_answered_and_talk_time_of_what_is_chosen(self):
        self.assertEqual(self.totals(), (0, 0, "0:00"))
        write(ended("a", talked=60), ended("b", talked=3600, src="1005"),
              ended("c", answer=None, disposition="BUSY", cause="busy"))
        self.assertEqual(self.totals(), (3, 2, "1:01:00"))
        self.assertEqual(self.totals(q="1005"), (1, 1, "1:00:00"))
        self.assertEqual(self.totals(disposition__exact="BUSY"), (1, 0, "0:00"))

    def test_the_count_is_bounded_and_says_so(self):
        write(*[ended(f"c{number}") for number in range(7)])
        with patch.object(totals, "MOST_UNASKED", 5), patch.object(totals, "MOST_COUNTED", 6):
            for query, bound in (({}, 5), ({"q": "1001"}, 6), ({"period": "month", "since": "2000-01-01"}, 6)):
                response = self.client.get(RECORDS, query)
                self.assertEqual(response.context["cl"].result_count, bound)
                self.assertContains(response, f"the newest {bound} calls")
        self.assertNotContains(self.client.get(RECORDS), "the newest")


class ExportTests(AdminCase):
    def test_every_row_of_the_filter_with_asterisks_columns(self):
        write(*[ended(f"c{number}") for number in range(120)], ended("other", src="1009"))
        response = self.client.get(EXPORT, {"q": "1001"})
        self.assertEqual(response["Content-Type"], "text/csv; charset=utf-8")
        self.assertIn('attachment; filename="calls-', response["Content-Disposition"])
        lines = table(response)
        self.assertEqual(lines[0][:9], ["start", "answer", "end", "src", "dst", "clid", "duration", "billsec",
                                        "disposition"])
        self.assertEqual(len(lines), 121)
        call = CallRecord.objects.get(uniqueid="c0")
        line = next(line for line in lines if "c0" in line)
        self.assertEqual(line[0], f"{timezone.localtime(call.start):%Y-%m-%d %H:%M:%S}")
        self.assertEqual(line[3:9], ["1001", "1002", '"Front desk" <1001>', "35", "30", "ANSWERED"])

    def test_a_spreadsheet_runs_nothing_of_it(self):
        write(ended(src="=1+1", dst="+998901234567", clid='@SUM(A1)"', hung_up_by="-x"))
        line = table(self.client.get(EXPORT))[1]
        for cell in line:
            self.assertFalse(cell.startswith(("=", "+", "-", "@", "\t", "\r")), cell)
        self.assertEqual(line[3], "'=1+1")

    def test_a_living_call_has_empty_times(self):
        write(row())
        self.assertEqual(table(self.client.get(EXPORT))[1][1:3], ["", ""])

    def test_the_list_offers_it_with_its_filter(self):
        write(ended())
        self.assertContains(self.client.get(RECORDS, {"q": "1001"}), f"{EXPORT}?q=1001")


class DetailTests(AdminCase):
    def test_the_story_of_a_call(self):
        make_extension("1002")
        start = time.time() - 300
        call = write(ended(
            start=start, answer=start + 10, end=start + 100, hung_up_by="callee", sip_call_id="a84b4c@x",
            legs=[leg(state="failed", code=487, ringing_at=start + 0.5, ended_at=start + 10, user_agent="Linphone"),
                  leg(state="answered", code=200, ringing_at=start + 0.6, answered_at=start + 10)],
            media=[heard("1001", "1002", 4500), heard("1002", "1001", 0)],
        ))
        response = self.client.get(detail(call))
        for text in ("1002 hung up.", "1001 calls 1002", "1002 rings", "Linphone", "1002 stops ringing",
                     "1002 answers", "+10.0", "end: hung up", "No audio from 1002", "4500", "a84b4c@x", "1:30",
                     "/admin/extensions/extension/"):
            self.assertContains(response, text)
        self.assertNotContains(response, "Hang up<")
        steps = [step.text for step in response.context["steps"]]
        self.assertEqual(steps[0], "1001 calls 1002")
        self.assertEqual(steps[-1], "end: hung up")

    def test_why_it_failed_and_what_to_do(self):
        call = write(ended(answer=None, disposition="FAILED", cause="codec_mismatch", hung_up_by=""))
        response = self.client.get(detail(call))
        self.assertContains(response, "SRTP")
        self.assertContains(response, "PCMA")

    def test_a_living_call_renews_itself_until_it_ends(self):
        call = write(row(legs=[leg(ringing_at=time.time())]))
        page = self.client.get(detail(call))
        self.assertContains(page, "data-live-panel")
        piece = self.client.get(detail(call), headers=PIECE)
        self.assertNotContains(piece, "<html")
        self.assertContains(piece, "1002 rings")
        write(ended())
        self.assertContains(self.client.get(detail(call), headers=PIECE), "1001 hung up.")
        self.assertNotContains(self.client.get(detail(call)), "data-live-panel")

    def test_calls_that_are_not_there(self):
        for id in ("999", "0", "x", "-1", "9" * 40, "٣"):
            with self.subTest(id):
                self.assertEqual(self.client.get(f"{RECORDS}{id}/change/").status_code, 404)

    def test_every_cause_has_a_page_in_every_language(self):
        from sipcore.calls.records import CAUSES

        for cause in CAUSES:
            call = write(ended(cause=cause))
            for language in ("uz", "ru", "en"):
                with self.subTest(cause, language=language):
                    response = self.client.get(detail(call), headers={"accept-language": language})
                    self.assertEqual(response.status_code, 200)


class PermissionTests(QuietCase):
    def test_each_page_asks(self):
        call = write(ended())
        addresses = (RECORDS, EXPORT, detail(call), f"{RECORDS}{call.pk}/history/")
        for address in addresses:
            with self.subTest(address):
                self.assertEqual(self.client.get(address).status_code, 302)
        self.client.force_login(make_caller("other", "view_activecall"))
        for address in addresses:
            with self.subTest(address):
                self.assertEqual(self.client.get(address).status_code, 403)
        self.client.force_login(make_caller("viewer", "view_callrecord"))
        for address in addresses:
            with self.subTest(address):
                self.assertEqual(self.client.get(address).status_code, 200)

    def test_numbers_lead_to_extensions_only_for_who_may_see_them(self):
        make_extension("1002")
        call = write(ended())
        self.client.force_login(make_caller("viewer", "view_callrecord"))
        self.assertNotContains(self.client.get(detail(call)), "/admin/extensions/")

    def test_the_time_shown_is_local(self):
        with override_settings(TIME_ZONE="Asia/Tashkent"):
            call = write(ended())
            self.client.force_login(make_caller("viewer", "view_callrecord"))
            local = timezone.localtime(call.start)
            self.assertIsInstance(local, datetime)
            self.assertContains(self.client.get(detail(call)), f"{local:%Y-%m-%d %H:%M:%S}")
