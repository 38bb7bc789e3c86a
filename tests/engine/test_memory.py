"""Memory that a flood took goes back to the system."""

from __future__ import annotations

from unittest import TestCase

from sipcore.memory import LARGEST, LOOK_SECONDS, LOOKS, MEGABYTE, Memory, give_back, resident


class MemoryTests(TestCase):
    def setUp(self):
        self.size, self.given = 50 * MEGABYTE, 0
        self.memory = Memory(lambda: self.size, self.give_back)

    def give_back(self) -> None:
        self.given += 1

    def later(self, looks: int) -> int:
        """How often memory was given back meanwhile."""
        before = self.given
        for _ in range(looks * LOOK_SECONDS):
            self.memory.every_second()
        return self.given - before

    def test_as_long_as_it_does_not_grow_nothing_is_done(self):
        self.later(2 * LOOKS)
        self.assertEqual(self.later(100), 0)
        self.size += MEGABYTE
        self.assertEqual(self.later(100), 0)

    def test_after_it_has_grown_for_a_while_because_it_becomes_free_later(self):
        self.later(2 * LOOKS)
        self.size += 20 * MEGABYTE
        self.assertEqual(self.later(100), LOOKS)

    def test_a_large_process_is_not_held_up(self):
        self.size = LARGEST + 1
        self.assertEqual(self.later(100), 0)

    def test_on_this_machine(self):
        self.assertGreater(resident(), MEGABYTE)
        give_back()
