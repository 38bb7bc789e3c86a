import contextlib
import random
import time
import unittest

from sipcore.media import ng
from sipcore.media.bencode import BencodeError, decode, encode


class BencodeTests(unittest.TestCase):
    def test_there_and_back(self) -> None:
        value = {"command": b"offer", "flags": [b"a", [], {}], "n": -42, "zero": 0, "": b"\xff"}
        self.assertEqual(decode(encode(value)), value)
        self.assertEqual(encode({"b": 1, "a": "x"}), b"d1:a1:x1:bi1ee")
        self.assertEqual(decode(b"d1:bi1e1:a1:xe"), {"a": b"x", "b": 1})  # rtpengine does not sort

    def test_what_is_refused(self) -> None:
        for data in (b"", b"i", b"ie", b"i-0e", b"i01e", b"i1", b"1:", b"2:a", b"01:a", b"-1:a", b"l", b"d", b"d1:ae",
                     b"di1ei2ee", b"d1:ai1e1:ai2ee", b"i1ei2e", b"x", b"l" * 40 + b"e" * 40, b"i" + b"9" * 30 + b"e",
                     b"999999:a", b"i\xd9\xa3e", b"d1:a", b"1" * 70_000, b"li1e"):  # fmt: skip
            with self.assertRaises(BencodeError, msg=data[:20]):
                decode(data)
        for value in (None, 1.0, True, {"a": None}):
            with self.assertRaises(BencodeError):
                encode(value)  # type: ignore[arg-type]

    def test_the_worst_datagram_is_read_in_time(self) -> None:
        for data in (b"l" + b"le" * 32_000 + b"e", b"l" + b"i0e" * 21_000 + b"e", b"l" + b"0:" * 32_000 + b"e"):
            start = time.process_time()
            decode(data)
            self.assertLess(time.process_time() - start, 0.2)

    def test_mutations_raise_nothing_else(self) -> None:
        chance = random.Random(1)
        good = ng.pack(b"1_1", {"command": "offer", "call-id": "x", "flags": ["a", "b"], "limit": 5})
        for _ in range(5000):
            data = bytearray(good)
            for _ in range(chance.randint(1, 5)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            with contextlib.suppress(ng.BadMessage):
                ng.unpack(bytes(data))

    def test_what_is_told_in_json_is_read_as_the_same(self) -> None:
        sdp = bytes(range(256))
        cookie, message = ng.unpack(ng.pack(b"1_1", {"sdp": sdp, "call-id": "a\x00\udc80", "n": 5}, as_json=True))
        self.assertEqual((cookie, ng.octets(message, "sdp"), message["n"]), (b"1_1", sdp, 5))
        self.assertEqual(ng.text(message, "call-id"), "a\x00\udc80")
        self.assertIsNone(ng.octets({"sdp": "\ud800"}, "sdp"))

    def test_json_that_is_refused(self) -> None:
        for text in (b"{", b"{}x", b'{"a":}', b'{"a":"\xff"}', b'{"a":' * 9000, b'{"a":%b}' % (b"[" * 60_000),
                     b'{"a":%b}' % (b"9" * 5000), b"{'a':1}", b'{"a":"\n"}'):  # fmt: skip
            with self.assertRaises(ng.BadMessage, msg=text[:20]):
                ng.unpack(b"1_1 " + text)

    def test_mutations_of_json_raise_nothing_else(self) -> None:
        chance = random.Random(2)
        good = ng.pack(b"1_1", {"command": "offer", "call-id": "x", "flags": ["a", "b"], "limit": 5}, as_json=True)
        for _ in range(5000):
            data = bytearray(good)
            for _ in range(chance.randint(1, 5)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            with contextlib.suppress(ng.BadMessage):
                _, message = ng.unpack(bytes(data))
                ng.text(message, "command"), ng.words(message, "flags"), ng.octets(message, "call-id")

    def test_addresses_of_engines(self) -> None:
        for url in ("udp:127.0.0.1:2223", "udp://127.0.0.1:2223", "127.0.0.1:2223"):
            self.assertEqual(ng.parse_url(url), ("127.0.0.1", 2223))
        self.assertEqual(ng.parse_url("udp:[::1]:2223"), ("::1", 2223))
        for url in ("", "127.0.0.1", "udp:host:", "host:0", "host:x", "host:99999", ":2223"):
            with self.assertRaises(ValueError):
                ng.parse_url(url)
