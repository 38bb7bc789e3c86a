from unittest.mock import patch

from tests.calls_flow import flows_guard
from tests.engine.calls_in_memory import InMemory


class GuardInMemory(InMemory, flows_guard.GuardFlows):
    pass


class LimitsInMemory(InMemory, flows_guard.LimitFlows):
    settings = flows_guard.LimitFlows.LIMITS


class EmergencyInMemory(InMemory):
    """With one call in all, one for an extension: 1004 is a number for emergencies here."""

    settings = {"max_calls": 1, "max_calls_per_extension": 1, "emergency": frozenset({"1004"})}

    def setUp(self) -> None:
        super().setUp()
        self.a, self.b, self.c, self.rescue = (self.phone() for _ in range(4))
        self.assertEqual(self.rescue.number, "1004")

    def test_a_call_for_help_is_taken_when_no_other_is(self) -> None:
        ours, theirs = self.connect(self.a, self.b)
        self.c.invite(self.b.number).refused(503)
        helped = self.connect(self.c, self.rescue)
        self.hang_up(self.c, helped[0], self.rescue, helped[1])
        self.hang_up(self.a, ours, self.b, theirs)

    def test_it_is_taken_from_an_extension_that_has_all_the_calls_it_may(self) -> None:
        ours, theirs = self.connect(self.a, self.b)
        self.a.invite(self.c.number).refused(503)
        helped = self.connect(self.a, self.rescue)
        self.hang_up(self.a, helped[0], self.rescue, helped[1])
        self.hang_up(self.a, ours, self.b, theirs)

    def test_the_reserve_has_an_end(self) -> None:
        ours, theirs = self.connect(self.a, self.b)
        with patch("sipcore.calls.switchboard.EMERGENCY_RESERVE", 1):
            helped = self.connect(self.c, self.rescue)
            answer = self.a.invite(self.rescue.number).refused(503)
        self.assertGreater(int(answer.one("Retry-After")), 0)
        self.hang_up(self.c, helped[0], self.rescue, helped[1])
        self.hang_up(self.a, ours, self.b, theirs)

    def test_who_asks_is_still_asked_for_the_password(self) -> None:
        stranger = self.phone(self.world.new_number(), register=False, password="guess")
        stranger.invite(self.rescue.number).refused(403)
        self.rescue.quiet(0.2)


class ComingBackInMemory(InMemory):
    settings = {"max_calls": 0}

    def test_those_that_are_refused_do_not_come_back_together(self) -> None:
        a, b = self.phones()
        waits = {int(a.invite(b.number).refused(503).one("Retry-After")) for _ in range(20)}
        self.assertGreater(len(waits), 1)
        self.assertTrue(all(1 <= seconds <= 60 for seconds in waits), waits)


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
