"""Two fake phones and what lies between them, for tests of media engines."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterable

from sipcore.protocol.sdp import parse_sdp
from tests.support.processes import wait_until


def rtp(sequence: int, ssrc: int, *, payload: int = 8, timestamp: int | None = None) -> bytes:
    """20 ms of G.711 silence."""
    stamp = sequence * 160 if timestamp is None else timestamp
    return struct.pack("!BBHII", 0x80, payload, sequence & 0xFFFF, stamp & 0xFFFFFFFF, ssrc) + b"\xd5" * 160


def rtcp(ssrc: int) -> bytes:
    """A receiver report about nobody (RFC 3550 6.4.2)."""
    return struct.pack("!BBHI", 0x80, 201, 1, ssrc)


class Phone:
    """An RTP and an RTCP socket on one of the addresses of loopback. ``named``: the address its description gives,
    where it is behind a NAT."""

    def __init__(self, ip: str, *, ssrc: int, named: str = "") -> None:
        self.ip = ip
        self.ssrc = ssrc
        self.named = named or ip
        self.sequence = 0
        self.version = 0
        self.relay: tuple[str, int] | None = None
        self.rtp, self.rtcp = pair(ip)
        self.port = self.rtp.getsockname()[1]

    def close(self) -> None:
        self.rtp.close()
        self.rtcp.close()

    def new_port(self) -> None:
        """As a NAT does that has forgotten it."""
        old = (self.rtp, self.rtcp)
        self.rtp, self.rtcp = pair(self.ip)
        for one in old:
            one.close()

    def describe(self, *extra: str, direction: str = "sendrecv", address: str = "", port: int | None = None) -> bytes:
        self.version += 1
        named = address or self.named
        family = "IP6" if ":" in named else "IP4"
        lines = [
            "v=0", f"o=- 7 {self.version} IN {family} {self.named}", "s=-", f"c=IN {family} {named}", "t=0 0",
            f"m=audio {self.port if port is None else port} RTP/AVP 8 101",
            "a=rtpmap:8 PCMA/8000", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", f"a={direction}", *extra,
        ]  # fmt: skip
        return "".join(f"{line}\r\n" for line in lines).encode()

    def told(self, sdp: bytes) -> None:
        """The description that the phone receives: where to send."""
        self.relay = place(sdp)

    def say(self, count: int = 1, *, to: tuple[str, int] | None = None, pause: float = 0.0) -> None:
        target = to or self.relay
        assert target is not None
        for _ in range(count):
            self.sequence += 1
            self.rtp.sendto(rtp(self.sequence, self.ssrc), target)
            time.sleep(pause)

    def report(self) -> None:
        assert self.relay is not None
        self.rtcp.sendto(rtcp(self.ssrc), (self.relay[0], self.relay[1] + 1))


def pair(ip: str) -> tuple[socket.socket, socket.socket]:
    """An even port and the next."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    while True:
        one, other = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        one.bind((ip, 0))
        port = one.getsockname()[1]
        try:
            if port % 2 == 0:
                other.bind((ip, port + 1))
                return one, other
        except OSError:
            pass
        one.close()
        other.close()


def place(sdp: bytes, index: int = 0) -> tuple[str, int]:
    session = parse_sdp(sdp)
    media = session.media[index]
    connection = session.connection_of(media)
    assert connection is not None
    return connection.address, media.port


def packets(opened: socket.socket, seconds: float) -> list[bytes]:
    """What comes within so long."""
    found = []
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([opened], [], [], left)[0]:
            found.append(opened.recv(4096))
    return found


def hears(listener: socket.socket, speaker: Phone, *, ssrc: int | None = None) -> None:
    """Packets of the speaker arrive; it repeats itself, as real phones do. Raises DeadlinePassed."""

    def arrived() -> bool:
        speaker.say()
        return any(packet[8:12] == struct.pack("!I", speaker.ssrc if ssrc is None else ssrc)
                   for packet in packets(listener, 0.03))  # fmt: skip

    wait_until(arrived, "packets of the other phone", 8)


def deaf(listeners: Iterable[socket.socket], seconds: float = 0.3) -> bool:
    """Nothing arrives on any of them for so long."""
    return not any(select.select(list(listeners), [], [], seconds)[0])


def empty(*listeners: socket.socket) -> None:
    for opened in listeners:
        while select.select([opened], [], [], 0.02)[0]:
            opened.recv(4096)
