"""What a SIP process does besides answering."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from unittest import TestCase

from django.test import tag

from sipcore.chores import KEEP_ENDED_SECONDS, LOAD_SLICE, Chores
from sipcore.evidence.gathered import FAILURES
from tests.engine.core_under_test import Engine, Phone, make_flow


class InstantStore:
    available = True

    def call(self, chore):
        chore()


class WaitingStore:
    """Its thread takes one chore when the test says so."""

    available = True

    def __init__(self) -> None:
        self.waiting = []

    def call(self, chore):
        self.waiting.append(chore)


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

    @tag("looks-inside")
    def test_when_the_clock_is_set_all_follow_at_once_and_the_heartbeat_with_what_is_stored(self):
        clock, beats, told = self.engine.clock, [], []
        self.directory.add("1001")
        self.assertEqual(Phone(self.engine).register().status, 200)
        (stored,) = self.directory.rows.values()
        ends, before = stored.expires_at, clock.wall()
        steps = [-7200.0, 0.0]
        clock.step = lambda: steps.pop(0)
        clock.follow = lambda moved: setattr(clock, "epoch", clock.epoch + moved)
        chores = Chores(
            self.engine.core, InstantStore(), self.directory, clock, self.engine.log, beats.append,
            lambda work: work(), self.directory,
        )
        chores.guard = SimpleNamespace(
            clock_set=lambda moved: told.append((moved, clock.wall())), every_second=lambda: None
        )
        chores.every_second()
        self.assertEqual(self.directory.rows[stored.id].expires_at, ends - 7200)
        self.assertEqual(beats[0], before - 7200, "the pages would take it for dead until the next one")
        self.assertEqual(told, [(-7200.0, before - 7200)])
        committed = self.directory.calls.index("commit", self.directory.calls.index("shift"))
        self.assertEqual(self.directory.calls[committed - 1 : committed + 1], ["shift", "commit"])
        chores.every_second()
        self.assertEqual(len(told), 1)

    def test_who_has_come_since_the_start_is_not_read_again(self):
        self.directory.add("1001")
        self.assertEqual(Phone(self.engine).register().status, 200)
        (stored,) = self.directory.rows.values()
        clock, store = self.engine.clock, WaitingStore()
        chores = Chores(
            self.engine.core, store, self.directory, clock, self.engine.log, lambda wall: None, lambda work: work(),
            self.directory,
        )
        chores.started()
        newer = replace(stored, key="newer", refreshed_at=clock.wall() + 0.1)
        self.directory.rows[newer.id] = newer
        clock.time += 1
        chores.every_second()
        while store.waiting:
            store.waiting.pop(0)()
        self.assertIn(stored.id, self.engine.core.keepalive.slice(1.0))
        self.assertNotIn(newer.id, self.engine.core.keepalive.slice(1.0))

    def test_who_was_there_before_the_start_is_taken_up_also_when_the_clock_was_set(self):
        """Ahead before the reboot, or set to the right time between the start and the reading."""
        for case, ahead, steps in (("behind", 900.0, [0.0]), ("set", -1.0, [900.0, 0.0])):
            with self.subTest(case):
                engine = Engine()
                self.addCleanup(engine.log.close)
                engine.directory.add("1001")
                self.assertEqual(Phone(engine).register().status, 200)
                (stored,) = engine.directory.rows.values()
                clock = engine.clock
                clock.step = lambda steps=steps: steps.pop(0)
                clock.follow = lambda moved, clock=clock: setattr(clock, "epoch", clock.epoch + moved)
                restarted = Engine(keepalive_interval=20.0)
                self.addCleanup(restarted.log.close)
                chores = Chores(
                    restarted.core, InstantStore(), engine.directory, clock, restarted.log, lambda wall: None,
                    lambda work: work(), engine.directory,
                )
                engine.directory.rows[stored.id] = replace(stored, refreshed_at=clock.wall() + ahead)
                chores.started()
                if case == "set":
                    chores.every_second()
                clock.time += 1
                chores.every_second()
                self.assertIn(stored.id, restarted.core.keepalive.slice(1.0))

    def test_after_a_start_all_phones_are_pinged_though_they_are_taken_up_a_few_at_a_time(self):
        self.directory.add("1001")
        self.assertEqual(Phone(self.engine).register().status, 200)
        (stored,) = self.directory.rows.values()
        count = 2 * LOAD_SLICE + 7
        for key in range(count):
            binding = replace(stored, key=f"{key}", remote_host=f"10.0.{key // 250}.{key % 250}", worker=1)
            self.directory.rows[binding.id] = binding
        del self.directory.rows[stored.id]
        restarted = Engine(keepalive_interval=20.0)
        self.addCleanup(restarted.log.close)
        store = WaitingStore()
        chores = Chores(
            restarted.core, store, self.directory, restarted.clock, restarted.log, lambda wall: None,
            lambda work: work(), self.directory,
        )
        chores.started()
        restarted.clock.time += 1
        chores.every_second()
        seen = [0]
        while store.waiting:
            store.waiting.pop(0)()
            seen.append(len(restarted.core.keepalive))
        self.assertLessEqual(max(after - before for before, after in pairwise(seen)), LOAD_SLICE)
        pings = Counter()
        for second in range(60):
            for data, flow in self.sent_in_a_second(restarted):
                self.assertTrue(data.startswith(b"OPTIONS "))
                pings[flow.remote] += 1
                pings[second] += 1
        self.assertEqual(sum(1 for place in pings if isinstance(place, tuple)), count)
        busiest = max(number for second, number in pings.items() if isinstance(second, int))
        self.assertLess(busiest, 2 * count / 20, "they are pinged all at once")

    def test_what_a_flood_leaves_behind_is_written_in_portions_between_which_others_have_their_turn(self):
        for host in range(90):
            Phone(self.engine, f"9{host:03}", flow=make_flow(host=f"203.0.113.{host}")).register()
        written: list[int] = []
        store = WaitingStore()
        chores = Chores(
            self.engine.core, store, self.directory, self.engine.clock, self.engine.log, lambda wall: None,
            lambda work: work(), self.directory,
        )
        chores.evidence = SimpleNamespace(
            write_attempts=lambda attempts: written.append(len(attempts)), watched_numbers=lambda wall: frozenset()
        )
        chores.write_evidence()
        while store.waiting:
            self.assertEqual(len(store.waiting), 1)  # what else asked meanwhile would stand behind one portion
            store.waiting.pop(0)()
        self.assertGreater(sum(written), FAILURES)
        self.assertLessEqual(max(written), FAILURES)
        chores.write_evidence()
        self.assertEqual(len(store.waiting), 1, "the next second's are written too")

    @staticmethod
    def sent_in_a_second(engine: Engine) -> list:
        sent = []
        for _ in range(10):
            engine.clock.time += 0.1
            engine.core.tick()
            sent += engine.core.datagrams_to_send()
        return sent
