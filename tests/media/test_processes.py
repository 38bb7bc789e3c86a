"""Relay processes die, come back, and end with whoever started them; ports rest; rubbish changes nothing."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import unittest
from pathlib import Path

from sipcore.media import ng
from sipcore.media.errors import MediaRefused, MediaUnavailable
from sipcore.media.ng import Path as MediaPath
from sipcore.media.pool import NgPool
from sipcore.media.processes import RelayFailed, RelayProcesses, port_slices
from tests.media.engines import ADDRESSES, Background, OnOurRelay, port_range
from tests.media.phones import hears, place, rtp
from tests.support.engines import RtpEngine
from tests.support.processes import scratch_directory, wait_until

ROOT = Path(__file__).resolve().parents[2]
SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def deaf_for(opened: socket.socket) -> bytes:
    opened.setblocking(False)
    try:
        return opened.recv(65_535)
    except BlockingIOError:
        return b""


class SupervisorTests(unittest.TestCase):
    def setUp(self) -> None:
        self.background = Background()
        self.addCleanup(self.background.stop)

    def test_a_relay_that_was_told_a_key_obeys_its_pool_alone_also_after_it_was_started_again(self) -> None:
        pool = NgPool([], ping_every=0.1)
        relays = RelayProcesses(
            ports=port_range(), addresses=ADDRESSES, key=pool.key, died=lambda url: pool.died(url)
        )
        pool.set_members(self.background.run(relays.start()))
        self.addCleanup(lambda: self.background.run(relays.stop()))
        self.background.run(pool.start())
        self.addCleanup(lambda: self.background.run(pool.close()))
        self.background.run(pool.offer("secret", "a", SDP))
        other = NgPool(relays.urls, timeout=0.5)
        self.addCleanup(lambda: self.background.run(other.close()))
        with self.assertRaises(MediaUnavailable):
            self.background.run(other.calls_of(relays.urls[0]))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as neighbour:
            neighbour.connect(ng.parse_url(relays.urls[0]))
            for packet in (b"1 d7:command4:liste", b"_ d7:command4:liste", b"1 x", pool.key[1:].encode() + b" d"):
                neighbour.send(packet)
            self.background.run(pool.query("secret"))  # served after those
            self.assertEqual(deaf_for(neighbour), b"")
        self.assertNotIn(pool.key, Path(f"/proc/{relays.pids[0]}/cmdline").read_text())
        old = relays.pids
        os.kill(old[0], signal.SIGKILL)
        wait_until(lambda: relays.pids != old and pool.alive == relays.urls, "it is back")
        self.assertEqual(self.background.run(pool.offer("new", "a", SDP))[:3], b"v=0")

    def test_a_killed_relay_is_noticed_and_replaced_and_its_calls_are_named(self) -> None:
        events: list[object] = []
        first, last = port_range()
        relays = RelayProcesses(
            workers=2, ports=(first, last), addresses=ADDRESSES, died=lambda url: pool.died(url),
            started=lambda url: events.append(asyncio.ensure_future(pool.started(url))),
        )  # fmt: skip
        urls = self.background.run(relays.start())
        self.addCleanup(lambda: self.background.run(relays.stop()))
        pool = NgPool(urls, lost=lambda url, calls: events.append((url, calls)))
        self.background.run(pool.start())
        self.addCleanup(lambda: self.background.run(pool.close()))
        for number in range(4):
            self.background.run(pool.offer(f"call-{number}", "a", SDP))
        self.assertEqual({pool.member_of(f"call-{number}") for number in range(4)}, set(urls))  # spread
        mine = [f"call-{number}" for number in range(4) if pool.member_of(f"call-{number}") == urls[0]]
        old = relays.pids
        os.kill(old[0], signal.SIGKILL)
        wait_until(lambda: (urls[0], mine) in events, "the calls that are lost")
        self.assertEqual(self.background.run(pool.offer("new", "a", SDP))[:3], b"v=0")  # by the other one
        wait_until(lambda: len(pool.alive) == 2, "it is back")
        self.assertEqual((relays.urls, relays.pids[1]), (urls, old[1]))
        self.background.run(pool.offer(mine[0], "a", SDP))
        with self.assertRaises(MediaRefused):
            self.background.run(pool.query(mine[1]))
        self.background.run(relays.stop())
        self.assertFalse([pid for pid in relays.pids if alive(pid)])

    def test_a_call_that_comes_while_the_relays_start_waits_for_them(self) -> None:
        relays = RelayProcesses(ports=port_range(), addresses=ADDRESSES)
        pool = NgPool([])
        self.addCleanup(lambda: self.background.run(relays.stop()))
        self.addCleanup(lambda: self.background.run(pool.close()))

        async def first_call() -> tuple[bool, bytes]:
            offer = asyncio.create_task(pool.offer("call", "a", SDP))
            pool.set_members(await relays.start())
            waited = not offer.done()
            await pool.start()
            return waited, await offer

        waited, answer = self.background.run(first_call())
        self.assertTrue(waited)
        self.assertEqual(answer[:3], b"v=0")

    def test_a_relay_ends_with_the_process_that_started_it(self) -> None:
        script = (
            "import asyncio\n"
            "from sipcore.media.processes import RelayProcesses\n"
            "async def main():\n"
            "    relays = RelayProcesses(ports=(31000, 31099))\n"
            "    await relays.start()\n"
            "    print(relays.pids[0], flush=True)\n"
            "    await asyncio.sleep(60)\n"
            "asyncio.run(main())\n"
        )
        with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
            pid = int(parent.stdout.readline())
            self.assertTrue(alive(pid))
            parent.kill()
        wait_until(lambda: not alive(pid), "the relay has ended")

    def test_a_relay_that_cannot_start_is_told(self) -> None:
        relays = RelayProcesses(ports=port_range(), options=["--no-such-option"])
        with self.assertRaises(RelayFailed):
            self.background.run(relays.start())
        with self.assertRaises(ValueError):
            port_slices(10_000, 10_003, 1)
        self.assertEqual(port_slices(10_001, 10_033, 2), ["10002-10017", "10018-10033"])


class PoolTests(unittest.TestCase):
    def setUp(self) -> None:
        self.background = Background()
        self.addCleanup(self.background.stop)

    def pool(self, *urls: str, **options: object) -> NgPool:
        pool = NgPool(urls, ping_every=0.2, **options)
        self.background.run(pool.start())
        self.addCleanup(lambda: self.background.run(pool.close()))
        return pool

    def test_nobody_there(self) -> None:
        pool = self.pool("udp:127.0.0.1:9", "udp:nowhere.invalid:2223")
        self.assertEqual(pool.alive, [])
        with self.assertRaises(MediaUnavailable):
            self.background.run(pool.offer("call", "a", SDP))
        self.assertIsNone(self.background.run(pool.delete("call")))

    def test_an_answer_that_is_lost_is_asked_for_again(self) -> None:
        """With the same cookie; and an engine that is silent gets no new calls."""
        engine = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(engine.close)
        engine.bind(("127.0.0.1", 0))
        seen: list[bytes] = []
        deaf = threading.Event()

        def serve() -> None:
            while True:
                try:
                    data, source = engine.recvfrom(65_535)
                    cookie, message = ng.unpack(data)
                except OSError:
                    return
                if message["command"] == b"ping":
                    if not deaf.is_set():
                        engine.sendto(cookie + b" d6:result4:ponge", source)
                elif message["command"] == b"offer":
                    seen.append(cookie)
                    if len(seen) == 3:
                        engine.sendto(b"other d6:result5:erroreX", source)
                        engine.sendto(ng.pack(cookie, {"result": "ok", "sdp": SDP}), source)

        threading.Thread(target=serve, daemon=True).start()
        pool = self.pool(f"udp:127.0.0.1:{engine.getsockname()[1]}")
        self.assertEqual(self.background.run(pool.offer("call", "a", SDP)), SDP)
        self.assertEqual((len(seen), len(set(seen))), (3, 1))
        deaf.set()
        wait_until(lambda: not pool.alive, "it is known to be dead")
        deaf.clear()
        wait_until(lambda: pool.alive, "it is known to live")

    def test_an_rtpengine_that_was_started_again_has_lost_its_calls(self) -> None:
        lost: list[list[str]] = []
        engine = RtpEngine(scratch_directory("rtpengine"), ports=port_range(), addresses=["127.0.0.1"])
        self.addCleanup(engine.stop)
        pool = self.pool(engine.url, lost=lambda url, calls: lost.append(calls))
        self.background.run(pool.offer("call", "a", SDP))
        engine.kill()
        again = RtpEngine(
            scratch_directory("rtpengine"), ports=port_range(), addresses=["127.0.0.1"], control=engine.control
        )
        self.addCleanup(again.stop)
        wait_until(lambda: lost == [["call"]], "the call that is lost")
        wait_until(lambda: pool.alive, "it is back")
        self.background.run(pool.offer("call", "a", SDP))


class PortTests(OnOurRelay):
    quarantine = "1.5"

    @classmethod
    def start_engine(cls) -> list[str]:
        first, _ = port_range()
        cls.relays = RelayProcesses(
            ports=(first, first + 7), addresses=ADDRESSES, options=["--quarantine", cls.quarantine]
        )
        cls.addClassCleanup(lambda: cls.background.run(cls.relays.stop()))
        return cls.background.run(cls.relays.start())

    def test_a_pair_rests_before_it_serves_again(self) -> None:
        path = MediaPath(received_from="127.0.0.2")
        used = []
        for number in range(4):
            self.addCleanup(self.wait, self.pool.delete(f"rest-{number}"))
            used.append(place(self.wait(self.pool.offer(f"rest-{number}", "a", SDP, path=path)))[1])
        self.assertEqual(sorted(used), list(range(min(used), min(used) + 8, 2)))
        with self.assertRaises(MediaRefused):
            self.wait(self.pool.offer("one too many", "a", SDP))
        self.wait(self.pool.delete("rest-2"))
        with self.assertRaises(MediaRefused):
            self.wait(self.pool.offer("too early", "a", SDP))

        def again() -> bytes | None:
            try:
                return self.wait(self.pool.offer("rest-2", "a", SDP, path=path))
            except MediaRefused:
                return None

        self.assertEqual(place(wait_until(again, "a pair that has rested", 10))[1], used[2])


class IdleTests(OnOurRelay):
    @classmethod
    def start_engine(cls) -> list[str]:
        cls.relays = RelayProcesses(ports=port_range(), addresses=ADDRESSES, options=["--idle", "1.5"])
        cls.addClassCleanup(lambda: cls.background.run(cls.relays.stop()))
        return cls.background.run(cls.relays.start())

    def test_a_call_the_pbx_has_lost_does_not_hold_its_ports_for_ever(self) -> None:
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        self.join(one, two)
        for _ in range(25):
            one.say(pause=0.1)  # one voice is enough to keep it
        self.assertIn(self.call_id, self.wait(self.pool.calls_of(self.relays.urls[0])))
        wait_until(lambda: not self.wait(self.pool.calls_of(self.relays.urls[0])), "it is forgotten")


class RubbishTests(OnOurRelay):
    def memory(self) -> int:
        """Kilobytes."""
        status = Path(f"/proc/{self.relays.pids[0]}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.relays.pids[0]}/fd"))

    def test_rubbish_on_the_control_socket(self) -> None:
        chance = random.Random(7)
        host, port = ng.parse_url(self.relays.urls[0])
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        self.join(one, two)
        pid, files = self.relays.pids[0], self.files()
        messages = [
            ng.pack(b"1", {"command": command, "call-id": "r", "from-tag": "a", "to-tag": "b", "via-branch": "v",
                           **MediaPath(received_from="127.0.0.2", media_address="127.0.0.1").keys(SDP)})
            for command in ("offer", "answer", "delete", "query", "list", "ping")
        ]  # fmt: skip
        messages += [ng.pack(*ng.unpack(message), as_json=True) for message in messages]
        odd = [
            {"command": "offer"}, {"command": 5}, {}, {"command": "list", "limit": -5}, {"command": "x" * 60_000},
            {"command": "offer", "call-id": [], "from-tag": {}, "sdp": 7}, {"command": "query", "call-id": "x" * 5000},
            {"command": "offer", "call-id": "r", "from-tag": "a", "sdp": SDP, "flags": "no list"},
            {"command": "offer", "call-id": "r", "from-tag": "a", "sdp": SDP, "flags": [1, [2]]},
            {"command": "offer", "call-id": "r", "from-tag": "a", "sdp": SDP, "media address": "nonsense"},
            {"command": "offer", "call-id": "r", "from-tag": "a", "sdp": SDP, "received-from": ["IP4", "256.0.0.1"]},
            {"command": "offer", "call-id": "r", "from-tag": "a", "sdp": SDP, "received-from": ["IP4"]},
            {"command": "offer", "call-id": "r", "from-tag": "a", "sdp": SDP, "address family": "IP5"},
        ]  # fmt: skip
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((host, port))
            sender.settimeout(2)
            for number, message in enumerate(odd):
                sender.send(ng.pack(b"odd%d" % number, message))
                self.assertIn(b"6:result", sender.recv(65_535))
                sender.send(ng.pack(b"json%d" % number, message, as_json=True))
                self.assertIn(b'"result"', sender.recv(65_535))
            for number, text in enumerate((
                b'{"command":null}', b'{"command":1e999}', b'{"command":"list","limit":1e9,"call-id":true}x',
                b'{"command":"offer","call-id":"r","from-tag":"a","sdp":true}',
            )):  # fmt: skip
                sender.send(b"type%d %b" % (number, text))
                self.assertIn(b"error", sender.recv(65_535))
            before = self.memory()
            sender.setblocking(False)
            for number in range(6000):
                data = bytearray(chance.choice(messages))
                for _ in range(chance.randint(1, 8)):
                    data[chance.randrange(len(data))] = chance.randrange(256)
                try:
                    sender.send(
                        b"%d" % number + bytes(data[: chance.choice((len(data), chance.randrange(len(data)))) or 1])
                    )
                    while True:
                        sender.recv(65_535)
                except (BlockingIOError, ConnectionRefusedError):
                    pass
        self.assertTrue(self.wait(self.pool.ping(self.relays.urls[0])))
        for call in self.wait(self.pool.calls_of(self.relays.urls[0])):
            if call != self.call_id:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.connect((host, port))
                    sender.send(ng.pack(b"d" + os.urandom(4).hex().encode(), {"command": "delete", "call-id": call}))
                    sender.settimeout(2)
                    sender.recv(65_535)
        self.assertEqual((self.relays.pids[0], self.files()), (pid, files))
        self.assertLess(self.memory() - before, 10_000)
        hears(two.rtp, one)

    def test_rubbish_on_the_ports_of_a_call(self) -> None:
        chance = random.Random(8)
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        self.join(one, two)
        hears(two.rtp, one)
        stranger = self.phone("127.0.0.66", 99)
        pid, files, before = self.relays.pids[0], self.files(), self.memory()
        for number in range(6000):
            data = bytearray(rtp(number, 11))
            for _ in range(chance.randint(1, 6)):
                data[chance.randrange(14)] = chance.randrange(256)
            sender = chance.choice((one.rtp, one.rtp, one.rtcp, stranger.rtp, stranger.rtcp))
            sender.sendto(data[: chance.choice((len(data), chance.randrange(20)))],
                          (one.relay[0], one.relay[1] + chance.randrange(2)))  # fmt: skip
        self.assertTrue(self.wait(self.pool.ping(self.relays.urls[0])))
        self.assertEqual((self.relays.pids[0], self.files()), (pid, files))
        self.assertLess(self.memory() - before, 5_000)
        hears(two.rtp, one)
        hears(one.rtp, two)
