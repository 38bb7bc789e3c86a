"""A bad network in user space: a seeded relay between phones and the server that loses, doubles, reorders, delays and
damages datagrams.

    network = BadNetwork(loop, ("127.0.0.9", pbx.port), pbx.server, Weather(), seed=1)

Phones know ``("127.0.0.9", port)`` as their server. To the server each of them has an address of its own here, as
behind a router. The n-th datagram of a phone in one direction always meets the same fate, whatever the others do."""

from __future__ import annotations

import random
import socket
from collections import Counter
from dataclasses import dataclass

from tests.support.loop_thread import LoopThread

Address = tuple[str, int]
COPY = 0.1
"""Seconds after which a damaged copy follows. An answer to it that came before the answer to the whole one would be
taken for that: same branch, same method."""


@dataclass(frozen=True)
class Weather:
    """Shares of all datagrams, each direction by itself. Times in seconds."""

    loss: float = 0.15
    doubled: float = 0.10
    reordered: float = 0.15
    """Held back until others have overtaken them."""
    damaged_up: float = 0.0
    """Towards the server: a copy with one to eight bits changed follows, once what needs no thought has been answered
    (UDP's checksum would catch it, but not what a router has rewritten wrongly)."""
    delay: tuple[float, float] = (0.002, 0.03)
    held: tuple[float, float] = (0.1, 0.6)


class BadNetwork:
    """``fates`` counts what happened to the datagrams: "passed", "lost", "doubled", "reordered", "damaged"."""

    def __init__(self, loop: LoopThread, front: Address, server: Address, weather: Weather, seed: int) -> None:
        self.weather = weather
        self.fates: Counter[str] = Counter()
        self._loop, self._server, self._seed = loop, server, seed
        self._front = _bound(front)
        self._paths: dict[Address, _Path] = {}
        self._closed = False
        loop.get(lambda: loop.loop.add_reader(self._front, self._from_phones))

    def know(self, phone: Address) -> None:
        """Give a phone its number: fates depend on the order in which the phones are made known, or first speak."""
        self._loop.get(lambda: self._path(phone))

    def close(self) -> None:
        self._loop.get(self._close)

    def _close(self) -> None:
        self._closed = True
        for opened in (self._front, *(path.socket for path in self._paths.values())):
            self._loop.loop.remove_reader(opened)
            opened.close()

    def _path(self, phone: Address) -> _Path:
        path = self._paths.get(phone)
        if path is None:
            path = self._paths[phone] = _Path(phone, _bound(("127.0.0.1", 0)), self._seed, len(self._paths))
            path.socket.connect(self._server)
            self._loop.loop.add_reader(path.socket, self._from_server, path)
        return path

    def _from_phones(self) -> None:
        for _ in range(64):
            try:
                data, phone = self._front.recvfrom(65535)
            except OSError:
                return
            path = self._path(phone)
            self._carry(data, path, path.up, None)

    def _from_server(self, path: _Path) -> None:
        for _ in range(64):
            try:
                data = path.socket.recv(65535)
            except OSError:
                return
            self._carry(data, path, path.down, path.phone)

    def _carry(self, data: bytes, path: _Path, dice: random.Random, to: Address | None) -> None:
        weather = self.weather
        # All dice are thrown for each datagram, so that one fate does not move the fates of those after it.
        lost, doubled, held, damaged = (
            dice.random() < share
            for share in (weather.loss, weather.doubled, weather.reordered, weather.damaged_up if to is None else 0.0)
        )
        delays = [dice.uniform(*weather.delay) for _ in range(2)]
        holding = dice.uniform(*weather.held)
        bits = [dice.random() for _ in range(dice.randint(1, 8))]
        if lost:
            self.fates["lost"] += 1
            return
        self.fates["passed"] += 1
        self.fates["doubled"] += doubled
        self.fates["reordered"] += held
        self.fates["damaged"] += damaged
        if damaged:
            self._loop.loop.call_later(sum(delays) + COPY, self._send, _damage(data, bits), path, to)
        for number, delay in enumerate(delays[: 1 + doubled]):
            late = holding if held and not number else 0.0
            self._loop.loop.call_later(delay + late, self._send, data, path, to)

    def _send(self, data: bytes, path: _Path, to: Address | None) -> None:
        if self._closed:
            return
        try:
            if to is None:
                path.socket.send(data)
            else:
                self._front.sendto(data, to)
        except OSError:
            pass  # nobody there at the moment


class _Path:
    """One phone: how the server sees it, and its luck in both directions."""

    def __init__(self, phone: Address, opened: socket.socket, seed: int, number: int) -> None:
        self.phone, self.socket = phone, opened
        self.up = random.Random(f"{seed}/{number}/up")
        self.down = random.Random(f"{seed}/{number}/down")


def _bound(address: Address) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    opened.bind(address)
    return opened


def _damage(data: bytes, places: list[float]) -> bytes:
    changed = bytearray(data)
    for place in places:
        bit = int(place * len(changed) * 8)
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
