"""The engine's batch on the real database, with the rows that once rolled back a whole batch of a hundred."""

from __future__ import annotations

import threading
from dataclasses import replace
from unittest import skipUnless
from unittest.mock import patch

from django.db import OperationalError, connection, transaction
from django.test import TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext

from extensions.directory import DjangoDirectory
from extensions.models import Binding, Extension
from pbx import prepared
from sipcore.batch import RegistrationBatch
from sipcore.ports import BindingId, StoreUnavailable
from sipcore.registrar import Accepted, Busy, Cause, Policy, Refused
from tests.engine.asking import asks, contact
from tests.engine.memory_directory import REALM

NOW = 1_800_000_000.0


@override_settings(SIP_REALM=REALM)
class DirectoryTestCase(TransactionTestCase):
    def setUp(self):
        for number in ("1001", "1002", "1003", "1004"):
            self.make(number)
        self.directory = DjangoDirectory(REALM, ["MD5"])
        decoys = {"MD5": "0" * 32, "SHA-256": "0" * 64}
        self.batch = RegistrationBatch(self.directory, Policy(node="n1"), decoys, lambda: NOW)

    def make(self, number):
        extension = Extension(number=number)
        extension.set_password("secret")
        extension.save()
        return extension

    def ask(self, number, **fields):
        return asks(contact(f"sip:{number}@192.168.1.5:5062"), number=number, call_id=f"c{number}", **fields)

    def stored(self):
        return sorted(Binding.objects.values_list("extension__number", flat=True))


class Reading(DirectoryTestCase):
    def test_a_whole_batch_costs_one_read_of_each_kind_one_upsert_and_one_commit(self):
        asked = [self.ask(number) for number in ("1001", "1002", "1003", "1004")]
        self.batch(asked)
        # BEGIN; lock; accounts; bindings; upsert; COMMIT. On SQLite the transaction is the lock.
        with self.assertNumQueries(4 if connection.vendor == "postgresql" else 5):
            self.batch([self.ask(number) for number in ("1001", "1002", "1003", "1004")])

    @skipUnless(connection.vendor == "postgresql", "SQLite has no journeys to save (DATABASE_URL)")
    def test_it_is_two_journeys_and_three_while_somebody_tries_passwords(self):
        self.batch([self.ask("1001"), self.ask("1002")])
        one, several = prepared._on_postgresql, prepared._all_on_postgresql
        with (
            patch.object(prepared, "_on_postgresql", side_effect=one) as alone,
            patch.object(prepared, "_all_on_postgresql", side_effect=several) as together,
        ):
            self.batch([self.ask("1001"), self.ask("1002")])
            self.assertEqual((alone.call_count, together.call_count), (1, 1))
            self.batch([self.ask("1001", password="wrong")])
            alone.reset_mock(), together.reset_mock()
            self.batch([self.ask("1001"), self.ask("1002")])
            self.assertEqual((alone.call_count, together.call_count), (2, 1))
        (_database, locks_and_bindings), _ = together.call_args
        self.assertTrue(locks_and_bindings.startswith(b"BEGIN; EXECUTE "))
        self.assertTrue(alone.call_args.args[1].endswith(b"; COMMIT"))

    def test_what_was_written_is_read_back_the_same(self):
        asked = asks(contact("sip:1001@[2001:db8::5]:5062", q=0.5, instance="urn:uuid:1", reg_id=2), path="<sip:e;lr>")
        [decision] = self.batch([asked])
        account = Extension.objects.get(number="1001").pk
        self.assertEqual(self.directory.bindings([account]), {account: decision.current})

    def test_two_directories_share_a_connection_and_nothing_else(self):
        other = DjangoDirectory(REALM, ["SHA-256"])
        for directory, algorithms in ((self.directory, {"MD5"}), (other, {"SHA-256"}), (self.directory, {"MD5"})):
            self.assertEqual(directory.accounts(["1001"])["1001"].ha1.keys(), algorithms)

    def test_texts_that_mean_something_to_the_database_are_kept_as_they_are(self):
        texts = ['a"b', "a\\b", '","', "{}", "NULL", "it's", "100 %s", "", "a,b", '\\"', "$1; COMMIT", "ё‘"]
        stored = self.batch([self.ask("1001")])[0].current[0]
        rows = [replace(stored, key=f"k{place:02}", user_agent=text) for place, text in enumerate(texts)]
        self.directory.write(rows, [])
        self.directory.write([replace(row, key="one " + row.key) for row in rows[:1]], [stored.id])
        found = self.directory.bindings([stored.account_id])[stored.account_id]
        self.assertEqual({b.key: b.user_agent for b in found}, {b.key: b.user_agent for b in rows} | {"one k00": 'a"b'})

    def test_times_are_kept_to_the_microsecond(self):
        stored = self.batch([self.ask("1001")])[0].current[0]
        for times in ((NOW, NOW + 0.000001, NOW + 0.5, None), (NOW + 0.999999, NOW + 1, NOW + 3600.123457, NOW + 7.1)):
            names = ("registered_at", "refreshed_at", "expires_at", "unreachable_since")
            binding = replace(stored, **dict(zip(names, times, strict=True)))
            self.directory.write([binding], [])
            self.assertEqual(self.directory.bindings([binding.account_id]), {binding.account_id: [binding]})
            self.assertEqual(self.directory.living("n1", NOW - 1), [binding])

    def test_credentials_of_another_number_or_realm_are_stale_and_none_are_missing(self):
        Extension.objects.get(number="1001").credentials.update(realm="old.test")
        Extension.objects.get(number="1002").credentials.update(username="2002")
        Extension.objects.get(number="1003").credentials.all().delete()
        decisions = self.batch([self.ask("1001"), self.ask("1002"), self.ask("1003")])
        self.assertEqual([d.cause for d in decisions],
                         [Cause.STALE_CREDENTIAL, Cause.STALE_CREDENTIAL, Cause.NO_CREDENTIAL])

    def test_a_new_password_holds_from_the_next_packet(self):
        extension = Extension.objects.get(number="1001")
        extension.set_password("changed")
        extension.save()
        old, new = self.batch([self.ask("1001"), self.ask("1001", password="changed")])
        self.assertEqual(old, Refused(403, Cause.WRONG_PASSWORD))
        self.assertIsInstance(new, Accepted)


class OneBadRow(DirectoryTestCase):
    """Each of these once rolled back a whole batch. The texts come here uncleaned, as if the intake had a hole."""

    def only_the_guilty_one_is_refused(self, bad):
        decisions = self.batch([self.ask("1001"), bad, self.ask("1003"), self.ask("1004")])
        self.assertIsInstance(decisions[1], Refused)
        self.assertEqual(self.stored(), ["1001", "1003", "1004"])
        for index in (0, 2, 3):
            self.assertIsInstance(decisions[index], Accepted)

    @skipUnless(connection.vendor == "postgresql", "SQLite stores any length: only PostgreSQL refuses (DATABASE_URL)")
    def test_a_user_agent_longer_than_its_column(self):
        self.only_the_guilty_one_is_refused(self.ask("1002", user_agent="x" * 500))

    @skipUnless(connection.vendor == "postgresql", "SQLite stores NUL: only PostgreSQL refuses it (DATABASE_URL)")
    def test_a_nul(self):
        self.only_the_guilty_one_is_refused(self.ask("1002", user_agent="a\0b"))

    def test_a_lone_surrogate(self):
        self.only_the_guilty_one_is_refused(self.ask("1002", user_agent="a\ud800b"))

    def test_one_key_twice(self):
        decisions = self.batch([self.ask("1001"), self.ask("1002"), self.ask("1002"), self.ask("1003")])
        self.assertTrue(all(isinstance(d, Accepted) for d in decisions))
        self.assertEqual(self.stored(), ["1001", "1002", "1003"])

    def meanwhile(self, change):
        """``change`` happens just before the accounts are locked: while somebody tries passwords after they were read,
        else before that."""

        def after_the_change(lock):
            def changed_meanwhile(asked):
                change(Extension.objects.filter(number="1002").first())
                return lock(asked)

            return changed_meanwhile

        for name in ("lock_enabled", "lock_accounts"):
            patcher = patch.object(self.directory, name, after_the_change(getattr(self.directory, name)))
            patcher.start()
            self.addCleanup(patcher.stop)

    def somebody_tries_passwords(self):
        self.batch([self.ask("1001", password="wrong")])

    def test_an_extension_deleted_meanwhile(self):
        self.somebody_tries_passwords()
        self.meanwhile(lambda extension: extension and extension.delete())
        decisions = self.batch([self.ask("1001"), self.ask("1002"), self.ask("1003")])
        self.assertIsInstance(decisions[1], Busy)
        self.assertEqual(self.stored(), ["1001", "1003"])
        self.assertEqual(self.batch([self.ask("1002")]), [Refused(403, Cause.UNKNOWN_EXTENSION)])

    def test_an_extension_deleted_before_it_is_locked(self):
        self.meanwhile(lambda extension: extension.delete())
        decisions = self.batch([self.ask("1001"), self.ask("1002"), self.ask("1003")])
        self.assertEqual(decisions[1], Refused(403, Cause.UNKNOWN_EXTENSION))
        self.assertEqual(self.stored(), ["1001", "1003"])

    def disable(self, extension):
        extension.enabled = False
        extension.save()

    def test_an_extension_disabled_meanwhile(self):
        self.somebody_tries_passwords()
        self.meanwhile(self.disable)
        self.batch([self.ask("1001"), self.ask("1002")])
        self.assertEqual(self.stored(), ["1001"])
        self.assertEqual(self.batch([self.ask("1002")]), [Refused(403, Cause.DISABLED)])

    def test_an_extension_disabled_before_it_is_locked(self):
        self.meanwhile(self.disable)
        self.assertEqual(self.batch([self.ask("1001"), self.ask("1002")])[1], Refused(403, Cause.DISABLED))
        self.assertEqual(self.stored(), ["1001"])


@skipUnless(connection.vendor == "postgresql", "row locks: only PostgreSQL has them (DATABASE_URL)")
class RowLocks(DirectoryTestCase):
    def test_an_administrator_who_keeps_an_extension_locked_holds_up_nobody_else(self):
        locked, release = threading.Event(), threading.Event()

        def administrator():
            with transaction.atomic():
                Extension.objects.select_for_update().get(number="1002")
                locked.set()
                release.wait(30)
            connection.close()

        thread = threading.Thread(target=administrator)
        thread.start()
        self.assertTrue(locked.wait(10))
        try:
            decisions = self.batch([self.ask("1001"), self.ask("1002")])
        finally:
            release.set()
            thread.join()
        self.assertIsInstance(decisions[0], Accepted)
        self.assertIsInstance(decisions[1], Busy)
        self.assertIsInstance(self.batch([self.ask("1002")])[0], Accepted)


class Away(DirectoryTestCase):
    def test_a_database_that_is_away_is_unavailable_and_never_a_refusal(self):
        gone = OperationalError("gone")
        with patch("pbx.prepared.on_sqlite", side_effect=gone), \
                patch("pbx.prepared._on_postgresql", side_effect=gone), self.assertRaises(StoreUnavailable):
            self.batch([self.ask("1001")])
        self.assertIsInstance(self.batch([self.ask("1001")])[0], Accepted)


class Chores(DirectoryTestCase):
    def setUp(self):
        super().setUp()
        self.batch([self.ask("1001"), self.ask("1002")])
        self.ids = [BindingId(b.extension_id, b.key) for b in Binding.objects.order_by("extension__number")]

    def test_living_are_those_of_this_node_that_have_not_ended(self):
        self.assertEqual([b.id for b in self.directory.living("n1", NOW)], self.ids)
        self.assertEqual(self.directory.living("n2", NOW), [])
        self.assertEqual(self.directory.living("n1", NOW + 3601), [])

    def test_living_are_read_a_few_at_a_time(self):
        first = self.directory.living("n1", NOW, None, 1)
        self.assertEqual([b.id for b in first], self.ids[:1])
        second = self.directory.living("n1", NOW, first[-1].id, 1)
        self.assertEqual([b.id for b in second], self.ids[1:])
        self.assertEqual(self.directory.living("n1", NOW, second[-1].id, 1), [])
        self.assertEqual(self.directory.living("n1", NOW, BindingId(self.ids[0].account_id, ""), 5), first + second)

    def test_one_forgotten_by_an_administrator_is_not_there_any_more(self):
        Binding.objects.get(extension__number="1001").delete()
        self.assertEqual(self.directory.still_there(self.ids, NOW), {self.ids[1]})

    def test_unreachable_and_back(self):
        self.directory.mark_reachable(self.ids[:1], NOW)
        self.assertEqual(Binding.objects.filter(unreachable_since=None).count(), 1)
        self.directory.mark_reachable(self.ids[:1], None)
        self.assertEqual(Binding.objects.filter(unreachable_since=None).count(), 2)

    def test_bindings_end_with_their_connection_and_not_with_one_they_have_left(self):
        Binding.objects.filter(extension__number="1001").update(connection="a")
        Binding.objects.filter(extension__number="1002").update(connection="new")
        lost = dict(zip(self.ids, ("a", "old"), strict=True))
        for _ in range(2):
            self.directory.end_connections(lost, NOW + 5)
            self.assertEqual([b.id for b in self.directory.living("n1", NOW + 5)], self.ids[1:])
        self.assertEqual(Binding.objects.count(), 2, "the ended one is kept as last seen")

    def test_a_whole_network_that_is_gone_is_noted_in_a_few_statements(self):
        extension = Extension.objects.create(number="77", password="!")
        stored = [self.directory.living("n1", NOW)[0]]
        rows = [replace(stored[0], account_id=extension.pk, key=f"k{n}", connection=f"c{n}") for n in range(900)]
        self.directory.write(sorted(rows, key=lambda b: b.id), [])
        ids = [binding.id for binding in rows]
        with CaptureQueriesContext(connection) as queries:
            self.directory.mark_reachable(ids, NOW)
        self.assertLess(len(queries), 20)
        self.assertEqual(Binding.objects.filter(unreachable_since__isnull=False).count(), 900)
        lost = {binding.id: binding.connection for binding in rows[:-1]} | {rows[-1].id: "another one"}
        with CaptureQueriesContext(connection) as queries:
            self.directory.end_connections(lost, NOW + 5)
        self.assertLess(len(queries), 20)
        left = [b for b in self.directory.living("n1", NOW + 5) if b.account_id == extension.pk]
        self.assertEqual([b.key for b in left], [rows[-1].key], "it lives on another connection")

    def test_a_clock_that_was_set_moves_the_times_along(self):
        self.directory.shift_times("n1", 7200)
        self.directory.shift_times("n2", -7200)
        self.assertEqual(len(self.directory.living("n1", NOW + 7200 + 3599)), 2)

    def test_what_ended_long_ago_is_swept_in_portions(self):
        self.assertEqual(self.directory.sweep(NOW + 3600, 10), 0)
        self.assertEqual(self.directory.sweep(NOW + 3601, 1), 1)
        self.assertEqual(self.directory.sweep(NOW + 3601, 10), 1)
