"""Blocks in the database: the guard's store, what hits a number, lifting, pardons, and ``manage.py bans``."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from unittest.mock import patch

from django.core.management import CommandError, call_command
from django.test import TestCase
from django.utils import timezone

from extensions.bulk import Change, save_many
from extensions.models import Extension
from pbx.diagnosis.blocks import add, blocks_for, lift, pardon
from pbx.diagnosis.guard_store import DjangoGuardStore
from pbx.diagnosis.models import Attempt, GuardAction
from pbx.diagnosis.models import Block as Row
from sipcore.guard.blocks import Block, KnownDevice
from tests.extensions.rows import make_binding, make_extension

BAD, OFFICE = "203.0.113.9", "198.51.100.7"


class BlocksCase(TestCase):
    def setUp(self):
        self.store = DjangoGuardStore()
        self.time = timezone.now()
        self.now = self.time.timestamp()

    def block(self, source: str = BAD, number: str = "", **more) -> Block:
        values = {"reason": "guessing", "since": self.now, "until": self.now + 600} | more
        return Block(source, number, **values)

    def save(self, *found: Block) -> None:
        self.store.save(found)

    def actions(self) -> list[tuple[str, str, str]]:
        return list(GuardAction.objects.order_by("pk").values_list("action", "source", "number"))

    def hits(self, number: str = "1001", *sources: str) -> list[str]:
        return [found.source for found in blocks_for(number, sources)]


class StoreTests(BlocksCase):
    def test_what_is_saved_comes_back_whole(self):
        block = self.block(
            failures=6, numbers=["2001", "2002"], spared={"1001"}, tries=3, last_try_at=self.now, user_agent="Zoiper"
        )
        self.save(block)
        [back] = self.store.load(self.now)
        self.assertEqual(back, block)

    def test_the_other_processes_are_told(self):
        before = self.store.last_request()
        self.save(self.block(), self.block(OFFICE, "1003", reason="wrong_password"))
        told = {(request.action, request.source, request.number) for request in self.store.requests(before)}
        self.assertEqual(told, {("block", BAD, ""), ("block", OFFICE, "1003")})

    def test_saving_again_takes_the_place_of_what_was_there(self):
        self.save(self.block())
        self.save(self.block(until=self.now + 1200, numbers=["7"]))
        [row] = Row.objects.all()
        self.assertEqual((row.numbers, round(row.until.timestamp() - self.now)), (["7"], 1200))

    def test_tries_are_added_and_a_lifted_one_stays_lifted(self):
        block = self.block()
        self.save(block, self.block(OFFICE))
        Row.objects.filter(source=OFFICE).delete()
        block.tried("1001", "Zoiper\x00\x1b", self.now)
        self.store.update([block, self.block(OFFICE, tries=5)])
        [row] = Row.objects.all()
        self.assertEqual((row.tries, row.numbers, row.user_agent.isprintable()), (1, ["1001"], True))

    def test_hostile_texts_are_cleaned(self):
        self.save(self.block(numbers=["\x00", "\ud800", "x" * 200], user_agent="\x00" * 300))
        [row] = Row.objects.all()
        self.assertTrue(all(len(number) <= 64 and "\x00" not in number for number in row.numbers))

    def test_only_what_is_in_force_or_remembered_is_loaded(self):
        self.save(self.block(until=self.now - 3600), self.block(OFFICE, until=self.now - 90_000))
        self.assertEqual([block.source for block in self.store.load(self.now)], [BAD])
        self.assertEqual(self.store.load(self.now, OFFICE), [])

    def test_who_is_known_good(self):
        one, two = make_extension("1001"), make_extension("Front")
        make_binding(one, remote_host=OFFICE, remote_port=5062, call_id="a")
        make_binding(two, key="k2", remote_host=OFFICE, remote_port=5064, call_id="b", seconds_left=-60)
        make_binding(two, key="k3", remote_host="2001:db8:1:2::77", remote_port=5066, call_id="c")
        long_ago = self.time - timedelta(days=8)
        make_binding(one, key="k4", remote_host=BAD, refreshed_at=long_ago, seconds_left=-8 * 86400)
        known = set(self.store.known_at({OFFICE, BAD, "2001:db8:1:2::/64"}, self.now))
        self.assertEqual(known, {
            KnownDevice(OFFICE, "1001", "a", 5062), KnownDevice(OFFICE, "front"),
            KnownDevice("2001:db8:1:2::/64", "front", "c", 5066),
        })

    def test_the_table_stays_bounded(self):
        self.save(*(self.block(f"10.0.{i // 250}.{i % 250}", until=self.now + 60 + i) for i in range(30)))
        self.save(self.block(OFFICE, until=self.now - 90_000))
        GuardAction.objects.update(created_at=self.time - timedelta(days=2))
        with patch("pbx.diagnosis.guard_store.MOST_BLOCKS", 20):
            self.store.sweep(self.now)
        self.assertEqual(Row.objects.count(), 20)
        self.assertFalse(Row.objects.filter(source__in=("10.0.0.0", OFFICE)).exists())  # those that end first
        self.assertEqual(self.actions(), [])


class WhatHitsANumberTests(BlocksCase):
    def test_its_own_and_those_of_its_addresses(self):
        self.save(
            self.block(OFFICE, "1001", reason="wrong_password"), self.block(BAD, numbers=["1001", "2001"]),
            self.block("192.0.2.5"), self.block("192.0.2.6", "1002"), self.block("2001:db8:1:2::/64"),
        )
        self.assertEqual(self.hits(), [OFFICE, BAD])
        found = self.hits("1001", "192.0.2.5", "2001:db8:1:2::9")
        self.assertEqual(found[0], OFFICE)  # what says the most stands first
        self.assertCountEqual(found[1:], [BAD, "192.0.2.5", "2001:db8:1:2::/64"])
        self.assertEqual(self.hits("1003"), [])

    def test_not_those_that_let_it_pass_or_have_ended(self):
        self.save(
            self.block(BAD, numbers=["1001"], spared={"1001"}),
            self.block(OFFICE, "1001", until=self.now - 1),
        )
        self.assertEqual(self.hits("1001", BAD, OFFICE), [])

    def test_it_is_found_by_a_tried_number_of_any_letters(self):
        strange = ["ўтказ", 'a"b\\c', "1%_"]
        self.save(self.block(numbers=strange))
        for number in strange:
            self.assertEqual(self.hits(number), [BAD], number)
        self.assertEqual(self.hits("a"), [])

    def test_capital_letters_do_not_matter(self):
        self.save(self.block(OFFICE, "front", reason="wrong_password"))
        self.assertEqual(self.hits("Front"), [OFFICE])

    def test_lifting(self):
        self.save(self.block())
        lift(Row.objects.get(), "root")
        self.assertEqual(self.hits("1001", BAD), [])
        self.assertEqual(self.actions()[-1], ("unblock", BAD, ""))


class PardonTests(BlocksCase):
    def setUp(self):
        super().setUp()
        self.save(
            self.block(OFFICE, "1001", reason="wrong_password"), self.block(BAD, numbers=["1001", "2001"]),
            self.block("192.0.2.5"), self.block("192.0.2.6"), self.block("192.0.2.7", "1001", reason="administrator"),
        )
        Attempt.objects.create(
            number="1001", source="192.0.2.5", port=5060, transport="UDP", cause="blocked", first_at=self.time,
            last_at=self.time,
        )
        GuardAction.objects.all().delete()

    def assertPardoned(self):
        self.assertEqual(self.actions(), [("pardon", "", "1001")])
        self.assertFalse(Row.objects.filter(source=OFFICE).exists())
        spared = {row.source: row.spared for row in Row.objects.filter(number="")}
        self.assertEqual(spared, {BAD: ["1001"], "192.0.2.5": ["1001"], "192.0.2.6": []})
        self.assertEqual(self.hits("1001", BAD, OFFICE, "192.0.2.5"), ["192.0.2.7"])  # an administrator's stays

    def test_a_new_password(self):
        extension = make_extension("1001")
        GuardAction.objects.all().delete()
        extension.set_password("the-new-one")
        with self.captureOnCommitCallbacks(execute=True):
            extension.save()
        self.assertPardoned()

    def test_a_new_extension(self):
        with self.captureOnCommitCallbacks(execute=True):
            make_extension("1001")
        self.assertPardoned()

    def test_a_number_with_capital_letters(self):
        self.save(self.block("192.0.2.8"))
        Attempt.objects.create(
            number="Front", source="192.0.2.8", port=5060, transport="UDP", cause="blocked", first_at=self.time,
            last_at=self.time,
        )
        with self.captureOnCommitCallbacks(execute=True):
            make_extension("Front")
        self.assertEqual(Row.objects.get(source="192.0.2.8").spared, ["front"])

    def test_enabling(self):
        extension = make_extension("1001", enabled=False)
        extension.enabled = True
        with self.captureOnCommitCallbacks(execute=True):
            extension.save()
        self.assertPardoned()

    def test_an_import(self):
        with self.captureOnCommitCallbacks(execute=True):
            save_many([Change(Extension(number="1001"), ha1s={"MD5": "0" * 32})])
        self.assertPardoned()

    def test_another_change_pardons_nobody(self):
        extension = make_extension("1001")
        extension.display_name = "Somebody"
        with self.captureOnCommitCallbacks(execute=True):
            extension.save()
        self.assertEqual(self.actions(), [])

    def test_of_thousands_only_those_that_failed_lately(self):
        pardon(str(number) for number in range(1000, 9000))
        self.assertEqual(sorted(number for _action, _source, number in self.actions()), ["1001", "2001"])


class BansTests(BlocksCase):
    def bans(self, *arguments: str) -> str:
        out, err = StringIO(), StringIO()
        call_command("bans", *arguments, stdout=out, stderr=err)
        return out.getvalue() + err.getvalue()

    def test_nothing(self):
        self.assertEqual(self.bans(), "No address is blocked.\n")
        self.assertEqual(json.loads(self.bans("--json")), [])

    def test_the_list_says_why(self):
        self.save(
            self.block(failures=6, numbers=["2001", "2002"], spared={"1001"}, tries=3, last_try_at=self.now),
            self.block(OFFICE, "1003", reason="wrong_password", failures=104),
        )
        text = self.bans()
        self.assertIn(f"{BAD}: blocked until ", text)
        self.assertIn("(2001, 2002). That is how strangers guess passwords.", text)
        self.assertIn("Since then 3 messages came from there", text)
        self.assertIn("1 number goes on working from there: 1001", text)
        self.assertIn(f"{OFFICE}, number 1003: blocked until ", text)
        self.assertIn("with a wrong password 104 times within ten minutes", text)

    def test_json_has_stable_names(self):
        self.save(self.block(numbers=["2001"]))
        [row] = json.loads(self.bans("--json"))
        self.assertEqual(list(row), [
            "address", "number", "reason", "by", "since", "until", "failures", "numbers", "not_blocked", "tries",
            "last_try",
        ])

    def test_lifting_an_address_lifts_all_that_is_blocked_there(self):
        self.save(self.block(), self.block(BAD, "1003"), self.block(OFFICE))
        self.assertIn(f"{BAD} is not blocked any more.", self.bans("--lift", BAD))
        self.assertEqual([row.source for row in Row.objects.all()], [OFFICE])

    def test_lifting_one_number(self):
        self.save(self.block(BAD, "1003"), self.block(BAD, "1004"))
        self.bans("--lift", f"{BAD}/1003")
        self.assertEqual([row.number for row in Row.objects.all()], ["1004"])

    def test_ipv6(self):
        self.bans("--add", "2001:db8:1:2::77")
        self.bans("--add", "[2001:db8:1:3::77]/1001")
        self.assertEqual(
            sorted(Row.objects.values_list("source", "number")),
            [("2001:db8:1:2::/64", ""), ("2001:db8:1:3::/64", "1001")],
        )
        self.bans("--lift", "2001:db8:1:2::/64")
        self.bans("--lift", "2001:db8:1:3::/64/1001")
        self.assertFalse(Row.objects.exists())

    def test_adding_says_whom_it_hits(self):
        make_binding(make_extension("1001"), remote_host=OFFICE)
        text = self.bans("--add", OFFICE, "--hours", "2")
        self.assertIn(f"{OFFICE} is blocked until ", text)
        self.assertIn("Phones that are registered from there cannot be called any more, nor call: 1001", text)
        [row] = Row.objects.all()
        self.assertEqual(row.reason, "administrator")
        self.assertIn("manage.py", row.by)

    def test_adding_twice_is_one_block(self):
        add(OFFICE, "", timedelta(hours=1), "root")
        add(OFFICE, "", timedelta(hours=2), "root")
        [row] = Row.objects.all()
        self.assertGreater(row.until, self.time + timedelta(hours=1, minutes=30))

    def test_what_is_no_address_is_said(self):
        for text in ("1001", "", "office/1001", "1.2.3.4.5", "10.0.0.1/\x1b[2J"):
            with self.assertRaises(CommandError) as said:
                self.bans("--lift", text)
            self.assertTrue(str(said.exception).isprintable())
        with self.assertRaisesMessage(CommandError, f"{BAD} is not blocked."):
            self.bans("--lift", BAD)
        with self.assertRaises(CommandError):
            self.bans("--add", BAD, "--hours", "-1")
