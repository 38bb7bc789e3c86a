"""The relay process: one epoll loop over the sockets of all calls, and the ``ng`` socket that commands it.

    python -m sipcore.media.relay --address 192.0.2.7 --ports 10000-20000 --ng 127.0.0.1:0

Says ``ng udp:127.0.0.1:NNNNN`` on its standard output when it is ready, and ends with the process that started it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import hmac
import os
import resource
import secrets
import select
import signal
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import Sequence

from . import ng
from .bencode import Encodable
from .calls import Calls
from .errors import MediaError
from .ports import QUARANTINE, Ports, SockAddress, plain_address
from .stream import HEAD, VERSION_AND_TYPE, Address, Stream, deliver

EVENTS = 512
LARGEST = 65_536
USUAL = 2048  # bytes; a way to the first so many of the buffer is kept for each size below, which saves 0.3 us a packet
BUSY = 1500
"""Packets a second above which packets are collected for a millisecond: fewer wake-ups, a third less processor time."""

COLLECT = 0.001  # seconds
COOKIES = 5000  # answers kept for retransmissions
COOKIE_LIFE = 30.0  # seconds
IDLE_CALL = 3600.0  # seconds without packet or command after which a call was forgotten by the PBX
FILES = 65_536
NICE = -10
"""Sound does not wait for others' work, where the system lets us say so (measured: with 400 calls on two busy cores a
packet otherwise waits tens of milliseconds)."""

LONGEST_UNCOLLECTED = 300.0
"""Seconds. The rounds of Python's cycle collector over all calls cost 7 % and pauses; we leave almost no cycles, so
it runs when there is little else to do."""
PR_SET_PDEATHSIG = 1


class Stop(Exception):
    """SIGTERM or SIGINT."""


class Relay:
    """``address``: where ``ng`` is listened to. ``key``: what the cookies of commands that are obeyed begin with, ""
    for all. Raises OSError when the address cannot be bound."""

    def __init__(
        self, address: Address, ports: Ports, advertised: dict[str, str], idle: float = IDLE_CALL, key: str = ""
    ) -> None:
        self._key = key.encode()
        self.now = time.monotonic()
        self._epoll = select.epoll()
        self._hot: list[tuple[socket.socket, Stream] | None] = []  # by file descriptor: quicker than a dict
        self._cold: dict[int, tuple[socket.socket, Stream]] = {}
        self._own_addresses: set[str] = set()
        self._own_ports: set[int] = set()
        self._instance = secrets.token_hex(8)
        self._cookies: OrderedDict[tuple[SockAddress, bytes], tuple[float, bytes]] = OrderedDict()
        self._idle = idle
        self._collected = self.now
        self._ng = socket.socket(
            socket.AF_INET6 if ":" in address[0] else socket.AF_INET,
            socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
        )
        self._ng.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024 * 1024)
        self._ng.bind(address)
        self._register(self._ng)
        self.calls = Calls(self, ports, advertised)
        self.url = f"udp:{address[0]}:{self._ng.getsockname()[1]}"

    # For the streams

    def watch(self, opened: socket.socket, stream: Stream, *, connected: bool) -> None:
        self._register(opened)
        if connected:
            self._hot[opened.fileno()] = (opened, stream)
        else:
            self._cold[opened.fileno()] = (opened, stream)
            self._own_ports.add(stream.port)

    def forget(self, opened: socket.socket) -> None:
        """Before it is closed, which also ends that the kernel tells of it."""
        number = opened.fileno()
        if number < 0:
            return  # it is closed
        cold = self._cold.pop(number, None)
        if cold is not None:
            self._own_ports.discard(cold[1].port)
        self._hot[number] = None

    def _register(self, opened: socket.socket) -> None:
        number = opened.fileno()
        self._hot += [None] * (number + 1 - len(self._hot))
        self._epoll.register(number, select.EPOLLIN)

    def is_own(self, address: Address) -> bool:
        """Whether this is an open port of ours. A phone on the same machine may have others of our range."""
        return address[1] in self._own_ports and address[0] in self._own_addresses

    def add_own(self, *addresses: str) -> None:
        self._own_addresses.update(addresses)

    # The loop

    def run(self) -> None:
        """Until :class:`Stop` is raised by a signal. The common packet, the next RTP packet of a known phone, is dealt
        with here, without a call into Python code; all else in :class:`Stream`. Two thirds of its time are the
        kernel's; a loop without any of the figures and checks is a sixth quicker than this one."""
        poll, monotonic, sleep = self._epoll.poll, time.monotonic, time.sleep
        hot = self._hot
        buffer = bytearray(LARGEST)
        view = memoryview(buffer)
        packets = [view[:size] for size in range(USUAL)]
        unpack, same = HEAD.unpack_from, VERSION_AND_TYPE
        second, handled, busy = self.now, 0, False
        events: list[tuple[int, int]] = []
        while True:
            if busy and len(events) < EVENTS // 4:
                sleep(COLLECT)
            events = poll(1.0, EVENTS)
            self.now = now = monotonic()
            handled += len(events)
            for number, _ in events:
                entry = hot[number]
                if entry is None:
                    self._other(number, buffer, view)
                    continue
                opened, stream = entry
                try:
                    size = opened.recv_into(buffer)
                except OSError:  # an ICMP error of a packet we sent, or nothing there
                    continue
                head, sequence, timestamp, ssrc = unpack(buffer)
                if head & same == stream.head and ssrc == stream.ssrc and size >= 12:
                    stream.packets += 1
                    stream.bytes += size
                    stream.last = now
                    if sequence == (stream.sequence + 1) & 0xFFFF:
                        stream.sequence = sequence
                    else:
                        stream.step(sequence)
                    transit = now * stream.rate - timestamp
                    change = transit - stream.transit
                    stream.transit = transit
                    if change < 0.0:
                        change = -change
                    if change < 8000.0:  # else a pause, or the clock of the phone has jumped
                        jitter = stream.jitter
                        stream.jitter = jitter + (change - jitter) * 0.0625
                elif not stream.receive_hot(size, view):
                    continue
                out = stream.out
                if out is not None:
                    try:  # noqa: SIM105
                        out(packets[size] if size < USUAL else view[:size])
                    except OSError:
                        pass  # as in deliver(), without the price of a call
            if now - second >= 1.0:
                busy = handled > BUSY * (now - second)
                second, handled = now, 0
                self._each_second(busy)

    def _other(self, number: int, buffer: bytearray, view: memoryview) -> None:
        """A datagram on a socket that hears everybody: a new or a strange phone, RTCP, or a command."""
        entry = self._cold.get(number)
        if entry is None:
            if number == self._ng.fileno():
                self._commands()
            return
        opened, stream = entry
        try:
            size, source = opened.recvfrom_into(buffer)
        except OSError:
            return
        if stream.receive_cold(size, source, view) and stream.out is not None:
            deliver(stream.out, view[:size])

    def _each_second(self, busy: bool) -> None:
        if not busy or self.now - self._collected > LONGEST_UNCOLLECTED:
            self._collected = self.now
            gc.collect()
        while self._cookies and next(iter(self._cookies.values()))[0] < self.now - COOKIE_LIFE:
            self._cookies.popitem(last=False)
        self.calls.forget_idle(self._idle)

    # Commands

    def _commands(self) -> None:
        for _ in range(16):
            try:
                data, source = self._ng.recvfrom(LARGEST)
            except OSError:
                return
            answer = self._answer(data, source)
            if answer:
                with contextlib.suppress(OSError):
                    self._ng.sendto(answer, source)

    def _answer(self, data: bytes, source: SockAddress) -> bytes:
        # Any user of this machine can send to us, and could listen in or end calls: only the key makes us look.
        if not hmac.compare_digest(data[: len(self._key)], self._key):
            return b""
        try:
            cookie, message = ng.unpack(data)
        except ng.BadMessage as error:
            if not error.cookie:
                return b""
            return ng.pack(error.cookie, {"result": "error", "error-reason": error.reason})
        key = (source, cookie)
        known = self._cookies.get(key)
        if known is not None:
            return known[1]
        try:
            reply = self._execute(message)
        except MediaError as error:
            reply = {"result": "error", "error-reason": error.reason}
        except Exception as error:  # a bug of ours must cost this command and not the sound of all calls
            print(f"relay: a command failed: {type(error).__name__}", file=sys.stderr, flush=True)
            reply = {"result": "error", "error-reason": "Internal error"}
        try:
            answer = ng.pack(cookie, reply, as_json=ng.is_json(data))
        except ng.BadMessage as error:
            answer = ng.pack(cookie, {"result": "error", "error-reason": error.reason})
        self._cookies[key] = (self.now, answer)
        if len(self._cookies) > COOKIES:
            self._cookies.popitem(last=False)
        return answer

    def _execute(self, message: ng.Message) -> dict[str, Encodable]:
        match ng.text(message, "command"):
            case "offer":
                return {"result": "ok", **self.calls.offer(message, time.time())}
            case "answer":
                return {"result": "ok", **self.calls.answer(message)}
            case "delete":
                return {"result": "ok", **self.calls.delete(message)}
            case "ping":
                return {"result": "pong", "instance": self._instance}
            case "query":
                return {"result": "ok", **self.calls.query(message)}
            case "list":
                limit = message.get("limit", 32)
                count = limit if isinstance(limit, int) and limit >= 0 else 32
                return {"result": "ok", "calls": list(self.calls.calls)[: min(count, 1000)]}
        return {"result": "error", "error-reason": "Unrecognized command"}

    def close(self) -> None:
        self.calls.close()
        self._epoll.close()
        self._ng.close()


def end_with_parent(parent: int) -> None:
    """Ask the kernel for SIGTERM when the process that started us ends. Raises SystemExit when it has ended already."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if parent and os.getppid() != parent:
        raise SystemExit(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal. Status 2 for a wrong argument or an address that is taken."""
    parser = argparse.ArgumentParser(prog="sipcore.media.relay", description="RTP relay with the ng protocol")
    parser.add_argument("--address", action="append", default=[], help="address told to phones; one for each family")
    parser.add_argument("--ports", default="10000-20000", help="first-last")
    parser.add_argument("--ng", default="127.0.0.1:0", help="host:port of the control socket; port 0: any")
    parser.add_argument("--quarantine", type=float, default=QUARANTINE, help="seconds a freed pair of ports rests")
    parser.add_argument("--idle", type=float, default=IDLE_CALL, help="seconds after which a silent call is forgotten")
    parser.add_argument("--parent", type=int, default=0, help="process id to end with")
    chosen = parser.parse_args(arguments)
    if chosen.parent:
        end_with_parent(chosen.parent)
    try:
        first, last = (int(word) for word in chosen.ports.split("-"))
        addresses = {f"IP{6 if ':' in one else 4}": one for one in map(plain_address, chosen.address or ["127.0.0.1"])}
        host, colon, port = chosen.ng.rpartition(":")
        address = (host.strip("[]"), 0) if port == "0" and colon else ng.parse_url(chosen.ng)
        if not 0 < first < last < 65_536:
            raise ValueError("ports must be first-last")
    except ValueError as error:
        parser.error(str(error))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, FILES) if hard > 0 else FILES, hard))
    with contextlib.suppress(OSError):  # not root, and no LimitNICE: as everybody
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    try:
        ports = Ports(first, last, quarantine=chosen.quarantine)
        relay = Relay(address, ports, addresses, chosen.idle, os.environ.pop(ng.KEY, ""))
    except OSError as error:
        print(f"relay: {chosen.ng}: {error.strerror}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    print(f"ng {relay.url}", flush=True)
    gc.disable()
    gc.freeze()  # the modules: no round of the collector looks through them again
    try:
        relay.run()
    except Stop:
        relay.close()
    return 0


def _stop(*_: object) -> None:
    raise Stop


if __name__ == "__main__":
    sys.exit(main())
