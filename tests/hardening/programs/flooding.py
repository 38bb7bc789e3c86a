"""Nine kinds of flood, sent by a process of their own. Nothing here has a password.

One socket sends from as many addresses as a kind needs: all of 127.0.0.0/8 is this machine, and each packet may say
from which of them it comes (IP_PKTINFO). So answers come back and can be read, as by a botnet that is really there."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import random
import resource
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

Address = tuple[str, int]

IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)  # Python 3.11 lacks it
SOURCES = 4_000
"""Addresses of a flood from everywhere."""

TICK = 0.002
OPEN_AT_ONCE = 6_000
"""Connections that an attacker keeps open; the oldest is closed for a new one."""

ONE = "127.66.0.1"
"""The address of a flood from one source."""


@dataclass(frozen=True)
class Sent:
    """What the flood was."""

    packets: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.packets / max(self.seconds, 1e-9)


class Kind:
    """One kind of flood. ``each`` sends one packet (or opens one connection); ``between`` reads what came back."""

    def __init__(self, server: Address, domain: str, seed: int) -> None:
        self.server, self.domain = server, domain
        self.random = random.Random(seed)
        self.count = 0

    def each(self) -> None:
        raise NotImplementedError

    def between(self) -> None:
        """Between two bursts."""

    def close(self) -> None:
        """Leave nothing open."""


class UdpKind(Kind):
    def __init__(self, server: Address, domain: str, seed: int) -> None:
        super().__init__(server, domain, seed)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self.socket.bind(("0.0.0.0", 0))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes, source: str) -> None:
        info = struct.pack("=i4s4s", 0, socket.inet_aton(source), b"\0\0\0\0")
        with contextlib.suppress(BlockingIOError):
            self.socket.sendmsg([data], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, self.server)

    def receive(self) -> tuple[bytes, str] | None:
        """An answer, and to which of our addresses."""
        try:
            data, ancillary, _, _ = self.socket.recvmsg(65535, 64)
        except BlockingIOError:
            return None
        for _, kind, value in ancillary:
            if kind == IP_PKTINFO:
                return data, socket.inet_ntoa(value[8:12])
        return data, ""

    def somewhere(self) -> str:
        """One of ``SOURCES`` addresses."""
        place = self.random.randrange(SOURCES)
        return f"127.{70 + place // 1000}.{place // 250 % 4}.{1 + place % 250}"

    def number(self) -> str:
        return str(self.random.randrange(100, 99_999))

    def message(
        self, method: str, source: str, number: str = "", *more: str, to: str = "", body: str = "", call_id: str = ""
    ) -> bytes:
        """As a phone would write it. Each is another call."""
        self.count += 1
        number = number or self.number()
        to = to or (f"<sip:{number}@{self.domain}>" if method == "REGISTER" else f"<sip:{self.number()}@{self.domain}>")
        uri = f"sip:{self.domain}" if method == "REGISTER" else to.partition("<")[2].partition(">")[0]
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {source}:{self.port};branch=z9hG4bK{self.random.getrandbits(64):x};rport",
            "Max-Forwards: 70",
            f"From: <sip:{number}@{self.domain}>;tag={self.random.getrandbits(32):x}",
            f"To: {to}",
            f"Call-ID: {call_id or f'{self.random.getrandbits(96):x}'}",
            f"CSeq: {self.random.randrange(1, 9999)} {method}",
            f"Contact: <sip:{number}@{source}:{self.port}>",
            "User-Agent: friendly-scanner",
            *more,
            f"Content-Length: {len(body)}",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def credentials(self, number: str, nonce: str, method: str = "REGISTER", count: int = 1) -> str:
        return (
            f'Authorization: Digest username="{number}", realm="{self.domain}", nonce="{nonce}", '
            f'uri="sip:{self.domain}", response="{self.random.getrandbits(128):032x}", algorithm=MD5, '
            f'cnonce="{self.random.getrandbits(32):x}", qop=auth, nc={count:08x}'
        )


class Registers(UdpKind):
    """REGISTER without credentials: many numbers, from everywhere."""

    def each(self) -> None:
        source = self.somewhere()
        self.send(self.message("REGISTER", source, "", "Expires: 600"), source)


class MadeUp(UdpKind):
    """REGISTER with an Authorization that is made up, from one address."""

    def each(self) -> None:
        number, nonce = self.number(), f"{self.random.getrandbits(240):060x}"[:40]
        self.send(self.message("REGISTER", ONE, number, self.credentials(number, nonce)), ONE)


class Guesses(UdpKind):
    """REGISTER with wrong passwords and nonces that were really given: a botnet that reads its answers."""

    def __init__(self, server: Address, domain: str, seed: int) -> None:
        super().__init__(server, domain, seed)
        self.nonces: dict[str, tuple[str, int]] = {}

    def each(self) -> None:
        number = f"1{self.random.randrange(100):03d}"
        source = f"127.74.{self.random.randrange(10)}.{int(number) - 999}"  # each has its number: that is slowed last
        nonce, count = self.nonces.get(source, ("", 0))
        if not nonce:
            self.send(self.message("REGISTER", source, number), source)
            return
        self.nonces[source] = nonce, count + 1
        self.send(self.message("REGISTER", source, number, self.credentials(number, nonce, count=count + 1)), source)

    def between(self) -> None:
        while (got := self.receive()) is not None:
            data, source = got
            nonce = data.partition(b'nonce="')[2].partition(b'"')[0].decode()
            if nonce:
                self.nonces[source] = nonce, 0


class Invites(UdpKind):
    """INVITE without credentials, half of them from one address."""

    SDP = (
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\n"
        "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
    )

    def each(self) -> None:
        source = self.somewhere() if self.count % 2 else ONE
        self.send(self.message("INVITE", source, "", "Content-Type: application/sdp", body=self.SDP), source)


class Options(UdpKind):
    """OPTIONS, which are answered 200, from everywhere."""

    def each(self) -> None:
        source = self.somewhere()
        self.send(self.message("OPTIONS", source, "", "Accept: application/sdp"), source)


class Texts(UdpKind):
    """SUBSCRIBE, MESSAGE, PUBLISH and REFER, from everywhere; the texts are as long as texts may be."""

    def each(self) -> None:
        source = self.somewhere()
        method = ("SUBSCRIBE", "MESSAGE", "PUBLISH", "REFER")[self.count % 4]
        more = {
            "SUBSCRIBE": ["Event: dialog", "Expires: 3600"], "MESSAGE": ["Content-Type: text/plain"],
            "PUBLISH": ["Event: presence"], "REFER": [f"Refer-To: <sip:{self.number()}@{self.domain}>"],
        }[method]  # fmt: skip
        self.send(self.message(method, source, "", *more, body="x" * 1200 if method == "MESSAGE" else ""), source)


class Garbage(UdpKind):
    """Noise, cut and broken messages, and large ones, from everywhere."""

    def each(self) -> None:
        source, which = self.somewhere(), self.count % 10
        data = self.message("REGISTER", source)
        if which == 0:
            data = self.random.randbytes(self.random.randrange(1, 1400))
        elif which == 1:
            data = data[: self.random.randrange(len(data))]
        elif which == 2:
            data = bytes(self.random.choice((byte, byte, byte, self.random.randrange(256))) for byte in data)
        elif which == 3:
            data = data.replace(b"\r\nCSeq:", b"\r\nX" + b": " * 9_000 + b"\r\nCSeq:")
        elif which == 8:  # refused, and a key of 20,000 bytes
            data = data.replace(self.domain.encode(), b"elsewhere.test").replace(b"z9hG4bK", b"z9hG4bK" + b"x" * 20_000)
        elif which == 9:
            data = data.replace(b"Call-ID: ", b"Call-ID: " + b"x" * 20_000)
        elif which == 4:
            data = data.replace(b"Via: ", b"V\x01ia: ")
        elif which == 5:
            data = data.replace(b"Content-Length: 0", b"Content-Length: 99999999999999999999")
        elif which == 6:
            data = data.replace(b"Max-Forwards: 70\r\n", b"".join(b"X-%d: a\r\n" % n for n in range(120)))
        else:
            data = b"\r\n\r\n" if self.count % 20 == 7 else b"\0" * 30
        self.send(data, source)


class Strays(UdpKind):
    """ACK, BYE, CANCEL, PRACK and responses that belong to nothing, from everywhere; tags and branches made up."""

    def each(self) -> None:
        source, which = self.somewhere(), self.count % 5
        if which == 4:
            self.count += 1
            head = f"SIP/2.0 {self.random.choice((100, 180, 200, 401, 486, 503))} Whatever"
            request = self.message("INVITE", source).decode()
            self.send((head + request[request.index("\r\n") :]).encode(), source)
            return
        method = ("ACK", "BYE", "CANCEL", "PRACK")[which]
        to = f"<sip:{self.number()}@{self.domain}>;tag={self.random.getrandbits(64):016x}"
        self.send(self.message(method, source, "", to="" if method == "CANCEL" else to), source)


class Streams(Kind):
    """TCP connections: silent ones, such as dribble a byte a time, such as speak HTTP or TLS, and such as ask one
    thing and stay. Half of them from one address."""

    def __init__(self, server: Address, domain: str, seed: int) -> None:
        super().__init__(server, domain, seed)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.most = min(OPEN_AT_ONCE, (hard if hard != resource.RLIM_INFINITY else 65_536) - 200)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, self.most + 200)), hard))
        self.open: deque[socket.socket] = deque()
        self.slow: deque[socket.socket] = deque(maxlen=500)

    def each(self) -> None:
        self.count += 1
        place = self.random.randrange(SOURCES)
        source = ONE if self.count % 2 else f"127.{70 + place // 1000}.{place // 250 % 4}.{1 + place % 250}"
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        # Gone for good when it is closed: the flood is to wear out the server, not our own ports.
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            opened.bind((source, 0))
            opened.connect(self.server)
        except OSError as error:
            if error.errno != errno.EINPROGRESS:
                opened.close()
                return
        self.open.append(opened)
        kind = self.count // 2 % 4
        with contextlib.suppress(OSError):
            if kind == 1:
                opened.send(b"REGISTER sip:pbx.test SIP/2.0\r\nVia: ")
                self.slow.append(opened)
            elif kind == 2:
                opened.send(b"GET / HTTP/1.1\r\nHost: pbx\r\n\r\n" if place % 2 else b"\x16\x03\x01\x02\x00\x01\x00")
            elif kind == 3:
                opened.send(
                    f"OPTIONS sip:{self.domain} SIP/2.0\r\nVia: SIP/2.0/TCP {source};branch=z9hG4bK{self.count}\r\n"
                    f"From: <sip:1@{source}>;tag=1\r\nTo: <sip:{self.domain}>\r\nCall-ID: {self.count}\r\n"
                    "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n".encode()
                )
        if len(self.open) > self.most:
            self.open.popleft().close()

    def between(self) -> None:
        for _ in range(min(20, len(self.slow))):
            opened = self.slow.popleft()
            with contextlib.suppress(OSError):
                opened.send(b"a")
                self.slow.append(opened)

    def close(self) -> None:
        for opened in self.open:
            opened.close()


KINDS: dict[str, type[Kind]] = {
    "REGISTER without credentials, 4,000 sources": Registers,
    "REGISTER with an invented Authorization, one source": MadeUp,
    "REGISTER with wrong passwords and valid nonces, 1,000 sources": Guesses,
    "INVITE without credentials": Invites,
    "OPTIONS": Options,
    "SUBSCRIBE, MESSAGE, PUBLISH, REFER": Texts,
    "garbage, broken and large packets": Garbage,
    "stray ACK, BYE, CANCEL, PRACK and answers": Strays,
    "TCP connections: silent, slow, nonsense, idle": Streams,
}


class Flood:
    """One flood, from entering to leaving; ``sent`` is known after that.

    with Flood("OPTIONS", server, domain, rate=2000, seed=1) as flood:
        ...
    """

    def __init__(self, kind: str, server: Address, domain: str, *, rate: int, seed: int) -> None:
        context = multiprocessing.get_context("fork")  # there is no second thread here, and it begins at once
        self._ours, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_send, args=(kind, server, domain, rate, seed, theirs), name="flood", daemon=True
        )
        self._process.start()
        theirs.close()
        self._ours.recv()  # it is ready
        self.sent = Sent(0, 0.0)

    def __enter__(self) -> Flood:
        self._ours.send("begin")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._ours.send("end")
            if self._ours.poll(10):
                self.sent = self._ours.recv()
        except (OSError, EOFError):
            pass  # it has died: nothing sent is what it is worth
        finally:
            self._process.join(5)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
            self._ours.close()


def _send(kind: str, server: Address, domain: str, rate: int, seed: int, told: Connection) -> None:
    """The other process."""
    flood = KINDS[kind](server, domain, seed)
    told.send("ready")
    told.recv()
    try:
        told.send(_paced(flood, rate, told.poll))
    finally:
        flood.close()


def _paced(flood: Kind, rate: int, over: Callable[[], bool]) -> Sent:
    """So many a second; what could not be sent in time is sent at once then, but no more than a tenth of a second's."""
    begin = now = time.monotonic()
    sent, skipped = 0, 0
    while not over():
        due = int((now - begin) * rate) - sent - skipped
        late = due - rate // 10
        if late > 0:
            skipped += late
            due -= late
        for _ in range(due):
            flood.each()
        sent += due
        flood.between()
        time.sleep(TICK)
        now = time.monotonic()
    return Sent(sent, now - begin)
