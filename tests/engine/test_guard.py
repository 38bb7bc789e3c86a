"""The guard's rules: who is slowed, who is blocked, and who is not."""

from __future__ import annotations

import tracemalloc
from unittest import TestCase

from sipcore.guard import failures
from sipcore.guard.blocks import ADMINISTRATOR, MOST_BLOCKS, Block, KnownDevice, source_key
from sipcore.guard.failures import Sender
from sipcore.guard.guard import Guard, GuardLimits

OFFICE, ATTACKER = "198.51.100.7", "203.0.113.9"


class GuardCase(TestCase):
    def setUp(self):
        self.now = 1_800_000_000.0
        self.devices: list[KnownDevice] = []
        self.guard = self.make()

    def make(self, trusted=lambda host: False, **limits) -> Guard:
        guard = Guard(GuardLimits(**limits), trusted)
        guard.ask = lambda: self.answer(guard)
        return guard

    def answer(self, guard: Guard) -> None:
        """The store tells at once who is known good."""
        sources = set(guard.questions)
        guard.known(sources, [device for device in self.devices if device.source in sources], self.now)

    def sender(self, number="1001", host=OFFICE, call_id="old@phone", port=5062) -> Sender:
        return Sender(host, number, call_id, port, "Zoiper")

    def fails(self, number="1001", times=1, every=1.0, cause="wrong_password", **who) -> None:
        """Fails as often as it is allowed to."""
        for _ in range(times):
            sender = self.sender(number, **who)
            if not self.guard.bars(sender, self.now) and not self.guard.delay(sender, self.now):
                self.guard.failed(sender, cause, self.now)
            self.now += every

    def is_barred(self, number="1001", **who) -> bool:
        return self.guard.bars(self.sender(number, **who), self.now) is not None

    def wait(self, number="1001", **who) -> float:
        return self.guard.delay(self.sender(number, **who), self.now)


class OldPasswordTests(GuardCase):
    def test_a_few_failures_cost_nothing(self):
        self.fails(times=9)
        self.assertEqual(self.wait(), 0.0)

    def test_the_tenth_in_a_row_is_slowed_for_a_few_seconds(self):
        self.fails(times=10, every=0.0)
        self.assertEqual(self.wait(), 5.0)
        self.now += 5.0
        self.assertEqual(self.wait(), 0.0)

    def test_the_wait_grows_up_to_a_minute(self):
        self.fails(times=10, every=0.0)
        waits = []
        for _ in range(7):
            waits.append(self.wait())
            self.now += waits[-1]
            self.fails(every=0.0)
        self.assertEqual(waits, [5.0, 10.0, 20.0, 30.0, 60.0, 60.0, 60.0])

    def test_success_clears_it(self):
        self.fails(times=12)
        self.guard.succeeded(self.sender(), self.now)
        self.assertEqual(self.wait(), 0.0)
        self.fails(times=9, every=0.0)
        self.assertEqual(self.wait(), 0.0)

    def test_failures_far_apart_are_not_in_a_row(self):
        self.fails(times=30, every=601.0)
        self.assertEqual(self.wait(), 0.0)

    def test_a_phone_that_tries_each_minute_for_a_day_is_slowed_and_never_blocked(self):
        self.fails(times=1440, every=60.0)
        self.assertFalse(self.is_barred())
        self.assertEqual(self.guard.made, [])
        self.assertGreater(self.guard.failures.get(OFFICE).pairs["1001"].failures, 600)

    def test_another_number_of_that_address_is_not_slowed(self):
        self.fails(times=12)
        self.assertEqual(self.wait("1002"), 0.0)

    def test_the_same_number_elsewhere_is_not_slowed(self):
        self.fails(times=12, every=0.0)
        self.assertGreater(self.wait(), 0.0)
        self.assertEqual(self.wait(host="198.51.100.8"), 0.0)

    def test_a_device_that_is_registered_there_is_not_slowed_with_its_neighbour(self):
        self.devices = [KnownDevice(OFFICE, "1001", "good@phone", 5070)]
        self.fails(times=12, every=0.0)
        self.assertGreater(self.wait(), 0.0)
        self.assertEqual(self.wait(call_id="good@phone", port=40000), 0.0)
        self.assertEqual(self.wait(call_id="invite@phone", port=5070), 0.0)

    def test_a_registered_device_whose_password_was_changed_is_slowed_itself(self):
        self.devices = [KnownDevice(OFFICE, "1001", "old@phone", 5062)]
        self.fails(times=12, every=0.0)
        self.assertGreater(self.wait(), 0.0)

    def test_hammering_blocks_that_number_there_and_nothing_else(self):
        self.fails(times=120, every=1.0)
        self.assertTrue(self.is_barred())
        self.assertFalse(self.is_barred("1002"))
        self.assertFalse(self.is_barred(host="198.51.100.8"))
        [block] = self.guard.made
        self.assertEqual((block.number, block.reason, block.until - block.since), ("1001", "wrong_password", 600.0))
        self.now = block.until
        self.assertFalse(self.is_barred())

    def test_hammering_does_not_block_the_device_that_is_registered_there(self):
        self.devices = [KnownDevice(OFFICE, "1001", "good@phone", 5070)]
        self.fails(times=120)
        self.assertTrue(self.is_barred())
        self.assertFalse(self.is_barred(call_id="good@phone", port=5070))

    def test_a_disabled_extension_is_slowed_but_never_blocked(self):
        """Only who has the right password is told apart."""
        for number in range(1001, 1020):
            self.fails(str(number), cause="disabled")
        self.fails(times=300, cause="disabled")
        self.assertGreater(self.wait(), 0.0)
        self.assertEqual(self.guard.made, [])

    def test_a_number_without_a_password_is_blocked_like_one_that_does_not_exist(self):
        """Else whoever has patience could tell them apart."""
        for cause in ("unknown_extension", "wrong_password", "no_credential", "stale_credential"):
            self.guard = self.make()
            self.fails(times=120, cause=cause)
            self.assertTrue(self.is_barred(), cause)
            self.assertEqual(["1001"], [block.number for block in self.guard.made], cause)

    def test_among_guesses_it_counts_as_one(self):
        for cause in ("unknown_extension", "no_credential", "stale_credential"):
            self.guard = self.make()
            for number in range(2001, 2006):
                self.fails(str(number), host=ATTACKER, cause="unknown_extension")
            self.fails("1001", host=ATTACKER, cause=cause)
            self.assertTrue(self.is_barred("3000", host=ATTACKER), cause)

    def test_giving_it_a_password_lets_it_in_at_once(self):
        self.fails(times=120, cause="no_credential")
        self.guard.pardon(["1001"])
        self.assertFalse(self.is_barred())
        self.assertEqual(0.0, self.wait())

    def test_an_office_that_waits_for_its_passwords_is_not_blocked(self):
        """Even when somebody mistypes his."""
        for number in range(1001, 1020):
            self.fails(str(number), cause="no_credential")
        self.fails("1030")
        self.fails("1031")
        self.assertFalse(self.is_barred("1040"))
        self.assertEqual([], self.guard.made)

    def test_other_refusals_do_not_count(self):
        self.fails(times=50, cause="too_many_devices")
        self.assertEqual(len(self.guard.failures), 0)


class GuessingTests(GuardCase):
    def guess(self, numbers=range(2001, 2007), **who) -> None:
        for number in numbers:
            self.fails(str(number), host=ATTACKER, cause="unknown_extension", **who)

    def test_six_numbers_block_the_address(self):
        self.guess(range(2001, 2006))
        self.assertFalse(self.is_barred("2001", host=ATTACKER))
        self.guess([2006])
        self.assertTrue(self.is_barred("2001", host=ATTACKER))
        self.assertTrue(self.is_barred("never-tried", host=ATTACKER))
        self.assertIsNotNone(self.guard.shuts_out(ATTACKER, self.now))
        [block] = self.guard.made
        self.assertEqual((block.number, block.reason), ("", "guessing"))
        self.assertEqual(block.numbers, ["2001", "2002", "2003", "2004", "2005", "2006"])

    def test_six_numbers_in_more_than_ten_minutes_do_not(self):
        self.guess(range(2001, 2030), every=130.0)
        self.assertFalse(self.is_barred("2001", host=ATTACKER))

    def test_it_ends_after_ten_minutes_and_lasts_twice_as_long_each_time_up_to_a_day(self):
        lengths = []
        for _ in range(10):
            self.guess()
            block = self.guard.made[-1]
            lengths.append(block.until - block.since)
            self.now = block.until + 1
            self.assertFalse(self.is_barred("2001", host=ATTACKER))
        self.assertEqual(lengths[:4], [600.0, 1200.0, 2400.0, 4800.0])
        self.assertEqual(lengths[-1], 86400.0)

    def test_a_day_later_it_begins_anew(self):
        self.guess()
        self.now = self.guard.made[-1].until + 86401
        self.guess()
        block = self.guard.made[-1]
        self.assertEqual(block.until - block.since, 600.0)

    def test_requests_already_in_hand_do_not_lengthen_it(self):
        self.guess()
        for number in range(3001, 3050):
            self.guard.failed(self.sender(str(number), host=ATTACKER), "unknown_extension", self.now)
        self.assertEqual(len(self.guard.made), 1)

    def test_numbers_known_good_at_that_address_go_on(self):
        self.devices = [KnownDevice(ATTACKER, "1001", "good@phone", 5062), KnownDevice(ATTACKER, "1002")]
        self.guess()
        self.assertTrue(self.is_barred("2001", host=ATTACKER))
        self.assertFalse(self.is_barred("1001", host=ATTACKER))
        self.assertFalse(self.is_barred("1002", host=ATTACKER))
        self.assertIsNone(self.guard.shuts_out(ATTACKER, self.now))  # each message has to be looked at

    def test_an_office_whose_passwords_all_changed_is_not_guessing(self):
        numbers = [str(number) for number in range(1001, 1031)]
        self.devices = [KnownDevice(OFFICE, number) for number in numbers]
        for _ in range(20):
            for number in numbers:
                self.fails(number, every=0.0)
            self.now += 60
        self.assertEqual(self.guard.made, [])

    def test_nothing_from_there_is_evaluated_until_the_store_has_answered(self):
        self.guard.ask = lambda: None
        self.guess()
        self.assertEqual(self.guard.questions, {ATTACKER})
        self.assertGreater(self.wait("2007", host=ATTACKER), 0.0)
        self.assertEqual(self.wait("1001", host=OFFICE), 0.0)
        self.answer(self.guard)
        self.assertTrue(self.is_barred("2007", host=ATTACKER))

    def test_an_answer_that_comes_after_the_block_of_another_worker_makes_none(self):
        """It saw the same guesses, and its store answered first."""
        self.guard.ask = lambda: None
        self.guess()
        block = Block(ATTACKER, "", "guessing", self.now, self.now + 600.0)
        self.guard.loaded([block])
        self.answer(self.guard)
        self.assertEqual([], self.guard.made)
        self.assertIs(block, self.guard.shuts_out(ATTACKER, self.now + 599.0))
        self.assertIsNone(self.guard.shuts_out(ATTACKER, self.now + 601.0))

    def test_an_answer_does_not_replace_the_block_of_an_administrator(self):
        self.guard.ask = lambda: None
        self.guess()
        block = Block(ATTACKER, "", ADMINISTRATOR, self.now, self.now + 86400.0)
        self.guard.loaded([block])
        self.answer(self.guard)
        self.assertIs(block, self.guard.shuts_out(ATTACKER, self.now + 3600.0))

    def test_an_ipv6_customer_is_one_source(self):
        for index in range(6):
            self.fails(str(2001 + index), host=f"2001:db8:1:2::{index + 1:x}")
        self.assertTrue(self.is_barred("2001", host="2001:db8:1:2:ffff::1"))
        self.assertFalse(self.is_barred("2001", host="2001:db8:1:3::1"))

    def test_names_of_sources(self):
        self.assertEqual(source_key("203.0.113.9"), "203.0.113.9")
        self.assertEqual(source_key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64")
        self.assertEqual(source_key("2001:db8:1:2::/64"), "2001:db8:1:2::/64")
        self.assertEqual(source_key("::ffff:203.0.113.9"), "203.0.113.9")
        self.assertEqual(source_key("fe80::1%eth0"), "fe80::1")
        self.assertEqual(source_key("no:address"), "no:address")

    def test_trusted_networks_are_never_slowed_or_blocked(self):
        self.guard = self.make(trusted=lambda host: host == ATTACKER)
        self.guess(range(2001, 2100))
        self.fails("2001", times=200, host=ATTACKER)
        self.assertEqual(self.wait("2001", host=ATTACKER), 0.0)
        self.assertFalse(self.is_barred("2001", host=ATTACKER))

    def test_nought_switches_off(self):
        self.guard = self.make(numbers=0, failures=0)
        self.guess(range(2001, 2100))
        self.fails("2001", times=200, host=ATTACKER)
        self.assertEqual(self.guard.made, [])
        self.assertEqual(self.wait("2001", host=ATTACKER), 0.0)


class AdministratorTests(GuardCase):
    def block(self, source=OFFICE, number="", **more) -> Block:
        block = Block(source, number, ADMINISTRATOR, self.now, self.now + 3600, by="root", **more)
        self.guard.loaded([block])
        return block

    def test_an_administrators_block_spares_nobody(self):
        self.devices = [KnownDevice(OFFICE, "1001", "good@phone", 5062)]
        self.block()
        self.assertTrue(self.is_barred("1001", call_id="good@phone"))
        self.guard.pardon(["1001"])
        self.assertTrue(self.is_barred("1001"))

    def test_lifting_forgets_what_led_to_it(self):
        for number in range(2001, 2007):
            self.fails(str(number))
        self.guard.lift(OFFICE, "")
        self.assertFalse(self.is_barred("2001"))
        self.assertEqual(self.guard.made, [])
        self.fails("2001")
        self.assertFalse(self.is_barred("2001"))

    def test_a_new_password_ends_slowing_and_blocks_of_that_number_at_once(self):
        self.fails(times=120)
        self.assertTrue(self.is_barred())
        self.guard.pardon(["1001"])
        self.assertFalse(self.is_barred())
        self.assertEqual(self.wait(), 0.0)

    def test_a_repaired_number_passes_the_block_of_the_address_where_it_was_tried(self):
        for number in range(2001, 2007):
            self.fails(str(number))
        self.guard.pardon(["2001"])
        self.assertFalse(self.is_barred("2001"))
        self.assertTrue(self.is_barred("2002"))
        self.assertTrue(self.is_barred("2009"))

    def test_a_repair_does_not_excuse_what_comes_after_it(self):
        self.guard.pardon(["2001", "1001"])
        for number in range(2001, 2007):
            self.fails(str(number))
        self.assertTrue(self.is_barred("2001"))
        self.assertTrue(self.is_barred("1001"))

    def test_tries_are_counted(self):
        block = self.block()
        for number in ("1001", "1002", "1001"):
            barred = self.guard.bars(self.sender(number), self.now)
            self.guard.tried(barred, number, "Zoiper", self.now)
        self.assertEqual((block.tries, block.numbers, block.last_try_at), (3, ["1002", "1001"], self.now))
        self.assertEqual(list(self.guard.touched), [(OFFICE, "")])

    def test_setting_the_clock_leaves_them_as_long_as_they_were(self):
        self.block()
        self.fails("1001", times=12, host=ATTACKER, every=0.0)
        wait = self.wait("1001", host=ATTACKER)
        for moved in (7200.0, -14400.0):
            self.now += moved
            self.guard.clock_set(moved)
            self.assertTrue(self.is_barred())
            self.assertEqual(self.wait("1001", host=ATTACKER), wait)


class BoundsTests(GuardCase):
    def test_what_is_kept_does_not_grow_with_the_length_of_a_call_id(self):
        kept = []
        for length in (20, 1000):
            self.guard = self.make(numbers=0)
            tracemalloc.start()
            for index in range(400):
                sender = Sender(f"198.51.{index >> 8}.{index & 255}", "1001", f"{index}".rjust(length, "x"), 5060)
                self.guard.failed(sender, "wrong_password", self.now)
                del sender
            kept.append(tracemalloc.get_traced_memory()[0])
            tracemalloc.stop()
        self.assertLess(kept[1], 1.2 * kept[0])

    def test_so_many_sources_and_not_one_more(self):
        for index in range(failures.MOST_SOURCES + 500):
            host = f"{index >> 16}.{index >> 8 & 255}.{index & 255}.1"
            self.guard.failed(Sender(host, "1001"), "wrong_password", self.now)
        self.assertEqual(len(self.guard.failures), failures.MOST_SOURCES)
        self.assertLessEqual(self.guard.failures.pairs, failures.MOST_PAIRS)

    def test_one_source_keeps_few_numbers(self):
        self.guard = self.make(numbers=0)
        for index in range(1000):
            self.fails(str(index))
        self.assertEqual(self.guard.failures.pairs, failures.PAIRS_OF_A_SOURCE)

    def test_blocks_are_bounded_and_those_that_end_first_go_first(self):
        self.guard.loaded(
            Block(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", "", "guessing", self.now, self.now + 1000 + i)
            for i in range(MOST_BLOCKS + 100)
        )
        self.guard.sweep(self.now)
        self.assertEqual(len(self.guard.blocks), MOST_BLOCKS)
        self.assertIsNone(self.guard.shuts_out("10.0.0.1", self.now))
        self.assertIsNotNone(self.guard.shuts_out("10.0.0.200", self.now))

    def test_old_failures_are_forgotten(self):
        self.fails(times=3)
        self.now += 601
        self.guard.sweep(self.now)
        self.assertEqual((len(self.guard.failures), self.guard.failures.pairs), (0, 0))

    def test_in_a_flood_from_blocked_addresses_few_messages_are_read(self):
        self.assertEqual(sum(self.guard.may_read(self.now) for _ in range(5000)), 20)
        self.assertTrue(self.guard.may_read(self.now + 1))
