"""What one call may take of the ports that all calls share."""

from __future__ import annotations

import socket
import unittest

from sipcore.media.calls import MOST_PAIRS
from sipcore.media.ports import Ports, open_socket
from sipcore.media.relay import Relay
from sipcore.protocol.sdp import parse_sdp
from tests.media.engines import port_range


def description(media: int) -> bytes:
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
    lines += [f"m=audio {40_000 + 2 * number} RTP/AVP 0" for number in range(media)]
    return "".join(line + "\r\n" for line in lines).encode()


class SharedPortTests(unittest.TestCase):
    def test_nobody_else_can_be_bound_to_the_port_of_a_phone(self) -> None:
        port, _ = port_range()
        first = open_socket("127.0.0.1", port)
        second = open_socket("127.0.0.1", port, beside=first)
        second.connect(("127.0.0.1", 9))
        with first, second, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for address in ("127.0.0.1", "0.0.0.0"):
                with self.assertRaises(OSError):
                    stranger.bind((address, port))


class BudgetTests(unittest.TestCase):
    def setUp(self) -> None:
        first, _ = port_range()
        self.ports = Ports(first, first + 399)
        self.before = self.ports.idle
        self.relay = Relay(("127.0.0.1", 0), self.ports, {"IP4": "127.0.0.1"})
        self.addCleanup(self.relay.close)

    def ports_told(self, device: int, media: int) -> list[int]:
        message = {
            "call-id": b"one", "from-tag": b"caller", "via-branch": b"%d" % device, "sdp": description(media),
            "received-from": [b"IP4", b"127.0.0.1"],
        }  # fmt: skip
        reply = self.relay.calls.offer(message, 0.0)
        return [medium.port for medium in parse_sdp(reply["sdp"]).media]

    def test_a_call_of_many_media_to_many_devices_rings_at_all_of_them_with_sound(self) -> None:
        told = [self.ports_told(device, 8) for device in range(20)]
        self.assertTrue(all(ports[0] for ports in told))
        self.assertTrue(all(told[0]))
        self.assertEqual(told[-1][1:], [0] * 7)
        self.assertLessEqual(self.before - self.ports.idle, MOST_PAIRS + 8 + 20)

    def test_the_answer_of_a_device_that_was_offered_less_fits(self) -> None:
        for device in range(20):
            self.ports_told(device, 8)
        answer = description(8).replace(b"m=audio 40002", b"m=audio 0")
        message = {"call-id": b"one", "from-tag": b"caller", "to-tag": b"b", "via-branch": b"19", "sdp": answer}
        reply = self.relay.calls.answer(message)
        ports = [medium.port for medium in parse_sdp(reply["sdp"]).media]
        self.assertTrue(ports[0])
        self.assertEqual(ports[1:], [0] * 7)

    def test_what_an_ordinary_call_takes(self) -> None:
        for device in range(10):
            self.assertTrue(all(self.ports_told(device, 2)))
        self.assertEqual(self.before - self.ports.idle, 20)


if __name__ == "__main__":
    unittest.main()
