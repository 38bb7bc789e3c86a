"""What is done besides answering."""

from __future__ import annotations

from unittest import TestCase

from sipcore.chores import Chores
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
