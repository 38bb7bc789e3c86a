"""Who takes part in the program ``media``: phones that talk, attackers that spray, victims that are named, and ears
that note every datagram that anybody of them gets."""

from __future__ import annotations

import random
import select
import socket
import struct
import threading
import time
from collections import Counter

from tests.media.phones import Phone, pair, rtcp
from tests.support.caller import Address, Caller, UdpWire
from tests.support.cases import PASSWORD
from tests.support.pbx import RunningPbx

MARK = b"\xee\x5a" * 16
"""In each packet of an attacker, and in no other."""

RELAY = "127.0.0.1"
BREATH = 0.003
"""Seconds after a spray. rtpengine in user space gives a port up for good after five bursts of more than 50 packets:
that would be a flood, and no more a question of who is heard."""


class Ears:
    """Reads all sockets all the time. ``got``: datagrams by the socket's name; ``marked``: those of attackers."""

    def __init__(self) -> None:
        self.got: Counter[str] = Counter()
        self.marked: Counter[str] = Counter()
        self.voices: Counter[tuple[str, int]] = Counter()
        """RTP by the socket's name and SSRC, without the attackers'."""
        self._names: dict[int, str] = {}
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._ending = False
        self._thread = threading.Thread(target=self._listen, daemon=True, name="ears")
        self._thread.start()

    def add(self, name: str, *sockets: socket.socket) -> None:
        for one in sockets:
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            self._names[one.fileno()], self._sockets[one.fileno()] = name, one
            self._epoll.register(one, select.EPOLLIN)

    def forget(self, *sockets: socket.socket) -> None:
        for one in sockets:
            self._epoll.unregister(one)
            del self._sockets[one.fileno()]

    def settle(self) -> None:
        """Wait until what was sent has come."""
        time.sleep(0.1)

    def close(self) -> None:
        self._ending = True
        self._thread.join(5)
        self._epoll.close()

    def _listen(self) -> None:
        while not self._ending:
            for number, _ in self._epoll.poll(0.1):
                opened = self._sockets.get(number)
                try:
                    data = opened.recv(65535) if opened is not None else b""
                except OSError:
                    continue
                name = self._names[number]
                self.got[name] += 1
                if MARK in data:
                    self.marked[name] += 1
                elif len(data) >= 12 and not 192 <= data[1] <= 223:
                    self.voices[name, struct.unpack("!I", data[8:12])[0]] += 1


class Talker:
    """A phone: SIP from ``ip``, sound from there too. ``named``: what its descriptions say instead (a private address
    behind a router)."""

    def __init__(self, crowd: Crowd, number: str, ip: str, ssrc: int, named: str = "") -> None:
        self.crowd, self.number, self.ip = crowd, number, ip
        self.name = f"phone {number}"
        self.sip = Caller(UdpWire(ip), crowd.server, number, PASSWORD, crowd.domain)
        self.sound = Phone(ip, ssrc=ssrc, named=named)
        crowd.ears.add(self.name, self.sound.rtp, self.sound.rtcp)
        self.sip.register(600)

    def heard(self, other: Talker) -> int:
        return self.crowd.ears.voices[self.name, other.sound.ssrc]

    def speak(self, count: int = 1) -> None:
        if self.sound.relay is not None:
            self.sound.say(count)
            self.sound.report()

    def close(self) -> None:
        self.crowd.ears.forget(self.sound.rtp, self.sound.rtcp)
        self.sound.close()
        self.sip.close()


class Attacker:
    """One socket somewhere; it sends whatever might be taken for a phone's, each packet with ``MARK``. ``knows``: it
    guesses SSRC and sequence numbers right."""

    def __init__(self, ears: Ears, ip: str, name: str, seed: int, knows: bool) -> None:
        self.name, self.ip, self.knows = name, ip, knows
        self.sent = 0
        self._dice = random.Random(f"{seed}/{name}/{ip}")
        self._socket, self._other = pair(ip)
        ears.add(name, self._socket, self._other)

    def spray(self, ports: range | list[int], ssrc: int | None = None, sequence: int = 1) -> None:
        """One of each kind to each port."""
        voice = ssrc if ssrc is not None and self.knows else self._dice.getrandbits(32)
        packets = [
            struct.pack("!BBHII", 0x80, 8, sequence & 0xFFFF, sequence * 160 & 0xFFFFFFFF, voice) + MARK * 5,
            rtcp(voice) + struct.pack("!BBHI4s", 0x81, 204, 10, voice, b"EVIL") + MARK,
            struct.pack("!BBHI", 0x80, 203, 1, voice) + MARK,  # BYE: "I am leaving"
            _stun(self._dice),
            _client_hello(self._dice),
            MARK,
        ]
        for port in ports:
            for packet in packets:
                self._send(packet, (RELAY, port))
        time.sleep(BREATH)

    def talk(self, ports: list[int], ssrc: int, sequence: int) -> None:
        """The next packets of a known voice, at its own ports."""
        ssrc = ssrc if self.knows else self._dice.getrandbits(32)
        for port in ports:
            for step in range(3):
                packet = struct.pack("!BBHII", 0x80, 8, (sequence + step) & 0xFFFF, (sequence + step) * 160, ssrc)
                self._send(packet + MARK * 5, (RELAY, port))

    def _send(self, packet: bytes, to: Address) -> None:
        try:
            self._socket.sendto(packet, to)
        except OSError:
            return  # an ICMP error of the packet before: nobody is at that port
        self.sent += 1

    def close(self, ears: Ears) -> None:
        ears.forget(self._socket, self._other)
        self._socket.close()
        self._other.close()


class Crowd:
    """Everybody at one PBX."""

    def __init__(self, pbx: RunningPbx, engine: str, ports: tuple[int, int], seed: int) -> None:
        self.pbx, self.engine, self.server, self.domain = pbx, engine, pbx.server, pbx.domain
        self.ports = range(ports[0], ports[1] + 1)
        self.seed = seed
        self.ears = Ears()
        self.attackers: list[Attacker] = []
        self.talkers: list[Talker] = []

    def talker(self, number: str, ip: str, ssrc: int, named: str = "") -> Talker:
        self.talkers.append(Talker(self, number, ip, ssrc, named))
        return self.talkers[-1]

    def attacker(self, ip: str, name: str = "", *, knows: bool = True) -> Attacker:
        self.attackers.append(Attacker(self.ears, ip, name or f"attacker {ip}", self.seed, knows))
        return self.attackers[-1]

    def victim(self, ip: str, name: str) -> int:
        """Somebody who has nothing to do with it; its even port."""
        one, other = pair(ip)
        self.ears.add(name, one, other)
        return int(one.getsockname()[1])

    def close(self) -> None:
        for talker in self.talkers:
            talker.close()
        for attacker in self.attackers:
            attacker.close(self.ears)
        self.ears.close()


def _stun(dice: random.Random) -> bytes:
    """A Binding request (RFC 5389 6) with USERNAME."""
    attribute = struct.pack("!HH", 0x0006, len(MARK)) + MARK
    return struct.pack("!HHI", 0x0001, len(attribute), 0x2112A442) + dice.randbytes(12) + attribute


def _client_hello(dice: random.Random) -> bytes:
    """DTLS 1.2 (RFC 6347 4.2.2), far enough to begin a handshake with whoever takes part in one."""
    body = b"\xfe\xfd" + dice.randbytes(32) + b"\0\0" + b"\0\x02\xc0\x2b" + b"\x01\0"
    body += struct.pack("!H", len(MARK)) + MARK
    handshake = b"\x01" + len(body).to_bytes(3, "big") + b"\0\0" + b"\0\0\0" + len(body).to_bytes(3, "big") + body
    return b"\x16\xfe\xff" + b"\0" * 8 + struct.pack("!H", len(handshake)) + handshake
