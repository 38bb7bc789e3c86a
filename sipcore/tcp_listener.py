"""Listening TCP sockets, and how many connections may come of them."""

from __future__ import annotations

import resource
import socket
from contextlib import suppress

from sipcore.streams import AT_ONCE
from sipcore.udp_socket import CannotListen, share_port

BACKLOG = 1024
KERNEL_BUFFER = 128 * 1024
"""Bytes the kernel may hold of one connection, each way."""

SPARE_FILES = 256
"""File descriptors left for the database, the log and the media."""

# Seconds: a phone that vanished without a word is found after two to three minutes, and home routers keep their entry.
KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 120, 15, 4
USER_TIMEOUT = 30_000  # milliseconds that sent bytes may stay unacknowledged


class TcpListener:
    """A listening socket. ``beside`` and ``file`` as for :class:`~sipcore.udp_socket.UdpSocket`."""

    def __init__(self, host: str, port: int, *, beside: bool = False, file: int | None = None) -> None:
        self.ipv6 = ":" in host
        family = socket.AF_INET6 if self.ipv6 else socket.AF_INET
        kind = socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self.socket = socket.socket(family, kind, fileno=file)
        if file is None:
            self._bind(host, port, beside)
        self.host, self.port = self.socket.getsockname()[:2]

    def _bind(self, host: str, port: int, beside: bool) -> None:
        try:
            # What is set here holds for every connection accepted from it.
            options = [
                (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                (socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER),
                (socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER),
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE),
                (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL),
                (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT),
                (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT),
            ]
            if self.ipv6:
                options.append((socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1))
            for level, name, value in options:
                self.socket.setsockopt(level, name, value)
            if beside:
                share_port(self.socket)
            self.socket.bind((host, port))
            self.socket.listen(BACKLOG)
        except OSError as error:
            self.socket.close()
            raise CannotListen("TCP", (host, port), error.errno or 0) from error


def connections_allowed() -> int:
    """How many connections there may be at once. Raises our limit of open files as far as that needs and the system
    allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = AT_ONCE + SPARE_FILES if hard == resource.RLIM_INFINITY else min(hard, AT_ONCE + SPARE_FILES)
    if soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return min(AT_ONCE, max(64, soft - SPARE_FILES))
