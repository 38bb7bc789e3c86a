from unittest.mock import patch

from tests.calls_flow import flows_guard
from tests.engine.calls_in_memory import InMemory


class GuardInMemory(InMemory, flows_guard.GuardFlows):
    pass


class LimitsInMemory(InMemory, flows_guard.LimitFlows):
    settings = flows_guard.LimitFlows.LIMITS


class FloodOfRefused(InMemory):
    def test_in_a_flood_nothing_is_kept_of_who_is_refused(self) -> None:
        with patch("sipcore.calls.switchboard.MANY_TRANSACTIONS", 0):
            b = self.phone()
            stranger = self.phone(self.world.new_number(), register=False, password="guess")
            stranger.invite(b.number).refused(403)
            self.assertEqual(self.world.core.endpoint.transactions, 0)
        b.quiet(0.2)

    def test_too_many_that_are_looked_up_at_once_are_told_to_come_back(self) -> None:
        with patch("sipcore.calls.switchboard.MAX_BEGINNING", 0):
            a, b = self.phone(), self.phone()
            answer = a.invite(b.number).refused(503)
            self.assertTrue(answer.one("Retry-After").isdigit())
        b.quiet(0.2)
