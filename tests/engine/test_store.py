"""The thread that owns the database connection."""

from __future__ import annotations

import threading
from unittest import TestCase

from sipcore.ports import StoreUnavailable
from sipcore.registrar import Accepted, Busy
from sipcore.store import Job, Store
from tests.engine.asking import asks

DEADLINE = 10.0


class StoreTests(TestCase):
    def setUp(self):
        self.batches: list[int] = []
        self.done: list[Job] = []
        self.errors: list[BaseException] = []
        self.all_done = threading.Condition()
        self.gate = threading.Event()
        self.gate.set()
        self.failures: list[BaseException] = []
        self.busy = 0
        self.store = Store(self.work, self.finished, self.errors.append, limit=1000)
        self.store.start()
        self.addCleanup(self.store.stop, DEADLINE)

    def work(self, asked):
        self.gate.wait(DEADLINE)
        if self.failures:
            raise self.failures.pop()
        self.batches.append(len(asked))
        if self.busy:
            self.busy -= 1
            return [Busy() for _ in asked]
        return [Accepted([], [], []) for _ in asked]

    def finished(self, jobs):
        with self.all_done:
            self.done += jobs
            self.all_done.notify()

    def job(self, **fields):
        return Job(asks(), None, None, 0.0, **fields)

    def wait_for(self, count):
        with self.all_done:
            self.assertTrue(self.all_done.wait_for(lambda: len(self.done) >= count, DEADLINE))

    def test_what_arrived_while_it_was_busy_is_the_next_batch(self):
        self.gate.clear()
        self.store.submit(self.job())
        while self.store.waiting and self.store._new:  # until the thread has taken the first
            pass
        for _ in range(40):
            self.store.submit(self.job())
        self.gate.set()
        self.wait_for(41)
        self.assertEqual(self.batches, [1, 40])

    def test_the_waiting_list_is_bounded(self):
        self.gate.clear()
        while self.store.has_room(job := self.job()):
            self.store.submit(job)
        self.assertLessEqual(self.store.waiting, 750 + 500)
        self.gate.set()

    def test_when_it_is_full_for_new_phones_there_is_room_for_those_that_refresh(self):
        self.gate.clear()
        while self.store.has_room(job := self.job()):
            self.store.submit(job)
        refreshed = 0
        while self.store.has_room(job := self.job(refreshes=True)):
            self.store.submit(job)
            refreshed += 1
        self.assertGreaterEqual(refreshed, 250)
        self.gate.set()

    def test_a_phone_that_refreshes_is_served_before_those_that_are_new(self):
        self.gate.clear()
        self.store.submit(self.job())
        while self.store._new:  # until the thread has taken the first
            pass
        for _ in range(600):
            self.store.submit(self.job())
        refresh = self.job(refreshes=True)
        self.store.submit(refresh)
        self.gate.set()
        self.wait_for(602)
        self.assertIs(self.done[1], refresh)
        self.assertEqual(self.batches, [1, 101, 300, 200], "nor does it wait for all of them to be written")

    def test_a_new_phone_has_its_turn_however_many_refresh(self):
        self.gate.clear()
        self.store.submit(self.job())
        while self.store._new:  # until the thread has taken the first
            pass
        new = self.job()
        self.store.submit(new)
        for _ in range(900):
            self.store.submit(self.job(refreshes=True))
        self.gate.set()
        self.wait_for(902)
        self.assertIn(new, self.done[1:301], "it waited for all that refresh")
        self.assertEqual(self.batches[1], 300)

    def test_while_the_store_is_away_nobody_loses_the_turn(self):
        self.failures = [StoreUnavailable("x")]
        jobs = [self.job(), self.job(), self.job(refreshes=True), self.job(refreshes=True)]
        self.store.submit(*jobs)
        self.wait_for(4)
        self.assertEqual(self.done, [*jobs[2:], *jobs[:2]])

    def test_while_the_store_is_away_requests_wait_and_then_all_are_decided(self):
        self.failures = [StoreUnavailable("x"), StoreUnavailable("x")]
        for _ in range(3):
            self.store.submit(self.job())
        self.wait_for(3)
        self.assertTrue(self.store.available)
        self.assertEqual(len(self.done), 3)

    def test_one_given_up_meanwhile_is_not_done_any_more(self):
        self.failures = [StoreUnavailable("x")]
        job = self.job()
        job.abandoned = True
        self.store.submit(job)
        self.store.submit(self.job())
        self.wait_for(1)
        self.assertNotIn(job, self.done)

    def test_a_busy_extension_is_asked_again(self):
        self.busy = 2
        self.store.submit(self.job())
        self.wait_for(1)
        self.assertEqual(self.batches, [1, 1, 1])

    def test_a_bug_costs_one_batch_and_not_the_thread(self):
        self.failures = [ZeroDivisionError()]
        self.store.submit(self.job())
        while not self.errors:
            pass
        self.store.submit(self.job())
        self.wait_for(1)

    def test_other_work_is_done_between_batches_and_again_after_a_failure(self):
        seen = []
        outcomes = [StoreUnavailable("x"), None]

        def chore():
            outcome = outcomes.pop(0)
            if outcome:
                raise outcome
            with self.all_done:
                seen.append(1)
                self.done.append(self.job())
                self.all_done.notify()

        self.store.call(chore)
        self.wait_for(1)
        self.assertEqual(seen, [1])
