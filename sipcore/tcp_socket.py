"""The TCP connections that phones have opened. We never open one ourselves: a phone is reached over the connection
it registered on, and what a message says about addresses leads nowhere (hardening rule 24).

Plain non-blocking sockets on the loop's own readers and writers, as for UDP. Who may stay connected, and how long, is
decided in ``streams``; what a message is, in ``protocol.framing``."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from sipcore.core import Core
from sipcore.log import Log
from sipcore.protocol.flow import Flow
from sipcore.protocol.framing import StreamFramer, TlsHello
from sipcore.streams import Connections
from sipcore.tcp_listener import TcpListener, connections_allowed
from sipcore.udp_socket import Address

ACCEPT = 64
"""Connections taken at one wake-up."""

READ = 16_384
"""Bytes read from one connection at one wake-up, so that a fast one does not hold up the others."""

OUTPUT_REGISTERED, OUTPUT_STRANGER = 256 * 1024, 64 * 1024
"""Bytes that wait for a connection that does not read; one more and it is closed."""

STUCK_SECONDS = 30.0
"""How long a connection may read nothing while something waits for it."""

LINGER_SECONDS = 2.0
"""After a last answer, so that it arrives: what still comes in would otherwise reset the connection under it."""

KEPT_IN_ALL = 32 * 1024 * 1024
"""Bytes of incomplete messages and unread answers of all connections together; past it, those of
strangers that keep most are closed, until an eighth is free."""

KEPT_SMALL = 4096

_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class TcpConnection:
    """One accepted connection. ``last_look``: when to give up on it (monotonic seconds), once it is being closed or
    something waits to be read by the other end."""

    __slots__ = ("closing", "flow", "framer", "last_look", "output", "socket")

    def __init__(self, opened: socket.socket, flow: Flow) -> None:
        self.socket = opened
        self.flow = flow
        self.framer = StreamFramer()
        self.output = bytearray()
        self.closing = False
        self.last_look: float | None = None

    @property
    def name(self) -> str:
        return self.flow.connection

    @property
    def kept(self) -> int:
        return self.framer.buffered + len(self.output)


class TcpSockets:
    """All of TCP for one :class:`Core`. ``pump`` sends what the core has to send; it is called after each change.

    For other workers: ``receive`` takes each message; ``elsewhere`` takes what is to be sent over a connection that is
    none of ours, and tells whether it is somebody's; ``ended`` is told of each connection that has ended."""

    def __init__(self, core: Core, log: Log, pump: Callable[[], None]) -> None:
        self._core, self._log, self._pump = core, log, pump
        self.receive: Callable[[bytes, Flow], None] = core.receive
        self.elsewhere: Callable[[bytes, Flow], bool] = lambda data, flow: False
        self.ended: Callable[[Flow], None] = lambda flow: None
        self._peers: Connections = core.connections
        self._listeners: list[TcpListener] = []
        self._connections: dict[str, TcpConnection] = {}
        self._to_watch: set[TcpConnection] = set()
        self._kept = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._paused: list[TcpListener] = []
        # Different in every life of every process: a stored binding must not be taken for one on a connection of now.
        # It begins with the worker, as ``workers.handover`` reads it.
        self._prefix = f"{core.settings.worker:x}.{time.time_ns() // 1_000_000:x}."
        self._numbers = count(1)

    def open(self, host: str, port: int) -> None:
        """Listen. Raises :class:`~sipcore.udp_socket.CannotListen`."""
        self.take(TcpListener(host, port))

    def take(self, listener: TcpListener) -> None:
        """One that listens already."""
        self._listeners.append(listener)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._peers.at_once = connections_allowed()
        for listener in self._listeners:
            loop.add_reader(listener.socket, self._accept, listener)

    def close(self) -> None:
        """Stop listening and end every connection, whatever still waits."""
        for listener in self._listeners:
            self._ignore(listener.socket)
            listener.socket.close()
        self._listeners.clear()
        self._paused.clear()
        for connection in list(self._connections.values()):
            self._ignore(connection.socket)
            connection.socket.close()
        self._connections.clear()

    def send(self, data: bytes, flow: Flow) -> None:
        """Send one message over the connection it belongs to. Raises OSError when that has ended, or ends now."""
        connection = self._connections.get(flow.connection)
        if connection is None and self.elsewhere(data, flow):
            return
        if connection is None or connection.closing:
            raise OSError(errno.ENOTCONN, "the connection has ended")
        if not connection.output:
            try:
                sent = connection.socket.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._end(connection, "it is broken")
                raise
            if sent == len(data):
                return
            data = data[sent:]
            connection.last_look = time.monotonic() + STUCK_SECONDS
            self._to_watch.add(connection)
            self._require_loop().add_writer(connection.socket, self._flush, connection)
        limit = OUTPUT_REGISTERED if self._peers.is_registered(connection.name) else OUTPUT_STRANGER
        if len(connection.output) + len(data) > limit:
            self._end(connection, "it does not read what it is sent")
            raise OSError(errno.ENOBUFS, "it does not read")
        connection.output += data
        self._kept += len(data)

    def end(self, flow: Flow, why: str) -> None:
        """Close this connection; ``why`` is for the log."""
        connection = self._connections.get(flow.connection)
        if connection is not None:
            self._end(connection, why)

    def every_second(self, now: float) -> None:
        """Close those whose time is over."""
        for listener in self._paused:
            self._require_loop().add_reader(listener.socket, self._accept, listener)
        self._paused.clear()
        for name in self._peers.overdue(now):
            connection = self._connections.get(name)  # the end of another may have been its end as well
            if connection is not None and not connection.closing:
                self._kept -= connection.framer.buffered
                connection.framer.give_up()
                self._break(connection, "nothing more came in time")
        for connection in list(self._to_watch):
            if connection.last_look is not None and connection.last_look <= now:
                self._end(connection, "" if connection.closing else "it does not read what it is sent")

    # From the loop

    def _accept(self, listener: TcpListener) -> None:
        for _ in range(ACCEPT):
            try:
                opened, peer = listener.socket.accept()
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if error.errno in _NO_ROOM and not self._make_room(listener):
                    break
                continue  # that one went away before it was taken
            try:
                opened.setblocking(False)
                self._begin(opened, (peer[0], peer[1]))
            except OSError:
                opened.close()
        self._pump()

    def _begin(self, opened: socket.socket, remote: Address) -> None:
        local = opened.getsockname()
        flow = Flow("TCP", (local[0], local[1]), remote, f"{self._prefix}{next(self._numbers):x}")
        connection = self._connections[flow.connection] = TcpConnection(opened, flow)
        self._require_loop().add_reader(opened, self._read, connection)
        surplus = self._peers.opened(flow.connection, remote[0], time.monotonic())
        if surplus is not None:
            self._end(self._connections[surplus], "there are too many connections")

    def _make_room(self, listener: TcpListener) -> bool:
        """No file descriptor is left: whoever has not spoken gives his back. Else we listen again in a second."""
        first = self._peers.first_to_go()
        if first is not None:
            self._end(self._connections[first], "there is no room for more connections")
            return True
        self._log.warning("No room for more TCP connections: raise LimitNOFILE")
        self._require_loop().remove_reader(listener.socket)
        self._paused.append(listener)
        return False

    def _read(self, connection: TcpConnection) -> None:
        try:
            data = connection.socket.recv(READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._end(connection)
        elif not connection.closing:
            self._take(connection, data)
        self._pump()

    def _take(self, connection: TcpConnection, data: bytes) -> None:
        framer, flow = connection.framer, connection.flow
        before = framer.buffered
        messages = framer.feed(data)
        self._kept += framer.buffered - before
        self._peers.heard(flow.connection, time.monotonic(), whole=bool(messages), begun=framer.begun)
        for message in messages:
            self.receive(message, flow)
            if connection.name not in self._connections:
                return  # it ended over this message
        if framer.fault is not None:
            self._break(connection, framer.fault.reason)
        elif self._kept > KEPT_IN_ALL:
            self._relieve(connection)

    def _relieve(self, last: TcpConnection) -> None:
        """Who hoards goes, and not whose message was the last straw; that one only when nobody else is left."""
        large = [one for one in self._connections.values() if one.kept > KEPT_SMALL]
        hoarders = [one for one in large if not self._peers.is_registered(one.name)] or [last]
        for one in sorted(hoarders, key=lambda one: one.kept, reverse=True):
            if self._kept <= KEPT_IN_ALL * 7 // 8:
                break
            self._end(one, "too much is waiting for the rest of its message")

    def _break(self, connection: TcpConnection, why: str) -> None:
        """The stream cannot be read on: a last answer, if it deserves one, and the end."""
        framer, flow = connection.framer, connection.flow
        if isinstance(framer.fault, TlsHello):
            self._core.wrong_transport(flow)
            self._end(connection)
            return
        if framer.fault is None or not framer.fault.status:
            self._end(connection, why)
            return
        self._core.receive_broken(framer.rest, framer.fault, flow)
        self._pump()
        if connection.name not in self._connections:
            return
        connection.closing = True
        connection.last_look = time.monotonic() + LINGER_SECONDS
        self._to_watch.add(connection)
        if not connection.output:
            self._say_last(connection)

    def _flush(self, connection: TcpConnection) -> None:
        output = connection.output
        try:
            sent = connection.socket.send(output)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._end(connection, "it is broken")
            self._pump()
            return
        del output[:sent]
        self._kept -= sent
        if output:
            if not connection.closing:
                connection.last_look = time.monotonic() + STUCK_SECONDS
            return
        self._require_loop().remove_writer(connection.socket)
        if connection.closing:
            self._say_last(connection)
        else:
            connection.last_look = None
            self._to_watch.discard(connection)

    @staticmethod
    def _say_last(connection: TcpConnection) -> None:
        with suppress(OSError):
            connection.socket.shutdown(socket.SHUT_WR)

    def _end(self, connection: TcpConnection, why: str = "") -> None:
        """Close it now and tell the core, which drops what lived on it. ``why`` for the log, "" when it is nobody's
        fault."""
        if self._connections.pop(connection.name, None) is None:
            return
        self._kept -= connection.kept
        self._to_watch.discard(connection)
        self._ignore(connection.socket)
        connection.socket.close()
        self._core.flow_failed(connection.flow, why)
        self.ended(connection.flow)

    def _ignore(self, opened: socket.socket) -> None:
        if self._loop is not None:
            self._loop.remove_reader(opened)
            self._loop.remove_writer(opened)

    def _require_loop(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None, "start() was not called"
        return self._loop
