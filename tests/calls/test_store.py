"""The store of call records, on a real database."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

from django.db import OperationalError, connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from pbx.calls import store as store_module
from pbx.calls.models import CallAction, CallRecord, ask_to_hang_up
from pbx.calls.store import DjangoCallStore
from pbx.system.heartbeat import beat
from sipcore.calls.records import CallAction as Action
from sipcore.calls.records import CallRow, LegRow, MediaRow
from sipcore.ports import StoreRejected, StoreUnavailable
from tests.calls.rows import NODE, ended, heard, leg, row, write


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class WriteTests(TestCase):
    def test_every_column_comes_back(self):
        call = CallRow(
            "pbx1-1.1", NODE, "1001", "1002", '"Front desk" <1001>', 1_700_000_000.25, 1_700_000_004.5,
            1_700_000_064.75, "ANSWERED", "normal", "callee", "a84b4c76e66710",
            [LegRow("1002", "Zoiper", "answered", 200, "OK", 1.0, 2.0, 3.0, "203.0.113.9:5062", "Zoiper")],
            [MediaRow("1001", "1002", 5, 800, 1, 2.25, 1.0, 2.0, 7)],
        )
        stored = write(call)
        self.assertEqual(
            [stored.uniqueid, stored.node, stored.src, stored.dst, stored.clid, stored.disposition, stored.cause,
             stored.hung_up_by, stored.sip_call_id],
            ["pbx1-1.1", NODE, "1001", "1002", '"Front desk" <1001>', "ANSWERED", "normal", "callee",
             "a84b4c76e66710"],
        )
        self.assertEqual(
            [stored.start, stored.answer, stored.end],
            [moment(1_700_000_000.25), moment(1_700_000_004.5), moment(1_700_000_064.75)],
        )
        self.assertEqual((stored.duration, stored.billsec), (64, 60))
        self.assertEqual((stored.leg_rows, stored.media_rows), (call.legs, call.media))
        self.assertEqual(stored.caller_name, "Front desk")

    def test_a_call_is_one_row_from_its_first_ring_to_its_end(self):
        first = row()
        stored = write(first)
        self.assertTrue(stored.lives)
        first.answer = first.start + 4
        write(first)
        first.end, first.disposition, first.cause = first.start + 30, "ANSWERED", "normal"
        write(first)
        write(first)
        call = CallRecord.objects.get()
        self.assertEqual((call.pk, call.duration, call.billsec), (stored.pk, 30, 26))

    def test_the_later_of_two_rows_in_one_batch_counts(self):
        write(row(), row(dst="1003"))
        self.assertEqual(CallRecord.objects.get().dst, "1003")

    def test_nothing_costs_nothing(self):
        with self.assertNumQueries(0):
            DjangoCallStore().write_calls([])

    def test_a_thousand_rows_are_one_statement_on_postgresql(self):
        rows = [row(f"pbx1-1.{number}") for number in range(1000)]
        with CaptureQueriesContext(connection) as captured:
            DjangoCallStore().write_calls(rows)
        self.assertEqual(CallRecord.objects.count(), 1000)
        if connection.vendor == "postgresql":
            self.assertEqual(sum("INSERT" in query["sql"] for query in captured), 1)

    def test_hostile_text_is_cleaned_and_cut_and_hurts_no_neighbour(self):
        write(
            row(src="1\x00\ud8001", dst="9" * 500, clid="\x1b[31m" + "x" * 500, sip_call_id="y\r\n" * 200,
                legs=[leg(user_agent="\x00\ud800" + "z" * 9000, reason="a\nb")] * 500,
                media=[MediaRow("1001", "1002", jitter_ms=float("nan"), first_at=float("inf"))]),
            row("pbx1-1.2"),
        )
        self.assertEqual(CallRecord.objects.count(), 2)
        call = CallRecord.objects.get(uniqueid="pbx1-1.1")
        for text in (call.src, call.clid, call.sip_call_id, call.leg_rows[0].user_agent, call.leg_rows[0].reason):
            self.assertFalse(set("\x00\x1b\r\n") & set(text), repr(text))
        self.assertEqual(len(call.dst), 80)
        self.assertLess(len(str(call.legs)), 100_000)
        self.assertEqual((call.media_rows[0].jitter_ms, call.media_rows[0].first_at), (0.0, None))

    def test_a_row_that_cannot_be_stored_is_rejected_and_nothing_of_the_batch_stays(self):
        for bad in (row("x" * 65), row(""), row("a\nb"), row("c", start=float("inf")), row("c", start=float("nan")),
                    row("c", start=1e300), row("c", end=-1.0)):
            with self.subTest(bad.uniqueid[:3], start=bad.start), self.assertRaises(StoreRejected):
                DjangoCallStore().write_calls([row("good"), bad])
        self.assertFalse(CallRecord.objects.exists())

    def test_a_database_that_is_away(self):
        with patch.object(store_module, "upsert", side_effect=OperationalError("secret")), \
                self.assertRaises(StoreUnavailable) as caught:
            DjangoCallStore().write_calls([row()])
        self.assertNotIn("secret", str(caught.exception))


class OrphanTests(TestCase):
    def test_a_restart_closes_what_the_crash_left_at_the_last_heartbeat(self):
        now = time.time()
        beat(NODE, 0, 1, "udp", moment(now - 900), moment(now - 40))
        write(row("talked", start=now - 100, answer=now - 90), row("rang", start=now - 100), ended("over"))
        self.assertEqual(DjangoCallStore().close_orphans(NODE, now), 2)
        talked = CallRecord.objects.get(uniqueid="talked")
        self.assertEqual(
            (talked.end, talked.duration, talked.billsec, talked.disposition, talked.cause, talked.hung_up_by),
            (moment(now - 40), 60, 50, "ANSWERED", "pbx_crashed", "pbx"),
        )
        rang = CallRecord.objects.get(uniqueid="rang")
        self.assertEqual((rang.duration, rang.billsec, rang.disposition), (60, 0, "FAILED"))
        self.assertEqual(CallRecord.objects.get(uniqueid="over").cause, "normal")
        self.assertEqual(DjangoCallStore().close_orphans(NODE, now), 0)

    def test_other_machines_keep_their_calls(self):
        write(row("here"), row("there", node="pbx2"))
        self.assertEqual(DjangoCallStore().close_orphans(NODE, time.time()), 1)
        self.assertTrue(CallRecord.objects.get(uniqueid="there").lives)

    def test_without_a_heartbeat_they_end_now(self):
        now = time.time()
        write(row(start=now - 100))
        DjangoCallStore().close_orphans(NODE, now)
        self.assertEqual(CallRecord.objects.get().end, moment(now))

    def test_no_call_ends_before_it_began(self):
        now = time.time()
        beat(NODE, 0, 1, "udp", moment(now - 900), moment(now - 500))
        write(row("late", start=now - 100, answer=now - 90), row("ahead", start=now + 500))
        DjangoCallStore().close_orphans(NODE, now)
        for call in CallRecord.objects.all():
            self.assertGreaterEqual(call.end, call.start)
        # Each database rounds a float to microseconds in its own way.
        late = CallRecord.objects.get(uniqueid="late")
        self.assertAlmostEqual(late.end, moment(now - 90), delta=timedelta(microseconds=2))

    def test_many(self):
        write(*[row(f"c{number}") for number in range(1200)])
        self.assertEqual(DjangoCallStore().close_orphans(NODE, time.time()), 1200)
        self.assertFalse(CallRecord.objects.living().exists())


class ActionTests(TestCase):
    def test_each_request_is_given_once_to_its_machine(self):
        call = write(row())
        ask_to_hang_up(call, by="root")
        ask_to_hang_up(call, by="somebody else")
        self.assertEqual(DjangoCallStore().take_actions("pbx2"), [])
        self.assertEqual(DjangoCallStore().take_actions(NODE), [Action("pbx1-1.1", "hangup", "root")])
        self.assertEqual(DjangoCallStore().take_actions(NODE), [])

    def test_nothing_to_do_is_one_query(self):
        with self.assertNumQueries(1):
            DjangoCallStore().take_actions(NODE)

    def test_a_restart_forgets_requests_for_calls_that_are_gone(self):
        ask_to_hang_up(write(row()), by="root")
        DjangoCallStore().close_orphans(NODE, time.time())
        self.assertEqual(DjangoCallStore().take_actions(NODE), [])


class SweepTests(TestCase):
    def test_old_calls_go_a_few_at_a_time_and_living_ones_stay(self):
        day = 86400.0
        write(*[ended(f"old{number}", ago=10 * day) for number in range(5)], ended("new"), row("lives", start=1000.0))
        CallAction.objects.create(uniqueid="gone", node="pbx9", by="x", created_at=moment(time.time() - 9 * day))
        store, before = DjangoCallStore(), time.time() - 5 * day
        self.assertEqual([store.sweep_calls(before, 3), store.sweep_calls(before, 3)], [3, 2])
        self.assertEqual(set(CallRecord.objects.values_list("uniqueid", flat=True)), {"new", "lives"})
        self.assertFalse(CallAction.objects.exists())

    def test_a_long_call_that_ended_after_the_limit_stays(self):
        write(ended("long", ago=1000, talked=900))
        self.assertEqual(DjangoCallStore().sweep_calls(time.time() - 500, 10), 0)

    def test_many_at_once(self):
        write(*[ended(f"c{number}", ago=9000) for number in range(900)])
        self.assertEqual(DjangoCallStore().sweep_calls(time.time(), 5000), 900)


class SpeedTests(TestCase):
    """Which way the database goes, not how long it takes."""

    def plan(self, queryset) -> str:
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL enable_seqscan = off")  # a few rows are read faster without any index
        return queryset.explain()

    def test_the_reads_of_every_second_and_of_every_page_go_by_an_index(self):
        write(row(), ended("b", media=[heard("1001", "1002", 5)]))
        for name, queryset in (
            ("call_action_node", CallAction.objects.filter(node=NODE)),
            ("call_living", CallRecord.objects.living().order_by("-start", "-id")),
            ("call_src", CallRecord.objects.filter(src="1001").order_by("-start")),
            ("call_start", CallRecord.objects.order_by("-start", "-id")[:50]),
            ("call_start", CallRecord.objects.filter(start__lt=moment(1.0), end__lt=moment(1.0)).order_by("start")),
        ):
            with self.subTest(name):
                self.assertIn(name, self.plan(queryset))

