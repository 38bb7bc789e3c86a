"""The batch: read once, written once, and one bad row hurts nobody else."""

from __future__ import annotations

from unittest import TestCase
from unittest.mock import patch

from sipcore.batch import RegistrationBatch
from sipcore.ports import StoreUnavailable
from sipcore.registrar import Accepted, Busy, Cause, Policy, Refused
from tests.engine.asking import asks, contact
from tests.engine.memory_directory import MemoryDirectory

NOW = 1_800_000_000.0


class BatchTestCase(TestCase):
    def setUp(self):
        self.directory = MemoryDirectory()
        for number in range(1001, 1009):
            self.directory.add(str(number))
        decoys = {"MD5": "0" * 32, "SHA-256": "0" * 64}
        self.batch = RegistrationBatch(self.directory, Policy(node="n1"), decoys, lambda: NOW)

    def ask(self, number, **fields):
        return asks(contact(f"sip:{number}@192.168.1.5:5062"), number=str(number), call_id=f"c{number}", **fields)


class Deciding(BatchTestCase):
    def test_eight_phones_cost_one_read_of_each_kind_one_write_and_one_commit(self):
        decisions = self.batch([self.ask(number) for number in range(1001, 1009)])
        self.assertTrue(all(isinstance(d, Accepted) for d in decisions))
        self.assertEqual(self.directory.calls, ["accounts", "lock", "write", "commit"])

    def test_who_goes_on_trying_passwords_costs_no_transaction(self):
        self.batch([self.ask(1001, password="wrong")])
        self.directory.calls.clear()
        for _ in range(2):
            self.batch([self.ask(1001, password="wrong")])
        self.assertEqual(self.directory.calls, ["accounts", "accounts"])

    def test_while_somebody_tries_passwords_nobody_else_is_locked(self):
        self.batch([self.ask(1001, password="wrong")])
        self.directory.calls.clear()
        with patch.object(self.directory, "lock_enabled", wraps=self.directory.lock_enabled) as locked:
            decisions = self.batch([self.ask(1001, password="wrong"), self.ask(1002)])
        self.assertEqual(decisions[0], Refused(403, Cause.WRONG_PASSWORD))
        self.assertIsInstance(decisions[1], Accepted)
        locked.assert_called_once_with([self.directory.by_number["1002"].id])
        self.assertEqual(self.directory.calls, ["accounts", "lock", "write", "commit"])
        with patch.object(self.directory, "lock_accounts", wraps=self.directory.lock_accounts) as together:
            self.batch([self.ask(1003)])
            together.assert_not_called()
            self.batch([self.ask(1004)])
        together.assert_called_once_with({"1004"})

    def test_each_refusal_has_its_own_cause_and_the_same_status(self):
        self.directory.by_number["1002"].enabled = False
        self.directory.by_number["1003"].ha1.clear()
        self.directory.by_number["1004"].ha1.clear()
        self.directory.by_number["1004"].has_stale = True
        asked = [self.ask(1001, password="x"), *(self.ask(n) for n in (1002, 1003, 1004, 9999))]
        self.assertEqual(self.batch(asked), [
            Refused(403, Cause.WRONG_PASSWORD), Refused(403, Cause.DISABLED), Refused(403, Cause.NO_CREDENTIAL),
            Refused(403, Cause.STALE_CREDENTIAL), Refused(403, Cause.UNKNOWN_EXTENSION),
        ])

    def test_a_disabled_extension_is_told_apart_from_a_wrong_password_only_by_who_knows_it(self):
        self.directory.by_number["1002"].enabled = False
        self.assertEqual(self.batch([self.ask(1002, password="x")]), [Refused(403, Cause.WRONG_PASSWORD)])

    def test_phones_of_one_batch_are_granted_different_times(self):
        draw = iter((0.0, 0.5, 0.25)).__next__
        batch = RegistrationBatch(self.directory, Policy(node="n1"), {"MD5": "0" * 32}, lambda: NOW, draw)
        batch([self.ask(number) for number in (1001, 1002, 1003)])
        stored = sorted((b.account_id, b.expires_at - NOW) for b in self.directory.rows.values())
        self.assertEqual([seconds for _, seconds in stored], [3600, 3240, 3420])

    def test_requests_of_one_extension_are_folded_in_their_order(self):
        on = self.ask(1001)
        off = asks(contact("sip:1001@192.168.1.5:5062", expires=0), number="1001", call_id="c1001")
        again = self.ask(1001)
        decisions = self.batch([on, off, again])
        self.assertEqual([len(d.current) for d in decisions], [1, 0, 1])
        self.assertEqual(self.directory.calls.count("write"), 1)
        self.assertEqual(len(self.directory.rows), 1)

    def test_the_same_nonce_count_twice_in_one_batch_is_accepted_once(self):
        asked = self.ask(1001, nonce="n", nc=1)
        first, second = self.batch([asked, asked])
        self.assertIsInstance(first, Accepted)
        self.assertNotIsInstance(second, Accepted)

    def test_an_extension_that_is_being_saved_at_this_moment_is_asked_again(self):
        self.directory.locked.add(self.directory.by_number["1001"].id)
        decisions = self.batch([self.ask(1001), self.ask(1002)])
        self.assertIsInstance(decisions[0], Busy)
        self.assertIsInstance(decisions[1], Accepted)

    def test_a_store_that_is_away_decides_nothing(self):
        self.directory.away = True
        with self.assertRaises(StoreUnavailable):
            self.batch([self.ask(1001, password="wrong")])


class OneBadRow(BatchTestCase):
    def test_only_the_guilty_request_is_refused(self):
        guilty = self.directory.by_number["1004"].id
        self.directory.refuse = lambda binding: binding.account_id == guilty
        decisions = self.batch([self.ask(number) for number in range(1001, 1009)])
        refused = [n for n, d in zip(range(1001, 1009), decisions, strict=True) if isinstance(d, Refused)]
        self.assertEqual(refused, [1004])
        self.assertEqual(len(self.directory.rows), 7)

    def test_of_several_requests_of_one_extension_only_the_guilty_one(self):
        self.directory.refuse = lambda binding: binding.user_agent == "bad"
        good = self.ask(1001)
        bad = asks(contact("sip:1001@192.168.1.9"), number="1001", call_id="c2", user_agent="bad")
        decisions = self.batch([good, bad])
        self.assertIsInstance(decisions[0], Accepted)
        self.assertIsInstance(decisions[1], Refused)
        self.assertEqual(len(self.directory.rows), 1)
