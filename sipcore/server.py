"""The loop of the SIP sockets. They are in ``udp_socket``, ``tcp_listener`` and ``tcp_socket``, and nowhere else.

UDP: one ``add_reader`` a socket, which reads up to 64 datagrams at once: six times cheaper than asyncio's own
datagram transport. When there are more, the kernel is emptied into the inbox and served in its order, a slice of time
after the other. TCP: on the same ports."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial

from sipcore.admission import Rank
from sipcore.core import Core
from sipcore.datagrams import AT_ONCE as DATAGRAMS
from sipcore.inbox import Inbox
from sipcore.log import Level, Log
from sipcore.memory import Memory
from sipcore.naming import place
from sipcore.protocol.flow import Flow
from sipcore.store import Job
from sipcore.tcp_listener import TcpListener
from sipcore.tcp_socket import TcpSockets
from sipcore.udp_socket import Address, CannotListen, UdpSocket

IN_ORDER = 256
"""Datagrams that may wait and still be served as they came: some 20 ms of work. When there are more it matters who goes
first, and each is ranked, which costs a third of what a registration does."""

EMPTIED = 1024
"""Datagrams moved from the kernel to the inbox at once, under overload."""

DENSE, WINDOW, REST = 2000, 0.01, 0.0005
"""While so many datagrams a second come, counted for so many seconds, their socket is looked at after a rest of so many
seconds, and not whenever one has come: to begin costs as much as two datagrams do, which then share it."""

SLICE = 0.005
"""Seconds of work after which the loop has its turn: timers, other sockets, and whoever ranks higher by now."""

LOG_SECONDS = 0.02
"""For which lines of the log gather: the thread that writes them takes the interpreter from the loop, and should seldom
do it while a phone waits for its answer."""

AT_ONCE = 8
"""Decisions of the store that are answered between two looks at the time."""

SAY_SECONDS = 10.0
"""Between two lines about what was shed."""

STOP_SECONDS = 2.4
ROUNDS = 8
"""How often what was sent may lead to more to send (a broken flow does), before others have their turn."""

PORT_TRIES = 20
"""Free UDP ports tried until one is free for TCP too, when any port will do."""


@dataclass(slots=True, eq=False)
class _Listening:
    """How one socket is listened to. ``count``: datagrams since ``since``; ``rests``: it is looked at by the clock."""

    to: UdpSocket
    since: float = 0.0
    count: int = 0
    rests: bool = False


class Server:
    """Runs a :class:`Core` on its sockets until SIGTERM or SIGINT.

    ``every_second`` is called once a second with the monotonic time; ``ready`` once, when the sockets are open."""

    def __init__(
        self,
        core: Core,
        log: Log,
        every_second: Callable[[], None] = lambda: None,
        ready: Callable[[list[Address]], None] = lambda addresses: None,
    ) -> None:
        self._core = core
        self._log = log
        self._every_second = every_second
        self._ready = ready
        self._sockets: list[UdpSocket] = []
        self._by_local: dict[Address, UdpSocket] = {}
        self._tcp = TcpSockets(core, log, self._pump)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._log_timer: asyncio.TimerHandle | None = None
        self._pump_asked = False
        self._arrived: deque[tuple[bytes, Flow]] = deque()
        self._inbox = Inbox()
        self._memory = Memory()
        self._decided: deque[Job] = deque()
        self._serving = self._answering = False
        self._say_shed_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def open(self, addresses: Iterable[Address]) -> None:
        """Bind, UDP and TCP on the same port. Raises :class:`CannotListen`; then nothing stays open."""
        try:
            for host, port in addresses:
                self._open(host, port)
        except CannotListen:
            self.close()
            raise

    def _open(self, host: str, port: int) -> None:
        for tries in range(1, PORT_TRIES + 1):
            opened = UdpSocket(host, port)
            try:
                self._tcp.open(host, opened.port)
            except CannotListen:
                opened.socket.close()
                if port or tries == PORT_TRIES:
                    raise
            else:
                self._sockets.append(opened)
                return

    @property
    def tcp(self) -> TcpSockets:
        return self._tcp

    def take_sockets(self, opened: UdpSocket, listener: TcpListener) -> None:
        """Serve these instead of opening some: our parent has bound them."""
        self._sockets.append(opened)
        self._tcp.take(listener)

    def close(self) -> None:
        self._tcp.close()
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
            loop.add_reader(opened.socket, self._drain, _Listening(opened))
        self._tcp.start(loop)
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
        self._decided.extend(jobs)
        self.in_loop(self._complete)

    def in_loop(self, function: Callable[[], None]) -> None:
        """Run ``function`` in the loop's thread, soon. From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)

    def answer_in_loop(self, function: Callable[[], None]) -> None:
        """The same for what queues an answer: it is sent at once. From any thread."""

        def run() -> None:
            function()
            self._pump()

        self.in_loop(run)

    def pump_soon(self) -> None:
        """Send what was queued outside of a read, once whoever queued it is done. From the loop's thread."""
        if not self._pump_asked and self._loop is not None:
            self._pump_asked = True
            self._loop.call_soon(self._pump)

    def _complete(self) -> None:
        if not self._answering and self._decided:
            self._answer()

    def _answer(self) -> None:
        """Answer what the store has decided: a slice of a large batch after the other."""
        self._answering = False
        end = time.monotonic() + SLICE
        decided = self._decided
        while decided:
            self._core.completed([decided.popleft() for _ in range(min(AT_ONCE, len(decided)))])
            if time.monotonic() > end:
                break
        self._pump()
        if decided and self._loop is not None:
            self._answering = True
            self._loop.call_soon(self._answer)

    def _drain(self, listening: _Listening) -> None:
        opened, arrived, before = listening.to, self._arrived, len(self._arrived)
        if opened.socket.fileno() < 0:
            return  # it has rested, and all has ended meanwhile
        more = True
        while more and len(arrived) <= IN_ORDER:
            received, more = self._receive(opened)
            arrived += received
        self._rest(listening, len(arrived) - before)
        if not self._inbox and len(arrived) <= IN_ORDER:
            if arrived and not self._serving:
                self._serve()
            return
        inbox, rank = self._inbox, self._core.rank
        for data, flow in arrived:
            inbox.put(data, flow, rank(data, flow))
        arrived.clear()
        left = EMPTIED - DATAGRAMS
        while more and left > 0:
            received, more = self._receive(opened)
            left -= DATAGRAMS
            for data, flow in received:
                inbox.put(data, flow, rank(data, flow))
        self._serve_soon()

    def _rest(self, listening: _Listening, came: int) -> None:
        """Listen on after a look at which so many came, or rest for a moment."""
        loop, opened = self._loop, listening.to
        if loop is None:
            return
        now = loop.time()
        listening.count += came
        was_resting = listening.rests
        if now >= listening.since + WINDOW:
            listening.rests = listening.count >= DENSE * (now - listening.since)
            listening.since, listening.count = now, 0
        if listening.rests:
            if not was_resting:
                loop.remove_reader(opened.socket)
            loop.call_later(REST, self._drain, listening)
        elif was_resting:
            loop.add_reader(opened.socket, self._drain, listening)

    def _receive(self, opened: UdpSocket) -> tuple[list[tuple[bytes, Flow]], bool]:
        """What waits in the kernel, and whether more may."""
        for _ in range(DATAGRAMS):
            try:
                received = opened.receive()
            except OSError as error:  # an ICMP error of an earlier packet
                self._log.debug(f"Receiving failed: {errno.errorcode.get(error.errno or 0, 'error')}")
                continue
            for _data, flow in received[0]:
                if flow.local not in self._by_local:
                    self._by_local[flow.local] = opened
            return received
        return [], False

    def take_handed_over(self, packets: list[tuple[bytes, Flow, Rank]]) -> None:
        """What came to another worker and is for us, with the rank it had there."""
        if not self._inbox and len(self._arrived) + len(packets) <= IN_ORDER:
            self._arrived += [(data, flow) for data, flow, _rank in packets]
            if not self._serving:
                self._serve()
            return
        for data, flow, rank in packets:
            self._inbox.put(data, flow, min(rank, self._core.rank(data, flow)))
        self._serve_soon()

    def _serve(self) -> None:
        """What has arrived, or under overload the inbox in the order of admission, for one slice of time."""
        self._serving = False
        arrived, receive, now = self._arrived, self._core.receive, time.monotonic
        end = now() + SLICE
        while arrived:
            receive(*arrived.popleft())
            if now() > end:
                break
        else:
            while (packet := self._inbox.take()) is not None:
                receive(*packet)
                if now() > end:
                    break
        self._pump()
        if arrived or self._inbox:
            self._serve_soon()

    def _serve_soon(self) -> None:
        if not self._serving and self._loop is not None:
            self._serving = True
            self._loop.call_soon(self._serve)

    def _say_shed(self) -> None:
        """An administrator should know when not everybody was served."""
        now = time.monotonic()
        if now < self._say_shed_at:
            return
        shed = self._inbox.take_shed()
        if shed:
            self._say_shed_at = now + SAY_SECONDS
            phones = sum(count for rank, count in shed.items() if rank <= Rank.REFRESH)
            self._log.warning(
                f"Overload: {sum(shed.values())} messages were not served, {phones} of them of registered phones"
            )

    def _pump(self) -> None:
        """Send what there is to send, hand the log over, and set the timer anew: after every change."""
        self._pump_asked = False
        for _ in range(ROUNDS):
            if not self._send_all(self._core.datagrams_to_send()):
                break
        else:
            self.in_loop(self._pump)
        if self._log_timer is None and self._loop is not None and self._log.waiting:
            self._log_timer = self._loop.call_later(LOG_SECONDS, self._write_log)
        due = self._core.next_timeout()
        if due is not None and self._loop is not None:
            if self._timer is not None:
                if self._timer_at <= due and not self._timer.cancelled():
                    return
                self._timer.cancel()
            self._timer_at = due
            self._timer = self._loop.call_at(due, self._tick)

    def _write_log(self) -> None:
        self._log_timer = None
        self._log.flush()

    def _tick(self) -> None:
        self._timer = None
        self._core.tick()
        self._pump()

    def _send_all(self, waiting: list[tuple[bytes, Flow]]) -> bool:
        """In their order, as many by one system call as it takes. Whether something went to a stream: if it has broken
        there may be more to send."""
        first, count, to_stream = 0, len(waiting), False
        while first < count:
            data, flow = waiting[first]
            sent = 1
            try:
                if flow.transport == "UDP":
                    local, end = flow.local, first + 1
                    while end < count and waiting[end][1].local == local and waiting[end][1].transport == "UDP":
                        end += 1
                    sent = self._socket_for(flow).send(waiting[first:end])
                else:
                    to_stream = True
                    self._tcp.send(data, flow)
            except OSError as error:
                self._not_sent(flow, error)
            else:
                self._say_sent(waiting[first : first + sent])
            first += sent
        return to_stream

    def _not_sent(self, flow: Flow, error: OSError) -> None:
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        if flow.transport == "UDP":
            if self._core.may_say(flow):
                self._log.warning(f"Message to {place(flow)} could not be sent: {name}")
            return
        # RFC 3261 18.2.2 would open a connection to the address in the Via: we open none that a message names.
        if self._core.may_say(flow):
            self._log.info(f"Message to {place(flow)} could not be sent: its connection has ended ({name})")
        self._core.flow_failed(flow)

    def _say_sent(self, messages: list[tuple[bytes, Flow]]) -> None:
        for data, flow in messages:
            if data.startswith(b"SIP/2.0 "):
                if self._core.may_say(flow):
                    self._log.info(f"Response sent successfully to {place(flow)}: {_as_text(data[8 : data.index(13)])}")
            elif self._log.level <= Level.DEBUG:
                self._log.debug(f"Request sent to {place(flow)}")

    def _socket_for(self, flow: Flow) -> UdpSocket:
        """The one it came on; for a flow of before a restart one of its family. Raises OSError if there is none."""
        opened = self._by_local.get(flow.local)
        if opened is not None:
            return opened
        ipv6 = ":" in flow.local[0]
        for opened in self._sockets:
            if (":" in opened.host) == ipv6 and opened.host in ("0.0.0.0", "::", flow.local[0]):
                return opened
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))

    async def _seconds(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            streams = partial(self._tcp.every_second, loop.time())
            for work in (self._every_second, streams, self._say_shed, self._memory.every_second, self._pump):
                try:
                    work()
                except Exception as error:  # a bug of ours must not cost the heartbeat and all else for good
                    self._log.error(f"The work of each second failed: {type(error).__name__}")
            await asyncio.sleep(1.0)

    async def _finish(self, loop: asyncio.AbstractEventLoop) -> None:
        self._core.drain()
        deadline = loop.time() + STOP_SECONDS
        if self._core.calls is not None:
            await self._core.calls.stop(STOP_SECONDS / 2)
        while self._core.pending and loop.time() < deadline:  # noqa: ASYNC110 - a look every 20 ms, once in a life
            await asyncio.sleep(0.02)
        self._core.give_up_all()
        self._pump()


@lru_cache(maxsize=256)
def _as_text(status: bytes) -> str:
    return status.decode("ascii", "replace")
