"""Times of being online, told when they are over and would be forgotten; and what goes to the store once a second."""

from __future__ import annotations

from unittest import TestCase

from sipcore.chores import Chores
from sipcore.ports import StoreUnavailable
from tests.engine.asking import flow
from tests.engine.core_under_test import Engine, Phone

CONTACT = "<sip:1001@192.168.1.5:5062>"


class Periods(TestCase):
    def setUp(self):
        self.engine = Engine()
        self.addCleanup(self.engine.log.close)
        self.account = self.engine.directory.add("1001")
        self.phone = Phone(self.engine)

    def told(self):
        return [(one.ending, round(one.ended_at - one.started_at)) for one in self.engine.core.recorder.take().periods]

    def wait(self, seconds: float) -> None:
        self.engine.clock.time += seconds

    def test_refreshing_tells_nothing(self):
        for _ in range(3):
            self.phone.register(CONTACT)
            self.wait(600)
        self.assertEqual(self.told(), [])

    def test_a_phone_that_was_asleep(self):
        self.phone.register(CONTACT, ["Expires: 600"])
        self.wait(300)
        self.phone.register(CONTACT, ["Expires: 600"])
        self.wait(4000)
        self.phone.register(CONTACT)
        [period] = self.engine.core.recorder.take().periods
        self.assertEqual(
            (period.account_id, period.ending, round(period.ended_at - period.started_at), period.source,
             period.user_agent),
            (self.account.id, "expired", 900, "192.0.2.10:5062", "Zoiper"),
        )  # fmt: skip

    def test_a_phone_that_signed_off(self):
        self.phone.register(CONTACT)
        self.wait(60)
        self.phone.register(CONTACT, ["Expires: 0"])
        self.assertEqual(self.told(), [])
        self.wait(60)
        self.phone.register(CONTACT)
        self.assertEqual(self.told(), [("signed_off", 60)])

    def test_a_phone_whose_connection_was_lost(self):
        self.phone.register(CONTACT)
        [binding] = self.engine.directory.rows.values()
        binding.connection = "c1"
        self.wait(99.5)
        self.engine.directory.end_connections({binding.id: "c1"}, self.engine.clock.wall())
        self.wait(60)
        self.phone.register(CONTACT)
        self.assertEqual(self.told(), [("connection_lost", 100)])

    def test_a_silent_phone_that_registers_again(self):
        self.phone.register(CONTACT)
        self.wait(100)
        [binding] = self.engine.directory.rows.values()
        binding.unreachable_since = self.engine.clock.wall()
        self.wait(50)
        self.phone.register(CONTACT)
        self.assertEqual(self.told(), [("silent", 50)])
        self.wait(50)
        self.phone.register(CONTACT)
        self.assertEqual(self.told(), [])

    def test_a_phone_that_fell_silent_and_then_expired(self):
        self.phone.register(CONTACT, ["Expires: 600"])
        [binding] = self.engine.directory.rows.values()
        binding.unreachable_since = self.engine.clock.wall() + 200
        self.wait(2000)
        self.phone.register(CONTACT)
        self.assertEqual(sorted(self.told()), [("expired", 600), ("silent", 400)])

    def test_devices_that_are_forgotten_for_newer_ones(self):
        for number in range(25):
            self.phone.register(f"<sip:1001@192.168.1.5:{6000 + number}>", ["Expires: 60"])
            self.wait(61)
        self.assertEqual(self.told(), [("expired", 60)] * 4)


class EvidenceStore:
    """A list, away at the press of a button."""

    def __init__(self) -> None:
        self.attempts, self.periods, self.watched = [], [], []
        self.away, self.away_for_periods = False, False
        self.numbers: frozenset[str] = frozenset()

    def write_attempts(self, attempts) -> None:
        if self.away:
            raise StoreUnavailable("OperationalError")
        self.attempts += attempts

    def write_periods(self, periods) -> None:
        if self.away_for_periods:
            raise StoreUnavailable("OperationalError")
        self.periods += periods

    def write_traces(self, traces) -> None: ...

    def write_watched(self, messages) -> None:
        self.watched += messages

    def watched_numbers(self, now: float) -> frozenset[str]:
        if self.away:
            raise StoreUnavailable("OperationalError")
        return self.numbers

    def sweep(self, before: float, limit: int) -> int:
        return 0


class PatientStore:
    """Tries a chore again at the next ``settle()`` when the store was away, as the store's thread does."""

    available = True

    def __init__(self) -> None:
        self.waiting: list = []

    def call(self, chore) -> None:
        self.waiting.append(chore)

    def settle(self) -> None:
        waiting, self.waiting = self.waiting, []
        for chore in waiting:
            try:
                chore()
            except StoreUnavailable:
                self.waiting.append(chore)


class Writing(TestCase):
    def setUp(self):
        self.engine = Engine()
        self.addCleanup(self.engine.log.close)
        self.engine.directory.add("1001")
        self.phone = Phone(self.engine, password="wrong")
        self.queue, self.stored = PatientStore(), EvidenceStore()
        self.chores = Chores(
            self.engine.core, self.queue, self.engine.directory, self.engine.clock, self.engine.log, lambda wall: None,
            lambda work: work(), self.engine.directory,
        )  # fmt: skip
        self.chores.evidence = self.stored

    def second(self) -> None:
        self.engine.clock.time += 1
        self.chores.every_second()
        self.queue.settle()

    def counts(self) -> list[int]:
        return [attempt.count for attempt in self.stored.attempts]

    def test_once_a_second_all_together(self):
        self.phone.register()
        self.phone.register()
        self.assertEqual(self.counts(), [])
        self.second()
        self.assertEqual(self.counts(), [2])
        self.second()
        self.assertEqual(self.counts(), [2])

    def test_a_store_that_is_away_loses_nothing_and_doubles_nothing(self):
        self.stored.away = True
        for _ in range(30):
            self.phone.register()
            self.second()
        self.assertLessEqual(len(self.queue.waiting), 8)
        self.stored.away = False
        self.second(), self.second()
        self.assertEqual(sum(self.counts()), 30)

    def test_what_was_written_before_it_went_away_is_not_written_again(self):
        self.phone.register()
        good = Phone(self.engine)
        for contact in (CONTACT, CONTACT):
            good.register(contact, ["Expires: 60"])
            self.engine.clock.time += 100
        self.stored.away_for_periods = True
        self.second(), self.second()
        self.stored.away_for_periods = False
        self.second()
        self.assertEqual((self.counts(), len(self.stored.periods)), ([1], 1))

    def test_what_an_administrator_watches(self):
        self.stored.numbers = frozenset({"1001"})
        self.second()
        self.phone.register()
        self.second()
        self.assertEqual([one.message.sent for one in self.stored.watched], [False, True, False, True])
        self.assertNotIn(self.phone.nonce, "".join(one.message.text for one in self.stored.watched))

    def test_a_phone_that_answers_again_has_been_silent(self):
        good = Phone(self.engine)
        good.register(CONTACT)
        [binding] = self.engine.directory.rows.values()
        for _ in range(200):
            self.engine.tick(1)
            self.second()
        self.assertIsNotNone(self.engine.directory.rows[binding.id].unreachable_since)
        self.engine.core.receive(b"\r\n\r\n", flow())
        self.second(), self.second()
        [period] = self.stored.periods
        self.assertEqual((period.ending, period.source), ("silent", "192.0.2.10:5062"))
        self.assertIsNone(self.engine.directory.rows[binding.id].unreachable_since)
