"""From SQLite to PostgreSQL in the middle of a morning's registrations."""

from __future__ import annotations

import contextlib
import sqlite3
import unittest

from tests.operations.case import CROWD, FIRST, numbers, registers, try_to
from tests.support.cases import PASSWORD
from tests.support.loadgen import LoadGenerator
from tests.support.pbx import PostgresStore, RunningPbx, SqliteStore
from tests.support.phone import Phone

SECRETS = (
    "SELECT e.id, e.number, e.password, c.algorithm, c.username, c.realm, c.ha1 FROM extensions_extension e "
    "JOIN extensions_digestcredential c ON c.extension_id = e.id ORDER BY c.id"
)


class MoveTests(unittest.TestCase):
    def setUp(self):
        self.old, self.new = SqliteStore(), PostgresStore()
        self.pbx = RunningPbx(self.old)
        self.addCleanup(self.old.remove)
        self.addCleanup(self.pbx.stop)
        self.new.cluster.create_database(self.new.database)
        self.addCleanup(self.new.remove)

    def move(self) -> tuple[int, str]:
        return try_to(self.pbx, "movedatabase", "--to", "-", text_in=self.new.url + "\n")

    def test_phones_that_register_meanwhile_lose_nothing_and_need_no_password_again(self):
        pbx = self.pbx
        pbx.create_extensions(dict.fromkeys(numbers(), PASSWORD))
        pbx.create_extension("1001", "typed-by-hand-7")
        with (
            Phone(pbx.server, "1001", "typed-by-hand-7", pbx.domain) as phone,
            LoadGenerator(
                server=pbx.server, domain=pbx.domain, first=FIRST, count=CROWD, password=PASSWORD, window=4
            ) as load,
        ):
            self.assertEqual(phone.register().status, 200)
            load.start("register")
            load.wait_for_progress(CROWD // 3)
            status, said = self.move()
            self.assertNotEqual(status, 0, "it must not run beside a server that goes on confirming")
            self.assertIn("is running, nothing was changed", said)
            load.start("register")
            pbx.terminate()
            confirmed = pbx.registered_numbers()
            secrets = self.old.rows(SECRETS)
            status, said = self.move()
            self.assertEqual(status, 0, said)
            self.assertNotIn(self.new.cluster.password, said)
            self.assertEqual(self.new.rows(SECRETS), secrets)
            self.assertEqual(len(secrets), CROWD + 2)  # imported ones have an MD5 HA1 only, 1001 has both

            # Nobody goes on with the old one by mistake.
            status, said = try_to(pbx, *pbx.command()[2:])
            self.assertNotEqual(status, 0)
            self.assertIn("was moved to PostgreSQL", said)

            pbx.store = self.new
            self.assertLessEqual(confirmed, pbx.registered_numbers())
            pbx.start()
            before = len(phone.answers)
            self.assertEqual(phone.register().status, 200)
            self.assertEqual([one.status for one in phone.answers[before:]], [200], "its nonce is still good")
            for report in (load.collect(), load.collect()):
                # Told to try later, or nobody there: never a refusal. How many depends on the machine.
                self.assertLessEqual(report.failures.keys(), {"503", "timeout"})
                self.assertLessEqual({str(number) for number in report.confirmed}, pbx.registered_numbers())
            report = load.run("register")  # each phone's own next time
            self.assertEqual((report.failures, len(report.confirmed)), ({}, CROWD))
        self.assertEqual(pbx.registered_numbers(), {*numbers(), "1001"})
        # New rows get keys of their own: the sequences go on where the old ones ended.
        pbx.create_extension("1002", "typed-by-hand-8")
        self.assertEqual(registers(pbx, "1002", "typed-by-hand-8"), 200)

    def test_a_database_that_is_used_already_is_not_touched(self):
        self.pbx.terminate()
        self.new.cluster.execute("CREATE TABLE of_somebody (id int)", self.new.database)
        status, said = self.move()
        self.assertNotEqual(status, 0)
        self.assertIn("is not empty, nothing was changed", said)
        self.pbx.start()  # on SQLite, as before

    def test_what_does_not_fit_is_named_and_a_second_try_works(self):
        self.pbx.create_extension("1001", "typed-by-hand-7")
        self.pbx.terminate()
        with contextlib.closing(sqlite3.connect(self.old.path)) as shell, shell:
            # SQLite takes what its column is too short for.
            shell.execute("UPDATE extensions_extension SET display_name = ?", ["x" * 90])
        status, said = self.move()
        self.assertNotEqual(status, 0)
        self.assertIn("extensions_extension does not fit into PostgreSQL", said)
        self.assertNotIn("xxx", said)
        self.pbx.start()  # on SQLite, as before
        self.assertEqual(registers(self.pbx, "1001", "typed-by-hand-7"), 200)
        self.pbx.terminate()
        with contextlib.closing(sqlite3.connect(self.old.path)) as shell, shell:
            shell.execute("UPDATE extensions_extension SET display_name = ''")
        status, said = self.move()
        self.assertEqual(status, 0, said)
        self.pbx.store = self.new
        self.pbx.start()
        self.assertEqual(registers(self.pbx, "1001", "typed-by-hand-7"), 200)

    def test_an_address_that_is_none_is_told_without_showing_it(self):
        self.pbx.terminate()
        wrong = self.new.url.replace(self.new.cluster.password, "hunter2")
        for url in (wrong, "mysql://pbx:hunter2@127.0.0.1/pbx", "postgres://pbx:hun%ter2@127.0.0.1:x/pbx"):
            status, said = try_to(self.pbx, "movedatabase", "--to", url)
            self.assertNotEqual(status, 0)
            self.assertNotIn("hunter2", said)
            self.assertNotIn("Traceback", said)
