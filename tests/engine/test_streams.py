"""SIP over TCP as a phone meets it: real sockets on loopback, the registrations in memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import IsolatedAsyncioTestCase
from unittest.mock import patch

from sipcore import streams, tcp_socket
from sipcore.batch import RegistrationBatch
from sipcore.chores import Chores
from sipcore.clock import MachineClock
from sipcore.core import Core, Settings
from sipcore.log import SipLog
from sipcore.protocol.flow import Flow
from sipcore.protocol.framing import StreamFramer
from sipcore.protocol.message import Request, Response, parse_message
from sipcore.protocol.transaction import State
from sipcore.registrar import Policy
from sipcore.server import Server
from sipcore.udp_socket import CannotListen
from tests.engine.core_under_test import DOMAIN, Phone
from tests.engine.memory_directory import REALM, MemoryDirectory
from tests.protocol.corpus_files import rfc4475

PATIENCE = 10.0


class InstantStore:
    """Decides as soon as the loop has its next turn, or, held, when the test says ``release()``."""

    has_room = staticmethod(lambda job, beside: True)
    available = True

    def __init__(self, work, done) -> None:
        self.work, self.done = work, done
        self.held: list | None = None

    def submit(self, *jobs) -> None:
        for job in jobs:
            if self.held is not None:
                self.held.append(job)
            else:
                asyncio.get_running_loop().call_soon(self._decide, job)

    def call(self, chore) -> None:
        chore()

    def release(self) -> None:
        jobs, self.held = self.held or [], None
        for job in jobs:
            self._decide(job)

    def _decide(self, job) -> None:
        [job.decision] = self.work([job.asked])
        self.done([job])


class TcpPhone:
    """One connection, with the REGISTERs of a phone."""

    def __init__(self, reader, writer, number: str) -> None:
        self.reader, self.writer = reader, writer
        self.framer, self.messages = StreamFramer(), []
        self.phone = Phone(None, number)

    def request(self, **options) -> bytes:
        data = self.phone.request(**options).replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP")
        self.phone.nonce = None
        return data

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self):
        """The next message."""
        async with asyncio.timeout(PATIENCE):
            while not self.messages:
                data = await self.reader.read(65536)
                if not data:
                    raise EOFError
                self.messages += self.framer.feed(data)
        return parse_message(self.messages.pop(0))

    async def register(self, **options):
        self.send(self.request(**options))
        answer = await self.receive()
        if answer.status == 401:
            self.phone.take_challenge(answer)
            self.send(self.request(**options))
            answer = await self.receive()
        return answer

    async def rest(self) -> bytes:
        """All that still comes, until the other end closes. A reset is an end too."""
        data = b""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                while chunk := await self.reader.read(65536):
                    data += chunk
        return data

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class TcpCase(IsolatedAsyncioTestCase):
    host = "127.0.0.1"

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)  # it tells of every slow turn of a busy machine
        self.enterContext(directory := TemporaryDirectory())
        self.log_path = Path(directory.name, "log")
        fd = os.open(self.log_path, os.O_WRONLY | os.O_CREAT)
        self.addCleanup(os.close, fd)
        self.log = SipLog(fd)
        self.clock, self.directory = MachineClock(), MemoryDirectory()
        for number in ("1001", "1002", "1003"):
            self.directory.add(number)
        self.core = Core(
            Settings(realm=REALM, domains=frozenset({DOMAIN}), algorithms=("MD5",), key=b"k" * 32, node="n1"),
            self.log, self.clock,
        )
        ready: asyncio.Future = asyncio.get_running_loop().create_future()
        self.server = Server(self.core, self.log, lambda: self.chores.every_second(), ready.set_result)
        decoys = {"MD5": "0" * 32, "SHA-256": "0" * 64}
        batch = RegistrationBatch(self.directory, Policy(node="n1"), decoys, self.clock.wall)
        self.store = self.core.store = InstantStore(batch, self.server.completed)
        self.chores = Chores(
            self.core, self.store, self.directory, self.clock, self.log, lambda wall: None, self.server.in_loop,
            self.directory,
        )
        self.server.open([(self.host, 0)])
        self.running = asyncio.create_task(self.server.run())
        [(_, self.port)] = await ready
        self.phones: list[TcpPhone] = []

    async def asyncTearDown(self):
        for phone in self.phones:
            await phone.close()
        self.server.stop()
        await self.running
        self.log.close()

    async def connect(self, number: str = "1001", receive_buffer: int | None = None) -> TcpPhone:
        opened = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        if receive_buffer is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, (self.host, self.port))
        phone = TcpPhone(*await asyncio.open_connection(sock=opened), number)
        self.phones.append(phone)
        return phone

    async def until(self, condition, what: str) -> None:
        for _ in range(int(PATIENCE / 0.01)):
            if condition():
                return
            await asyncio.sleep(0.01)
        self.fail(f"waited in vain: {what}\n{self.log_text()}")

    def living(self) -> list:
        return list(self.directory.living("n1", self.clock.wall()))

    def log_text(self) -> str:
        return self.log_path.read_text()


OPTIONS = (
    b"OPTIONS sip:pbx.test SIP/2.0\r\nVia: SIP/2.0/TCP 192.168.1.5:5062;branch=z9hG4bK%d\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:pbx.test>\r\nCall-ID: c%d\r\nCSeq: %d OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: %d\r\n\r\n"
)


def options(number: int, body: bytes = b"") -> bytes:
    return OPTIONS % (number, number, number, len(body)) + body


class Registering(TcpCase):
    async def test_a_phone_registers_and_its_connection_is_on_record(self):
        phone = await self.connect()
        answer = await phone.register()
        self.assertEqual(answer.status, 200)
        self.assertIn("received=127.0.0.1", answer.get("Via"))
        [binding] = self.living()
        own = phone.writer.get_extra_info("sockname")
        self.assertEqual((binding.transport, binding.remote_host, binding.remote_port), ("TCP", *own))
        self.assertEqual((binding.local_host, binding.local_port), (self.host, self.port))
        self.assertTrue(0 < len(binding.connection) <= 32)

    async def test_it_is_not_pinged(self):
        await (await self.connect()).register()
        self.assertEqual(len(self.core.keepalive), 0)

    async def test_the_registration_ends_with_the_connection(self):
        phone, other = await self.connect(), await self.connect("1002")
        await phone.register()
        await other.register()
        await phone.close()
        await self.until(lambda: [b.account_id for b in self.living()] == [2], "only 1002 is registered")
        self.assertRegex(self.log_text(), r"Connection from 127.0.0.1:\d+ ended, 1 registrations with it")

    async def test_a_reset_connection_ends_it_too(self):
        phone = await self.connect()
        await phone.register()
        linger = b"\x01\0\0\0\0\0\0\0"
        phone.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        await phone.close()
        await self.until(lambda: not self.living(), "nobody is registered")

    async def test_a_phone_that_came_back_is_not_hit_by_the_late_end_of_its_old_connection(self):
        old, new = await self.connect(), await self.connect()
        await old.register()
        new.phone.cseq = 10
        await new.register()
        await old.close()
        await self.until(lambda: len(self.core.connections) == 1, "the old connection has ended")
        self.chores.every_second()
        [binding] = self.living()
        self.assertEqual(binding.remote_port, new.writer.get_extra_info("sockname")[1])

    async def test_a_phone_that_came_back_while_the_end_waited_for_the_database_is_not_hit(self):
        old, new = await self.connect(), await self.connect()
        await old.register()
        [binding] = self.living()
        new.phone.cseq = 10
        await new.register()
        self.directory.end_connections({binding.id: binding.connection}, self.clock.wall())
        self.assertEqual(len(self.living()), 1)

    async def test_a_connection_that_ends_before_the_answer_leaves_no_registration(self):
        phone = await self.connect()
        phone.send(phone.request())
        phone.phone.take_challenge(await phone.receive())
        self.store.held = []
        phone.send(phone.request())
        await self.until(lambda: self.store.held, "the REGISTER waits for the store")
        await phone.close()
        await self.until(lambda: not len(self.core.connections), "the connection has ended")
        self.store.release()
        await self.until(lambda: self.directory.rows and not self.living(), "it was written, and ended")
        self.assertIn("its connection has ended", self.log_text())

    async def test_registrations_of_before_a_restart_end_because_their_connections_did(self):
        phone, udp = await self.connect(), self.directory
        await phone.register()
        [binding] = self.living()
        udp.rows[binding.id].connection = "of-before"
        self.core.connections.follow(binding.id, "", 0.0, 1.0)
        self.chores.started()
        await self.until(lambda: not self.living(), "it has ended")

    async def test_signing_off_leaves_the_connection(self):
        phone = await self.connect()
        await phone.register()
        self.assertEqual((await phone.register(headers=["Expires: 0"])).status, 200)
        self.assertEqual(self.living(), [])
        self.assertEqual((await phone.register()).status, 200)


class Framing(TcpCase):
    async def test_several_requests_in_one_segment_are_answered_in_order(self):
        phone = await self.connect()
        phone.send(b"".join(options(number) for number in range(1, 60)))
        self.assertEqual([(await phone.receive()).cseq.number for _ in range(59)], list(range(1, 60)))

    async def test_a_request_that_comes_byte_by_byte_is_answered(self):
        phone = await self.connect()
        data = options(1)
        phone.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for place in range(len(data)):
            phone.send(data[place : place + 1])
            await phone.writer.drain()
        self.assertEqual((await phone.receive()).status, 200)

    async def test_a_large_request_is_answered_and_a_larger_one_is_refused(self):
        phone = await self.connect()
        phone.send(options(1, b"x" * 65_000))
        self.assertEqual((await phone.receive()).status, 200)
        phone.send(options(2, b"x" * 65_500))
        self.assertEqual((await phone.receive()).status, 400)
        self.assertEqual(await phone.rest(), b"")

    async def test_a_keep_alive_gets_its_line_end_and_no_more(self):
        phone = await self.connect()
        phone.send(b"\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            self.assertEqual(await phone.reader.readexactly(2), b"\r\n")
        phone.send(options(1))
        self.assertEqual((await phone.receive()).status, 200)

    async def test_a_missing_length_and_a_lie_are_answered_with_400_and_the_end(self):
        missing = options(1).replace(b"Content-Length: 0\r\n", b"")
        for data in (missing, rfc4475("mcl01"), rfc4475("ncl"), options(1).replace(b"h: 0", b"h: 70000")):
            with self.subTest(data[-40:]):
                phone = await self.connect()
                # What comes behind it must not keep the answer from arriving.
                phone.send(data + b"x" * 100_000)
                answer = await phone.receive()
                self.assertEqual(answer.status, 400)
                self.assertEqual(await phone.rest(), b"")

    async def test_a_malformed_request_of_the_right_length_does_not_end_the_connection(self):
        phone = await self.connect()
        phone.send(options(1).replace(b"CSeq: 1", b"CSeq: x") + options(2))
        self.assertEqual([(await phone.receive()).status for _ in range(2)], [400, 200])

    async def test_a_length_larger_than_the_body_is_told_in_the_end(self):
        with patch.object(streams, "MESSAGE_SECONDS", 0.0), patch.object(streams, "HELLO_SECONDS", 60.0):
            phone = await self.connect()
            phone.send(options(1, b"x")[:-1])
            self.assertEqual((await phone.receive()).status, 400)
            self.assertEqual(await phone.rest(), b"")


class Strangers(TcpCase):
    async def test_a_phone_set_to_tls_is_closed_without_a_word_and_one_line_says_why(self):
        phone = await self.connect()
        phone.send(bytes.fromhex("1603010200010001fc0303") + os.urandom(500))
        self.assertEqual(await phone.rest(), b"")
        line = "Registration refused: number= source=127.0.0.1 cause=wrong_transport"
        await self.until(lambda: line in self.log_text(), line)
        self.assertEqual(self.log_text().count("127.0.0.1"), 1)

    async def test_other_protocols_are_closed_without_a_word(self):
        for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 100, b"x" * 40_000):
            with self.subTest(data[:10]):
                phone = await self.connect()
                phone.send(data)
                self.assertEqual(await phone.rest(), b"")

    async def test_who_says_nothing_or_half_a_message_is_closed(self):
        with patch.object(streams, "HELLO_SECONDS", 0.1):
            silent, slow = await self.connect(), await self.connect()
            slow.send(options(1)[:50])
            self.assertEqual((await silent.rest(), await slow.rest()), (b"", b""))

    async def test_an_idle_stranger_is_closed_and_an_idle_phone_stays(self):
        with patch.object(streams, "IDLE_SECONDS", 0.1):
            phone, stranger = await self.connect(), await self.connect()
            await phone.register()
            stranger.send(options(1))
            self.assertEqual((await stranger.receive()).status, 200)
            self.assertEqual(await stranger.rest(), b"")
            phone.send(options(2))
            self.assertEqual((await phone.receive()).status, 200)

    async def test_silent_connections_take_no_honest_phones_place(self):
        self.core.connections.per_address = 5
        honest, speaking = await self.connect(), await self.connect()
        await honest.register()
        speaking.send(options(1))
        await speaking.receive()
        silent = [await self.connect() for _ in range(20)]
        for early in silent[:15]:
            self.assertEqual(await early.rest(), b"")
        for phone in (honest, speaking, await self.connect()):
            phone.send(options(2))
            self.assertEqual((await phone.receive()).status, 200)

    async def test_when_too_much_is_kept_whoever_hoards_goes_and_not_whose_message_comes_next(self):
        hoarders = [await self.connect(f"x{number}") for number in range(3)]
        for number, hoarder in enumerate(hoarders):
            hoarder.send(b"INVITE sip:1@pbx SIP/2.0\r\nContent-Length: 60000\r\n\r\n" + bytes(30_000 - 1000 * number))
        await self.until(lambda: self.server._tcp._kept > 87_000, "all of it is kept")
        honest = await self.connect("1001")
        with patch.object(tcp_socket, "KEPT_IN_ALL", 90_000):
            data = honest.request(headers=["X: " + "y" * 10_000])
            honest.send(data[:9000])
            self.assertEqual(await hoarders[0].rest(), b"")
            honest.send(data[9000:])
            self.assertEqual((await honest.receive()).status, 401)
        self.assertLess(self.server._tcp._kept, 90_000)

    async def test_who_asks_and_never_reads_is_closed(self):
        phone = await self.connect(receive_buffer=4096)
        await phone.register()
        with contextlib.suppress(ConnectionError):
            for number in range(1, 20_000):
                phone.send(options(number))
                await phone.writer.drain()
        await self.until(lambda: not len(self.core.connections), "the connection is closed")
        await self.until(lambda: "it does not read what it is sent" in self.log_text(), "the log says why")

    async def test_when_files_run_out_the_silent_make_room(self):
        silent = [await self.connect(number) for number in ("1001", "1002", "1003")]
        await self.until(lambda: len(self.core.connections) == 3, "they are taken")
        sockets = self.server._tcp
        self.assertTrue(sockets._make_room(sockets._listeners[0]))
        self.assertEqual(await silent[0].rest(), b"")
        for phone in silent[1:]:
            await phone.register()
        self.assertFalse(sockets._make_room(sockets._listeners[0]))
        waiting = await self.connect("1001")
        self.assertEqual((await waiting.register()).status, 200, "it listens again after a second")


class Requests(TcpCase):
    """What the call engine does with the flow of a binding."""

    def request(self) -> Request:
        return Request("OPTIONS", "sip:1001@192.168.1.5", [
            ("From", "<sip:pbx.test>;tag=x"), ("To", "<sip:1001@pbx.test>"), ("Call-ID", "ours"), ("CSeq", "1 OPTIONS"),
        ])

    def flow_of(self, binding) -> Flow:
        return Flow(
            binding.transport, (binding.local_host, binding.local_port), (binding.remote_host, binding.remote_port),
            binding.connection,
        )

    async def test_a_request_goes_over_the_connection_of_the_binding_and_its_answer_comes_back(self):
        phone = await self.connect()
        await phone.register()
        [binding] = self.living()
        transaction = self.core.endpoint.send_request(self.request(), self.flow_of(binding), self.clock.now())
        self.server._pump()
        asked = await phone.receive()
        self.assertEqual((asked.method, asked.via.transport), ("OPTIONS", "TCP"))
        copied = [(name, value) for name, value in asked.headers if name in ("Via", "From", "To", "Call-ID", "CSeq")]
        phone.send(Response(200, "OK", copied).to_bytes())
        await self.until(lambda: transaction.state in (State.COMPLETED, State.TERMINATED), "the answer is matched")

    async def test_a_request_over_a_connection_that_has_ended_fails_at_once(self):
        gone = Flow("TCP", (self.host, self.port), ("127.0.0.1", 9), "gone")
        transaction = self.core.endpoint.send_request(self.request(), gone, self.clock.now())
        self.server._pump()
        self.assertTrue(transaction.terminated)

    async def test_a_request_whose_connection_ends_fails_at_once(self):
        phone = await self.connect()
        await phone.register()
        [binding] = self.living()
        transaction = self.core.endpoint.send_request(self.request(), self.flow_of(binding), self.clock.now())
        self.server._pump()
        await phone.receive()
        await phone.close()
        await self.until(lambda: transaction.terminated, "the transaction has failed")

    async def test_udp_goes_on_beside_it_on_the_same_port(self):
        await (await self.connect()).register()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendto(phone, options(1).replace(b"/TCP", b"/UDP"), (self.host, self.port))
            async with asyncio.timeout(PATIENCE):
                self.assertEqual(parse_message(await loop.sock_recv(phone, 65535)).status, 200)


class Listening(TcpCase):
    async def test_a_port_that_another_program_has_is_told_with_its_transport(self):
        other = Server(self.core, self.log)
        with self.assertRaises(CannotListen) as caught:
            other.open([(self.host, self.port)])
        self.assertEqual(caught.exception.transport, "UDP")
        with socket.create_server((self.host, 0)) as taken, self.assertRaises(CannotListen) as caught:
            other.open([(self.host, taken.getsockname()[1])])
        self.assertEqual(caught.exception.transport, "TCP")

    async def test_what_waited_for_a_reader_is_not_counted_for_ever(self):
        with patch.object(tcp_socket, "OUTPUT_STRANGER", 10**7):
            phone = await self.connect(receive_buffer=4096)
            for number in range(1, 3000):
                phone.send(options(number))
            await phone.writer.drain()
            for number in range(1, 3000):
                self.assertEqual((await phone.receive()).cseq.number, number)
        phone.send(options(1)[:100])
        await self.until(lambda: self.server._tcp._kept == 100, "half a message is kept")
        await phone.close()
        await self.until(lambda: self.server._tcp._kept == 0, "nothing is kept")


class OnIPv6(TcpCase):
    host = "::1"

    async def test_a_phone_registers(self):
        answer = await (await self.connect()).register()
        self.assertEqual(answer.status, 200)
        [binding] = self.living()
        self.assertEqual((binding.remote_host, binding.local_host), ("::1", "::1"))


class OnAllAddresses(TcpCase):
    host = "0.0.0.0"

    async def connect(self, *args, **options):
        self.host = "127.0.0.5"
        return await super().connect(*args, **options)

    async def test_the_address_the_phone_came_to_is_on_record(self):
        await (await self.connect()).register()
        [binding] = self.living()
        self.assertEqual(binding.local_host, "127.0.0.5")
