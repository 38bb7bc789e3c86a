"""Sound goes through, on our relay and on rtpengine."""

import socket
import struct
import time

from sipcore.media.errors import MediaRefused
from sipcore.protocol.sdp import parse_sdp
from tests.media.engines import EngineCase, OnOurRelay, OnRtpEngine
from tests.media.phones import deaf, empty, hears, packets, place, rtp
from tests.support.processes import wait_until


class RelayingTests:
    def test_two_phones_hear_each_other(self: EngineCase) -> None:
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        self.join(one, two)
        self.assertEqual((one.relay[1] % 2, two.relay[1] % 2), (0, 0))
        hears(two.rtp, one)
        hears(one.rtp, two)
        one.say(20, pause=0.002)
        self.assertGreaterEqual(len(packets(two.rtp, 0.3)), 20)

    def test_reports_go_beside_the_sound(self: EngineCase) -> None:
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        self.join(one, two)
        hears(two.rtp, one)
        hears(one.rtp, two)
        for speaker, listener in ((one, two), (two, one)):
            wait_until(lambda s=speaker, n=listener: s.report() or packets(n.rtcp, 0.05), "a report", 5)

    def test_a_packet_of_any_size_arrives_as_it_was_sent(self: EngineCase) -> None:
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        self.join(one, two)
        hears(two.rtp, one)
        hears(one.rtp, two)
        empty(two.rtp)
        for size in (12, 13, 1500, 2047, 2048, 2049, 4000):
            one.sequence += 1
            sent = rtp(one.sequence, one.ssrc)[:12] + bytes(number % 251 for number in range(size - 12))
            one.rtp.sendto(sent, one.relay)
            wait_until(lambda sent=sent: sent in packets(two.rtp, 0.05), f"a packet of {size} bytes")

    def test_a_phone_with_ipv6_and_one_with_ipv4(self: EngineCase) -> None:
        one, two = self.phone("127.0.0.2", 11), self.phone("::1", 22)
        self.join(one, two)
        self.assertEqual((one.relay[0], two.relay[0]), ("127.0.0.1", "::1"))
        hears(two.rtp, one)
        hears(one.rtp, two)

    def test_a_phone_behind_a_router_is_heard_and_hears(self: EngineCase) -> None:
        one, two = self.phone("127.0.0.2", 11, named="192.168.77.50"), self.phone("127.0.0.3", 22)
        self.join(one, two)
        hears(two.rtp, one)
        hears(one.rtp, two)

    def test_a_later_offer_keeps_the_ports(self: EngineCase) -> None:
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        self.join(one, two)
        hears(two.rtp, one)
        hears(one.rtp, two)
        before = one.relay, two.relay
        self.offer(one, two, branch="z9hG4bK-2", to_tag="callee")
        self.answer(one, two, branch="z9hG4bK-2")
        self.assertEqual((one.relay, two.relay), before)
        self.offer(two, one, branch="z9hG4bK-3", from_tag="callee", to_tag="caller")  # by the other party
        self.answer(two, one, branch="z9hG4bK-3", from_tag="callee", to_tag="caller")
        self.assertEqual((one.relay, two.relay), before)
        hears(two.rtp, one)
        hears(one.rtp, two)

    def test_two_devices_ring_and_the_loser_goes(self: EngineCase) -> None:
        one, two, three = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22), self.phone("127.0.0.4", 33)
        self.offer(one, two, branch="z9hG4bK-a")
        self.offer(one, three, branch="z9hG4bK-b")
        self.assertNotEqual(two.relay, three.relay)
        self.answer(one, three, branch="z9hG4bK-b", to_tag="device-b")
        self.wait(self.pool.delete(self.call_id, "caller", via_branch="z9hG4bK-a"))
        hears(three.rtp, one)
        hears(one.rtp, three)
        empty(one.rtp, three.rtp)
        for _ in range(5):
            two.say()
            one.say()
        self.assertTrue(deaf([two.rtp]))
        self.assertFalse(any(packet[8:12] == struct.pack("!I", two.ssrc) for packet in packets(one.rtp, 0.3)))
        before = one.relay, three.relay
        self.offer(one, three, branch="z9hG4bK-c", to_tag="device-b")
        self.answer(one, three, branch="z9hG4bK-c", to_tag="device-b")
        hears(three.rtp, one)
        hears(one.rtp, three)
        if self.ours:
            self.assertEqual((one.relay, three.relay), before)

    def test_hold_and_resume(self: EngineCase) -> None:
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        self.join(one, two)
        hears(two.rtp, one)
        hears(one.rtp, two)
        sent = self.offer(one, two, branch="h", to_tag="callee", sdp=one.describe(direction="sendonly"))
        self.assertIn(b"a=sendonly", sent)
        sent = self.answer(one, two, branch="h", sdp=two.describe(direction="recvonly"))
        self.assertIn(b"a=recvonly", sent)
        hears(two.rtp, one)  # music on hold
        if self.ours:
            empty(one.rtp)
            two.say(5)
            self.assertTrue(deaf([one.rtp]))
        self.offer(one, two, branch="r", to_tag="callee")
        self.answer(one, two, branch="r")
        hears(two.rtp, one)
        hears(one.rtp, two)

    def test_hold_of_an_old_phone(self: EngineCase) -> None:
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        self.join(one, two)
        hears(two.rtp, one)
        hears(one.rtp, two)
        sent = self.offer(one, two, branch="h", to_tag="callee", sdp=one.describe(address="0.0.0.0"))
        self.assertEqual(place(sent)[0], "0.0.0.0")
        self.answer(one, two, branch="h")
        if self.ours:
            empty(one.rtp)
            two.say(5)
            self.assertTrue(deaf([one.rtp]))
        self.offer(one, two, branch="r", to_tag="callee")
        self.answer(one, two, branch="r")
        hears(two.rtp, one)
        hears(one.rtp, two)

    def test_a_phone_that_says_another_address(self: EngineCase) -> None:
        """From Wi-Fi to mobile data: the re-INVITE comes from another address."""
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        self.join(one, two)
        hears(two.rtp, one)
        hears(one.rtp, two)
        moved = self.phone("127.0.0.9", 44)
        self.offer(moved, two, branch="m", to_tag="callee")
        self.answer(moved, two, branch="m")
        hears(two.rtp, moved)
        hears(moved.rtp, two)

    def test_keys_pass_and_no_other_is_added(self: EngineCase) -> None:
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        keys = [f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{letter * 40}" for letter in ("A", "B")]
        told = self.offer(one, two, sdp=one.describe(keys[0]).replace(b"RTP/AVP", b"RTP/SAVP"))
        self.assertEqual([line for line in told.decode().splitlines() if "crypto" in line], keys[:1])
        self.assertNotIn(b"fingerprint", told)
        told = self.answer(one, two, sdp=two.describe(keys[1]).replace(b"RTP/AVP", b"RTP/SAVP"))
        self.assertEqual([line for line in told.decode().splitlines() if "crypto" in line], keys[1:])
        self.assertIn(b"RTP/SAVP", told)

    def test_echo(self: EngineCase) -> None:
        one = self.phone("127.0.0.2", 11, named="192.168.77.50")
        offered = one.describe()
        path_answer = self.wait(self.pool.echo(self.call_id, "caller", "echo", offered, path=self.path(one)))
        one.told(path_answer)
        self.assertEqual(parse_sdp(path_answer).media[0].formats, ["8", "101"])

        def heard_itself() -> bool:
            one.say()
            return any(len(packet) == 172 for packet in packets(one.rtp, 0.05))

        wait_until(heard_itself, "its own packets", 8)

    def test_packets_have_the_mark_of_voice(self: EngineCase) -> None:
        for ip, level, receive, kind in (
            ("127.0.0.3", socket.IPPROTO_IP, 13, socket.IP_TOS),  # IP_RECVTOS, which Python 3.11 does not name
            ("::1", socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, socket.IPV6_TCLASS),
        ):
            one, two = self.phone("127.0.0.2", 11), self.phone(ip, 22)
            two.rtp.setsockopt(level, receive, 1)
            self.join(one, two)
            hears(two.rtp, one)
            one.say()
            _, ancillary, _, _ = two.rtp.recvmsg(2048, 64)
            self.assertEqual([value[0] for _, what, value in ancillary if what == kind], [0xB8])
            self.wait(self.pool.delete(self.call_id))

    def test_figures(self: EngineCase) -> None:
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        self.join(one, two)
        one.say(50)
        figures = wait_until(
            lambda: (f := self.wait(self.pool.query(self.call_id))).packets("caller") == 50 and f, "50"
        )
        self.assertEqual((figures.packets("callee"), figures.of("caller")[0].rtp.bytes), (0, 50 * 172))
        self.assertEqual(figures.of("caller")[0].kind, "audio")
        self.assertLess(figures.silent_for(time.time(), "caller"), 5)
        self.assertLess(abs(time.time() - figures.created), 5)
        self.assertIsNone(figures.last_packet("callee"))
        last = self.wait(self.pool.delete(self.call_id, "caller"))
        self.assertEqual(last.packets("caller"), 50)

    def test_after_the_end_nothing_passes(self: EngineCase) -> None:
        one, two = self.phone("127.0.0.2", 11), self.phone("127.0.0.3", 22)
        self.join(one, two)
        hears(two.rtp, one)
        url = self.pool.member_of(self.call_id)
        self.assertIn(self.call_id, self.wait(self.pool.calls_of(url)))
        self.wait(self.pool.delete(self.call_id))
        self.assertNotIn(self.call_id, self.wait(self.pool.calls_of(url)))
        empty(two.rtp)
        for _ in range(3):
            one.rtp.sendto(rtp(1, 11), one.relay)
        self.assertTrue(deaf([two.rtp]))
        with self.assertRaises(MediaRefused):
            self.wait(self.pool.query(self.call_id))

    def test_what_is_no_description_is_refused(self: EngineCase) -> None:
        one = self.phone("127.0.0.2", 11)
        with self.assertRaises(MediaRefused):
            self.wait(self.pool.offer(self.call_id, "caller", b"hello", path=self.path(one)))
        with self.assertRaises(MediaRefused):
            self.wait(self.pool.answer("never offered", "caller", "callee", one.describe()))
        self.assertIsNone(self.pool.member_of(self.call_id))


class OnRelay(RelayingTests, OnOurRelay):
    pass


class OnEngine(RelayingTests, OnRtpEngine):
    pass
