"""A house with three phones and two attackers, each at an address of its own, and somebody whom messages only name."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.attacker import Attacker
from tests.hardening.programs.wiretap import Wiretap
from tests.support.caller import Caller, Dialog, UdpWire
from tests.support.pbx import RunningPbx

Item = TypeVar("Item")

VICTIM, OTHER, OWN = "1001", "1003", "1002"
PASSWORDS = {VICTIM: "the-victims-own-77", OTHER: "somebody-elses-88", OWN: "the-attackers-99"}
NAMED = "127.0.0.66"
"""Nobody here ever sent from it: it only stands in messages."""

NONE = "none succeeds"


@dataclass
class Tally:
    """The attacks of one kind, and those that succeeded by name."""

    what: str
    tried: int = 0
    succeeded: list[str] = field(default_factory=list)
    cause: str = ""

    def count(self, name: str, succeeded: bool) -> None:
        self.tried += 1
        if succeeded:
            self.succeeded.append(name)

    def figure(self, goal: str = NONE) -> Figure:
        failed = self.tried - len(self.succeeded)
        measured = f"{failed} of {self.tried} failed"
        if self.succeeded:
            measured += f"; succeeded: {', '.join(self.succeeded)[:600]}"
        return Figure(self.what, measured, goal, not self.succeeded and self.tried > 0, cause=self.cause)


class Listener:
    """Ports of the one who is only named, and TCP ports of the PBX's own machine. Counts who comes."""

    def __init__(self) -> None:
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((NAMED, 0))
        self.port = self.udp.getsockname()[1]
        self._all: list[socket.socket] = [self.udp]
        self._tcp: list[socket.socket] = []
        for host in (NAMED, "127.0.0.1"):
            listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listening.bind((host, self.port if host == NAMED else 0))
            listening.listen(50)
            self._tcp.append(listening)
        self.own_tcp_port = self._tcp[1].getsockname()[1]
        for one in (*self._all, *self._tcp):
            one.setblocking(False)

    def visitors(self) -> int:
        """Packets and connections since the last look."""
        count = 0
        with contextlib.suppress(BlockingIOError):
            while self.udp.recv(65535):
                count += 1
        for listening in self._tcp:
            with contextlib.suppress(BlockingIOError):
                while True:
                    listening.accept()[0].close()
                    count += 1
        return count

    def close(self) -> None:
        for one in (*self._all, *self._tcp):
            one.close()


class House:
    def __init__(
        self, pbx: RunningPbx, scale: Scale, tap: Wiretap | None, present: set[str], at_end: contextlib.ExitStack
    ) -> None:
        self.pbx, self.scale, self.tap, self._at_end = pbx, scale, tap, at_end
        self.random = random.Random(scale.seed)
        self.present = present
        """The addresses from which packets really come, or came in a house before this one."""
        self.reached: set[tuple[str, int]] = set()
        """Whom the PBX has sent to at an address that is not among those."""
        self.listener = Listener()
        at_end.callback(self.listener.close)
        self.ann = self.phone(VICTIM, "127.0.0.11")
        self.ben = self.phone(OTHER, "127.0.0.13")
        self.mallory = self.attacker("127.0.0.12", OWN)
        self.stranger = self.attacker("127.0.0.17")

    def phone(self, number: str, host: str, register: bool = True) -> Caller:
        phone = Caller(UdpWire(host), self.pbx.server, number, PASSWORDS[number], self.pbx.domain)
        self._at_end.callback(phone.close)
        self.present.add(host)
        if register:
            phone.register(contact="*", expires=0)  # what an attack before this one has left
            phone.register()
        return phone

    def attacker(self, host: str, number: str = "") -> Attacker:
        attacker = Attacker(self.pbx.server, host, number, PASSWORDS.get(number, ""), self.pbx.domain)
        self._at_end.callback(attacker.close)
        self.present.add(host)
        return attacker

    def some(self, whole: Iterable[Item], quick: int) -> list[Item]:
        """All of them, or in small a few, the same for the same seed."""
        items = list(whole)
        if not self.scale.quick or len(items) <= quick:
            return items
        return [items[place] for place in sorted(self.random.sample(range(len(items)), quick))]

    def uri(self, number: str) -> str:
        return f"sip:{number}@{self.pbx.domain}"

    def bound(self, number: str) -> list[tuple[object, ...]]:
        """The registrations of a number, in all that an attacker would want to change."""
        names = (
            "contact", "remote_host", "remote_port", "path", "expires_at", "call_id", "cseq", "instance", "nonce", "nc"
        )
        return [tuple(row[name] for name in names) for row in self.pbx.all_bindings(number)]

    def connect(self, caller: Caller, called: Caller) -> tuple[Dialog, Dialog]:
        call = caller.invite(called.number)
        theirs = called.answer(called.expect("INVITE"), ack=False)
        ours = call.connected()
        called.expect("ACK", call_id=theirs.call_id)
        return ours, theirs

    def hang_up(self, caller: Caller, ours: Dialog, called: Caller, theirs: Dialog) -> bool:
        """The honest end of a call; whether both still knew it."""
        sent = caller.request(ours, "BYE")
        called.take_bye(theirs)
        return caller.final(sent).status == 200

    def settle(self) -> None:
        """Note whom the PBX has sent to since the last look."""
        if self.tap is not None:
            for packet in self.tap.packets():
                if packet.destination[0] not in self.present:
                    self.reached.add(packet.destination)

    def disturbed(self, *phones: Caller, seconds: float = 0.25) -> list[str]:
        """What has come to these phones that they did not ask for, by start line; their inboxes are empty then."""
        came: list[str] = []
        end = phones[0].wire.now() + seconds
        for phone in phones:
            while phone.pump(max(0.0, end - phone.wire.now())):
                pass
            came += [f"{message.start} to {phone.number}" for message in phone.inbox if message.status != 100]
            phone.inbox.clear()
        return came
