"""One UDP socket. An answer leaves by the address its request came to, also from a wildcard socket, because a NAT
drops what comes from elsewhere."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from sipcore.protocol.flow import Flow

LARGEST = 65_535
FLOWS = 8192
"""Whose datagrams came last: a phone sends several, and its flow is the same each time."""

RECEIVE_BUFFER = 8 * 1024 * 1024
"""Bytes the kernel may hold for us: a batch that takes long must not cost the phones their packets."""

IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)  # Python 3.11 lacks the constant; it is 8 on Linux
SO_RCVBUFFORCE = 33
_IPV4_INFO = struct.Struct("=i4s4s")
_IPV6_INFO = struct.Struct("=16si")
_ANCILLARY = socket.CMSG_SPACE(max(_IPV4_INFO.size, _IPV6_INFO.size))

Address = tuple[str, int]


class CannotListen(Exception):
    """``transport`` is "UDP" or "TCP", ``reason`` the errno; the command turns them into a sentence."""

    def __init__(self, transport: str, address: Address, reason: int) -> None:
        super().__init__(transport, address, reason)
        self.transport = transport
        self.address = address
        self.reason = reason


def share_port(opened: socket.socket) -> None:
    """Let other sockets of this user be bound beside it; the kernel deals what comes among all of them, by its
    source. Set after the bind of the first one, that one still finds a port that somebody else has taken."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


class UdpSocket:
    """One bound UDP socket. A wildcard one learns of each packet to which of our addresses it was sent.

    ``beside``: bind beside sockets that share this port already; ``file``: one that was bound by our parent."""

    def __init__(self, host: str, port: int, *, beside: bool = False, file: int | None = None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self.socket = socket.socket(family, kind, fileno=file)
        self._ipv6 = family == socket.AF_INET6
        self._wildcard = host in ("0.0.0.0", "::")
        self._addresses: dict[bytes, str] = {}
        self._flows: dict[tuple[bytes, tuple[str, int]], Flow] = {}
        self._sources: dict[str, list[tuple[int, int, bytes]]] = {}
        # Read here and copied at its own length: a packet that is kept for evidence would else keep apart two places
        # of LARGEST bytes, and no later packet fits between. Measured: a kilobyte a message, without end.
        self._buffer = bytearray(LARGEST)
        self._view = memoryview(self._buffer)
        if file is None:
            self._bind(host, port, beside)
        self.host, self.port = self.socket.getsockname()[:2]

    def _bind(self, host: str, port: int, beside: bool) -> None:
        try:
            if self._ipv6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                self.socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            self._enlarge_buffer()
            if beside:
                share_port(self.socket)
            self.socket.bind((host, port))
        except OSError as error:
            self.socket.close()
            raise CannotListen("UDP", (host, port), error.errno or 0) from error

    def _enlarge_buffer(self) -> None:
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except OSError:  # not root: what the system allows
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def receive(self) -> tuple[bytes, Flow] | None:
        """One datagram and the flow it came on, or None when there is no more now."""
        try:
            size, ancillary, _, peer = self.socket.recvmsg_into((self._buffer,), _ANCILLARY)
        except (BlockingIOError, InterruptedError):
            return None
        data = bytes(self._view[:size])
        info = ancillary[0][2] if ancillary else b""
        flow = self._flows.get((info, peer))
        if flow is None:
            flow = self._flow(ancillary, peer[0], peer[1])
            if len(self._flows) >= FLOWS:
                self._flows.clear()
            self._flows[info, peer] = flow
        return data, flow

    def _flow(self, ancillary: Iterable[tuple[int, int, bytes]], host: str, port: int) -> Flow:
        local = self.host
        for _level, kind, value in ancillary:
            if kind == IP_PKTINFO and not self._ipv6:
                local = self._name(value[8:12])
            elif kind == socket.IPV6_PKTINFO and self._ipv6:
                local = self._name(value[:16])
        return Flow("UDP", (local, self.port), (host, port))

    def send(self, data: bytes, flow: Flow) -> None:
        """Raises OSError, BlockingIOError when the kernel's buffer is full."""
        if not self._wildcard:
            self.socket.sendto(data, flow.remote)
            return
        source = self._sources.get(flow.local[0])
        if source is None:
            source = self._sources[flow.local[0]] = [self._source(flow.local[0])]
        self.socket.sendmsg((data,), source, 0, flow.remote)

    def _name(self, packed: bytes) -> str:
        name = self._addresses.get(packed)
        if name is None:
            name = socket.inet_ntop(self.socket.family, packed)
            self._addresses[packed] = name
        return name

    def _source(self, host: str) -> tuple[int, int, bytes]:
        packed = socket.inet_pton(self.socket.family, host)
        if self._ipv6:
            return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _IPV6_INFO.pack(packed, 0)
        return socket.IPPROTO_IP, IP_PKTINFO, _IPV4_INFO.pack(0, packed, b"\0\0\0\0")
