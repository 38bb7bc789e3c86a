"""The UDP sockets: an answer leaves by the address that was asked, and nothing from the network stops the loop."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any
from unittest import IsolatedAsyncioTestCase, TestCase, skipUnless
from unittest.mock import patch

from django.test import tag

from sipcore.batch import RegistrationBatch
from sipcore.clock import MachineClock
from sipcore.core import Core, Settings
from sipcore.datagrams import AT_ONCE
from sipcore.inbox import Inbox
from sipcore.log import SipLog
from sipcore.ports import BindingId
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import parse_message
from sipcore.registrar import Policy
from sipcore.server import Server
from sipcore.store import Store
from sipcore.udp_socket import CannotListen, UdpSocket
from tests.engine.memory_directory import REALM, MemoryDirectory


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class OneSocketTests(TestCase):
    def test_a_packet_keeps_its_bytes_when_the_next_one_is_read(self):
        opened = UdpSocket("127.0.0.1", 0)
        self.addCleanup(opened.socket.close)
        sent = [b"REGISTER " + b"a" * 700, b"x", b"", b"y" * 65_507]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            for data in sent:
                phone.sendto(data, ("127.0.0.1", opened.port))
        received, more = opened.receive()
        self.assertEqual([data for data, _flow in received], sent)
        self.assertFalse(more)
        self.assertEqual(opened.receive(), ([], False))

    def test_what_waits_is_read_to_its_end_each_from_its_own_sender(self):
        for host in ("127.0.0.1", "0.0.0.0", *(("::1", "::") if has_ipv6() else ())):
            with self.subTest(host):
                opened = UdpSocket(host, 0)
                self.addCleanup(opened.socket.close)
                to = {"0.0.0.0": "127.0.0.7", "::": "::1"}.get(host, host)
                phones = [socket.socket(opened.socket.family, socket.SOCK_DGRAM) for _ in range(3)]
                for phone in phones:
                    self.addCleanup(phone.close)
                    phone.bind(("::1" if ":" in host else "127.0.0.1", 0))
                for number in range(150):  # of other lengths than what lay there before
                    phones[number % 3].sendto(b"%d" % number + b"x" * (number * 37 % 1000), (to, opened.port))
                received, last = [], True
                while last:
                    some, last = opened.receive()
                    self.assertEqual(last, len(some) == AT_ONCE)
                    received += some
                expected = [
                    (
                        b"%d" % number + b"x" * (number * 37 % 1000),
                        Flow("UDP", (to, opened.port), phones[number % 3].getsockname()[:2]),
                    )
                    for number in range(150)
                ]
                self.assertEqual(received, expected)
                rest = [(data[::-1], flow) for data, flow in received]
                while rest:
                    del rest[: opened.send(rest)]
                for number, phone in enumerate(phones):
                    answers = [phone.recvfrom(65535) for _ in range(50)]
                    self.assertEqual([data[::-1] for data, _ in expected[number::3]], [data for data, _ in answers])
                    self.assertEqual({(to, opened.port)}, {source[:2] for _, source in answers})

    def test_what_cannot_be_sent_is_an_error_and_nothing_behind_it_is_lost(self):
        opened = UdpSocket("127.0.0.1", 0)
        self.addCleanup(opened.socket.close)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.bind(("127.0.0.1", 0))
            phone.settimeout(5)
            here = ("127.0.0.1", opened.port)
            good, bad = Flow("UDP", here, phone.getsockname()), Flow("UDP", here, ("127.0.0.1", 0))
            self.assertEqual(opened.send([(b"1", good), (b"2", bad), (b"3", good)]), 1)
            elsewhere = Flow("UDP", here, ("::1", 5060))
            for data, flow in ((b"2", bad), (b"x" * 65_508, good), (b"x" * 70_000, good), (b"2", elsewhere)):
                with self.assertRaises(OSError):
                    opened.send([(data, flow), (b"3", good)])
            self.assertEqual(opened.send([(b"3", good), (b"x" * 70_000, good)]), 1)
            self.assertEqual([phone.recv(9), phone.recv(9)], [b"1", b"3"])


class UdpTestCase(IsolatedAsyncioTestCase):
    host = "0.0.0.0"

    async def asyncSetUp(self):
        self.directory = MemoryDirectory()
        self.directory.add("1001")
        self.log = SipLog(os.open(os.devnull, os.O_WRONLY))
        clock = MachineClock()
        self.core = Core(
            Settings(realm=REALM, domains=frozenset({"pbx.test"}), algorithms=("MD5",), key=b"k" * 32, node="n1"),
            self.log, clock,
        )
        ready: asyncio.Future = asyncio.get_running_loop().create_future()
        self.server = Server(self.core, self.log, ready=ready.set_result)
        decoys = {"MD5": "0" * 32, "SHA-256": "0" * 64}
        batch = RegistrationBatch(self.directory, Policy(node="n1"), decoys, clock.wall)
        self.core.store = Store(batch, self.server.completed, self.fail, 1000)
        self.core.store.start()
        self.server.open([(self.host, 0)])
        self.running = asyncio.create_task(self.server.run())
        [(_, self.port)] = await ready

    async def asyncTearDown(self):
        self.server.stop()
        await self.running
        self.core.store.stop(5)
        self.log.close()

    def phone(self, host: str = "127.0.0.1") -> socket.socket:
        opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind((host, 0))
        opened.setblocking(False)
        self.addCleanup(opened.close)
        return opened

    async def ask(self, phone: socket.socket, to: str, data: bytes):
        """The answer and where it came from."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendto(phone, data, (to, self.port))
        answer, address = await asyncio.wait_for(loop.sock_recvfrom(phone, 65535), 10)
        return answer, address[0]

    def request(self, branch: str, host: str = "127.0.0.1") -> bytes:
        return (
            f"OPTIONS sip:pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9:5062;rport;branch=z9hG4bK{branch}\r\n"
            "From: <sip:1001@pbx.test>;tag=a\r\nTo: <sip:pbx.test>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n"
            "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        ).encode()


class FromEveryAddress(UdpTestCase):
    async def test_the_answer_comes_from_the_address_that_was_asked(self):
        """A NAT drops what comes from another one; a wildcard socket would answer from 127.0.0.1."""
        phone = self.phone()
        for address in ("127.0.0.1", "127.0.0.5", "127.0.0.77"):
            answer, source = await self.ask(phone, address, self.request(address))
            self.assertEqual(source, address)
            self.assertEqual(parse_message(answer).status, 200)

    async def test_it_goes_to_where_the_packet_came_from_whatever_the_via_says(self):
        answer, _ = await self.ask(self.phone("127.0.0.9"), "127.0.0.1", self.request("b"))
        via = parse_message(answer).via
        self.assertEqual(via.params["received"], "127.0.0.9")
        self.assertTrue(via.params["rport"].isdigit())

    async def test_the_bound_address_is_no_domain_but_the_one_asked_is(self):
        data = self.request("c").replace(b"OPTIONS sip:pbx.test", b"OPTIONS sip:127.0.0.5")
        answer, _ = await self.ask(self.phone(), "127.0.0.5", data)
        self.assertEqual(parse_message(answer).status, 200)
        data = self.request("d").replace(b"OPTIONS sip:pbx.test", b"OPTIONS sip:0.0.0.0")
        answer, _ = await self.ask(self.phone(), "127.0.0.5", data)
        self.assertEqual(parse_message(answer).status, 404)

    async def test_garbage_and_closed_ports_do_not_stop_it(self):
        loop = asyncio.get_running_loop()
        gone = self.phone()
        await loop.sock_sendto(gone, self.request("e"), ("127.0.0.1", self.port))
        gone.close()  # its answer comes back as an ICMP error
        phone = self.phone()
        for junk in (b"", b"\0", b"\r\n", b"\xff" * 65_000, b"INVITE", b"SIP/2.0 200 OK\r\n\r\n"):
            await loop.sock_sendto(phone, junk, ("127.0.0.1", self.port))
        answer, _ = await self.ask(phone, "127.0.0.1", self.request("f"))
        self.assertIn(b" 200 ", answer)

    async def test_a_burst_is_answered_in_its_order(self):
        loop, phone = asyncio.get_running_loop(), self.phone()
        for number in range(60):
            await loop.sock_sendto(phone, self.request(f"n{number}"), ("127.0.0.1", self.port))
        branches = []
        for _ in range(60):
            answer = await asyncio.wait_for(loop.sock_recv(phone, 65535), 10)
            branches.append(parse_message(answer).via.branch)
        self.assertEqual(branches, [f"z9hG4bKn{number}" for number in range(60)])

    @tag("looks-inside")
    async def test_one_that_cannot_be_sent_is_told_and_the_others_go(self):
        loop, phone = asyncio.get_running_loop(), self.phone()
        local = ("127.0.0.1", self.port)
        for port in (phone.getsockname()[1], 0, phone.getsockname()[1]):
            self.core.send(b"SIP/2.0 200 OK\r\n\r\n", Flow("UDP", local, ("127.0.0.1", port)))
        with patch.object(self.log, "warning") as warning:
            self.server.pump_soon()
            for _ in range(2):
                await asyncio.wait_for(loop.sock_recv(phone, 65535), 10)
        warning.assert_called_once_with("Message to 127.0.0.1:0 could not be sent: EINVAL")

    @tag("looks-inside")
    async def test_while_very_many_come_they_are_looked_at_by_the_clock(self):
        """And after that at once again; nobody misses his answer on the way."""
        phone = self.phone()
        rests: list[bool] = []
        listened = self.server._rest

        def rest(listening: Any, came: int) -> None:
            listened(listening, came)
            rests.append(listening.rests)

        with patch.object(self.server, "_rest", rest), patch("sipcore.server.DENSE", 200):
            for number in range(100):
                await self.ask(phone, "127.0.0.1", self.request(f"r{number}"))
            self.assertIn(True, rests)
            await asyncio.sleep(0.1)
            self.assertFalse(rests[-1])
            looks = len(rests)
            await asyncio.sleep(0.05)
            self.assertEqual(looks, len(rests), "nobody looks while nothing comes")
            await self.ask(phone, "127.0.0.1", self.request("last"))
            self.assertGreater(len(rests), looks)

    @tag("looks-inside")
    async def test_it_ends_while_it_rests(self):
        loop, phone = asyncio.get_running_loop(), self.phone()
        errors: list[dict] = []
        loop.set_exception_handler(lambda _loop, context: errors.append(context))
        with patch("sipcore.server.DENSE", 1), patch("sipcore.server.REST", 0.05):
            for number in range(20):
                await self.ask(phone, "127.0.0.1", self.request(f"e{number}"))
            self.server.stop()
            await self.running
            await asyncio.sleep(0.1)
        self.assertEqual([], errors)

    @tag("looks-inside")
    async def test_under_overload_known_phones_are_served_first(self):
        """The order among those that wait in the kernel: a flood has come before them."""
        stranger, known = self.phone("127.0.0.66"), self.phone("127.0.0.9")
        await self.known_at(known)
        served = self.watch_order()
        with patch("sipcore.server.IN_ORDER", 64):
            self.flood(stranger, 120)
            known.sendto(self.request("known"), ("127.0.0.1", self.port))
            await self.answers(stranger, 120)
        self.assertEqual([served.index("127.0.0.9"), len(served)], [0, 121])

    @tag("looks-inside")
    async def test_a_handful_is_served_as_it_came(self):
        stranger, known = self.phone("127.0.0.66"), self.phone("127.0.0.9")
        await self.known_at(known)
        served = self.watch_order()
        self.flood(stranger, 100)
        known.sendto(self.request("known"), ("127.0.0.1", self.port))
        await self.answers(stranger, 100)
        self.assertEqual(served.index("127.0.0.9"), 100)

    @tag("looks-inside")
    async def test_timers_run_while_many_wait(self):
        stranger, served, ticks = self.phone(), self.watch_order(), []
        with patch("sipcore.server.SLICE", 0.0):
            self.flood(stranger, 120)
            asyncio.get_running_loop().call_later(0.0, lambda: ticks.append(len(served)))
            await self.answers(stranger, 120)
        self.assertLess(ticks[0], 10)

    @tag("looks-inside")
    async def test_a_large_batch_is_answered_in_slices(self):
        sizes: list[int] = []
        done = asyncio.get_running_loop().create_future()

        def completed(jobs: list) -> None:
            sizes.append(len(jobs))
            if sum(sizes) == 500:
                done.set_result(None)
            else:
                asyncio.get_running_loop().call_soon(sizes.append, 0)

        self.core.completed = completed
        with patch("sipcore.server.SLICE", 0.0):
            self.server.completed([object()] * 500)
            await asyncio.wait_for(done, 10)
        self.assertLess(max(sizes), 20)
        self.assertGreater(sizes.count(0), 20, "others had their turn between them")

    def flood(self, phone: socket.socket, count: int) -> None:
        """Without a pause in which the server could read."""
        for number in range(count):
            phone.sendto(self.request(f"n{number}"), ("127.0.0.1", self.port))

    async def answers(self, phone: socket.socket, count: int) -> None:
        for _ in range(count):
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(phone, 65535), 10)

    def watch_order(self) -> list[str]:
        served: list[str] = []
        receive = self.core.receive

        def watched(data: bytes, flow: Flow) -> None:
            served.append(flow.remote[0])
            receive(data, flow)

        self.core.receive = watched
        return served

    @tag("looks-inside")
    async def test_what_is_shed_is_said(self):
        said: list[str] = []
        self.log.warning = said.append
        self.server._inbox = Inbox(most=70)
        stranger = self.phone()
        with patch("sipcore.server.IN_ORDER", 64):
            self.flood(stranger, 200)
            await self.answers(stranger, 70)
        self.server._say_shed()
        self.assertEqual(said, ["Overload: 130 messages were not served, 0 of them of registered phones"])

    async def known_at(self, phone: socket.socket) -> None:
        host, port = phone.getsockname()
        self.core._remember(host)
        self.core.keepalive.watch(
            BindingId(1, "k"), "sip:1001@x", Flow("UDP", ("127.0.0.1", self.port), (host, port)), 60.0,
            asyncio.get_running_loop().time() + 600, asyncio.get_running_loop().time() + 60,
        )

    async def test_a_second_server_on_the_port_is_told_why_not(self):
        second = Server(self.core, self.log)
        with self.assertRaises(CannotListen) as caught:
            second.open([("127.0.0.1", self.port)])
        self.assertEqual(caught.exception.address[1], self.port)


@skipUnless(has_ipv6(), "this machine has no IPv6 on loopback")
class Ipv6(UdpTestCase):
    host = "::"

    async def test_a_phone_is_answered_over_ipv6(self):
        answer, source = await self.ask(self.phone("::1"), "::1", self.request("6"))
        message = parse_message(answer)
        self.assertEqual((source, message.status), ("::1", 200))
        self.assertEqual(message.via.params["received"], "::1")
