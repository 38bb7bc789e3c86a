"""Pairs of ports: an even one for RTP and the next for RTCP (RFC 3550 11), and their rest before they serve again."""

from __future__ import annotations

import ipaddress
import random
import socket
from collections import deque
from functools import lru_cache

from .errors import MediaRefused
from .ng import EXPEDITED

QUARANTINE = 10.0
"""Seconds a freed pair rests: packets of the ended call must not sound in the next one."""

RECEIVE_BUFFER = 256 * 1024  # bytes; more than a second of G.711, and some frames of video
TRIES = 50

LEAST_PORTS = 8
"""Ports a relay process has at least: two calls with sound, or one with video."""

SockAddress = tuple[str, int] | tuple[str, int, int, int]


def port_range(text: str, workers: int) -> tuple[int, int]:
    """``first-last``, both included, from 1024 to 65535 and with ``LEAST_PORTS`` for each of ``workers`` (at least 1).

    Raises ValueError."""
    first, _hyphen, last = text.partition("-")
    if first.isascii() and first.isdigit() and last.isascii() and last.isdigit():
        low, high = int(first[:6]), int(last[:6])
        if low >= 1024 and high <= 65535 and high - low + 1 >= LEAST_PORTS * max(1, workers):
            return low, high
    raise ValueError("not a range of ports: first-last is wanted")


class NoPorts(MediaRefused):
    """All pairs are in use or resting."""

    def __init__(self) -> None:
        super().__init__("Ran out of ports")


class Ports:
    """The pairs in ``first``..``last``. They are given out in the order in which they were freed, at first at random,
    so that nobody can guess the next one."""

    def __init__(self, first: int, last: int, *, quarantine: float = QUARANTINE) -> None:
        even = list(range(first + first % 2, last, 2))
        random.SystemRandom().shuffle(even)
        self._waiting = deque((port, float("-inf")) for port in even)
        self._quarantine = quarantine

    def open(self, address: str, now: float) -> tuple[socket.socket, socket.socket, int]:
        """Two bound sockets and the even port. Raises NoPorts."""
        for _ in range(min(TRIES, len(self._waiting))):
            port, freed = self._waiting[0]
            if now - freed < self._quarantine:
                break
            self._waiting.popleft()
            try:
                rtp = open_socket(address, port)
                try:
                    return rtp, open_socket(address, port + 1), port
                except OSError:
                    rtp.close()
            except OSError:
                pass
            self._waiting.append((port, now))  # another program has it
        raise NoPorts

    def free(self, port: int, now: float) -> None:
        self._waiting.append((port, now))

    @property
    def idle(self) -> int:
        """Pairs not in use, resting ones among them."""
        return len(self._waiting)


def open_socket(address: str, port: int, *, beside: socket.socket | None = None) -> socket.socket:
    """A non-blocking UDP socket with the mark of voice. Raises OSError.

    ``beside``: share the port of that socket, for the moment of binding, to be connected at once: the kernel then
    gives it what its peer sends, and the other socket all the rest."""
    ipv6 = ":" in address
    opened = socket.socket(
        socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    )
    try:
        if ipv6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, EXPEDITED)
        else:
            opened.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, EXPEDITED)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sharing = [opened, beside] if beside is not None else []
        for one in sharing:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((address, port))
        finally:
            for one in sharing[1:]:  # that it is no longer shared by one of them is enough to keep out any third
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError:
        opened.close()
        raise
    return opened


def bind_address(advertised: str) -> str:
    """The address to bind for what we advertise: itself where it is this machine's (then answers leave from it, and a
    NAT lets them in), else any (a router before us translates)."""
    wildcard = "::" if ":" in advertised else "0.0.0.0"
    try:
        with socket.socket(socket.AF_INET6 if ":" in advertised else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((advertised, 0))
    except OSError:
        return wildcard
    return advertised


def plain_address(text: str) -> str:
    """The address as the kernel writes it, IPv4 also where it comes wrapped into IPv6. Raises ValueError."""
    return _known(text) if len(text) <= 64 else _written(text)


def _written(text: str) -> str:
    address = ipaddress.ip_address(text.strip().removeprefix("[").removesuffix("]").partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


_known = lru_cache(maxsize=4096)(_written)  # only addresses get in: what raises is not kept
