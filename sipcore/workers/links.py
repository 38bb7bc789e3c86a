"""The channels between workers: each has an inlet, into which all others write. One message is one packet of a Unix
socket that the parent has made: nobody else can write into it, and it outlives a worker that dies.

Nobody ever waits for another worker: what its inlet does not take is lost, as a datagram may be, and
:meth:`Links.tell` says so."""

from __future__ import annotations

import errno
import json
import socket
from contextlib import suppress
from enum import Enum
from typing import Any, NamedTuple

from sipcore.protocol.flow import Flow

LARGEST = 96 * 1024
"""Bytes of a message: a SIP message of 64 KB with what is said about it."""

BUFFER = 4 * 1024 * 1024
"""Bytes that may wait for a worker, where the system allows so many."""

AT_ONCE = 64
"""Messages read at one wake-up."""

SO_SNDBUFFORCE = 32


class Kind(Enum):
    PACKET = b"p"
    """A SIP message that came to the sender of this. Head: its flow and its rank."""
    SEND = b"s"
    """A SIP message to be sent over a connection that the receiver of this has. Head: its flow."""
    LOST = b"l"
    """A connection has ended. Head: its flow."""
    MOVED = b"m"
    """A phone has registered from a new address. Head: its binding and the address of before."""
    REGISTERED = b"r"
    """Registrations of these numbers have begun, gone on or ended. Head: the numbers."""
    REACHABLE = b"a"
    """Phones of these extensions answer again, or no more. Head: the extensions' ids."""
    UNANSWERED = b"u"
    """A phone did not answer a call at all. Head: its binding's id, and since when (monotonic seconds)."""
    TRIED = b"t"
    """Credentials were refused or not looked at, or were right after some that were not. Head: the sender for the guard
    and the cause, "" for a success."""
    BLOCKED = b"b"
    """The guard has made a block. Head: the block, of the numbers that it spares perhaps only some."""
    STOPPED = b"e"
    """The calls have been ended: nothing more is to be handed over."""
    READY = b"y"
    """The worker that has all calls serves, perhaps after it had stopped alone and was started again."""


class Message(NamedTuple):
    kind: Kind
    head: Any
    """Plain JSON."""
    data: bytes


def make_channel() -> tuple[socket.socket, socket.socket]:
    """The inlet of a worker and the outlet that leads to it. For the parent."""
    inlet, outlet = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        outlet.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER)
    except OSError:  # not root: what the system allows
        outlet.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    return inlet, outlet


class Links:
    """For worker ``number``. ``inlet`` and ``outlets``: file descriptors from the parent, an outlet for each worker."""

    def __init__(self, number: int, inlet: int, outlets: list[int]) -> None:
        self.number = number
        self.workers = len(outlets)
        kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK
        self.inlet = socket.socket(socket.AF_UNIX, kind, fileno=inlet)
        self._outlets = [socket.socket(socket.AF_UNIX, kind, fileno=file) for file in outlets]
        self.lost = 0
        """Messages that another worker's inlet did not take, or that were too long for it."""
        self.misunderstood = 0

    def tell(self, worker: int, kind: Kind, head: object = None, data: bytes = b"") -> bool:
        """Whether its inlet has taken it."""
        text = json.dumps(head, separators=(",", ":")).encode()
        message = b"%b%b\n%b" % (kind.value, text, data)
        try:
            if len(message) > LARGEST:
                raise OSError(errno.EMSGSIZE, "the other end would read its beginning only")
            self._outlets[worker].send(message)
        except OSError:
            self.lost += 1
            return False
        return True

    def tell_all(self, kind: Kind, head: object = None) -> None:
        """All but ourselves."""
        for worker in range(self.workers):
            if worker != self.number:
                self.tell(worker, kind, head)

    def read(self) -> list[Message]:
        """What has come since, at most ``AT_ONCE``; what is left wakes the loop again."""
        found: list[Message] = []
        while len(found) < AT_ONCE:
            try:
                message = self.inlet.recv(LARGEST)
            except (BlockingIOError, InterruptedError):
                break
            if not message:
                break
            head, _, data = message.partition(b"\n")
            try:
                found.append(Message(Kind(head[:1]), json.loads(head[1:]), data))
            except ValueError:  # of another version of this program: one worker has been started since
                self.misunderstood += 1
        return found

    def close(self) -> None:
        for one in (self.inlet, *self._outlets):
            with suppress(OSError):
                one.close()


def flow_of(head: list[Any]) -> Flow:
    """The flow that stands at the beginning of a head."""
    transport, local, remote, connection = head[:4]
    return Flow(transport, (local[0], local[1]), (remote[0], remote[1]), connection)
