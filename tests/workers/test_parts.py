"""What workers need, one by one: sockets that share a port, channels, and the look at raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
import unittest
from unittest.mock import Mock

from sipcore.admission import Rank
from sipcore.guard.blocks import Block
from sipcore.guard.door import Door
from sipcore.guard.failures import Sender
from sipcore.guard.guard import Guard, GuardLimits
from sipcore.ports import Binding, BindingId
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import parse_message
from sipcore.registrar import Cause
from sipcore.udp_socket import CannotListen
from sipcore.workers.calls_elsewhere import CallsElsewhere
from sipcore.workers.handover import Handover
from sipcore.workers.links import LARGEST, Kind, Links, make_channel
from sipcore.workers.log import SharedLog
from sipcore.workers.membership import Membership, take_membership
from sipcore.workers.sockets import close, open_shared
from tests.support.pbx import SqliteStore, clean_environment, manage
from tests.support.processes import scratch_directory

FLOW = Flow("UDP", ("127.0.0.1", 5060), ("198.51.100.7", 5062))
INVITE = b"INVITE sip:1002@pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1\r\nTo: <sip:1002@pbx>\r\n"


def answer(branch: str) -> bytes:
    return f"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;rport;branch={branch}\r\nTo: <sip:1>\r\n\r\n".encode()


class OwnerTests(unittest.TestCase):
    """Whose a message is."""

    def handover(self, number: int, workers: int = 3) -> Handover:
        core, links = Mock(), Mock(number=number, workers=workers)
        core.settings.node = "office"
        core.settings.trusted_proxies = lambda host: host == "192.0.2.1"
        return Handover(links, core, Mock(), Mock(), Mock(), Mock())

    def test_an_answer_belongs_to_who_asked(self):
        second = self.handover(1)
        self.assertEqual(0, second.owner(answer("z9hG4bKoffice.0.64af.7"), FLOW))
        self.assertEqual(1, second.owner(answer("z9hG4bKoffice.1.64af.7"), FLOW))
        self.assertEqual(2, second.owner(answer("z9hG4bKoffice.2.64af.ping.1.2"), FLOW))

    def test_an_answer_to_nobodys_question_stays(self):
        second = self.handover(1)
        for branch in ("z9hG4bKoffice.9.64af.7", "z9hG4bKother.0.1.7", "z9hG4bKoffice.0", "z9hG4bKoffice.x.1", "",
                       "z9hG4bKoffice.99999999999999999999.1", "z9hG4bKoffice.²..1"):
            with self.subTest(branch):
                self.assertEqual(1, second.owner(answer(branch), FLOW))

    def test_a_registration_is_for_whoever_got_it(self):
        self.assertEqual(1, self.handover(1).owner(b"REGISTER sip:pbx.test SIP/2.0\r\n\r\n", FLOW))

    def test_all_else_is_for_the_worker_with_the_calls(self):
        for worker in (0, 1, 2):
            self.assertEqual(0, self.handover(worker).owner(INVITE, FLOW))
            self.assertEqual(0, self.handover(worker).owner(b"\r\n\r\n" + INVITE, FLOW))
        for method in (b"ACK", b"BYE", b"CANCEL", b"SUBSCRIBE", b"MESSAGE", b"REFER", b"NOTIFY", b"PRACK"):
            self.assertEqual(0, self.handover(1).owner(method + b" sip:1002@pbx.test SIP/2.0\r\n\r\n", FLOW), method)

    def test_options_is_of_a_call_when_it_has_a_to_tag(self):
        asked = b"OPTIONS sip:pbx.test SIP/2.0\r\nFrom: <sip:1>;tag=a\r\nTo: <sip:2>%b\r\n\r\n"
        self.assertEqual(1, self.handover(1).owner(asked % b"", FLOW))
        self.assertEqual(0, self.handover(1).owner(asked % b";tag=office-0-12", FLOW))

    def test_phones_behind_a_proxy_of_ours_are_dealt_by_their_call_id(self):
        """All of them come from its one address and port."""
        proxy = FLOW._replace(remote=("192.0.2.1", 5060))
        asked = b"REGISTER sip:pbx.test SIP/2.0\r\nCall-ID: phone-%d@198.51.100.7\r\nCSeq: %d REGISTER\r\n\r\n"
        seen = set()
        for phone in range(50):
            owners = {self.handover(n).owner(asked % (phone, cseq), proxy) for n in range(3) for cseq in (1, 2)}
            self.assertEqual(1, len(owners))
            seen |= owners
        self.assertEqual({0, 1, 2}, seen)
        self.assertEqual(1, self.handover(1).owner(asked.replace(b"Call-ID", b"X") % (1, 1), proxy))
        over_tcp = proxy._replace(transport="TCP", connection="1.18c.1")
        self.assertEqual({1}, {self.handover(1).owner(asked % (phone, 1), over_tcp) for phone in range(9)})

    def test_noise_stays(self):
        for data in (b"", b"\r\n\r\n", b"\0\0", b"garbage", b"SIP/2.0 200 OK", b"SIP/2.0 " + b"z9hG4bK" * 9000,
                     b"SIP/2.0 200 OK\r\nVia: z9hG4bKoffice." + b"1" * 60_000):
            self.assertEqual(1, self.handover(1).owner(data, FLOW))

    def test_what_was_handed_over_is_not_handed_over_again(self):
        """It is given to the server, past the look at whose it is."""
        first = self.handover(0)
        first._links.read.return_value = [(Kind.PACKET, [*FLOW, int(Rank.STRANGER)], answer("z9hG4bKoffice.1.1.1"))]
        first.read()
        first._links.tell.assert_not_called()
        [((packets,), _)] = first._server.take_handed_over.call_args_list
        self.assertEqual([(answer("z9hG4bKoffice.1.1.1"), FLOW, Rank.STRANGER)], packets)

    def test_a_connection_of_nobody_is_nobodys(self):
        second = self.handover(1)
        for name in ("7.18c.1", "x.1", "", "ffffffff.1", "1.18c.1"):
            self.assertFalse(second.send_elsewhere(b"x", FLOW._replace(transport="TCP", connection=name)), name)


class LinkTests(unittest.TestCase):
    def links(self, workers: int = 2) -> list[Links]:
        channels = [make_channel() for _ in range(workers)]
        made = [
            Links(number, os.dup(channels[number][0].fileno()), [os.dup(outlet.fileno()) for _, outlet in channels])
            for number in range(workers)
        ]
        for inlet, outlet in channels:
            self.addCleanup(inlet.close)
            self.addCleanup(outlet.close)
        for one in made:
            self.addCleanup(one.close)
        return made

    def test_a_message_arrives_whole(self):
        first, second = self.links()
        self.assertTrue(first.tell(1, Kind.PACKET, [*FLOW, 3], b"a\r\n\0\xff\nb" + b"x" * 65_000))
        [message] = second.read()
        self.assertEqual(Kind.PACKET, message.kind)
        self.assertEqual(["UDP", ["127.0.0.1", 5060], ["198.51.100.7", 5062], "", 3], message.head)
        self.assertEqual(b"a\r\n\0\xff\nb" + b"x" * 65_000, message.data)
        self.assertEqual([], second.read())

    def test_a_message_of_another_version_is_passed_over(self):
        first, second = self.links()
        for nonsense in (b"?[]\n", b"p[", b"p\xff\n", b"x"):
            first._outlets[1].send(nonsense)
        first.tell(1, Kind.STOPPED)
        self.assertEqual([Kind.STOPPED], [message.kind for message in second.read()])
        self.assertEqual(4, second.misunderstood)

    def test_a_message_that_would_arrive_cut_off_is_not_sent(self):
        first, second = self.links()
        self.assertFalse(first.tell(1, Kind.PACKET, [*FLOW, 3], b"x" * LARGEST))
        self.assertEqual((1, []), (first.lost, second.read()))

    def test_all_others_are_told(self):
        first, second, third = self.links(3)
        second.tell_all(Kind.STOPPED)
        self.assertEqual([1, 0, 1], [len(one.read()) for one in (first, second, third)])

    def test_a_worker_that_does_not_read_stops_nobody(self):
        first, second = self.links()
        told = 0
        while first.tell(1, Kind.PACKET, [*FLOW, 3], b"x" * 1000):
            told += 1
            self.assertLess(told, 100_000)
        self.assertEqual(1, first.lost)
        self.assertGreater(told, 50)
        while second.read():
            pass
        self.assertTrue(first.tell(1, Kind.STOPPED))


class SharedSocketTests(unittest.TestCase):
    def test_the_kernel_deals_among_all_and_a_source_always_meets_the_same(self):
        opened = open_shared([("127.0.0.1", 0)], 3)
        self.addCleanup(lambda: close(pair for pairs in opened for pair in pairs))
        [port] = {udp.port for [(udp, _)] in opened} | {tcp.port for [(_, tcp)] in opened}
        met: list[set[int]] = []
        for _ in range(60):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
                for _ in range(3):
                    phone.sendto(b"x", ("127.0.0.1", port))
            met.append({worker for worker, [(udp, _)] in enumerate(opened) if udp.receive()[0]})
        self.assertEqual({1}, {len(workers) for workers in met})
        self.assertEqual({0, 1, 2}, set().union(*met))

    def test_a_port_that_somebody_has_is_refused(self):
        """Also one that is shared itself: it may be another PBX of ours."""
        for kind, transport in ((socket.SOCK_DGRAM, "UDP"), (socket.SOCK_STREAM, "TCP")):
            with socket.socket(socket.AF_INET, kind) as foreign:
                foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                foreign.bind(("127.0.0.1", 0))
                if kind == socket.SOCK_STREAM:
                    foreign.listen()
                with self.assertRaises(CannotListen) as refused:
                    open_shared([("127.0.0.1", foreign.getsockname()[1])], 2)
                self.assertEqual(transport, refused.exception.transport)

    def test_nothing_stays_open_when_one_address_is_taken(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as foreign:
            foreign.bind(("127.0.0.2", 0))
            port = foreign.getsockname()[1]
            with contextlib.suppress(CannotListen):
                open_shared([("127.0.0.1", port), ("127.0.0.2", port)], 2)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
                free.bind(("127.0.0.1", port))


class MembershipTests(unittest.TestCase):
    def test_it_is_taken_out_of_the_environment(self):
        self.assertIsNone(take_membership({}))
        environment = Membership(1, 2, 1, [("0.0.0.0", 5060)], [], 0, []).to_environment()
        with self.assertRaises(SystemExit):  # its parent is not ours, so that it has ended
            take_membership(environment)
        self.assertEqual({}, environment)


class SharedLogTests(unittest.TestCase):
    def test_lines_are_written_whole_in_pieces_that_do_not_mix(self):
        pieces: list[bytes] = []
        with tempfile.TemporaryFile() as file:
            log = SharedLog(file.fileno())
            self.addCleanup(log.close)
            real = os.write
            lines = b"".join(b"%05d %b\n" % (n, b"x" * (n % 300)) for n in range(400)) + b"y" * 9000 + b"\nz\n"
            with unittest.mock.patch("os.write", lambda fd, data: (pieces.append(bytes(data)), real(fd, data))[1]):
                log._write_out(lines)
        self.assertEqual(lines, b"".join(pieces))
        self.assertTrue(all(piece.endswith(b"\n") for piece in pieces))
        self.assertEqual([9001], [len(piece) for piece in pieces if len(piece) > 4096])


class RefusalTests(unittest.TestCase):
    tags = frozenset({"own-database"})

    def test_with_sqlite_the_check_and_the_command_name_the_remedy(self):
        store = SqliteStore()
        self.addCleanup(store.remove)
        store.fill()
        env = clean_environment(DATABASE_URL=store.url, VAR_DIR=str(scratch_directory("workers") / "var"))
        for arguments, more in ((("runsip", "--workers", "2"), {}), (("check",), {"SIP_WORKERS": "2"})):
            with self.assertRaises(AssertionError) as refused:
                manage(*arguments, env={**env, **more})
            self.assertIn("SIP_WORKERS=2 needs PostgreSQL", str(refused.exception))
            self.assertIn("movedatabase", str(refused.exception))
            self.assertNotIn("Traceback", str(refused.exception))


class ToldTests(unittest.TestCase):
    """What a worker says arrives where it matters."""

    def setUp(self) -> None:
        channels = [make_channel() for _ in range(2)]
        self.cores = [Mock(), Mock()]
        self.guards = [Guard(), Guard()]
        self.ends: list[Handover] = []
        for number in range(2):
            self.cores[number].settings.node = "office"
            outlets = [os.dup(outlet.fileno()) for _, outlet in channels]
            links = Links(number, os.dup(channels[number][0].fileno()), outlets)
            self.addCleanup(links.close)
            clock = Mock(now=lambda: 100.0, wall=lambda: 1000.0)
            self.ends.append(Handover(links, self.cores[number], Mock(), self.guards[number], clock, Mock()))
        for inlet, outlet in channels:
            self.addCleanup(inlet.close)
            self.addCleanup(outlet.close)

    def test_a_block_holds_everywhere(self):
        block = Block("198.51.100.7", "", "guessing", 1000.0, 2000.0, numbers=["1001"], spared={"1002"})
        self.ends[1].blocked([block])
        self.ends[0].read()
        held = self.guards[0].shuts_out("198.51.100.7", 1500.0) or self.guards[0].blocks.get("198.51.100.7", "")
        self.assertEqual(block, held)

    def test_hundreds_of_blocks_in_one_second_are_all_told(self):
        hosts = [f"198.51.{index >> 8}.{index & 255}" for index in range(600)]
        numbers = [f"{number}" for number in range(7000, 7020)]
        blocks = [Block(host, "", "guessing", 1000.0, 2000.0, numbers=numbers, user_agent="x" * 200) for host in hosts]
        self.ends[1].blocked(blocks)
        for _ in range(20):  # a wake-up reads so many
            self.ends[0].read()
        self.assertEqual(hosts, [host for host in hosts if self.guards[0].shuts_out(host, 1500.0)])
        self.assertEqual(0, self.ends[0]._links.misunderstood)

    def test_a_block_that_spares_thousands_is_told_with_all_of_them(self):
        """In any script, and with the longest that a stranger can make of the rest."""
        spared = {f"{'𝟙' * 28}{number}" for number in range(1000, 3000)}
        numbers = [f"{'𝟙' * 62}{number}" for number in range(10, 30)]
        block = Block("198.51.100.7", "", "guessing", 1000.0, 2000.0, numbers=numbers, spared=spared,
                      user_agent="𝟙" * 255)
        self.ends[1].blocked([block])
        self.ends[0].read()
        self.assertEqual(block, self.guards[0].blocks.get("198.51.100.7", ""))

    def test_failures_count_together_and_a_block_is_announced_once(self):
        for number in range(6):
            teller, other = self.ends[number % 2], self.guards[1 - number % 2]
            sender = Sender("198.51.100.7", f"100{number}", "call", 5062, "scanner")
            own = self.guards[number % 2]
            own.failed(sender, "wrong_password", 1000.0)
            teller.tried(sender, "wrong_password")
            self.ends[1 - number % 2].read()
            self.assertTrue(other.has_failures("198.51.100.7"))
        for guard in self.guards:  # the store has said that nobody is known good there
            guard.known(["198.51.100.7"], [], 1000.0)
            self.assertIsNotNone(guard.shuts_out("198.51.100.7", 1001.0))

    def test_who_hammers_at_all_workers_has_no_more_tries_than_at_one(self):
        now = 1000.0
        clock, authenticator = Mock(wall=lambda: now), Mock(source=lambda request, flow: flow.remote[0])
        doors = [Door(guard, authenticator, clock, Mock()) for guard in self.guards]
        for door, end in zip(doors, self.ends, strict=True):
            door.tell = end.tried
        request = parse_message(
            b"REGISTER sip:pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5062;branch=z9hG4bK1\r\n"
            b"From: <sip:1001@pbx.test>;tag=1\r\nTo: <sip:1001@pbx.test>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n"
            b"Content-Length: 0\r\n\r\n"
        )
        tries = 0
        while not any(door.bars(request, FLOW) for door in doors):
            door, other = doors[tries % 2], self.ends[1 - tries % 2]
            for guard in self.guards:
                guard.known(guard.questions.copy(), [], now)
            if not door.delay(request, FLOW):
                door.failed(request, FLOW, Cause.WRONG_PASSWORD)
            other.read()
            tries += 1
            now += 0.5
        self.assertEqual(GuardLimits().hammering, tries)
        self.assertTrue(all(door.bars(request, FLOW) for door in doors))
        self.assertEqual(1, sum(len(guard.made) for guard in self.guards))  # stored and said once

    def test_what_leads_to_no_block_is_not_told_again_and_again(self):
        """A switched-off number whose phone knows the password: each of its tries would cost all workers."""
        sender = Sender("198.51.100.7", "1001", "call", 5062)
        for _ in range(20):
            self.guards[0].failed(sender, "disabled", 1000.0)
        self.assertGreater(self.guards[0].delay(sender, 1001.0), 0.0)
        self.assertFalse(self.guards[0].hammers(sender, 1001.0))

    def test_a_success_is_told_too(self):
        sender = Sender("198.51.100.7", "1001", "call", 5062)
        for guard in self.guards:
            guard.failed(sender, "wrong_password", 1000.0)
        self.ends[0].tried(sender, "")
        self.ends[1].read()
        pairs = self.guards[1].failures.source("198.51.100.7").pairs
        self.assertNotIn("1001", pairs)

    def test_a_phone_that_has_moved_is_forgotten_by_who_asked_it_before_and_its_calls_follow(self):
        binding = Binding(
            7, "k", "<sip:1001@198.51.100.7:5064>", "", None, None, "", "UDP", "198.51.100.7", 5064, "127.0.0.1", 5060,
            "", "office", 1, "call", 1, "Phone", "nonce", 1, 10.0, 20.0, 3600.0, None, "pbx.test",
        )  # fmt: skip
        self.ends[1].moved(binding, ("198.51.100.7", 5062))
        self.ends[0].read()
        self.cores[0].keepalive.forget.assert_called_once_with(binding.id)
        self.cores[0].calls.moved.assert_called_once_with(binding, ("198.51.100.7", 5062))

    def test_a_phone_that_answers_no_call_is_told_to_who_asks_it(self):
        self.ends[0].unanswered(BindingId(7, "a"), 99.5)
        self.ends[1].read()
        for core in self.cores:
            core.unanswered.assert_called_once_with(BindingId(7, "a"), 99.5)

    def test_calls_that_have_stopped_are_waited_for_once_they_are_there_again(self):
        calls = self.cores[1].calls = CallsElsewhere(Mock(), Mock())
        self.ends[0].stopped()
        self.ends[1].read()
        asyncio.run(asyncio.wait_for(calls.stop(60.0), 5.0))  # at once: nothing comes any more
        self.ends[0].ready()
        self.ends[1].read()
        self.assertFalse(calls.stopped.is_set())

    def test_a_message_that_breaks_us_is_lost_alone(self):
        self.ends[0]._links.tell(1, Kind.MOVED, "nonsense")
        self.ends[0]._links.tell(1, Kind.PACKET, [])
        self.ends[0].unanswered(BindingId(7, "a"), 99.5)
        self.ends[1].read()
        self.cores[1].unanswered.assert_called_once()
        self.assertEqual(2, self.ends[1]._log.error.call_count)

    def test_what_was_lost_between_two_workers_is_said(self):
        self.ends[1]._links.lost = 3
        self.ends[1].every_second()
        self.ends[1].every_second()
        [((text,), _)] = self.ends[1]._log.warning.call_args_list
        self.assertIn("3 messages could not be handed to another worker", text)

    def test_what_another_worker_said_and_nobody_understood_is_said(self):
        self.ends[1]._links.misunderstood = 2
        self.ends[1].every_second()
        self.ends[1].every_second()
        [((text,), _)] = self.ends[1]._log.warning.call_args_list
        self.assertIn("2 messages of another worker were not understood", text)
