"""What a SIP process does besides answering."""

from __future__ import annotations

from unittest import TestCase

from sipcore.chores import KEEP_ENDED_SECONDS, Chores
from tests.engine.core_under_test import Engine


class InstantStore:
    def call(self, chore):
        chore()


class ChoresTests(TestCase):
    def setUp(self):
        self.engine = Engine()
        self.addCleanup(self.engine.log.close)
        self.swept: list[tuple[float, int]] = []
        self.directory = self.engine.directory
        self.directory.sweep_calls = lambda before, limit: self.swept.append((before, limit)) or 0

    def chores(self, **options) -> Chores:
        return Chores(
            self.engine.core, InstantStore(), self.directory, self.engine.clock, self.engine.log, lambda wall: None,
            lambda work: work(), self.directory, **options,
        )

    def test_call_records_are_kept_for_ever_unless_told_otherwise(self):
        self.chores().every_second()
        self.assertEqual(self.swept, [])

    def test_call_records_older_than_told_are_deleted(self):
        self.chores(keep_calls=86400.0).every_second()
        self.assertEqual(self.swept[0][0], self.engine.clock.wall() - 86400.0)

    def test_registrations_that_ended_long_ago_are_forgotten(self):
        before = []
        self.directory.sweep = lambda moment, limit: before.append(moment) or 0
        self.chores().every_second()
        self.assertEqual(before, [self.engine.clock.wall() - KEEP_ENDED_SECONDS])
