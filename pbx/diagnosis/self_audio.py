"""The sound of the doctor's own call: random bytes as G.711 packets out, and what of them comes back."""

from __future__ import annotations

import os
import secrets
import select
import socket
import struct
import time
from dataclasses import dataclass

from sipcore.protocol.errors import SipError
from sipcore.protocol.sdp import parse_sdp

PACKET_SECONDS = 0.02
PAYLOAD_BYTES = 160  # G.711: 8000 samples a second
TAIL_SECONDS = 0.5  # listened after the last packet
PCMA = 8
_HEADER = struct.Struct(">BBHII")  # RFC 3550 5.1

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Echo:
    """Packets sent, packets that came back unchanged, and the median way there and back in milliseconds."""

    sent: int
    returned: int
    milliseconds: float
    target: str  # where they were sent, host:port

    @property
    def good(self) -> bool:
        """Some loss at the beginning is no fault: the relay learns first where the phone is."""
        return self.returned >= self.sent * 0.8


def offer(host: str, port: int) -> bytes:
    family = "IP6" if ":" in host else "IP4"
    lines = (
        "v=0", f"o=- {secrets.randbelow(2**31)} 1 IN {family} {host}", "s=-", f"c=IN {family} {host}", "t=0 0",
        f"m=audio {port} RTP/AVP {PCMA} 0", "a=rtpmap:8 PCMA/8000", "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=sendrecv",
    )
    return "".join(f"{line}\r\n" for line in lines).encode()


def target_of(sdp: bytes) -> Address | None:
    """Where the answer wants the sound; None when it wants none."""
    try:
        session = parse_sdp(sdp)
    except SipError:
        return None
    for media in session.media:
        connection = media.connection or session.connection
        if media.kind == "audio" and media.port and connection is not None:
            return connection.address.partition("/")[0], media.port
    return None


def measure_echo(voice: socket.socket, target: Address | None, packets: int) -> Echo:
    """Speak and listen at the pace of a call. Never raises."""
    if target is None:
        return Echo(packets, 0, 0.0, "")
    host, port = target
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    source = secrets.randbits(32)
    sequence, stamp = secrets.randbits(15), secrets.randbits(31)
    waiting: dict[bytes, float] = {}
    ways: list[float] = []
    begin = time.monotonic()
    sent = 0
    end = begin + packets * PACKET_SECONDS + TAIL_SECONDS
    while (now := time.monotonic()) < end and len(ways) < packets:
        if sent < packets and now >= begin + sent * PACKET_SECONDS:
            payload = os.urandom(PAYLOAD_BYTES)
            header = _HEADER.pack(
                0x80, PCMA, (sequence + sent) & 0xFFFF, (stamp + sent * PAYLOAD_BYTES) & 0xFFFFFFFF, source
            )
            waiting[payload] = now
            sent += 1
            try:
                voice.sendto(header + payload, target)
            except OSError:
                continue
        due = begin + sent * PACKET_SECONDS if sent < packets else end
        ready, _out, _bad = select.select([voice], [], [], max(0.0, due - time.monotonic()))
        if ready:
            try:
                data = voice.recv(2048)
            except OSError:
                continue
            left = waiting.pop(data[12:], None)
            if left is not None:
                ways.append(time.monotonic() - left)
    ways.sort()
    return Echo(packets, len(ways), ways[len(ways) // 2] * 1000 if ways else 0.0, place)
