"""A captured Authorization is worth nothing: its count is used up, whatever it was used for and however long ago."""

from __future__ import annotations

import unittest

from sipcore.nonce_counts import NonceCounts
from sipcore.protocol.digest import Credentials, Nonces
from tests.engine.asking import flow
from tests.engine.core_under_test import Engine, FakeClock, Phone

EVIL = "<sip:evil@203.0.113.66>"
HOME = "sip:1001@192.168.1.5:5062"


class CapturedTests(unittest.TestCase):
    def setUp(self) -> None:
        self.engine = Engine()
        self.engine.directory.add("1001")
        self.phone = Phone(self.engine)
        self.phone.send(self.phone.request())

    def captured(self, *args, **kwargs) -> bytes:
        """The Authorization line of a request that reaches the PBX."""
        data = self.phone.request(*args, **kwargs)
        self.phone.send(data)
        return next(line for line in data.split(b"\r\n") if line.startswith(b"Authorization:"))

    def replay(self, line: bytes, contact: str = EVIL, call_id: str = "evil") -> int:
        thief = Phone(self.engine)
        thief.call_id, thief.cseq = call_id, 50
        data = thief.request(contact)
        [answer] = self.engine.exchange(data.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n"), flow(port=40000))
        if answer.status == 401:
            self.assertIn("stale=true", answer.get("WWW-Authenticate"))
        return answer.status

    def addresses(self) -> set[str]:
        now = self.engine.clock.wall()
        return {b.contact for b in self.engine.directory.rows.values() if b.expires_at > now}

    def test_of_a_question(self) -> None:
        """It has no Contact, so nothing was written of it."""
        self.assertEqual(401, self.replay(self.captured(None)))
        self.assertEqual(set(), self.addresses())

    def test_of_one_that_was_refused_for_its_time(self) -> None:
        line = self.captured(headers=["Expires: 1"])
        self.assertEqual(401, self.replay(line))

    def test_of_a_nonce_that_the_phone_has_left(self) -> None:
        """Its registration has a newer one on record."""
        line = self.captured()
        self.phone.nonce = None
        self.phone.register()
        self.assertEqual(401, self.replay(line))
        self.assertEqual({HOME}, self.addresses())

    def test_after_the_phone_has_signed_off_with_another_nonce(self) -> None:
        line = self.captured()
        self.phone.nonce = None
        self.phone.register(headers=["Expires: 0"])
        self.assertEqual(401, self.replay(line, f"<{HOME}>"))
        self.assertEqual(set(), self.addresses())

    def test_one_that_was_refused_by_the_store(self) -> None:
        self.engine.directory.refuse = lambda binding: True
        line = self.captured()
        self.engine.directory.refuse = lambda binding: False
        self.assertEqual(401, self.replay(line))

    def test_two_accounts_of_one_phone_count_each_for_itself(self) -> None:
        self.engine.directory.add("1002")
        self.assertEqual(200, self.phone.send(self.phone.request()).status)
        other = Phone(self.engine, "1002")
        other.nonce = self.phone.nonce
        self.assertEqual(200, other.send(other.request()).status)


class RestartTests(CapturedTests):
    """The same, after a restart: what is not on record any more is not known to be unused, so it is stale."""

    def replay(self, line: bytes, contact: str = EVIL, call_id: str = "evil") -> int:
        before = self.engine.directory
        self.engine = self.phone.engine = Engine()
        self.engine.directory.by_number, self.engine.directory.rows = before.by_number, before.rows
        return super().replay(line, contact, call_id)

    def test_of_a_question_of_a_registered_phone(self) -> None:
        self.assertEqual(200, self.phone.send(self.phone.request()).status)
        self.assertEqual(401, self.replay(self.captured(None)))
        self.assertEqual({HOME}, self.addresses())

    def test_the_phone_itself_goes_on_without_a_new_challenge(self) -> None:
        self.phone.send(self.phone.request())
        self.replay(self.captured())
        self.assertEqual(200, self.phone.send(self.phone.request()).status)


class ForgettingTests(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = FakeClock()
        self.nonces = Nonces(b"k", 0, 7200, b"here")
        self.counts = NonceCounts(self.nonces, 7200, self.clock, kept=3)

    def credentials(self, age: float, nc: int = 1, nonces: Nonces | None = None) -> Credentials:
        nonce = (nonces or self.nonces).issue(self.clock.wall() - age, "203.0.113.5", b"salt")
        return Credentials("1001", "r", nonce, "sip:x", "0", nc=nc)

    def test_those_of_before_the_start_are_not_known(self) -> None:
        """Also of the same second."""
        before = Nonces(b"k", 0, 7200, b"gone")
        self.assertIsNone(self.counts.highest(self.credentials(0, nonces=before)))
        self.assertEqual(0, self.counts.highest(self.credentials(0)))

    def test_what_is_forgotten_is_not_taken_for_unused(self) -> None:
        self.clock.time += 100
        all_of_them = [self.credentials(age) for age in (50, 40, 30, 20)]
        for each in all_of_them:
            self.counts.use(each)
        self.assertEqual([None, 1, 1, 1], [self.counts.highest(each) for each in all_of_them])
        self.assertEqual([None, 0], [self.counts.highest(self.credentials(age)) for age in (60, 10)])

    def test_what_is_too_old_goes_by_itself(self) -> None:
        for _ in range(10):
            self.counts.use(self.credentials(0))
            self.clock.time += 4000
        self.assertEqual(2, len(self.counts))
        self.assertEqual(0, self.counts.highest(self.credentials(5)))

    def test_counts_do_not_fall(self) -> None:
        self.counts.use(self.credentials(0, 5))
        self.counts.use(self.credentials(0, 2))
        self.assertEqual(5, self.counts.highest(self.credentials(0)))
