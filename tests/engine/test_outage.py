"""The log tells once that the database is away, and once that it is back."""

from __future__ import annotations

from unittest import TestCase

from tests.engine.core_under_test import Engine, Phone, make_flow

AWAY = "The database does not answer"
BACK = "The database answers again"


class OutageTests(TestCase):
    def setUp(self):
        self.engine = Engine()

    def outage_lines(self) -> list[str]:
        return [line for line in self.engine.log_lines() if AWAY in line or BACK in line or " WARNING " in line]

    def test_a_hundred_phones_that_wait_in_vain_are_one_line(self):
        phones = [Phone(self.engine, flow=make_flow(port=port)) for port in range(5001, 5101)]
        for phone in phones:
            phone.send(phone.request())
        for phone in phones:
            self.engine.exchange(phone.request(), phone.flow, settle=False)
        self.assertEqual({answer.status for answer in self.engine.tick(9)}, {503})
        lines = self.outage_lines()
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(AWAY, lines[0])

    def test_it_is_back_when_it_has_been_there_for_a_while(self):
        outage = self.engine.core.outage
        for available in (True, False, False, True, False, True, True, True):
            outage.look(available)
            self.engine.clock.time += 1.0
        lines = self.outage_lines()
        self.assertEqual(len(lines), 2, lines)
        self.assertIn(f"{BACK}, after 4 s", lines[1])
