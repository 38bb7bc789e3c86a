"""One UDP socket. An answer leaves by the address its request came to, also from a wildcard socket, because a NAT
drops what comes from elsewhere."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

from sipcore.datagrams import AT_ONCE, CONTROL, PLACE, Receiver, Sender
from sipcore.protocol.flow import Flow

FLOWS = 8192
"""Whose datagrams came last, and to whom the last ones went: a phone's are the same each time."""

RECEIVE_BUFFER = 8 * 1024 * 1024
"""Bytes the kernel may hold for us: a batch that takes long must not cost the phones their packets."""

IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)  # Python 3.11 lacks the constant; it is 8 on Linux
SO_RCVBUFFORCE = 33
_IPV4_INFO = struct.Struct("=i4s4s")
_IPV6_INFO = struct.Struct("=16si")
_IPV4_NAME = struct.Struct("=H2s4s8x")
_IPV6_NAME = struct.Struct("=H2s4x16s4x")
_INFO = CONTROL + socket.CMSG_LEN(0)
_CONTROL_HEADER = struct.Struct("@Nii")

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
        self._flows: dict[bytes, Flow] = {}
        self._whom: dict[tuple[str, tuple[str, int]], bytes] = {}
        self._receiver = Receiver(self.socket.fileno())
        name, info = (_IPV6_NAME, _IPV6_INFO) if self._ipv6 else (_IPV4_NAME, _IPV4_INFO)
        control = socket.CMSG_SPACE(info.size) if self._wildcard else 0
        self._sender = Sender(self.socket.fileno(), name.size, control)
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

    def receive(self) -> tuple[list[tuple[bytes, Flow]], bool]:
        """Datagrams that wait, each with the flow it came on, and whether more of them may wait. Raises OSError for
        an ICMP error of an earlier one."""
        arrived = self._receiver.receive()
        flows = self._flows
        return [(data, flows.get(who) or self._flow(who)) for data, who in arrived], len(arrived) == AT_ONCE

    def send(self, datagrams: Sequence[tuple[bytes, Flow]]) -> int:
        """How many of these the kernel has taken, from the first one on. Raises OSError when not even the first:
        BlockingIOError when the kernel's buffer is full."""
        whom = self._whom
        return self._sender.send(
            [(data, whom.get((flow.local[0], flow.remote)) or self._name(flow)) for data, flow in datagrams[:AT_ONCE]]
        )

    def _flow(self, who: bytes) -> Flow:
        packed, kind = (who[8:24], socket.IPV6_PKTINFO) if self._ipv6 else (who[4:8], IP_PKTINFO)
        peer = socket.inet_ntop(self.socket.family, packed), int.from_bytes(who[2:4], "big")
        local = self.host
        if _CONTROL_HEADER.unpack_from(who, CONTROL)[2] == kind:
            ours = who[_INFO : _INFO + 16] if self._ipv6 else who[_INFO + 8 : _INFO + 12]
            local = socket.inet_ntop(self.socket.family, ours)
        if len(self._flows) >= FLOWS:
            self._flows.clear()
        flow = self._flows[who] = Flow("UDP", (local, self.port), peer)
        return flow

    def _name(self, flow: Flow) -> bytes:
        """Whom to send to, and from which of our addresses if it is for us to say, as the kernel reads it. Raises
        OSError for what is no address of this family."""
        (host, port), ours, family = flow.remote, flow.local[0], self.socket.family
        packed = socket.inet_pton(family, host)
        name = (_IPV6_NAME if self._ipv6 else _IPV4_NAME).pack(family, port.to_bytes(2, "big"), packed)
        control = b""
        if self._wildcard:
            source = socket.inet_pton(family, ours)
            if self._ipv6:
                level, kind, info = socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _IPV6_INFO.pack(source, 0)
            else:
                level, kind, info = socket.IPPROTO_IP, IP_PKTINFO, _IPV4_INFO.pack(0, source, b"\0\0\0\0")
            control = _CONTROL_HEADER.pack(socket.CMSG_LEN(len(info)), level, kind)
            control = control.ljust(socket.CMSG_LEN(0), b"\0") + info
        if len(self._whom) >= FLOWS:
            self._whom.clear()
        whom = self._whom[ours, flow.remote] = (name.ljust(CONTROL, b"\0") + control).ljust(PLACE, b"\0")
        return whom
