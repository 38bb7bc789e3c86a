"""The guard and its store: what is saved, what administrators ask for, and a store that is away meanwhile."""

from __future__ import annotations

from unittest import TestCase

from sipcore.guard.blocks import Block, GuardRequest, KnownDevice
from sipcore.guard.chores import GuardChores
from sipcore.guard.failures import Sender
from sipcore.guard.guard import Guard
from sipcore.ports import StoreRejected, StoreUnavailable
from tests.engine.core_under_test import Engine

BAD = "203.0.113.9"


class Queue:
    """The store's thread: tries again what found the store away."""

    def __init__(self) -> None:
        self.waiting = []

    def call(self, chore) -> None:
        self.waiting.append(chore)
        self.run()

    def run(self) -> None:
        chores, self.waiting = self.waiting, []
        for chore in chores:
            try:
                chore()
            except StoreUnavailable:
                self.waiting.append(chore)


class MemoryGuardStore:
    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Block] = {}
        self.asked: list[GuardRequest] = []
        self.devices: list[KnownDevice] = []
        self.away = self.rejecting = False
        self.questions: list[set[str]] = []

    def look(self) -> None:
        if self.away:
            raise StoreUnavailable("away")

    def load(self, now, source=None):
        self.look()
        return [block for block in self.rows.values() if source in (None, block.source)]

    def last_request(self) -> int:
        self.look()
        return max((request.id for request in self.asked), default=0)

    def requests(self, after):
        self.look()
        return sorted((request for request in self.asked if request.id > after), key=lambda request: request.id)

    def save(self, blocks):
        self.look()
        if self.rejecting:
            raise StoreRejected("no")
        self.rows.update({(block.source, block.number): block for block in blocks})

    def update(self, blocks):
        self.look()
        self.rows.update({key: block for block in blocks if (key := (block.source, block.number)) in self.rows})

    def known_at(self, sources, now):
        self.look()
        self.questions.append(set(sources))
        return [device for device in self.devices if device.source in sources]

    def sweep(self, now):
        self.look()


class GuardChoresTests(TestCase):
    def setUp(self):
        self.engine = Engine()
        self.addCleanup(self.engine.log.close)
        self.guard, self.store, self.queue = Guard(), MemoryGuardStore(), Queue()
        self.start()

    def start(self) -> None:
        self.chores = GuardChores(
            self.guard, self.store, self.queue, self.engine.clock, lambda work: work(), self.engine.log
        )
        self.chores.load()
        self.chores.started()

    def second(self) -> None:
        self.engine.clock.time += 1.0
        self.queue.run()
        self.chores.every_second()

    @property
    def now(self) -> float:
        return self.engine.clock.wall()

    def guess(self, source: str = BAD, numbers=range(7001, 7007)) -> None:
        for number in numbers:
            self.guard.failed(Sender(source, str(number), f"{number}@x", 5060), "wrong_password", self.now)

    def is_blocked(self, source: str = BAD, number: str = "1001") -> bool:
        return self.guard.bars(Sender(source, number), self.now) is not None

    def test_a_block_is_stored_and_its_tries_are_too(self):
        self.guess()
        self.assertTrue(self.is_blocked())
        self.second()
        block = self.guard.bars(Sender(BAD, "1001"), self.now)
        self.guard.tried(block, "1001", "Zoiper", self.now)
        self.assertEqual(self.store.rows[BAD, ""].tries, 0)
        self.second()
        self.assertEqual((self.store.rows[BAD, ""].tries, self.store.rows[BAD, ""].numbers[-1]), (1, "1001"))

    def test_while_the_store_is_away_nothing_is_lost(self):
        self.store.away = True
        self.guess()
        self.assertFalse(self.is_blocked())  # who is known good there cannot be asked yet
        self.assertGreater(self.guard.delay(Sender(BAD, "7007"), self.now), 0.0)
        self.second()
        self.store.away = False
        self.second()
        self.assertTrue(self.is_blocked())
        self.second()
        self.assertIn((BAD, ""), self.store.rows)
        self.store.away = True
        self.store.asked.append(GuardRequest(1, "unblock", BAD, ""))
        self.second()
        self.second()
        self.store.away = False
        self.second()
        self.assertFalse(self.is_blocked())

    def test_a_store_that_was_away_at_the_start(self):
        self.store.rows[BAD, ""] = Block(BAD, "", "guessing", self.now, self.now + 600)
        self.guard, self.store.away = Guard(), True
        self.start()
        self.second()
        self.assertFalse(self.is_blocked())
        self.store.away = False
        self.second()
        self.assertTrue(self.is_blocked())

    def test_a_block_that_the_store_refuses_holds_all_the_same(self):
        self.store.rejecting = True
        self.guess()
        self.second()
        self.second()
        self.assertTrue(self.is_blocked())

    def test_requests_are_carried_out_once_even_when_they_are_committed_late(self):
        self.guess()
        self.second()
        self.store.asked.append(GuardRequest(7, "unblock", "192.0.2.1", ""))
        self.second()
        self.store.asked.append(GuardRequest(5, "unblock", BAD, ""))
        self.second()
        self.assertFalse(self.is_blocked())
        self.guess()
        self.assertTrue(self.is_blocked())
        self.second()
        self.second()
        self.assertTrue(self.is_blocked())

    def test_requests_from_before_the_start_are_history(self):
        self.store.rows[BAD, ""] = Block(BAD, "", "guessing", self.now, self.now + 600)
        self.store.asked.append(GuardRequest(3, "unblock", BAD, ""))
        self.guard = Guard()
        self.start()
        self.second()
        self.assertTrue(self.is_blocked())

    def test_a_block_of_another_process_holds_here(self):
        self.store.rows[BAD, ""] = Block(BAD, "", "administrator", self.now, self.now + 600, by="root")
        self.store.asked.append(GuardRequest(1, "block", BAD, ""))
        self.second()
        self.assertTrue(self.is_blocked())

    def test_a_repair_passes_where_the_store_says_it_was_tried(self):
        self.guess()
        self.second()
        self.store.rows[BAD, ""].spared.add("1001")
        self.store.asked.append(GuardRequest(1, "pardon", "", "1001"))
        self.second()
        self.assertFalse(self.is_blocked(number="1001"))
        self.assertTrue(self.is_blocked(number="1002"))

    def test_a_flood_from_many_addresses_asks_once_a_second(self):
        for index in range(300):
            self.guess(f"10.0.{index // 250}.{index % 250}")
        self.assertEqual(len(self.store.questions), 1)
        self.second()
        self.assertEqual(len(self.store.questions), 2)
        self.assertEqual(len(self.guard.blocks), 300)

    def test_setting_the_clock_leaves_a_block_as_long_as_it_was(self):
        self.guess()
        self.second()
        self.engine.clock.epoch += 7200
        self.chores.clock_set(7200.0)
        self.assertTrue(self.is_blocked())
        self.second()
        self.assertAlmostEqual(self.store.rows[BAD, ""].until - self.now, 598.0, delta=1.5)
        self.engine.clock.time += 600
        self.assertFalse(self.is_blocked())
