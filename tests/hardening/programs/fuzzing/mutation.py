"""Spoils messages, seeded: the same random numbers spoil the same messages alike."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from tests.hardening.fuzz.seeds import NASTY

LARGEST = 65_507
"""Bytes of one datagram over IPv4, at the most."""

MILD = [bytes((code,)) for code in b'aZ09.-_:;=?&@%, "<>\t']
NUMBER = re.compile(rb"\d+")
NUMBERS = [
    b"0", b"-1", b"00000000000000000001", b"255", b"256", b"65536", b"2147483647", b"2147483648", b"4294967295",
    b"4294967296", b"18446744073709551616", b"9" * 400, b"9" * 5000, b"1e9", b"0x10", "٣".encode(), b"",
]  # fmt: skip
METHODS = [
    b"REGISTER", b"INVITE", b"ACK", b"BYE", b"CANCEL", b"OPTIONS", b"SUBSCRIBE", b"NOTIFY", b"REFER", b"MESSAGE",
    b"INFO", b"UPDATE", b"PRACK", b"PUBLISH", b"FLY", b"register", b"A" * 70,
]  # fmt: skip


class Mutator:
    """``others``: what a message may be joined with; ``times``: how often one is spoiled. Less reaches deeper."""

    def __init__(
        self, chance: random.Random, others: Sequence[bytes], times: Sequence[int] = (1, 1, 1, 2, 2, 3, 5)
    ) -> None:
        self._chance, self._others, self._times = chance, others, times
        self._ways: list[Callable[[bytes], bytes]] = [
            self._touch, self._touch, self._touch, self._touch, self._insert, self._insert, self._insert, self._flip,
            self._cut, self._double, self._number, self._number, self._header, self._header, self._header, self._method,
            self._splice, self._truncate,
        ]  # fmt: skip

    def __call__(self, data: bytes) -> bytes:
        for _ in range(self._chance.choice(self._times)):
            data = self._chance.choice(self._ways)(data)
        return data[:LARGEST]

    def _at(self, data: bytes) -> int:
        return self._chance.randrange(len(data) + 1)

    def _touch(self, data: bytes) -> bytes:
        at = self._at(data)
        return data[:at] + self._chance.choice(MILD) + data[at + self._chance.randrange(2) :]

    def _insert(self, data: bytes) -> bytes:
        at, piece = self._at(data), self._chance.choice(NASTY)
        times = self._chance.choice((1,) * 20 + (2, 40, 3000))
        piece *= min(times, 1 + 30_000 // (len(piece) or 1))
        return data[:at] + piece + data[at + self._chance.choice((0, 0, 1, 7, 60)) :]

    def _flip(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self._chance.choice((1, 1, 4))):
            if changed:
                changed[self._chance.randrange(len(changed))] ^= 1 << self._chance.randrange(8)
        return bytes(changed)

    def _cut(self, data: bytes) -> bytes:
        at = self._at(data)
        return data[:at] + data[at + self._chance.choice((1, 5, 20, 200)) :]

    def _double(self, data: bytes) -> bytes:
        at = self._at(data)
        end = at + self._chance.choice((1, 5, 20, 200))
        return data[:end] + data[at:end] * self._chance.choice((1, 1, 1, 1, 20)) + data[end:]

    def _number(self, data: bytes) -> bytes:
        found = list(NUMBER.finditer(data))
        if not found:
            return data
        one = self._chance.choice(found)
        return data[: one.start()] + self._chance.choice(NUMBERS) + data[one.end() :]

    def _header(self, data: bytes) -> bytes:
        """One line goes, comes twice or two hundred times, or changes its place; or its end is another one."""
        head, blank, body = data.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        if len(lines) < 3:
            return data
        place = self._chance.randrange(1, len(lines))
        match self._chance.randrange(5):
            case 0:
                del lines[place]
            case 1:
                lines[place:place] = [lines[place]] * self._chance.choice((1, 1, 1, 1, 9, 200))
            case 2:
                lines.insert(self._chance.randrange(1, len(lines)), lines.pop(place))
            case 3:
                name, colon, value = lines[place].partition(b":")
                lines[place] = name + colon + value + self._chance.choice((b",", b", ", b";", b"\r\n ")) + value.strip()
            case 4:
                lines[place] = lines[place].partition(b":")[0] + b":"
        return b"\r\n".join(lines) + blank + body

    def _method(self, data: bytes) -> bytes:
        old, new = data.partition(b" ")[0], self._chance.choice(METHODS)
        return data.replace(old, new, self._chance.choice((1, 2))) if 0 < len(old) < 80 else data

    def _splice(self, data: bytes) -> bytes:
        other = self._chance.choice(self._others)
        return data[: self._at(data)] + other[self._at(other) :]

    def _truncate(self, data: bytes) -> bytes:
        return data[: self._at(data)]
