"""The floor of the relay benchmark: the shortest loop that moves a datagram from one socket to another.

    python -m tests.bench.udp_floor ADDRESS A>PHONE_A:B>PHONE_B ...

Each further argument is a call at ADDRESS: port A faces the phone on PHONE_A, port B the phone on PHONE_B. No figures,
no checks."""

from __future__ import annotations

import select
import socket
import sys


def connected(address: str, word: str) -> socket.socket:
    local, remote = (int(part) for part in word.split(">"))
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    opened.bind((address, local))
    opened.connect((address, remote))
    return opened


def main() -> None:
    poll = select.epoll()
    ways = {}
    kept = []
    for word in sys.argv[2:]:
        one, other = (connected(sys.argv[1], part) for part in word.split(":"))
        kept += [one, other]
        ways[one.fileno()] = (one.recv, other.send)
        ways[other.fileno()] = (other.recv, one.send)
        poll.register(one, select.EPOLLIN)
        poll.register(other, select.EPOLLIN)
    print("ready", flush=True)
    while True:
        for number, _ in poll.poll(-1, 512):
            receive, send = ways[number]
            try:  # noqa: SIM105 - the price of a with block is not the floor's
                send(receive(2048))
            except OSError:
                pass  # the phone is not there yet


if __name__ == "__main__":
    main()
