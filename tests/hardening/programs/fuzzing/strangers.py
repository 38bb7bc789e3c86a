"""Spoiled messages of strangers, by UDP from many addresses and as streams of TCP."""

from __future__ import annotations

import contextlib
import random
import socket

from tests.hardening.fuzz.engine import IN_A_CALL
from tests.hardening.fuzz.seeds import MESSAGES
from tests.hardening.programs.answers import Answers
from tests.hardening.programs.fuzzing.mutation import Mutator

Address = tuple[str, int]


def with_via(data: bytes, address: Address, number: int) -> bytes:
    """With a Via on top that leads back to the sender; many phones in the torture messages live elsewhere."""
    start, _, rest = data.lstrip(b"\r\n").partition(b"\r\n")
    if start.startswith(b"SIP/2.0"):
        return data
    via = f"Via: SIP/2.0/UDP {address[0]}:{address[1]};rport;branch=z9hG4bKfuzz{number}".encode()
    return start + b"\r\n" + via + b"\r\n" + rest


class Strangers:
    def __init__(self, server: Address, hosts: list[str], chance: random.Random) -> None:
        self._server, self._chance = server, chance
        self.seeds = [*MESSAGES, *IN_A_CALL]
        self._mutate = Mutator(chance, self.seeds)
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in hosts]
        for opened, host in zip(self._sockets, hosts, strict=True):
            opened.bind((host, 0))
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # nobody reads it: see Answers
        self._count = 0

    def close(self) -> None:
        for opened in self._sockets:
            opened.close()

    def send(self) -> int:
        """One message; its bytes."""
        self._count += 1
        sender = self._chance.choice(self._sockets)
        data = self._chance.choice(self.seeds)
        if self._chance.random() < 0.5:
            data = with_via(data, sender.getsockname(), self._count)
        data = self._mutate(data)
        sender.sendto(data, self._server)
        return len(data)

    def stream(self, count: int, answers: Answers) -> None:
        """So many messages, one behind the other, on one connection, in pieces that are cut anywhere."""
        self._count += count
        data = b"".join(self._mutate(self._chance.choice(self.seeds)) for _ in range(count))
        host = self._chance.choice(self._sockets).getsockname()[0]
        got = b""
        with contextlib.suppress(OSError):  # it closes what it cannot read
            stream = socket.create_connection(self._server, 5, source_address=(host, 0))
            with contextlib.closing(stream):
                while data:
                    piece = self._chance.choice((1, 10, 300, 5000, 100_000))
                    stream.sendall(data[:piece])
                    data = data[piece:]
                stream.shutdown(socket.SHUT_WR)
                stream.settimeout(5)
                while chunk := stream.recv(65536):
                    got += chunk
        for start in got.split(b"SIP/2.0 ")[1:]:
            answers.take(b"SIP/2.0 " + start)
