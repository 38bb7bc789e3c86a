"""The guard at the door of a whole engine: what it answers, what it drops, and whom it takes for whom."""

from __future__ import annotations

from itertools import count
from unittest import TestCase

from sipcore.admission import Rank
from sipcore.guard.blocks import ADMINISTRATOR, Block, KnownDevice
from sipcore.guard.door import Door
from sipcore.guard.guard import Guard
from sipcore.protocol.flow import Flow
from tests.engine.asking import flow as make_flow
from tests.engine.core_under_test import Engine, Phone

BAD, OFFICE, PROXY = "203.0.113.9", "198.51.100.7", "192.0.2.200"
_ports = count(20000)


class DoorCase(TestCase):
    proxies: frozenset[str] = frozenset()

    def setUp(self):
        self.engine = Engine(trusted_proxies=self.proxies.__contains__)
        self.addCleanup(self.engine.log.close)
        core, clock = self.engine.core, self.engine.clock
        self.guard = Guard(trusted=self.proxies.__contains__)
        core.door = Door(self.guard, core.authenticator, clock, core.recorder)
        self.devices: list[KnownDevice] = []
        self.guard.ask = lambda: self.guard.known(set(self.guard.questions), self.devices, clock.wall())
        for number in ("1001", "1002", "1003"):
            self.engine.directory.add(number, "secret")

    def phone(self, number: str = "1001", host: str = OFFICE, password: str = "secret") -> Phone:
        return Phone(self.engine, number, password, make_flow(host=host, port=next(_ports)))

    def guess(self, host: str = BAD) -> None:
        for number in range(7001, 7007):
            self.assertEqual(self.phone(str(number), host, "guess").register().status, 403)

    def answers(self, data: bytes, flow: Flow) -> list[int]:
        return [answer.status for answer in self.engine.exchange(data, flow)]

    def causes(self) -> dict[tuple[str, str], int]:
        """Failed attempts as they go to the store."""
        found = self.engine.core.recorder.take().failures
        return {(one.number, one.cause): one.count for one in found}

    def block(self, source: str, number: str = "", **more) -> Block:
        now = self.engine.clock.wall()
        block = Block(source, number, more.pop("reason", ADMINISTRATOR), now, now + 3600, **more)
        self.guard.loaded([block])
        return block


class AdmissionTests(DoorCase):
    def test_under_overload_a_stranger_who_has_failed_waits_behind_those_who_have_not(self):
        ranks = []
        for password in ("secret", "guess"):
            phone = self.phone("1001", BAD, password)
            phone.register()
            ranks.append(self.engine.core.rank(phone.request(), phone.flow))
            self.engine.core._known.clear()  # as if it had never been here
            ranks.append(self.engine.core.rank(phone.request(), phone.flow._replace(remote=(BAD, 9))))
        self.assertEqual(ranks, [Rank.REFRESH, Rank.RETURNING, Rank.STRANGER, Rank.STRANGER])


class SilenceTests(DoorCase):
    def test_nothing_at_all_is_answered_to_a_blocked_address(self):
        self.guess()
        flow = make_flow(host=BAD)
        phone = self.phone("1001", BAD)
        for data in (
            phone.request(), phone.request(method="OPTIONS"), phone.request(method="INVITE"),
            phone.request(method="FOO"),
            b"REGISTER broken\r\n\r\n", b"\r\n\r\n", b"\0" * 5, b"SIP/2.0 200 OK\r\n\r\n", phone.request() * 2,
            phone.request().replace(b"CSeq: ", b"CSeq: x"), b"",
        ):
            self.assertEqual(self.answers(data, flow), [], data[:40])
        self.assertEqual(self.phone("1001", OFFICE).register().status, 200)

    def test_what_is_dropped_is_counted_and_evidence(self):
        self.guess()
        self.causes()
        phone = self.phone("1001", BAD)
        self.answers(phone.request(), phone.flow)
        self.answers(phone.request(), phone.flow)
        self.answers(b"\r\n\r\n", phone.flow)  # a keep-alive tries nothing
        [block] = self.guard.made
        self.assertEqual((block.tries, block.numbers[-1], block.user_agent), (2, "1001", "Zoiper"))
        self.assertEqual(self.causes(), {("1001", "blocked"): 2})

    def test_a_flood_from_there_is_counted_and_hardly_read(self):
        self.guess()
        self.causes()
        phone = self.phone("1001", BAD)
        for _ in range(500):
            self.answers(phone.request(), phone.flow)
        self.assertEqual(self.guard.made[0].tries, 500)
        self.assertLessEqual(self.causes()["1001", "blocked"], 20)

    def test_it_ends_by_itself(self):
        self.guess()
        self.engine.clock.time += 601
        self.assertEqual(self.phone("1001", BAD).register().status, 200)


class OfficeTests(DoorCase):
    def test_who_is_known_good_there_registers_and_ends_his_calls(self):
        self.devices = [KnownDevice(OFFICE, "1001")]
        self.guess(OFFICE)
        good, other = self.phone("1001"), self.phone("1002")
        self.assertEqual(good.register().status, 200)
        self.assertEqual(self.answers(other.request(), other.flow), [])
        bye = good.request(method="BYE").replace(b"To: <sip:1001@pbx.test>", b"To: <sip:1003@pbx.test>;tag=x")
        self.assertEqual(len(self.answers(bye, good.flow)), 1)

    def test_a_slowed_number_is_told_when_to_come_back(self):
        old = self.phone("1001", password="old")
        self.assertEqual([old.register().status for _ in range(10)], [403] * 10)
        answer = old.register()
        self.assertEqual((answer.status, answer.get("Retry-After")), (503, "5"))
        self.assertEqual(self.phone("1002").register().status, 200)
        self.assertEqual(self.causes()["1001", "rate_limited"], 1)

    def test_asking_for_a_challenge_is_never_slowed(self):
        old = self.phone("1001", password="old")
        for _ in range(12):
            old.register()
        new = self.phone("1001")
        self.assertEqual(self.answers(new.request(), new.flow), [401])

    def test_an_unknown_number_and_a_wrong_password_are_slowed_alike(self):
        bodies = []
        for number in ("1001", "9001"):
            phone = self.phone(number, f"198.51.100.{number[0]}", "guess")
            statuses = [phone.register() for _ in range(12)]
            bodies.append([(answer.status, answer.reason, answer.get("Retry-After")) for answer in statuses])
        self.assertEqual(bodies[0], bodies[1])

    def test_one_administrators_block_of_one_number(self):
        self.block(OFFICE, "1001")
        phone = self.phone("1001")
        self.assertEqual(self.answers(phone.request(), phone.flow), [])
        self.assertEqual(self.phone("1002").register().status, 200)
        self.assertEqual(self.phone("1001", BAD).register().status, 200)

    def test_ipv6(self):
        for index in range(6):
            phone = self.phone(str(7001 + index), f"2001:db8:1:2::{index + 1}", "guess")
            phone.register()
        phone = self.phone("1001", "2001:db8:1:2:aaaa::1")
        self.assertEqual(self.answers(phone.request(), phone.flow), [])
        self.assertEqual(self.phone("1001", "2001:db8:1:3::1").register().status, 200)


class ForgedTests(DoorCase):
    def test_a_nonce_of_another_source_counts_for_nobody(self):
        for number in range(7001, 7050):
            liar, forged = self.phone(str(number), BAD, "guess"), self.phone(str(number), OFFICE, "guess")
            liar.send(liar.request())
            forged.nonce, forged.nc = liar.nonce, 0
            self.assertEqual(self.answers(forged.request(), forged.flow), [401])
        self.assertEqual(len(self.guard.failures), 0)

    def test_no_credentials_count_for_nobody(self):
        for number in range(7001, 7050):
            phone = self.phone(str(number), OFFICE)
            self.answers(phone.request(), phone.flow)
        self.assertEqual(len(self.guard.failures), 0)


class BehindAProxyTests(DoorCase):
    proxies = frozenset({PROXY})

    def through(self, number: str, host: str, password: str = "secret", invented: str = "") -> Phone:
        """A phone at ``host`` whose messages a trusted proxy hands on; below its own Via it may have invented one."""
        phone = self.phone(number, PROXY, password)
        request = phone.request

        def with_proxy(*args, **kwargs):
            own = b"Via: SIP/2.0/UDP 192.168.1.5:5062;rport;"
            added = f"Via: SIP/2.0/UDP {PROXY};branch=z9hG4bKp{next(_ports)}\r\n".encode()
            theirs = f"Via: SIP/2.0/UDP 192.168.1.5:5062;received={host};rport=5062;".encode()
            data = request(*args, **kwargs).replace(own, added + theirs)
            below = f"Via: SIP/2.0/UDP {invented};received={invented};branch=z9hG4bKi\r\nMax-Forwards:".encode()
            return data.replace(b"Max-Forwards:", below, 1) if invented else data

        phone.request = with_proxy
        return phone

    def test_an_invented_address_is_not_believed(self):
        """Only what the proxy itself has seen counts, or a stranger behind it could have an office blocked."""
        for number in range(7001, 7007):
            self.assertEqual(self.through(str(number), BAD, "guess", invented=OFFICE).register().status, 403)
        self.assertEqual([block.source for block in self.guard.made], [BAD])
        self.assertEqual(self.through("1001", OFFICE).register().status, 200)

    def test_the_phones_address_counts_and_not_the_proxys(self):
        for number in range(7001, 7007):
            self.through(str(number), BAD, "guess").register()
        self.assertEqual([block.source for block in self.guard.made], [BAD])
        silent = self.through("1001", BAD)
        self.assertEqual(self.answers(silent.request(), silent.flow), [])
        self.assertEqual(self.through("1001", OFFICE).register().status, 200)

    def test_who_registered_there_through_the_proxy_is_known_good(self):
        """The store knows such phones by the proxy's address alone."""
        good = self.through("1001", OFFICE)
        self.assertEqual(good.register().status, 200)
        for number in range(7001, 7007):
            self.through(str(number), OFFICE, "guess").register()
        self.assertEqual([block.spared for block in self.guard.made], [{"1001"}])
        self.assertEqual(good.register().status, 200)

    def test_the_proxy_itself_is_never_blocked(self):
        for number in range(7001, 7020):
            self.assertEqual(self.phone(str(number), PROXY, "guess").register().status, 403)
        self.assertEqual(self.guard.made, [])
