"""Who is pinged, and when it is said that a phone does not answer."""

from __future__ import annotations

from unittest import TestCase

from sipcore.keepalive import MISSES, PINGS_AT_ONCE, KeepAlive
from sipcore.ports import BindingId
from tests.engine.asking import flow

INTERVAL = 20.0
ID = BindingId(1, "k")


class KeepAliveTests(TestCase):
    def setUp(self):
        self.keepalive = KeepAlive()
        self.flow = flow("203.0.113.9", 40001)
        self.keepalive.watch(ID, "sip:1001@192.168.1.5", self.flow, INTERVAL, ends=3600.0, first=INTERVAL)

    def pings(self, start, end, answer=False):
        """The times of the pings sent from ``start`` to ``end``, looking every 100 ms as the server does."""
        times = []
        for tenth in range(int(start * 10), int(end * 10)):
            now = tenth / 10
            for ping in self.keepalive.due(now):
                times.append(now)
                if answer:
                    self.keepalive.answered(ping.serial, "203.0.113.9", now)
        return times

    def test_a_silent_phone_is_pinged_every_interval(self):
        times = self.pings(0, 101, answer=True)
        self.assertEqual(len(times), 5)
        for time, wanted in zip(times, (20, 40, 60, 80, 100), strict=True):
            self.assertAlmostEqual(time, wanted, delta=0.5)

    def test_one_that_is_heard_is_not_pinged(self):
        for second in range(0, 100, 10):
            self.assertEqual(self.pings(second, second + 10), [])
            self.keepalive.heard(self.flow.remote, second + 10)

    def test_three_unanswered_pings_make_it_unreachable_once(self):
        self.pings(0, INTERVAL * (MISSES + 1) - 1)
        self.assertEqual(self.keepalive.died, [])
        self.pings(INTERVAL * (MISSES + 1) - 1, INTERVAL * (MISSES + 4))
        self.assertEqual(self.keepalive.died, [ID])

    def test_each_has_an_interval_of_its_own(self):
        slow = BindingId(2, "k")
        self.keepalive.watch(slow, "sip:2@x", flow("192.168.1.6", 5060), INTERVAL * 3, ends=3600.0, first=INTERVAL * 3)
        self.keepalive.forget(ID)
        self.assertEqual(len(self.pings(0, INTERVAL * 9 + 1)), 3)
        self.assertEqual(self.keepalive.died, [])
        self.pings(INTERVAL * 9 + 1, INTERVAL * 12 + 1)
        self.assertEqual(self.keepalive.died, [slow])

    def test_those_loaded_at_a_start_are_dealt_over_the_interval(self):
        self.keepalive = KeepAlive()
        for number in range(20):
            self.keepalive.watch(
                BindingId(number, "k"), "sip:x@y", flow(port=1000 + number), INTERVAL, 3600.0, number + 0.55
            )
        for second in range(20):
            self.assertEqual(len(self.pings(second, second + 1)), 1)

    def test_who_is_due_before_all_others_does_not_wait_for_them(self):
        # A phone registers just after the start, before those of before the start are taken up.
        for account in range(2, 12):
            self.keepalive.watch(BindingId(account, "k"), "sip:a@b", self.flow, INTERVAL, ends=3600.0, first=account)
        self.assertEqual([round(time) for time in self.pings(0, 13)], list(range(2, 12)))

    def test_one_that_answered_nothing_to_a_request_is_unreachable_at_once(self):
        self.keepalive.unanswered(ID, 5.0, 37.0)
        self.assertEqual(self.keepalive.died, [ID])
        self.assertEqual(len(self.pings(37, 38)), 1)  # asked at once: it may be that only that request was lost
        self.assertEqual(self.keepalive.revived, [])
        self.keepalive.heard(self.flow.remote, 38.0)
        self.assertEqual(self.keepalive.revived, [ID])

    def test_one_that_was_heard_since_that_request_is_not(self):
        self.keepalive.heard(self.flow.remote, 10.0)
        self.keepalive.unanswered(ID, 5.0, 37.0)
        self.assertEqual(self.keepalive.died, [])

    def test_one_that_was_heard_before_that_request_only_is(self):
        self.keepalive.heard(self.flow.remote, 4.0)
        self.keepalive.unanswered(ID, 5.0, 37.0)
        self.pings(37, 39)
        self.assertEqual((self.keepalive.died, self.keepalive.revived), ([ID], []))

    def test_one_on_record_as_silent_is_revived_by_what_comes_from_it(self):
        self.keepalive.watch(ID, "sip:1001@x", self.flow, INTERVAL, ends=3600.0, first=INTERVAL, dead=True)
        self.pings(0, INTERVAL * 5)
        self.assertEqual(self.keepalive.died, [])
        self.keepalive.heard(self.flow.remote, INTERVAL * 5)
        self.assertEqual(self.keepalive.revived, [ID])

    def test_any_packet_revives_it(self):
        self.pings(0, INTERVAL * 5)
        self.keepalive.heard(self.flow.remote, INTERVAL * 5)
        self.assertEqual(self.keepalive.revived, [ID])

    def test_an_answer_from_another_address_does_not_count(self):
        now = 0.0
        while not (pings := self.keepalive.due(now)):
            now += 0.1
        self.keepalive.answered(pings[0].serial, "198.51.100.1", now)
        self.pings(now + 0.1, INTERVAL * (MISSES + 2))
        self.assertEqual(self.keepalive.died, [ID])

    def test_it_ends_with_the_binding_and_when_forgotten(self):
        self.keepalive.watch(ID, "sip:x@y", self.flow, INTERVAL, ends=30.0, first=INTERVAL)
        self.assertEqual(len(self.pings(0, 100)), 1)
        self.assertEqual(len(self.keepalive), 0)
        self.keepalive.watch(ID, "sip:x@y", self.flow, INTERVAL, ends=300.0, first=110.0)
        self.keepalive.forget(ID)
        self.assertEqual(self.pings(100, 200), [])

    def test_a_long_pause_of_the_process_loses_nobody(self):
        self.assertEqual(len(self.keepalive.due(500.0)), 1)
        self.assertEqual(len(self.pings(500.1, 521)), 1)

    def test_two_phones_behind_one_address_are_both_heard_only_by_their_own_port(self):
        other = flow("203.0.113.9", 40002)
        self.keepalive.watch(BindingId(2, "k"), "sip:2@x", other, INTERVAL, ends=3600.0, first=INTERVAL)
        self.keepalive.heard(other.remote, 15.0)
        self.assertEqual(len(self.pings(0, 30)), 1)

    def test_an_office_behind_one_proxy_is_heard_without_a_look_at_each_phone(self):
        # One address for all of them: with a look at each, these datagrams would take minutes.
        for number in range(2, 5000):
            self.keepalive.watch(BindingId(number, "k"), "sip:x@y", self.flow, INTERVAL, 3600.0, INTERVAL)
        for step in range(20_000):
            self.keepalive.heard(self.flow.remote, 15.0 + step / 10_000)
        self.assertEqual(self.pings(0, 36), [])

    def test_those_behind_one_address_die_and_revive_together(self):
        self.keepalive.watch(BindingId(2, "k"), "sip:2@x", self.flow, INTERVAL, 3600.0, INTERVAL)
        self.pings(0, INTERVAL * 5)
        self.assertEqual(set(self.keepalive.died), {ID, BindingId(2, "k")})
        self.keepalive.heard(self.flow.remote, INTERVAL * 5)
        self.assertEqual(set(self.keepalive.revived), {ID, BindingId(2, "k")})

    def test_the_comparison_reaches_everybody_in_turn(self):
        for number in range(2, 11):
            self.keepalive.watch(BindingId(number, "k"), "sip:x@y", flow(port=number), INTERVAL, 3600.0, INTERVAL)
        seen = set()
        for _ in range(5):
            seen.update(self.keepalive.slice(0.2))
        self.assertEqual(len(seen), 10)


class ManyAtOnce(TestCase):
    """100,000 registrations may end, or be due for a ping, in the same second: nobody else waits for that."""

    def setUp(self):
        self.keepalive = KeepAlive()
        for number in range(3000):
            place = flow(f"10.0.{number >> 8}.{number & 255}", 5060)
            self.keepalive.watch(BindingId(number, "k"), "sip:x@y", place, INTERVAL, ends=100.0, first=50.0)

    def test_their_pings_leave_a_few_at_a_time_and_none_is_forgotten(self):
        pinged = set()
        for turn in range(3000 // PINGS_AT_ONCE):
            pings = self.keepalive.due(50.1)
            self.assertEqual(len(pings), PINGS_AT_ONCE, turn)
            pinged.update(ping.watched.id for ping in pings)
            if turn < 10:
                self.assertLessEqual(self.keepalive.next_due(), 50.2, "the others are due at once")
        self.assertEqual(len(pinged), 3000)
        self.assertEqual(self.keepalive.due(50.1), [])
        self.assertGreater(self.keepalive.next_due(), 50.1)

    def test_those_that_have_ended_are_forgotten_a_part_each_time(self):
        left = []
        while self.keepalive.next_due() is not None and len(left) < 10:
            self.assertEqual(self.keepalive.due(101.0), [])
            left.append(len(self.keepalive))
        self.assertEqual(left, [2000, 1000, 0])

    def test_one_that_begins_meanwhile_has_its_turn(self):
        self.keepalive.due(50.1)
        new = BindingId(9999, "k")
        self.keepalive.watch(new, "sip:x@y", flow("10.9.9.9", 5060), INTERVAL, ends=100.0, first=49.0)
        self.assertEqual([ping.watched.id for ping in self.keepalive.due(50.1)].count(new), 1)
