"""A refusal leaves at a moment that was certain when the request came."""

from __future__ import annotations

import asyncio
import time
import unittest

from django.test import tag

from sipcore.punctual import MOST, Punctual
from tests.engine.core_under_test import Engine, Phone


class Recording:
    """In place of the thread: the test says when."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, object]] = []

    def at(self, due, action) -> None:
        self.waiting.append((due, action))

    def reach(self) -> None:
        waiting, self.waiting = self.waiting, []
        for _due, action in waiting:
            action()


@tag("looks-inside")
class RefusalTests(unittest.TestCase):
    def setUp(self) -> None:
        self.engine = Engine()
        self.engine.directory.add("1001")
        self.engine.directory.add("1002").ha1.clear()
        self.punctual = self.engine.core.punctual = Recording()

    def refused(self, number: str, work: float) -> float:
        """The moment of the answer, after the store took so long."""
        phone = Phone(self.engine, number, "wrong")
        phone.send(phone.request())
        arrived = self.engine.clock.time
        self.assertEqual([], self.engine.exchange(phone.request(), phone.flow, settle=False))
        self.engine.clock.time += work
        self.engine.core.completed(self.engine.store.settle())
        self.assertEqual([], self.engine.sent())
        [(due, _action)] = self.punctual.waiting
        self.punctual.reach()
        self.assertEqual([403], [answer.status for answer in self.engine.sent()])
        self.assertEqual((0, 0), (self.engine.core.endpoint.transactions, self.engine.core.endpoint.answers_kept))
        return round(due - arrived, 6)

    def test_however_long_it_took_and_whatever_was_wrong(self) -> None:
        tries = [(number, work) for number in ("1001", "1002", "9999") for work in (0.0, 0.001, 0.015)]
        self.assertEqual({0.02}, {self.refused(number, work) for number, work in tries})

    def test_a_repetition_meanwhile_is_not_asked_twice(self) -> None:
        phone = Phone(self.engine, "1001", "wrong")
        phone.send(phone.request())
        data = phone.request()
        for _ in range(3):
            self.assertEqual([], self.engine.exchange(data, phone.flow))
        self.assertEqual(1, len(self.punctual.waiting))

    def test_who_is_let_in_does_not_wait(self) -> None:
        phone = Phone(self.engine)
        self.assertEqual(200, phone.register().status)
        self.assertEqual([], self.punctual.waiting)

    def test_nor_does_anybody_while_it_stops(self) -> None:
        phone = Phone(self.engine, "1001", "wrong")
        phone.send(phone.request())
        self.engine.exchange(phone.request(), phone.flow, settle=False)
        self.engine.core.drain()
        self.engine.core.completed(self.engine.store.settle())
        self.assertEqual([403], [answer.status for answer in self.engine.sent()])


class PunctualTests(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.order: list[str] = []

    async def test_in_order_and_not_before_their_time(self) -> None:
        loop = asyncio.get_running_loop()
        punctual = Punctual(loop.call_soon_threadsafe)
        due = time.monotonic() + 0.05
        punctual.at(due, lambda: self.order.append("first"))
        await punctual.until(due + 0.01)
        self.assertEqual(["first"], self.order)
        self.assertGreaterEqual(time.monotonic(), due + 0.01)

    async def test_what_is_late_already_is_done_at_once(self) -> None:
        punctual = Punctual(asyncio.get_running_loop().call_soon_threadsafe)
        punctual.at(time.monotonic() - 1.0, lambda: self.order.append("late"))
        self.assertEqual(["late"], self.order)

    async def test_no_more_than_a_few_wait(self) -> None:
        """In a flood nothing is kept for long."""
        punctual = Punctual(lambda action: None)
        due = time.monotonic() + 60.0
        for _ in range(MOST + 20):
            punctual.at(due, lambda: self.order.append("flood"))
        self.assertIn(len(self.order), range(18, 21))
