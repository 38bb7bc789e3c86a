"""Who may stay connected, and whose bindings end: decided without a socket."""

from __future__ import annotations

from unittest import TestCase

from sipcore.ports import BindingId
from sipcore.streams import HELLO_SECONDS, IDLE_SECONDS, MESSAGE_SECONDS, Connections

ONE, TWO = BindingId(1, "a"), BindingId(2, "b")


class ConnectionsCase(TestCase):
    def setUp(self):
        self.now = 1000.0
        self.connections = Connections(at_once=6, per_address=3)

    def open(self, *names: str, host: str = "192.0.2.1") -> list[str | None]:
        """The victims. As the sockets do, a victim is closed at once."""
        victims = []
        for name in names:
            self.now += 0.001
            victim = self.connections.opened(name, host, self.now)
            if victim is not None:
                self.connections.closed(victim)
            victims.append(victim)
        return victims

    def speak(self, *names: str) -> None:
        for name in names:
            self.now += 0.001
            self.connections.heard(name, self.now, whole=True, begun=False)

    def register(self, id: BindingId, name: str, seconds: float = 3600) -> None:
        self.connections.follow(id, name, self.now + seconds, self.now)

    def later(self, seconds: float) -> list[str]:
        self.now += seconds
        return self.connections.overdue(self.now)


class TooMany(ConnectionsCase):
    def test_of_one_address_the_oldest_that_never_spoke_goes_first(self):
        self.open("a", "b", "c")
        self.speak("a")
        self.assertEqual(self.open("d", "e"), ["b", "c"])

    def test_then_the_one_that_spoke_longest_ago(self):
        self.open("a", "b", "c")
        self.speak("a", "b", "c", "a")
        self.assertEqual(self.connections.first_to_go(), "b")

    def test_when_all_others_have_spoken_the_new_one_is_refused(self):
        self.open("a", "b", "c")
        self.speak("a", "b", "c")
        self.assertEqual(self.open("d"), ["d"])

    def test_who_fills_all_places_with_one_message_each_shuts_nobody_out(self):
        for connections in (Connections(at_once=8, per_address=8), Connections(at_once=99, per_address=8)):
            self.connections = connections
            names = [f"x{index}" for index in range(8)]
            self.open(*names)
            self.speak(*names)
            self.assertEqual(self.open("honest", "other"), ["x0", "x1"])
            self.assertEqual(self.open("one more"), ["honest"], "of the silent the oldest goes, once there are many")

    def test_the_addresses_of_one_customer_count_together(self):
        self.open("a", host="2001:db8::1"), self.open("b", host="2001:db8::2"), self.open("c", host="2001:db8::3")
        self.assertEqual(self.open("d", host="2001:db8::ffff:1"), ["a"])
        self.assertEqual(self.open("e", host="2001:db8:0:1::1"), [None])

    def test_another_address_is_not_touched(self):
        self.open("other", host="192.0.2.2")
        self.assertEqual(self.open("a", "b", "c", "d"), [None, None, None, "a"])

    def test_registered_ones_are_not_counted_and_never_go(self):
        for index in range(3):
            self.open(f"phone{index}")
            self.register(BindingId(index, "k"), f"phone{index}")
        self.assertEqual(self.open("a", "b", "c"), [None, None, None])
        self.assertEqual(self.open("d", host="192.0.2.2"), ["a"], "now there are too many in all")

    def test_when_somebody_is_registered_on_all_the_new_one_is_refused(self):
        for index in range(6):
            self.open(f"phone{index}", host=f"192.0.2.{index}")
            self.register(BindingId(index, "k"), f"phone{index}")
        self.assertEqual(self.open("new", host="192.0.2.77"), ["new"])
        self.assertEqual(len(self.connections), 6)

    def test_a_flood_of_silent_ones_from_everywhere_takes_only_silent_ones(self):
        self.open("honest")
        self.speak("honest")
        for index in range(1000):
            self.open(f"x{index}", host=f"198.51.100.{index}")
        self.assertTrue("honest" not in self.later(1.0))
        self.assertEqual(len(self.connections), 6)


class Time(ConnectionsCase):
    def test_who_says_nothing_has_little_time(self):
        self.open("a")
        self.assertEqual(self.later(HELLO_SECONDS - 1), [])
        self.assertEqual(self.later(2), ["a"])

    def test_half_a_hello_is_none(self):
        self.open("a")
        for _ in range(int(HELLO_SECONDS)):
            self.now += 1
            self.connections.heard("a", self.now, whole=False, begun=True)
        self.assertEqual(self.later(1), ["a"])

    def test_a_message_that_comes_too_slowly_ends_even_a_registered_one(self):
        self.open("a")
        self.register(ONE, "a")
        for _ in range(int(MESSAGE_SECONDS)):
            self.connections.heard("a", self.now, whole=False, begun=True)
            self.assertEqual(self.later(1), [])
        self.assertEqual(self.later(1), ["a"])

    def test_one_message_after_the_other_is_not_slow(self):
        self.open("a")
        for _ in range(100):
            self.connections.heard("a", self.now, whole=True, begun=True)
            self.assertEqual(self.later(1), [])

    def test_a_stranger_may_be_idle_for_a_while_and_a_registered_one_as_long_as_its_binding(self):
        self.open("stranger", "phone")
        self.speak("stranger", "phone")
        self.register(ONE, "phone", 3600)
        self.assertEqual(self.later(IDLE_SECONDS + 1), ["stranger"])
        self.connections.closed("stranger")
        self.assertEqual(self.later(3600 - IDLE_SECONDS - 2), [])
        self.assertEqual(self.later(5), [], "its binding has ended: from now on it is idle")
        self.assertEqual(self.later(IDLE_SECONDS + 1), ["phone"])


class Bindings(ConnectionsCase):
    def test_they_end_with_their_connection(self):
        self.open("a", "b")
        self.register(ONE, "a")
        self.register(TWO, "b")
        self.connections.closed("a")
        self.assertEqual(self.connections.take_lost(), {ONE: "a"})
        self.assertEqual(self.connections.take_lost(), {})

    def test_one_that_moved_to_a_new_connection_does_not_end_with_the_old(self):
        self.open("a", "b")
        self.register(ONE, "a")
        self.register(ONE, "b")
        self.connections.closed("a")
        self.assertEqual(self.connections.take_lost(), {})
        self.connections.closed("b")
        self.assertEqual(self.connections.take_lost(), {ONE: "b"})

    def test_one_that_comes_back_before_its_end_was_written_does_not_end(self):
        self.open("a", "b")
        self.register(ONE, "a")
        self.connections.closed("a")
        self.register(ONE, "b")
        self.assertEqual(self.connections.take_lost(), {})

    def test_one_whose_connection_ended_before_it_was_written_ends(self):
        self.open("a")
        self.connections.closed("a")
        self.register(ONE, "a")
        self.assertEqual(self.connections.take_lost(), {ONE: "a"})

    def test_one_of_an_earlier_life_of_the_process_ends(self):
        self.register(ONE, "of before the restart")
        self.assertEqual(self.connections.take_lost(), {ONE: "of before the restart"})

    def test_one_that_signed_off_does_not_end_again_and_its_connection_is_like_any_other(self):
        self.open("a")
        self.register(ONE, "a")
        self.assertTrue(self.connections.is_registered("a"))
        self.register(ONE, "a", 0)
        self.assertFalse(self.connections.is_registered("a"))
        self.connections.closed("a")
        self.assertEqual(self.connections.take_lost(), {})

    def test_one_over_udp_is_none_of_ours(self):
        self.connections.follow(ONE, "", self.now + 60, self.now)
        self.assertEqual(self.connections.take_lost(), {})

    def test_nothing_is_left_of_those_that_went(self):
        for index in range(50):
            self.open(f"x{index}")
            self.speak(f"x{index}")
            self.register(BindingId(index, "k"), f"x{index}", 10)
            self.connections.closed(f"x{index}")
        self.connections.take_lost()
        inside = ("_peers", "_where", "_lost", "_of_host")
        self.assertEqual([name for name in inside if getattr(self.connections, name)], [])
        self.assertFalse(any(self.connections._unbound))


class BehindAProxy(ConnectionsCase):
    """A proxy in front has all its phones on one connection."""

    def setUp(self):
        super().setUp()
        self.open("proxy")
        self.speak("proxy")
        self.ids = [BindingId(number, "k") for number in range(5000)]

    def living(self) -> int:
        return len(self.connections._peers["proxy"].bindings)

    def test_thousands_that_end_in_one_second_are_noted_a_part_each_time(self):
        for id in self.ids:
            self.register(id, "proxy", 60)
        self.assertEqual(self.later(61), [])
        self.assertEqual(self.living(), 4000)
        for _ in range(4):
            self.assertEqual(self.later(1), [])
        self.assertEqual(self.living(), 0)
        self.assertFalse(self.connections.is_registered("proxy"))
        self.assertEqual(self.later(IDLE_SECONDS + 1), ["proxy"])

    def test_what_was_refreshed_goes_on(self):
        for _ in range(8):
            for id in self.ids:
                self.register(id, "proxy", 60)
            self.now += 30
        self.assertEqual(self.later(1), [])
        self.assertEqual(self.living(), 5000)
        self.assertLess(len(self.connections._ends), 30_000, "old ends are forgotten")
