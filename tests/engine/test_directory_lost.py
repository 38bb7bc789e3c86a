"""The connection to PostgreSQL ends between two batches, and in the middle of one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from unittest import skipUnless
from unittest.mock import patch

from django.db import connection, connections

from extensions import directory
from extensions.models import Binding
from sipcore.ports import StoreRejected, StoreUnavailable
from sipcore.registrar import Accepted
from tests.engine.test_directory import DirectoryTestCase


@skipUnless(connection.vendor == "postgresql", "SQLite has no connection to lose (DATABASE_URL)")
class LostConnection(DirectoryTestCase):
    def lose_it(self) -> None:
        other = connections.create_connection("default")
        try:
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.info.backend_pid])
        finally:
            other.close()

    def test_between_two_batches_it_is_renewed_unseen(self) -> None:
        self.batch([self.ask("1001")])
        self.lose_it()
        self.assertIsInstance(self.batch([self.ask("1002")])[0], Accepted)
        self.assertEqual(self.stored(), ["1001", "1002"])

    def test_in_the_middle_of_a_batch_nothing_is_written_without_its_locks(self) -> None:
        self.batch([self.ask("1001")])
        write = directory.upsert

        def late(*arguments: object) -> None:
            self.lose_it()
            write(*arguments)

        with patch.object(directory, "upsert", late), self.assertRaises(StoreUnavailable):
            self.batch([self.ask("1002")])
        self.assertEqual(self.stored(), ["1001"])
        self.assertIsInstance(self.batch([self.ask("1002")])[0], Accepted)
        self.assertEqual(Binding.objects.count(), 2)

    def test_a_migration_beside_the_running_server_costs_no_answer(self) -> None:
        self.batch([self.ask("1001")])
        widths = (("extensions_binding", "user_agent", 128), ("extensions_extension", "number", 32))
        for more in (10, 0):
            with connection.cursor() as cursor:
                for table, column, width in widths:
                    cursor.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE varchar({width + more})")
            decisions = []
            for _ in range(3):  # as the store's thread asks again
                with suppress(StoreUnavailable):
                    decisions += self.batch([self.ask("1001")])
            self.assertIsInstance(decisions[0], Accepted)

    def test_what_was_only_looked_at_holds_no_lock_afterwards(self) -> None:
        [first] = self.batch([self.ask("1001")])
        with self.directory.registering():
            self.assertEqual(len(self.directory.lock_enabled([first.current[0].account_id])), 1)
        other = connections.create_connection("default")
        try:
            with other.cursor() as cursor:
                cursor.execute("SELECT id FROM extensions_extension FOR UPDATE NOWAIT")
        finally:
            other.close()

    def test_an_error_that_somebody_keeps_to_himself_is_no_commit(self) -> None:
        """To COMMIT of a transaction that has failed PostgreSQL says ROLLBACK, and calls that no error."""
        [first] = self.batch([self.ask("1001")])
        too_long = replace(first.current[0], user_agent="x" * 500)
        with self.assertRaises(StoreUnavailable), self.directory.registering():
            self.directory.lock_enabled([too_long.account_id])
            with suppress(StoreRejected):
                self.directory.write([too_long], [])
        self.assertIsInstance(self.batch([self.ask("1002")])[0], Accepted)
