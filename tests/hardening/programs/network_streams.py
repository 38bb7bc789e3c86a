"""Phones over TCP whose connections are cut in the midst of a message, again and again."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from collections.abc import Callable
from typing import TypeVar

from tests.hardening.programs import Figure
from tests.support.caller import Address, Caller, Dialog, Fault
from tests.support.cases import PASSWORD
from tests.support.pbx import RunningPbx
from tests.support.processes import DeadlinePassed, wait_until
from tests.support.tcp_wire import TcpWire

Done = TypeVar("Done")
CUT = 0.5
"""Share of the messages in which the connection ends."""
TRIES = 40


class CutWire(TcpWire):
    """Messages go out in pieces of 1 to 60 bytes; where ``cutting``, half of them end before their last byte, or right
    after it, by FIN or by RST."""

    def __init__(self, server: Address, dice: random.Random) -> None:
        self.cutting = False
        self.cuts = 0
        self._dice = dice
        super().__init__(server)

    def connect(self) -> None:
        super().connect()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes, to: Address) -> None:
        data = data.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP")
        end = self._dice.randint(1, len(data)) if self.cutting and self._dice.random() < CUT else 0
        place = 0
        while place < (end or len(data)):
            size = min(self._dice.randint(1, 60), (end or len(data)) - place)
            super().send(data[place : place + size], to)
            place += size
        if end:
            self.cut()
            raise ConnectionError("cut")

    def cut(self) -> None:
        self.cuts += 1
        if self._dice.random() < 0.5:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


class StreamPair:
    """Two phones, one call. ``faults`` in words."""

    def __init__(self, pbx: RunningPbx, one: str, two: str, number: int, seed: int) -> None:
        self.pbx, self.number = pbx, number
        self.faults: list[str] = []
        self.registered = self.called = 0
        self.wires = [CutWire(pbx.server, random.Random(f"{seed}/stream {number}.{k}")) for k in range(2)]
        self.phones = [
            Caller(wire, pbx.server, name, PASSWORD, pbx.domain)
            for wire, name in zip(self.wires, (one, two), strict=True)
        ]

    def live(self) -> None:
        try:
            for phone, wire in zip(self.phones, self.wires, strict=True):
                wire.cutting = True
                _stubborn(phone, wire, phone.register)
                wire.cutting = False
                self.registered += 1
            self._call()
            self.called += 1
        except (Fault, OSError) as fault:
            self.faults.append(f"{type(fault).__name__} {fault}"[:300])

    def _call(self) -> None:
        (caller, callee), (near, far) = self.phones, self.wires
        call = caller.invite(callee.number)
        theirs = callee.answer(callee.expect("INVITE"), ack=False)
        ours = call.connected()
        callee.expect("ACK")
        if self.number % 2:  # the called phone is cut off, is back, and hangs up
            far.cut()
            _again(callee, far)
            callee.register()
            _hang_up(callee, far, theirs, caller, ours)
        else:
            _hang_up(caller, near, ours, callee, theirs)

    def close(self) -> None:
        for wire in self.wires:
            wire.close()


def _hang_up(first: Caller, wire: CutWire, mine: Dialog, second: Caller, theirs: Dialog) -> None:
    """The BYE is cut, until one gets through; the second may have been told by a cut one that was whole."""
    wire.cutting = True

    def bye() -> None:
        if first.final(first.request(mine, "BYE")).status not in (200, 481):
            raise Fault("the BYE was refused")

    _stubborn(first, wire, bye)
    wire.cutting = False
    second.take_bye(theirs)


def _stubborn(phone: Caller, wire: CutWire, step: Callable[[], Done]) -> Done:
    for _ in range(TRIES):
        try:
            return step()
        except ConnectionError:
            _again(phone, wire)
    raise Fault(f"{phone.number}: cut {TRIES} times in a row")


def _again(phone: Caller, wire: CutWire) -> None:
    phone.inbox.clear()
    wire.connect()


def streams_told(pbx: RunningPbx, pairs: list[StreamPair]) -> Figure:
    """After all have lived."""
    numbers = [phone.number for pair in pairs for phone in pair.phones]
    registered, called = sum(pair.registered for pair in pairs), sum(pair.called for pair in pairs)

    def settled() -> list[int]:
        return [number for number in map(int, numbers) if len(pbx.bindings(str(number))) > 1]

    def records() -> list[tuple[str, object]]:
        rows = pbx.store.rows('SELECT src, "end" FROM calls_callrecord')
        return [(row["src"], row["end"]) for row in rows if row["src"] in numbers]

    with contextlib.suppress(DeadlinePassed):  # the figure says it
        wait_until(lambda: not settled() and all(end is not None for _, end in records()), "an end", 40, pause=0.2)
    double, found = len(settled()), records()
    living = sum(end is None for _, end in found)
    cuts = sum(wire.cuts for pair in pairs for wire in pair.wires)
    faults = "; ".join(fault for pair in pairs for fault in pair.faults)[:600]
    return Figure(
        f"TCP connections cut in the midst of a message, {cuts} times",
        f"{registered} of {len(numbers)} registered, {called} of {len(pairs)} calls, {double} double bindings, "
        f"{len(found) - len(pairs)} records too many, {living} calls left", "every one, 0, 0, 0",
        registered == len(numbers) and called == len(pairs) == len(found) and not (double or living), cause=faults,
    )  # fmt: skip
