"""What is done besides answering."""

from __future__ import annotations

import time
from unittest import TestCase, mock

from sipcore.calls.book import RecordBook
from sipcore.calls.records import CallRow
from sipcore.chores import Chores
from sipcore.clock import Clock
from sipcore.ports import StoreUnavailable


class HeldChores:
    """A store that runs its chores when the test says so."""

    def __init__(self) -> None:
        self.chores: list = []

    def call(self, chore) -> None:
        self.chores.append(chore)

    def run_one(self) -> None:
        self.chores.pop(0)()


class ChoreTests(TestCase):
    def setUp(self):
        self.store = HeldChores()
        self.chores = Chores(None, self.store, *[None] * 6)  # type: ignore[arg-type]

    def fail_with(self, error: Exception) -> None:
        def work():
            raise error

        self.chores._chore("actions", work)
        with self.assertRaises(type(error)):
            self.store.run_one()

    def test_one_of_a_kind_waits_at_most(self):
        self.chores._chore("beat", lambda: None)
        self.chores._chore("beat", lambda: None)
        self.assertEqual(len(self.store.chores), 1)

    def test_a_bug_in_one_does_not_end_its_kind_for_ever(self):
        self.fail_with(KeyError("a bug"))
        self.chores._chore("actions", lambda: None)
        self.assertEqual(len(self.store.chores), 1)

    def test_one_that_the_store_will_try_again_still_waits(self):
        self.fail_with(StoreUnavailable("away"))
        self.chores._chore("actions", lambda: None)
        self.assertEqual(self.store.chores, [])


class ClockSet(TestCase):
    def test_stored_times_and_the_time_they_are_compared_with_move_together(self):
        """Else a phone that registers in between is forgotten: its row is of the new time, and is moved as well."""
        clock, store, directory = Clock(), HeldChores(), mock.Mock()
        chores = Chores(None, store, directory, clock, mock.Mock(), *[None] * 3)  # type: ignore[arg-type]
        before = clock.wall()
        machine = time.time
        with mock.patch("time.time", lambda: machine() - 7200):
            chores._follow_clock()
            chores._follow_clock()
            self.assertAlmostEqual(clock.wall(), before, delta=60)
            store.run_one()
            self.assertAlmostEqual(clock.wall(), before - 7200, delta=60)
            chores._follow_clock()
        self.assertEqual(store.chores, [])
        [moved] = directory.shift_times.call_args.args
        self.assertAlmostEqual(moved, -7200, delta=1)


class Records(TestCase):
    def test_a_bug_with_one_record_does_not_cost_all_later_ones(self):
        store, calls, log = HeldChores(), mock.Mock(), mock.Mock()
        book = RecordBook(store, calls, log)  # type: ignore[arg-type]
        calls.write_calls.side_effect = [TypeError("a bug"), None]
        for name in ("one", "two"):
            book.changed(CallRow(name, "n", "1001", "1002", "", 0.0))
            store.run_one()
        self.assertEqual([row.uniqueid for row in calls.write_calls.call_args.args[0]], ["two"])
        log.error.assert_called_once()
