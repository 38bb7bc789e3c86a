"""The collector looks rarely while there are only phones, and at few objects at once while there are calls."""

from __future__ import annotations

import gc
import unittest

from sipcore.collector import CALLS, NO_CALLS, SETTLE_PHONES, Collector


class CollectorTests(unittest.TestCase):
    def setUp(self):
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)
        gc.unfreeze()
        self.collector = Collector()

    def test_what_a_start_leaves_is_not_looked_through(self):
        self.collector.started()
        self.assertGreater(gc.get_freeze_count(), 1000)
        self.assertEqual(NO_CALLS, gc.get_threshold())

    def test_few_objects_at_once_while_there_are_calls(self):
        self.collector.every_second(10, calls=True)
        self.assertEqual(CALLS, gc.get_threshold())
        self.collector.every_second(10, calls=False)
        self.assertEqual(NO_CALLS, gc.get_threshold())

    def test_many_new_phones_are_left_alone_but_not_during_calls(self):
        self.collector.every_second(SETTLE_PHONES + 1, calls=True)
        self.assertEqual(0, gc.get_freeze_count())
        self.collector.every_second(SETTLE_PHONES + 1, calls=False)
        self.assertGreater(gc.get_freeze_count(), 0)

    def test_those_that_stay_are_left_alone_once(self):
        self.collector.every_second(SETTLE_PHONES + 1, calls=False)
        gc.unfreeze()
        self.collector.every_second(2 * SETTLE_PHONES, calls=False)
        self.assertEqual(0, gc.get_freeze_count())

    def test_phones_that_went_are_new_when_they_come_again(self):
        self.collector.every_second(2 * SETTLE_PHONES, calls=False)
        self.collector.every_second(0, calls=False)
        gc.unfreeze()
        self.collector.every_second(2 * SETTLE_PHONES, calls=False)
        self.assertGreater(gc.get_freeze_count(), 0)
