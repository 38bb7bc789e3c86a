from __future__ import annotations

from unittest import skipUnless

from django.db import OperationalError, connection

from sipcore.ports import StoreUnavailable
from sipcore.registrar import Accepted
from tests.engine.test_directory import DirectoryTestCase


@skipUnless(connection.vendor == "sqlite", "PostgreSQL has a disk of its own to fill")
class FullDiskTests(DirectoryTestCase):
    def test_a_full_disk_refuses_nobody_for_good_48(self) -> None:
        """What cannot be written is unavailable (503 and Retry-After), never a refusal, and it recovers by itself."""
        asked = [self.ask(number, path="<sip:" + "e" * 900 + ";lr>") for number in ("1001", "1002", "1003", "1004")]
        self.fill()
        try:
            with self.assertRaises(StoreUnavailable):
                self.batch(asked)
            self.assertEqual([], self.stored())
        finally:
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA max_page_count = 1073741823")
                cursor.execute("DROP TABLE filling")
        decisions = self.batch([self.ask(number) for number in ("1001", "1002", "1003", "1004")])
        self.assertEqual([Accepted] * 4, [type(decision) for decision in decisions])

    def fill(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE filling (bytes BLOB)")
            pages = cursor.execute("PRAGMA page_count").fetchone()[0]
            cursor.execute(f"PRAGMA max_page_count = {pages}")
            for _ in range(1000):
                try:
                    cursor.execute("INSERT INTO filling VALUES (zeroblob(3000))")
                except OperationalError:
                    return
        self.fail("the disk is not full")
