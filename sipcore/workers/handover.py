"""What came to the wrong worker, and what can leave by another one only.

The kernel deals datagrams by their source, so a phone's own requests all come to one worker. Two things do not belong
where they arrive: the answer of a phone to a request of another worker, told by our branch, which begins with node and
worker; and whatever is not a REGISTER, since all calls live in one worker. And all phones behind a proxy of ours come
from its one address: they are dealt by us. What has been handed over once is not handed over again."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sipcore.admission import Rank
from sipcore.clock import Clock
from sipcore.core import Core
from sipcore.evidence.conversations import call_id_of
from sipcore.guard.blocks import Block
from sipcore.guard.failures import Sender
from sipcore.guard.guard import PUT_OFF, SLOWED, Guard
from sipcore.log import Log
from sipcore.ports import Binding, BindingId
from sipcore.protocol.endpoint import MAGIC
from sipcore.protocol.flow import Flow
from sipcore.server import Server
from sipcore.workers import CALLS
from sipcore.workers.calls_elsewhere import CallsElsewhere
from sipcore.workers.links import Kind, Links, flow_of

LOOKED_AT = 4096
"""Bytes of a message in which its top Via and its To are looked for."""

CALL_ID_TOLD = 255
"""Characters of a Call-ID that other workers are told: a stranger makes it as long as he likes."""

_REQUESTS = (
    b"INVITE ", b"ACK ", b"CANCEL ", b"BYE ", b"PRACK ", b"UPDATE ", b"INFO ", b"REFER ", b"MESSAGE ", b"SUBSCRIBE ",
    b"NOTIFY ", b"PUBLISH ",
)  # fmt: skip
_HAS_TO_TAG = re.compile(rb"\n(?:To|t)[ \t]*:[^\n]*;[ \t]*tag=", re.IGNORECASE)

SPARED_AT_ONCE = 200
"""Numbers that a block spares, told in one message: in any script they fit into it. A block is told in as many as it
takes."""

SAY_SECONDS = 10.0
"""Between two lines about what could not be handed over."""


class Handover:
    """For one worker. It puts itself where the connections, and who registers, are to be told about."""

    def __init__(self, links: Links, core: Core, server: Server, guard: Guard, clock: Clock, log: Log) -> None:
        self._links, self._core, self._server = links, core, server
        self._guard, self._clock, self._log = guard, clock, log
        self._me = links.number
        self._is_proxy = core.settings.trusted_proxies
        self._ours = f"{MAGIC}{core.settings.node}.".encode()
        self._used: set[str] = set()
        """Connections of ours over which calls go that live elsewhere: their end has to be told."""
        self._say_at = 0.0
        self._told = 0, 0
        """Messages lost and messages not understood, as far as that has been said."""
        self._take: dict[Kind, Callable[[Any, bytes], None]] = {
            Kind.SEND: self._send,
            Kind.LOST: lambda head, _: core.flow_failed(flow_of(head)),
            Kind.MOVED: self._moved,
            Kind.REGISTERED: lambda head, _: self._registrations_changed(head),
            Kind.REACHABLE: lambda head, _: self._accounts_changed(head),
            Kind.UNANSWERED: lambda head, _: core.unanswered(BindingId(head[0], head[1]), head[2]),
            Kind.TRIED: self._tried,
            Kind.BLOCKED: lambda head, _: guard.loaded([Block(**{**head, "spared": set(head["spared"])})]),
            Kind.STOPPED: lambda head, _: self._calls_stopped(True),
            Kind.READY: lambda head, _: self._calls_stopped(False),
        }
        core.moved = self.moved
        server.tcp.receive = self.receive
        server.tcp.elsewhere = self.send_elsewhere
        server.tcp.ended = self.connection_ended

    # What came to us

    def hand_over(self, data: bytes, flow: Flow) -> bool:
        """Whether it belonged to another worker; that has it now, or it is lost as a datagram may be. Over a connection
        nothing is lost (RFC 3261 17.1.1.2: nobody repeats an INVITE there): then the connection ends, and the phone
        knows at once."""
        owner = self.owner(data, flow)
        if owner == self._me:
            return False
        core = self._core
        if core.door is not None and core.door.shuts_out(data, flow):
            return True  # before it costs two of us
        core.keepalive.heard(flow.remote, self._clock.now())
        rank = core.rank(data, flow)
        if rank is Rank.NOISE and data.startswith(b"SIP/2.0 ") and core.knows(flow.remote[0]):
            rank = Rank.DIALOG  # to a request of theirs
        if flow.connection:
            self._used.add(flow.connection)
        if not self._links.tell(owner, Kind.PACKET, [*flow, int(rank)], data) and flow.connection:
            self._server.tcp.end(flow, "another worker has no room for its message")
        return True

    def owner(self, data: bytes, flow: Flow) -> int:
        """The worker that a message is for, by a look at its raw bytes."""
        if data.startswith(b"REGISTER "):
            return self._dealt(data) if self._is_proxy(flow.remote[0]) and not flow.connection else self._me
        if data.startswith((b"\r", b"\n")):
            data = data.lstrip(b"\r\n")
        if data.startswith(b"SIP/2.0 "):
            return self._made_by(data)
        if self._me == CALLS:
            return CALLS
        if data.startswith(_REQUESTS):
            return CALLS
        if data.startswith(b"OPTIONS ") and _HAS_TO_TAG.search(data, 0, LOOKED_AT):
            return CALLS
        return self._me

    def _dealt(self, register: bytes) -> int:
        """All requests of one phone, which keeps its Call-ID, to one worker."""
        call_id = call_id_of(register, "").strip()
        return zlib.crc32(call_id) % self._links.workers if call_id else self._me

    def _made_by(self, response: bytes) -> int:
        """The worker whose branch a response bears. One with none of ours is ours to wonder about."""
        start = response.find(self._ours, 0, LOOKED_AT)
        if start < 0:
            return self._me
        start += len(self._ours)
        number = response[start : start + 6].partition(b".")[0]
        worker = int(number) if number.isdigit() else self._me
        return worker if worker < self._links.workers else self._me

    def receive(self, data: bytes, flow: Flow) -> None:
        """A message of a connection of ours."""
        if not self.hand_over(data, flow):
            self._core.receive(data, flow)

    # What is to leave by another worker

    def send_elsewhere(self, data: bytes, flow: Flow) -> bool:
        """Over a connection of another worker; False when it is none's."""
        number = flow.connection.partition(".")[0]
        try:
            worker = int(number, 16) if len(number) <= 4 else self._me
        except ValueError:
            return False
        if worker == self._me or worker >= self._links.workers:
            return False
        return self._links.tell(worker, Kind.SEND, list(flow), data)

    def connection_ended(self, flow: Flow) -> None:
        if flow.connection in self._used:
            self._used.discard(flow.connection)
            self._links.tell(CALLS, Kind.LOST, list(flow))

    # What others say

    def read(self) -> None:
        """From the loop, when there is something."""
        packets: list[tuple[bytes, Flow, Rank]] = []
        for kind, head, data in self._links.read():
            try:
                if kind is Kind.PACKET:
                    flow, rank = flow_of(head), Rank(head[4])
                    if rank <= Rank.NEW_NEIGHBOUR:
                        self._core.remember(flow.remote[0])
                    packets.append((data, flow, rank))
                else:
                    self._take[kind](head, data)
            except Exception as error:  # this message's loss alone, as with those of phones
                self._log.error(f"What another worker said ({kind.name}) failed: {type(error).__name__}")
        if packets:
            self._server.take_handed_over(packets)
        self._server.pump_soon()

    def _send(self, head: list[Any], data: bytes) -> None:
        flow = flow_of(head)
        try:
            self._used.add(flow.connection)
            self._server.tcp.send(data, flow)
        except OSError:
            self._used.discard(flow.connection)
            self._links.tell(CALLS, Kind.LOST, list(flow))

    def _moved(self, head: list[Any], _: bytes) -> None:
        binding, before = Binding(**head[0]), (head[1][0], head[1][1])
        self._core.keepalive.forget(binding.id)  # whoever it lives with now asks whether it is there
        if self._core.calls is not None:
            self._core.calls.moved(binding, before)

    def _registrations_changed(self, numbers: list[str]) -> None:
        calls = self._core.calls
        if calls is not None and calls.subscriptions is not None:
            calls.subscriptions.registrations_changed(numbers)

    def _accounts_changed(self, ids: list[int]) -> None:
        calls = self._core.calls
        if calls is not None and calls.subscriptions is not None:
            calls.subscriptions.accounts_changed(ids)

    def _tried(self, head: list[Any], _: bytes) -> None:
        sender, cause = Sender(*head[0]), head[1]
        if cause:
            self._guard.failed_elsewhere(sender, cause, self._clock.wall())
        else:
            self._guard.succeeded(sender, self._clock.wall())

    def _calls_stopped(self, stopped: bool) -> None:
        calls = self._core.calls
        if isinstance(calls, CallsElsewhere):
            (calls.stopped.set if stopped else calls.stopped.clear)()

    # What we say to others

    def moved(self, binding: Binding, before: tuple[str, int]) -> None:
        """A phone has registered with us from a new address."""
        self._links.tell_all(Kind.MOVED, [asdict(binding), before])

    def unanswered(self, id: BindingId, since: float) -> None:
        """A phone did not answer a call at all: whoever asks it regularly is to know."""
        self._core.unanswered(id, since)
        self._links.tell_all(Kind.UNANSWERED, [*id, since])

    def tried(self, sender: Sender, cause: str) -> None:
        """Who tries passwords from many ports does not begin anew with each worker."""
        if not cause or cause in SLOWED or cause == PUT_OFF:
            head = [sender.host, sender.number, sender.call_id[:CALL_ID_TOLD], sender.port, sender.user_agent]
            self._links.tell_all(Kind.TRIED, [head, cause])

    def blocked(self, blocks: list[Block]) -> None:
        """The guard has made these: one by one, since a scan from many addresses makes hundreds in a second."""
        for block in blocks:
            told, spared = asdict(block), sorted(block.spared)
            for start in range(0, len(spared) or 1, SPARED_AT_ONCE):  # the other end adds them up
                self._links.tell_all(Kind.BLOCKED, told | {"spared": spared[start : start + SPARED_AT_ONCE]})

    def ready(self) -> None:
        """We have all calls, and serve: whoever stops now waits for ours."""
        self._links.tell_all(Kind.READY)

    def stopped(self) -> None:
        """Our calls have been ended."""
        self._links.tell_all(Kind.STOPPED)

    def every_second(self) -> None:
        """An administrator should know when something was lost between two workers."""
        now, links = self._clock.now(), self._links
        if now < self._say_at or (links.lost, links.misunderstood) == self._told:
            return
        lost, misunderstood = links.lost - self._told[0], links.misunderstood - self._told[1]
        if lost:
            self._log.warning(f"Overload: {lost} messages could not be handed to another worker")
        if misunderstood:
            self._log.warning(f"{misunderstood} messages of another worker were not understood: restart runsip")
        self._told, self._say_at = (links.lost, links.misunderstood), now + SAY_SECONDS
