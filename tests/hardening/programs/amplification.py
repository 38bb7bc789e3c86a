"""What a sender without a password can make the PBX send, to himself and to others: bytes out by bytes in for every
method, from the longest request that phones send to the shortest that can be understood, with one challenge and with
two. He sends from an address at which no phone was ever registered."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.hardening.conformance.peer import Address, Peer, branch
from tests.hardening.programs import Figure, Scale
from tests.support.media_engines import rtp_ports
from tests.support.pbx import RunningPbx, SqliteStore

KNOWN, UNKNOWN = "1001", "1999"
METHODS = (
    "REGISTER", "INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE", "REFER", "INFO", "NOTIFY", "PUBLISH", "BYE", "CANCEL",
    "ACK", "PRACK", "UPDATE", "DANCE",
)  # fmt: skip
GOALS = {"MD5": 1.5, "SHA-256,MD5": 2.0}
VICTIMS = "127.0.0.66", "127.0.0.67", "127.0.0.68"
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\n"
    b"a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
)


class Stranger(Peer):
    address = "127.0.0.9"


@dataclass
class Worst:
    """Of many requests."""

    factor: float = 0.0
    what: str = ""
    requests: int = 0
    answered: int = 0
    packets: int = 0
    """Most for one request."""

    def add(self, what: str, asked: int, answers: list[int]) -> None:
        self.requests += 1
        self.answered += bool(answers)
        self.packets = max(self.packets, len(answers))
        if sum(answers) / asked > self.factor:
            self.factor, self.what = sum(answers) / asked, f"{what}, {asked} bytes"


def measure(scale: Scale) -> Iterator[Figure]:
    first, last = rtp_ports()
    for algorithms, goal in GOALS.items():
        settings = {
            "RTPENGINE_URLS": "", "RTP_PORTS": f"{first}-{last}", "GUARD_TRUSTED_NETS": "none",
            "SIP_DIGEST_ALGORITHMS": algorithms,
        }  # fmt: skip
        with RunningPbx(SqliteStore(), settings=settings) as pbx:
            pbx.create_extensions({KNOWN: "s3cret-pass"})
            yield from _factors(pbx, algorithms, goal, scale)
            if algorithms == "MD5":
                yield _garbage(pbx, scale)
                yield _repetitions(pbx, scale)
                yield _reflection(pbx)


def _factors(pbx: RunningPbx, algorithms: str, goal: float, scale: Scale) -> Iterator[Figure]:
    packets = 0
    kinds = {
        "requests as phones send them": _usual, "mandatory headers only": _mandatory,
        "shortest that can be understood": _shortest, "credentials invented": _invented,
        "lines that grow when they are answered": _growing, "malformed": _malformed,
    }  # fmt: skip
    with Stranger(pbx.server, pbx.domain) as peer:
        for kind, make in kinds.items():
            worst = Worst()
            for number in (KNOWN, UNKNOWN):
                peer.number = number
                for method in METHODS:
                    for data in make(peer, method):
                        worst.add(method, len(data), [len(got.raw) for got in peer.answers(data)])
            packets = max(packets, worst.packets)
            yield _factor(f"{algorithms}: {kind}", worst, goal)
        worst = Worst()
        for size in range(60, 500, scale.of(1, 11)):
            data = _padded(peer, "MESSAGE", size)
            worst.add("MESSAGE", len(data), [len(got.raw) for got in peer.answers(data)])
        packets = max(packets, worst.packets)
        yield _factor(f"{algorithms}: any length from 60 to 500 bytes", worst, goal)
    yield Figure(f"{algorithms}: packets for one", f"{packets}", "one", packets <= 1)


def _factor(what: str, worst: Worst, goal: float) -> Figure:
    measured = f"{worst.factor:.2f} times at most ({worst.what}); {worst.answered} of {worst.requests} answered"
    return Figure(what, measured, f"at most {goal:g} times the bytes", worst.factor <= goal)


def _uri(peer: Peer, method: str) -> str:
    return f"sip:{peer.domain}" if method == "REGISTER" else f"sip:{peer.number}@{peer.domain}"


def _usual(peer: Peer, method: str) -> Iterator[bytes]:
    """As baresip, linphone and Zoiper send them, or shorter."""
    add = [("User-Agent", "Zoiper rv2.10.19.7"), ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE")]
    but = {"Contact": f"<sip:{peer.number}@{peer.host}:{peer.port};transport=UDP>", "Expires": "600"}
    body = b""
    if method in ("INVITE", "UPDATE"):
        add.append(("Content-Type", "application/sdp"))
        body = SDP
    yield peer.request(method, _uri(peer, method), but, add, body)


def _mandatory(peer: Peer, method: str) -> Iterator[bytes]:
    """RFC 3261 8.1.1."""
    yield peer.request(method, _uri(peer, method))


def _shortest(peer: Peer, method: str, more: str = "") -> Iterator[bytes]:
    """Compact, no Content-Length, names of one letter; one form with a branch of today and one without."""
    for via in (f"a;branch={branch()}", "a;branch=z9hG4bK1", "a"):
        yield (
            f"{method} {_uri(peer, method)} SIP/2.0\r\nv:SIP/2.0/UDP {via}\r\nf:<sip:1@{peer.domain}>;tag=1\r\n"
            f"t:<sip:1@{peer.domain}>\r\ni:1\r\nCSeq:1 {method}\r\n{more}\r\n"
        ).encode()


def _padded(peer: Peer, method: str, size: int) -> bytes:
    short = list(_shortest(peer, method))[1]
    return short if size < len(short) + 5 else short[:-2] + b"X:" + b"x" * (size - len(short) - 4) + b"\r\n\r\n"


def _invented(peer: Peer, method: str) -> Iterator[bytes]:
    """The nonce is not ours: another challenge, with stale=true."""
    short = f'Digest username="1", realm="{peer.domain}", nonce="1", uri="sip:1", response="1"'
    whole = (
        f'Digest username="{peer.number}", realm="{peer.domain}", nonce="{"A" * 40}", uri="{_uri(peer, method)}", '
        f'response="{"0" * 32}", algorithm=MD5, cnonce="1", qop=auth, nc=00000001'
    )
    for value in (short, whole, "Basic YTpi", "Digest x"):
        yield peer.request(method, _uri(peer, method), None, [("Authorization", value)])


def _growing(peer: Peer, method: str) -> Iterator[bytes]:
    """Compact names come back in full, and some lines come back at all: as many of them as are read."""
    yield from _shortest(peer, method, "v:a\r\n" * 100)
    yield from _shortest(peer, method, "v:SIP/2.0/UDP b\r\n" * 100)
    yield from _shortest(peer, method, "".join(f"Record-Route:<sip:{n}>\r\n" for n in range(60)))
    yield from _shortest(peer, method, "Require:" + ",".join(f"x{n}" for n in range(60)) + "\r\n")


def _malformed(peer: Peer, method: str) -> Iterator[bytes]:
    [short] = list(_shortest(peer, method))[1:2]
    for old, new in (
        (b"SIP/2.0\r\n", b"SIP/7.0\r\n"), (b"CSeq:1 ", b"CSeq:1 X"), (b"i:1", b"i:1\r\ni:2"), (b"t:<", b"t:<<"),
        (b"CSeq:1", b"Content-Length:9\r\nCSeq:1"), (b"CSeq:1", b"CSeq:99999999999"), (b"sip:", b"tel:"),
        (b"\r\n\r\n", b"\r\nMax-Forwards:0\r\n\r\n"), (b"\r\n\r\n", b"\r\nMax-Forwards:x\r\n\r\n"),
        (b"\r\n\r\n", b"\r\nContact:<\r\n\r\n"), (f"@{peer.domain} S".encode(), b"@elsewhere S"),
        (b"\r\n\r\n", b"\r\nAuthorization:Digest\r\n\r\n"), (b"\r\n\r\n", b"\r\n"),
    ):  # fmt: skip
        yield short.replace(old, new, 1)


def _garbage(pbx: RunningPbx, scale: Scale) -> Figure:
    """What is no request of SIP. (A double CRLF is a keep-alive of RFC 5626, and half of it the answer.)"""
    chance = random.Random(scale.seed)
    with Stranger(pbx.server, pbx.domain) as peer:
        [request] = _mandatory(peer, "REGISTER")
        packets = [
            b"hello\r\n\r\n", b"SIP/2.0 200 OK\r\n\r\n", b"REGISTER sip:pbx.test SIP/2.0\r\n\r\n", b"\0" * 100,
            request.replace(b"REGISTER sip:pbx.test SIP/2.0", b"SIP/2.0 200 OK"),
            request.replace(b"SIP/2.0\r\n", b"HTTP/1.1\r\n", 1), request.replace(b"Via:", b"Viva:"),
            request.replace(b"REGISTER", b"ACK"), request.replace(b"From:", b"Form:"), b"\r\n" * 50,
            *(chance.randbytes(chance.randrange(1, 1400)) for _ in range(scale.of(500, 50))),
            *(request[: chance.randrange(1, 60)] for _ in range(scale.of(100, 10))),
        ]  # fmt: skip
        answered = [data for data in packets if peer.answers(data)]
    measured = f"{len(answered)} of {len(packets)} answered" + (f", one was {answered[0]!r:.80}" if answered else "")
    return Figure("garbage", measured, "none answered", not answered)


def _repetitions(pbx: RunningPbx, scale: Scale) -> Figure:
    """What was answered once must not come again by itself: INVITE's answers are repeated only to who was proven."""
    seconds = scale.of(8, 2)  # T1 is 0.5 s: the first of timer G comes after that
    with Stranger(pbx.server, pbx.domain) as peer:
        for method in METHODS:
            for data in (*_usual(peer, method), *list(_invented(peer, method))[1:2]):
                peer.send(data)
        answers = _drained(peer.socket, seconds)
    late = sum(when > 0.4 for when, _ in answers)
    return Figure("answers that come again", f"{late} in {seconds} s", "none without a valid nonce", not late)


def _drained(opened: socket.socket, seconds: float) -> list[tuple[float, bytes]]:
    begin, found = time.monotonic(), []
    while (left := begin + seconds - time.monotonic()) > 0:
        if select.select([opened], [], [], left)[0]:
            found.append((time.monotonic() - begin, opened.recv(65_535)))
    return found


def _reflection(pbx: RunningPbx) -> Figure:
    """Messages that name somebody else in every place where an address can stand."""
    with contextlib.ExitStack() as stack:
        victims = [stack.enter_context(_Victim(host)) for host in VICTIMS]
        peer = stack.enter_context(Stranger(pbx.server, pbx.domain))
        sent = 0
        for victim in victims:
            for data in _naming(peer, victim.address):
                peer.send(data)
                sent += 1
        peer.ask(peer.request("OPTIONS"))  # all before it have been read now
        _drained(peer.socket, 1.5)
        hit = sum(victim.packets() for victim in victims)
    measured = f"{hit} packets or connections after {sent} messages"
    return Figure("third parties that a message names", measured, "nothing reaches them", not hit)


class _Victim:
    """Listens on UDP and TCP."""

    def __init__(self, host: str) -> None:
        self._tcp = socket.create_server((host, 0))
        self.address: Address = self._tcp.getsockname()[:2]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(self.address)

    def __enter__(self) -> _Victim:
        return self

    def __exit__(self, *_: object) -> None:
        self._tcp.close()
        self._udp.close()

    def packets(self) -> int:
        return len(select.select([self._tcp, self._udp], [], [], 0)[0])


def _naming(peer: Peer, victim: Address) -> Iterator[bytes]:
    host, port = victim
    there = f"{host}:{port}"
    vias = (
        f"SIP/2.0/UDP {there};branch={branch()}", f"SIP/2.0/UDP {there};branch={branch()};rport",
        f"SIP/2.0/UDP {there};branch={branch()};rport={port};received={host}",
        f"SIP/2.0/UDP {peer.host}:{peer.port};branch={branch()};maddr={host}",
        f"SIP/2.0/UDP {peer.host}:{port};branch={branch()};maddr={host};rport",
        f"SIP/2.0/TCP {there};branch={branch()}", f"SIP/2.0/UDP {peer.host};branch={branch()};received={host}",
    )  # fmt: skip
    lines = (
        ("Route", f"<sip:{there};lr>"), ("Record-Route", f"<sip:{there};lr>"), ("Path", f"<sip:{there};lr>"),
        ("Refer-To", f"<sip:{there}>"), ("Reply-To", f"<sip:{there}>"), ("Alert-Info", f"<http://{there}/>"),
        ("Call-Info", f"<http://{there}/>;purpose=icon"), ("Error-Info", f"<sip:{there}>"),
        ("Identity", f"a;info=<http://{there}/cert>;alg=RS256"), ("Service-Route", f"<sip:{there};lr>"),
    )  # fmt: skip
    for method in METHODS:
        own, away = _uri(peer, method), f"sip:1001@{there}"
        for via in vias:
            yield peer.request(method, own, {"Via": via})
        for line in lines:
            yield peer.request(method, own, None, [line])
            yield peer.request(method, away, None, [line])
        yield peer.request(method, own, {"Contact": f"<sip:1001@{there}>", "From": f"<sip:1001@{there}>;tag=1"})
        yield peer.request(method, away, {"To": f"<sip:1001@{there}>;tag=1"})
        yield peer.request(method, f"sip:{there};transport=tcp")
        ours = f"SIP/2.0/UDP {peer.server[0]}:{peer.server[1]};branch={branch()}"
        response = peer.request(method, own, {"Via": ours})
        below = response.replace(b"\r\nMax-", f"\r\nVia: SIP/2.0/UDP {there};branch={branch()}\r\nMax-".encode())
        for status in (b"SIP/2.0 180 Ringing", b"SIP/2.0 200 OK", b"SIP/2.0 302 Moved Temporarily"):
            yield below.replace(below[: below.index(b"\r\n")], status, 1)
