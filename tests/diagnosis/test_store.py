"""The store of evidence, on a real database: what is written comes back, and no table grows past its limit."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from unittest import skipUnless
from unittest.mock import patch

from django.db import IntegrityError, OperationalError, connection, transaction
from django.test import TestCase, TransactionTestCase
from django.utils import timezone

from extensions.models import Binding, Extension
from pbx.diagnosis import store as store_module
from pbx.diagnosis.models import Attempt, CallTrace, OnlinePeriod, Watch, WatchedMessage
from pbx.diagnosis.quotas import OF_AN_EXTENSION, OF_UNKNOWN_NUMBERS, PERIODS_OF_AN_EXTENSION
from pbx.diagnosis.store import DjangoEvidenceStore
from sipcore.evidence import facts
from sipcore.ports import StoreUnavailable

NOW = 1_800_000_000.0


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def wire(text: str = "REGISTER sip:pbx.test SIP/2.0", at: float = NOW, **fields) -> facts.WireMessage:
    values = {"sent": False, "transport": "UDP", "local": "192.0.2.1:5060", "remote": "192.0.2.9:5062", "size": 400}
    return facts.WireMessage(at=at, text=text, **(values | fields))


def attempt(number: str = "1001", source: str = "192.0.2.9", cause: str = "wrong_password", **fields) -> facts.Attempt:
    at = fields.pop("at", NOW)
    values = {"port": 5062, "transport": "UDP", "first_at": at, "last_at": at}
    return facts.Attempt(number=number, source=source, cause=cause, **(values | fields))


def extension(number: str = "1001", **fields) -> Extension:
    return Extension.objects.create(number=number, **fields)


def registered_from(owner: Extension, host: str) -> Binding:
    return Binding.objects.create(
        extension=owner, key=f"sip:x@{host}", contact=f"sip:x@{host}", transport="UDP", remote_host=host,
        remote_port=5062, local_host="192.0.2.1", local_port=5060, node="n1", call_id="c", cseq=1, nonce="n", nc=1,
        registered_at=moment(NOW), refreshed_at=moment(NOW), expires_at=moment(NOW),
    )


class StoreTestCase(TestCase):
    def setUp(self):
        self.store = DjangoEvidenceStore()

    def write(self, *attempts: facts.Attempt) -> None:
        self.store.write_attempts(attempts)


class Attempts(StoreTestCase):
    def test_every_field_comes_back(self):
        owner = extension()
        given = attempt(
            first_at=NOW - 5, last_at=NOW, count=3, proven=True, repeats=2, sources=("192.0.2.9:1", "192.0.2.10:2"),
            asked=facts.Asked(user_agent="Zoiper", expires=60, contact="sip:1001@10.0.0.1"),
            messages=(wire(), wire("SIP/2.0 403 Forbidden\nVia: x", sent=True, number="1001")),
        )
        self.write(given)
        row = Attempt.objects.get()
        self.assertEqual(
            (row.extension, row.number, row.source, row.port, row.transport, row.cause, row.proven, row.count,
             row.repeats, row.first_at, row.last_at, row.user_agent, row.sources),
            (owner, "1001", "192.0.2.9", 5062, "UDP", "wrong_password", True, 3, 2, moment(NOW - 5), moment(NOW),
             "Zoiper", ["192.0.2.9:1", "192.0.2.10:2"]),
        )
        self.assertEqual(facts.Asked(**row.asked), given.asked)
        self.assertEqual(tuple(facts.WireMessage(**message) for message in row.messages), given.messages)

    def test_the_same_again_is_one_row_with_the_latest_message(self):
        self.write(attempt(count=2, repeats=1, messages=(wire("first"),)))
        self.write(attempt(at=NOW + 60, count=5, repeats=2, port=7000, messages=(wire("second"),)))
        row = Attempt.objects.get()
        self.assertEqual((row.count, row.repeats, row.first_at, row.last_at, row.port, row.messages[0]["text"]),
                         (7, 3, moment(NOW), moment(NOW + 60), 7000, "second"))

    def test_twice_in_one_writing_too(self):
        self.write(attempt(), attempt(at=NOW + 1))
        self.assertEqual(Attempt.objects.get().count, 2)

    def test_who_was_proven_once_stays_so(self):
        self.write(attempt(proven=True))
        self.write(attempt(at=NOW + 1))
        self.assertTrue(Attempt.objects.get().proven)

    def test_a_day_later_it_is_counted_anew(self):
        self.write(attempt(count=900, proven=True))
        self.write(attempt(at=NOW + 90_000))
        row = Attempt.objects.get()
        self.assertEqual((row.count, row.first_at, row.proven), (1, moment(NOW + 90_000), False))

    def test_capital_and_small_letters_are_one_number(self):
        owner = extension("Desk")
        self.write(attempt("DESK"))
        self.write(attempt("desk", at=NOW + 1))
        row = Attempt.objects.get()
        self.assertEqual((row.number, row.count, row.extension), ("desk", 2, owner))

    def test_hostile_texts_are_stored_harmlessly(self):
        evil = "\x00\ud800<script>\x1b[2J\u202e😀" * 50
        asked = facts.Asked(user_agent=evil, contact=evil, call_id=evil)
        self.write(attempt(evil, evil[:20], sources=(evil,), asked=asked, messages=(wire(evil),), transport=evil),
                   attempt("1002"))
        row = Attempt.objects.get(source__startswith="\ufffd")
        self.assertEqual(len(row.number), 64)
        for text in (row.number, row.user_agent, json.dumps(row.asked, ensure_ascii=False), row.messages[0]["text"]):
            self.assertNotIn("\x00", text)
            self.assertNotIn("\ud800", text)
        self.assertIn("😀", row.messages[0]["text"])

    def test_one_bad_row_does_not_take_its_neighbours_with_it(self):
        bad = attempt("1002", last_at=float("inf"))
        self.write(attempt("1001"), bad, attempt("1003"))
        self.assertEqual(set(Attempt.objects.values_list("number", flat=True)), {"1001", "1003"})

    def test_neither_does_one_that_the_database_refuses(self):
        create = Attempt.objects.bulk_create

        def refuse(rows, **options):
            if any(row.number == "1002" for row in rows):
                raise IntegrityError("its extension was deleted")
            return create(rows, **options)

        with patch.object(type(Attempt.objects), "bulk_create", side_effect=refuse):
            self.write(*(attempt(str(number)) for number in range(1000, 1010)))
        self.assertEqual(Attempt.objects.count(), 9)

    def test_a_store_that_is_away_says_so(self):
        with (
            patch.object(store_module, "_write_attempts", side_effect=OperationalError("locked")),
            self.assertRaises(StoreUnavailable),
        ):
            self.write(attempt())

    def test_long_conversations_are_cut_to_their_last_messages(self):
        self.write(attempt(messages=tuple(wire(f"{number} " + "x" * 4000, NOW + number) for number in range(40))))
        messages = Attempt.objects.get().messages
        self.assertLessEqual(len(json.dumps(messages)), 48 * 1024)
        self.assertEqual(messages[-1]["text"][:2], "39")
        self.write(attempt("1002", messages=tuple(wire(str(number)) for number in range(40))))
        self.assertEqual(len(Attempt.objects.get(number="1002").messages), 24)


class Quotas(StoreTestCase):
    def test_100_000_failing_sources_leave_the_table_at_its_limit(self):
        """Half of them guess at an extension whose own phone has a fault as well."""
        owner = extension()
        registered_from(owner, "203.0.113.9")
        self.write(attempt(source="203.0.113.9", messages=(wire("its own"),)))
        for chunk in range(20):
            self.write(*(
                attempt("1001" if number % 2 else f"9{chunk}{number}", f"10.{chunk}.{number >> 8}.{number & 255}",
                        at=NOW + 1 + chunk, cause="wrong_password" if number % 2 else "unknown_extension")
                for number in range(5000)
            ))  # fmt: skip
        self.assertEqual(Attempt.objects.filter(extension=None).count(), OF_UNKNOWN_NUMBERS)
        self.assertEqual(owner.attempts.count(), OF_AN_EXTENSION)
        self.assertEqual(owner.attempts.get(source="203.0.113.9").messages[0]["text"], "its own")
        self.assertTrue(Attempt.objects.filter(extension=None, source__startswith="10.19.").exists())

    def test_who_knew_the_password_is_kept_before_strangers(self):
        owner = extension()
        self.write(attempt(source="198.51.100.1", cause="too_many_devices", proven=True))
        for number in range(60):
            self.write(attempt(source=f"10.0.0.{number}", at=NOW + number))
        self.assertTrue(owner.attempts.filter(proven=True).exists())
        self.assertEqual(owner.attempts.count(), OF_AN_EXTENSION)

    def test_the_newest_of_the_strangers_stay(self):
        owner = extension()
        for number in range(60):
            self.write(attempt(source=f"10.0.0.{number}", at=NOW + number))
        self.assertEqual(
            set(owner.attempts.values_list("source", flat=True)), {f"10.0.0.{number}" for number in range(40, 60)}
        )

    def test_numbers_that_are_none_do_not_push_out_an_extension(self):
        owner = extension()
        self.write(attempt())
        self.write(*(attempt(f"8{number}", at=NOW + 1) for number in range(2000)))
        self.assertEqual(owner.attempts.count(), 1)

    def test_periods_watched_messages_and_traces_too(self):
        owner = extension()
        with patch("pbx.diagnosis.quotas.LOOKED_AT", 1):
            self.store.write_periods([
                facts.Period(owner.pk, NOW + number * 10, NOW + number * 10 + 5, "expired", "192.0.2.9:5062", "Zoiper")
                for number in range(PERIODS_OF_AN_EXTENSION + 50)
            ])
        self.assertEqual(owner.online_periods.count(), PERIODS_OF_AN_EXTENSION)
        self.assertEqual(owner.online_periods.order_by("started_at").first().started_at, moment(NOW + 500))
        self.store.write_watched([facts.Watched("1001", "c", wire(at=NOW + number)) for number in range(400)])
        self.assertEqual(WatchedMessage.objects.count(), 300)
        self.assertEqual(WatchedMessage.objects.order_by("at").first().at, moment(NOW + 100))
        with patch("pbx.diagnosis.quotas.TRACES", 5):
            for number in range(9):
                self.store.write_traces([facts.CallTrace(f"call-{number}", (wire(at=NOW + number),))])
        self.assertEqual(set(CallTrace.objects.values_list("uniqueid", flat=True)), {f"call-{n}" for n in range(4, 9)})


class Numbers(StoreTestCase):
    """Attempts follow the numbers of extensions."""

    def test_an_extension_that_is_added_takes_up_what_its_phone_has_tried(self):
        self.write(attempt("DESK", cause="unknown_extension"), attempt("other", cause="unknown_extension"))
        owner = extension("desk")
        self.assertEqual(owner.attempts.get().number, "DESK")

    def test_a_renamed_one_leaves_them_behind_for_its_old_number(self):
        owner = extension("1001")
        self.write(attempt("1001"), attempt("2001", cause="unknown_extension"))
        owner.number = "2001"
        owner.save()
        self.assertEqual(owner.attempts.get().number, "2001")
        self.assertIsNone(Attempt.objects.get(number="1001").extension)
        self.write(attempt("1001", at=NOW + 5))
        self.assertIsNone(Attempt.objects.get(number="1001").extension)

    def test_they_go_with_it(self):
        owner = extension()
        self.write(attempt())
        self.store.write_periods([facts.Period(owner.pk, NOW, NOW + 5, "expired", "", "")])
        owner.delete()
        self.assertEqual((Attempt.objects.count(), OnlinePeriod.objects.count()), (0, 0))
        self.store.write_periods([facts.Period(owner.pk or 99, NOW, NOW + 5, "expired", "", "")])
        self.assertEqual(OnlinePeriod.objects.count(), 0)

    def test_saving_anything_else_costs_nothing(self):
        owner = extension()
        self.write(attempt())
        with patch("pbx.diagnosis.attempts_of_numbers.keep_attempts") as kept:
            owner.display_name = "Reception"
            owner.save()
        kept.assert_not_called()
        self.assertEqual(owner.attempts.count(), 1)


class AllElse(StoreTestCase):
    def test_periods_told_twice_are_written_once(self):
        owner = extension()
        period = facts.Period(owner.pk, NOW, NOW + 60, "connection_lost", "192.0.2.9:5062", "Zoiper")
        self.store.write_periods([period])
        self.store.write_periods([period, facts.Period(owner.pk, NOW + 99, NOW + 100, "silent", "x", "y")])
        first, second = owner.online_periods.order_by("started_at")
        self.assertEqual(
            (first.started_at, first.ended_at, first.ending, first.source, first.user_agent, second.ending),
            (moment(NOW), moment(NOW + 60), "connection_lost", "192.0.2.9:5062", "Zoiper", "silent"),
        )

    def test_a_phone_that_comes_and_goes_is_looked_at_again_and_again(self):
        owner = extension()
        for number in range(PERIODS_OF_AN_EXTENSION + 700):
            self.store.write_periods([facts.Period(owner.pk, NOW + number, NOW + number + 0.5, "expired", "", "")])
        self.assertLess(owner.online_periods.count(), PERIODS_OF_AN_EXTENSION + 400)  # missed once in 10**8 times

    def test_what_a_phone_calls_itself_is_kept_to_the_letter(self):
        owner = extension()
        names = ["", "NULL", "it's", 'a "b", {c}', "back\\slash\\", "Qoʻngʻiroq Ж 😀", "%s $1"]
        self.store.write_periods([
            facts.Period(owner.pk, NOW + place, NOW + place + 0.5, "expired", "192.0.2.9:5062", name)
            for place, name in enumerate(names)
        ])
        self.assertEqual(names, [*owner.online_periods.order_by("started_at").values_list("user_agent", flat=True)])

    def test_a_period_that_is_none_is_left_out(self):
        owner = extension()
        self.store.write_periods([
            facts.Period(owner.pk, NOW, NOW, "expired", "", ""),
            facts.Period(owner.pk, NOW, NOW + 1, "nonsense", "", ""),
        ])
        self.assertEqual(OnlinePeriod.objects.count(), 0)

    def test_the_newest_trace_of_a_call_counts(self):
        self.store.write_traces([facts.CallTrace("call-1", (wire("INVITE"),))])
        self.store.write_traces([facts.CallTrace("call-1", (wire("INVITE"), wire("BYE", NOW + 5)))])
        trace = CallTrace.objects.get()
        self.assertEqual([message["text"] for message in trace.messages], ["INVITE", "BYE"])
        self.assertEqual(trace.updated_at, moment(NOW + 5))

    def test_a_trace_keeps_the_fields_of_its_messages(self):
        message = wire("INVITE", number="1002", sent=True)
        self.store.write_traces([facts.CallTrace("call-1", (message,))])
        self.assertEqual(facts.WireMessage(**CallTrace.objects.get().messages[0]), message)

    def test_watched_numbers_until_their_time_is_over(self):
        now = timezone.now()
        Watch.objects.create(number="1001", until=now + timedelta(minutes=10))
        Watch.objects.create(number="1002", until=now - timedelta(seconds=1))
        self.assertEqual(self.store.watched_numbers(time.time()), {"1001"})

    def test_watched_messages(self):
        self.store.write_watched([facts.Watched("1001", "call-id", wire("hello", number="1002"))])
        row = WatchedMessage.objects.get()
        self.assertEqual((row.number, row.call_id, row.at), ("1001", "call-id", moment(NOW)))
        self.assertEqual((row.message["text"], row.message["number"]), ("hello", "1002"))

    def test_what_is_old_is_swept(self):
        owner = extension()
        now = time.time()
        for age in (8 * 86_400, 6 * 86_400, 60):
            at = now - age
            self.write(attempt(source=f"10.0.0.{age % 250}", at=at))
            self.store.write_periods([facts.Period(owner.pk, at - 60, at, "expired", "", "")])
            self.store.write_traces([facts.CallTrace(f"call-{age}", (wire(at=at),))])
            self.store.write_watched([facts.Watched("1001", "c", wire(at=at))])
        Watch.objects.create(number="1001", until=moment(now - 7200))
        self.assertEqual(self.store.sweep(now - 7 * 86_400, 500), 6)
        counts = [model.objects.count() for model in (Attempt, OnlinePeriod, CallTrace, WatchedMessage, Watch)]
        self.assertEqual(counts, [2, 2, 2, 1, 0])

    def test_not_more_than_asked_is_swept_at_once(self):
        self.write(*(attempt(f"8{number}") for number in range(10)))
        self.assertEqual(self.store.sweep(NOW + 10, 4), 4)
        self.assertEqual(Attempt.objects.count(), 6)


@skipUnless(connection.vendor == "postgresql", "row locks: only PostgreSQL has them (DATABASE_URL)")
class RowLocks(TransactionTestCase):
    def test_an_administrator_who_keeps_an_extension_locked_holds_up_no_evidence(self):
        """Registrations wait for the same thread."""
        held, other = extension("1001"), extension("1002")
        store, locked, release = DjangoEvidenceStore(), threading.Event(), threading.Event()

        def administrator():
            with transaction.atomic():
                Extension.objects.select_for_update().get(pk=held.pk)
                locked.set()
                release.wait(30)
            connection.close()

        thread = threading.Thread(target=administrator)
        thread.start()
        self.assertTrue(locked.wait(10))
        self.addCleanup(connection.close)  # the time-out goes with it
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '5s'")
            store.write_attempts([attempt("1001"), attempt("1002")])
            store.write_attempts([attempt("1001")])
            store.write_periods([
                facts.Period(one.pk, NOW - 60, NOW, "expired", "192.0.2.9:5062", "") for one in (held, other)
            ])
        finally:
            release.set()
            thread.join()
        rows = Attempt.objects.order_by("number").values_list("number", "extension", "count")
        self.assertEqual(list(rows), [("1001", None, 2), ("1002", other.pk, 1)])
        periods = OnlinePeriod.objects.order_by("extension__number")
        self.assertEqual([period.extension for period in periods], [held, other])
        store.write_attempts([attempt("1001")])
        self.assertEqual(Attempt.objects.get(number="1001").extension, held)
