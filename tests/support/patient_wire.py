"""A wire for :class:`tests.support.caller.Caller` over a network that loses datagrams: the transactions of RFC 3261 17
below a phone that knows none. Requests are repeated (timers A, B, E, F), answers to INVITE too (G, H, 13.3.1.4), and
what the other side repeats is answered here and never shown to the phone. Like the phones it shares no line with
``sipcore``."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import re
import secrets
import socket
import time
from collections import Counter
from dataclasses import dataclass

from tests.support.caller import Address, Caller, Header, Msg, Sent
from tests.support.loop_thread import LoopThread

T1, T2 = 0.5, 4.0
LONG = 64 * T1
WAIT = LONG + 8.0
"""Seconds a phone waits for anything: when no answer comes its transaction ends before."""

BRANCH = re.compile(rb"^(?:Via|v)\s*:[^\r\n]*?;\s*branch\s*=\s*([^\s;,]+)", re.IGNORECASE | re.MULTILINE)
CALL_ID = re.compile(rb"^(?:Call-ID|i)\s*:\s*(\S+)", re.IGNORECASE | re.MULTILINE)
CSEQ = re.compile(rb"^CSeq\s*:\s*(\d+)\s+([A-Z]+)", re.IGNORECASE | re.MULTILINE)
FROM = re.compile(rb"^From:[^\r\n]*", re.MULTILINE)
TO = re.compile(rb"^(?:To|t)\s*:[^\r\n]*", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class _Head:
    branch: bytes
    call_id: bytes
    number: int
    method: bytes
    status: int
    within: bool  # a dialog: To has a tag

    @classmethod
    def read(cls, data: bytes) -> _Head | None:
        head = data.partition(b"\r\n\r\n")[0]
        branch, call_id, cseq, to = (pattern.search(head) for pattern in (BRANCH, CALL_ID, CSEQ, TO))
        if not (branch and call_id and cseq and to):
            return None
        status = int(head[8:11]) if head.startswith(b"SIP/2.0 ") and head[8:11].isdigit() else 0
        return cls(branch[1], call_id[1], int(cseq[1]), cseq[2], status, b";tag=" in to[0])

    @property
    def key(self) -> tuple[bytes, bytes]:
        return self.branch, self.method

    @property
    def call(self) -> tuple[bytes, int]:
        return self.call_id, self.number


@dataclass
class _Repeated:
    """What goes out again and again."""

    data: bytes
    to: Address
    pause: float
    until: float
    longest: float
    handle: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None


class PatientWire:
    """``counts``: "sent", "sent again", "received", "received again", "given up" (no answer within 64*T1)."""

    def __init__(self, loop: LoopThread, host: str = "127.0.0.1") -> None:
        self.counts: Counter[str] = Counter()
        self._loop = loop
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind((host, 0))
        self.address: Address = self._socket.getsockname()
        self._inbox: queue.Queue[tuple[bytes, Address]] = queue.Queue()
        self._asked: dict[tuple[bytes, bytes], _Repeated] = {}
        self._final: dict[tuple[bytes, bytes], int] = {}  # the status each got
        self._acks: dict[bytes, tuple[bytes, Address]] = {}  # by branch, for failures
        self._acks_of_calls: dict[tuple[bytes, int], tuple[bytes, Address]] = {}
        self._served: dict[tuple[bytes, bytes], tuple[bytes, Address] | None] = {}
        self._waiting: dict[tuple[bytes, int], _Repeated] = {}  # answers to INVITE without their ACK
        loop.get(lambda: loop.loop.add_reader(self._socket, self._readable))

    # What Caller asks for

    def send(self, data: bytes, to: Address) -> None:
        self._loop.do(self._send, data, to)

    def receive(self, seconds: float) -> tuple[bytes, Address] | None:
        try:
            return self._inbox.get(timeout=max(0.001, seconds))
        except queue.Empty:
            return None

    def now(self) -> float:
        return time.monotonic()

    def close(self) -> None:
        self._loop.get(self._close)

    @property
    def unacknowledged(self) -> int:
        """Answers to INVITE that still wait for their ACK."""
        return self._loop.get(lambda: len(self._waiting))

    def _close(self) -> None:
        self._loop.loop.remove_reader(self._socket)
        for repeated in (*self._asked.values(), *self._waiting.values()):
            repeated.stop()
        self._socket.close()

    # Out

    def _put(self, data: bytes, to: Address) -> None:
        with contextlib.suppress(OSError):  # as if lost
            self._socket.sendto(data, to)

    def _send(self, data: bytes, to: Address) -> None:
        self.counts["sent"] += 1
        self._put(data, to)
        head = _Head.read(data)
        if head is None:
            return
        if head.status:
            self._served[head.key] = (data, to)
            if head.method == b"INVITE" and head.status >= 200:
                self._waiting[head.call] = self._repeat(_Repeated(data, to, T1, self.now() + LONG, T2))
        elif head.method == b"ACK":
            self._acks[head.branch] = self._acks_of_calls[head.call] = (data, to)
        else:
            longest = LONG if head.method == b"INVITE" else T2
            self._asked[head.key] = self._repeat(_Repeated(data, to, T1, self.now() + LONG, longest))

    def _repeat(self, repeated: _Repeated) -> _Repeated:
        repeated.handle = self._loop.loop.call_later(repeated.pause, self._again, repeated)
        return repeated

    def _again(self, repeated: _Repeated) -> None:
        if self.now() >= repeated.until:
            self.counts["given up"] += 1
            repeated.handle = None
            return
        self.counts["sent again"] += 1
        self._put(repeated.data, repeated.to)
        repeated.pause = min(2 * repeated.pause, repeated.longest)
        repeated.handle = self._loop.loop.call_later(
            min(repeated.pause, max(0.0, repeated.until - self.now())), self._again, repeated
        )

    # In

    def _readable(self) -> None:
        for _ in range(64):
            try:
                data, source = self._socket.recvfrom(65535)
            except OSError:
                return
            head = _Head.read(data)
            if head is None:
                if data.strip(b"\r\n\0") and not data.startswith(b"SIP/2.0 "):
                    self._inbox.put((data, source))  # the phone complains; an answer to nothing of ours is stray
                continue
            fresh = self._answered(head, data) if head.status else self._was_asked(head, data, source)
            self.counts["received" if fresh else "received again"] += 1
            if fresh:
                self._inbox.put((data, source))

    def _answered(self, head: _Head, data: bytes) -> bool:
        asked = self._asked.get(head.key)
        if asked is None or not self._is_ours(head, data, asked.data):
            return False
        if head.status < 200:
            if head.method == b"INVITE":
                asked.stop()
            asked.pause = max(asked.pause, T2)
            return head.key not in self._final
        asked.stop()
        if head.key not in self._final:
            self._final[head.key] = head.status
            return True
        ack = None
        if head.method == b"INVITE":
            ack = self._acks_of_calls.get(head.call) if head.status < 300 else self._acks.get(head.branch)
        if ack is not None:
            self.counts["sent again"] += 1
            self._put(*ack)
        return False

    def _is_ours(self, head: _Head, answer: bytes, request: bytes) -> bool:
        """Our sent-by (RFC 3261 18.1.2), and the call and From of what we asked."""
        asked = _Head.read(request)
        host, port = self.address
        lines = [FROM.search(message) for message in (answer, request)]
        return (
            b"\r\nVia: SIP/2.0/UDP %s:%d;" % (host.encode(), port) in answer
            and asked is not None
            and asked.call == head.call
            and lines[0] is not None
            and lines[1] is not None
            and lines[0][0] == lines[1][0]
        )

    def _was_asked(self, head: _Head, data: bytes, source: Address) -> bool:
        if head.method == b"ACK":
            answer = self._waiting.pop(head.call, None)
            if answer is not None:
                answer.stop()
            if head.key in self._served:
                return False
            self._served[head.key] = None
            return answer is not None
        if head.key in self._served:
            known = self._served[head.key]
            if known is not None:
                self.counts["sent again"] += 1
                self._put(*known)
            return False
        self._served[head.key] = None
        if head.method == b"OPTIONS" and not head.within:
            self._send(_ok(data), source)  # a keep-alive: whatever the phone is busy with
            return False
        return True


def _ok(request: bytes) -> bytes:
    lines = ["SIP/2.0 200 OK"]
    for line in request.partition(b"\r\n\r\n")[0].decode("utf-8", "replace").split("\r\n")[1:]:
        name = line.partition(":")[0].strip().lower()
        if name in ("via", "from", "call-id", "cseq"):
            lines.append(line)
        elif name == "to":
            lines.append(f"{line};tag={secrets.token_hex(4)}")
    return ("\r\n".join([*lines, "Content-Length: 0"]) + "\r\n\r\n").encode()


class PatientPhone(Caller):
    """Waits as long as transactions last."""

    def expect(self, what: str | int, seconds: float = WAIT, *, method: str = "", call_id: str = "") -> Msg:
        return super().expect(what, max(seconds, WAIT), method=method, call_id=call_id)

    def final(self, sent: Sent, seconds: float = WAIT) -> Msg:
        return super().final(sent, max(seconds, WAIT))

    def respond_ok(self, request: Msg, headers: list[Header] | None = None, body: bytes = b"") -> None:
        self.respond(request, 200, "OK", [("Contact", self.contact), *(headers or [])], body)
