"""The SIP sockets: the only file of the engine that has any.

One ``add_reader`` a socket, which drains up to 64 datagrams a wake-up: six times cheaper than asyncio's own datagram
transport. An answer leaves by the address its request came to, also from a wildcard socket, because a NAT drops
what comes from elsewhere."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import struct
from collections.abc import Callable, Iterable

from sipcore.core import Core
from sipcore.log import SipLog
from sipcore.protocol.flow import Flow
from sipcore.store import Job

DRAIN = 64
LARGEST = 65_535
RECEIVE_BUFFER = 8 * 1024 * 1024
"""Bytes the kernel may hold for us: a batch that takes long must not cost the phones their packets."""

STOP_SECONDS = 4.0
IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)  # Python 3.11 lacks the constant; it is 8 on Linux
SO_RCVBUFFORCE = 33
_IPV4_INFO = struct.Struct("=i4s4s")
_IPV6_INFO = struct.Struct("=16si")
_ANCILLARY = socket.CMSG_SPACE(max(_IPV4_INFO.size, _IPV6_INFO.size))

Address = tuple[str, int]


class CannotListen(Exception):
    """``reason`` is the errno; the command turns it into a sentence."""

    def __init__(self, address: Address, reason: int) -> None:
        super().__init__(address, reason)
        self.address = address
        self.reason = reason


class UdpSocket:
    """One bound UDP socket. A wildcard one learns of each packet to which of our addresses it was sent."""

    def __init__(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._ipv6 = family == socket.AF_INET6
        self._wildcard = host in ("0.0.0.0", "::")
        self._addresses: dict[bytes, str] = {}
        self._sources: dict[str, list[tuple[int, int, bytes]]] = {}
        try:
            if self._ipv6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            else:
                self.socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            self._enlarge_buffer()
            self.socket.bind((host, port))
        except OSError as error:
            self.socket.close()
            raise CannotListen((host, port), error.errno or 0) from error
        self.host, self.port = self.socket.getsockname()[:2]

    def _enlarge_buffer(self) -> None:
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except OSError:  # not root: what the system allows
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def receive(self) -> tuple[bytes, Flow] | None:
        """One datagram and the flow it came on, or None when there is no more now."""
        try:
            data, ancillary, _, peer = self.socket.recvmsg(LARGEST, _ANCILLARY)
        except (BlockingIOError, InterruptedError):
            return None
        local = self.host
        for _level, kind, value in ancillary:
            if kind == IP_PKTINFO and not self._ipv6:
                local = self._name(value[8:12])
            elif kind == socket.IPV6_PKTINFO and self._ipv6:
                local = self._name(value[:16])
        return data, Flow("UDP", (local, self.port), (peer[0], peer[1]))

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


class Server:
    """Runs a :class:`Core` on its sockets until SIGTERM or SIGINT.

    ``every_second`` is called once a second with the monotonic time; ``ready`` once, when the sockets are open."""

    def __init__(
        self,
        core: Core,
        log: SipLog,
        every_second: Callable[[], None] = lambda: None,
        ready: Callable[[list[Address]], None] = lambda addresses: None,
    ) -> None:
        self._core = core
        self._log = log
        self._every_second = every_second
        self._ready = ready
        self._sockets: list[UdpSocket] = []
        self._by_local: dict[Address, UdpSocket] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def open(self, addresses: Iterable[Address]) -> None:
        """Bind. Raises :class:`CannotListen`; then nothing stays open."""
        try:
            for host, port in addresses:
                self._sockets.append(UdpSocket(host, port))
        except CannotListen:
            self.close()
            raise

    def close(self) -> None:
        for opened in self._sockets:
            opened.socket.close()
        self._sockets.clear()

    async def run(self) -> None:
        """Serve until a signal or :meth:`stop`; then answer what was accepted, at most ``STOP_SECONDS``."""
        loop = self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        for opened in self._sockets:
            loop.add_reader(opened.socket, self._drain, opened)
        second = loop.create_task(self._seconds())
        self._ready([(opened.host, opened.port) for opened in self._sockets])
        self._pump()
        await self._stop.wait()
        await self._finish(loop)
        second.cancel()
        for opened in self._sockets:
            loop.remove_reader(opened.socket)
        self.close()

    def stop(self) -> None:
        if self._stop is not None:
            self._stop.set()

    def completed(self, jobs: list[Job]) -> None:
        """The store's thread has decided these; called in that thread."""
        self.in_loop(lambda: self._complete(jobs))

    def in_loop(self, function: Callable[[], None]) -> None:
        """Run ``function`` in the loop's thread, soon. From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)

    def _complete(self, jobs: list[Job]) -> None:
        self._core.completed(jobs)
        self._pump()

    def _drain(self, opened: UdpSocket) -> None:
        for _ in range(DRAIN):
            try:
                received = opened.receive()
            except OSError as error:  # an ICMP error of an earlier packet
                self._log.debug(f"Receiving failed: {errno.errorcode.get(error.errno or 0, 'error')}")
                continue
            if received is None:
                break
            data, flow = received
            if flow.local not in self._by_local:
                self._by_local[flow.local] = opened
            self._core.receive(data, flow)
        self._pump()

    def _pump(self) -> None:
        """Send what there is to send, hand the log over, and set the timer anew: after every change."""
        for data, flow in self._core.datagrams_to_send():
            self._send(data, flow)
        self._log.flush()
        due = self._core.next_timeout()
        if due is not None and self._loop is not None:
            if self._timer is not None:
                if self._timer_at <= due and not self._timer.cancelled():
                    return
                self._timer.cancel()
            self._timer_at = due
            self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._core.tick()
        self._pump()

    def _send(self, data: bytes, flow: Flow) -> None:
        opened = self._by_local.get(flow.local) or self._socket_for(flow)
        is_response = data.startswith(b"SIP/2.0 ")
        host, port = flow.remote
        try:
            if opened is None:
                raise OSError(errno.EADDRNOTAVAIL, "no socket")
            opened.send(data, flow)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, type(error).__name__)
            self._log.warning(f"Message to {host}:{port} could not be sent: {name}")
            return
        if is_response:
            if self._core.may_say(flow):
                status = data[8 : data.index(b"\r\n")].decode("ascii", "replace")
                self._log.info(f"Response sent successfully to {host}:{port}: {status}")
        else:
            self._log.debug(f"Request sent to {host}:{port}")

    def _socket_for(self, flow: Flow) -> UdpSocket | None:
        """For a flow of before a restart: a socket of its family on its port."""
        ipv6 = ":" in flow.local[0]
        for opened in self._sockets:
            if (":" in opened.host) == ipv6 and opened.host in ("0.0.0.0", "::", flow.local[0]):
                return opened
        return None

    async def _seconds(self) -> None:
        while True:
            self._every_second()
            self._pump()
            await asyncio.sleep(1.0)

    async def _finish(self, loop: asyncio.AbstractEventLoop) -> None:
        self._core.drain()
        deadline = loop.time() + STOP_SECONDS
        while self._core.pending and loop.time() < deadline:  # noqa: ASYNC110 - a look every 20 ms, once in a life
            await asyncio.sleep(0.02)
        self._core.give_up_all()
        self._pump()
