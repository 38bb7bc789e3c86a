"""One port towards one phone: who may be heard on it, and where its media goes.

Nobody can be made to hear or to speak on it who is not the phone (hardening rows 26-28, rule 7):

- media goes only to the address the phone named, if its signalling comes from that address, or to the source that
  this port is locked to;
- a phone whose signalling comes from the IP address it names has no NAT before it: it is heard from the port it named
  and from no other, whoever else shares its address. (Who names a wrong port of its own is found after two seconds in
  which nothing came from that one.)
- behind a NAT it is locked to the first source that has the IP address of the signalling, or is exactly the address
  named; not before the other phone has answered, so that there is little time to be faster than the phone, and in the
  first two seconds the port it named, which most routers keep, outdoes any other;
- a new source is then taken only once after each new description (where the router has kept the port: not on hold, and
  after two seconds in which that one was silent), or when a NAT has changed the port: the same IP address, the same
  SSRC, and silence of the old port for two seconds; if the old port speaks again, that was somebody else;
- what comes from elsewhere is counted and dropped.

A locked RTP port has a second socket, connected to its phone, beside the first: the kernel itself then keeps strangers
away from it, and the relay's loop reads and writes without looking at addresses.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Protocol

from sipcore.protocol.sdp import Media

from .ports import SockAddress, open_socket

MOVE_SILENCE = 2.0  # seconds the old port must have been silent before a new port of the same phone is followed
OFFER_SILENCE = 0.5  # the same after a description that names no new address
SMALLEST_RTP = 12  # bytes
LARGE_STEP = 3000  # RFC 3550 A.1: a larger step in sequence numbers is a new beginning
LATE = 0x10000 - 200  # a step back of less than 200 is a late packet
HEAD = struct.Struct("!HHII")  # version and payload type, sequence number, timestamp, SSRC
VERSION_AND_TYPE = 0xC07F
NO_TYPE = 0xFFFF

Address = tuple[str, int]
Send = Callable[[bytes | bytearray | memoryview], object]


class Loop(Protocol):
    """What a stream needs of the relay's loop."""

    now: float  # monotonic seconds

    def watch(self, opened: socket.socket, stream: Stream, *, connected: bool) -> None: ...
    def forget(self, opened: socket.socket) -> None: ...
    def is_own(self, address: Address) -> bool: ...
    def add_own(self, *addresses: str) -> None: ...


class Stream:
    """RTP (with ``sibling`` = its RTCP) or RTCP (without). ``plain``: any datagram passes (DTLS, T.38)."""

    __slots__ = (
        "address",
        "anywhere",
        "bytes",
        "cold",
        "described",
        "destination",
        "elsewhere",
        "feeder",
        "first",
        "former",
        "fresh",
        "head",
        "held",
        "hot",
        "jitter",
        "junk",
        "last",
        "locked",
        "loop",
        "lost",
        "media",
        "moved",
        "out",
        "packets",
        "plain",
        "port",
        "rate",
        "rates",
        "rtcp",
        "sequence",
        "settled",
        "sibling",
        "signalled",
        "sink",
        "ssrc",
        "stays",
        "talks",
        "transit",
        "trusted",
        "untouchable",
    )

    def __init__(self, loop: Loop, cold: socket.socket, address: str, port: int, sibling: Stream | None = None) -> None:
        self.loop = loop
        self.cold = cold  # bound only: hears everybody
        self.hot: socket.socket | None = None  # connected: hears the phone alone
        self.address = address  # bound
        self.port = port
        self.sibling = sibling  # the RTP stream of this RTCP stream
        self.rtcp = sibling is not None
        self.plain = False
        self.untouchable = False  # SRTP: not a bit may be changed
        self.sink: Stream | None = None  # where packets that arrive here go
        self.feeder: Stream | None = None  # whose packets go here
        self.held = False  # the phone does not want to hear anything now
        self.out: Send | None = None  # the sink's way out; None: nowhere
        # who may speak
        self.trusted = ""  # the IP address the phone's signalling comes from
        self.signalled: Address | None = None  # what its description names
        self.anywhere = False
        self.fresh = False  # a description has come since the lock
        self.moved = False  # and it names another address than the one before
        self.described = 0.0  # monotonic seconds
        self.talks = True  # it is expected to speak and to listen: nobody holds
        self.settled = 0.0  # monotonic seconds: when both phones had described themselves; 0: not yet
        self.locked: SockAddress | None = None
        self.former: SockAddress | None = None  # where it was before its NAT changed the port, as far as that is known
        self.stays = False  # that was somebody else: it is not followed again
        self.destination: SockAddress | None = None
        # what has arrived
        self.media: Media | None = None  # what the phone has said of it
        self.rates: dict[int, int] | None = None  # hertz of each payload type, once they are asked for
        self.packets = 0
        self.bytes = 0
        self.lost = 0
        self.jitter = 0.0  # timestamp units
        self.first = 0.0
        self.last = 0.0
        self.elsewhere = 0
        self.junk = 0
        self.head = NO_TYPE
        self.ssrc = -1
        self.sequence = 0
        self.rate = 8000
        self.transit = 0.0
        loop.watch(cold, self, connected=False)

    # Signalling

    def describe(self, signalled: Address | None, trusted: str, anywhere: bool, talks: bool) -> None:
        """The phone has sent a description, which names ``signalled`` (None: nothing to be sent there), from the IP
        address ``trusted`` ("" when unknown)."""
        self.described, self.talks = self.loop.now, talks
        if signalled is not None and self.loop.is_own(signalled):
            signalled = None  # media in a circle
        self.moved = (signalled, trusted) != (self.signalled, self.trusted)
        self.signalled, self.trusted, self.anywhere = signalled, trusted, anywhere
        self.fresh = True
        self.former, self.stays = None, False
        if self.moved:
            self.head = NO_TYPE  # the next packet is looked at, also by the relay's loop
        if signalled is not None and signalled[0] == trusted and (self.locked is None or self.moved):
            self._send_to(signalled)

    def settle(self) -> None:
        """The other phone has answered: from now on this one is expected to speak."""
        self.settled = self.settled or self.loop.now

    def lead_to(self, sink: Stream | None) -> None:
        """Packets that arrive here go there from now on; to the phone itself when ``sink`` is this stream."""
        if self.sink is not None:
            self.sink.feeder = None
        self.sink = sink
        if sink is not None:
            sink.feeder = self
        self.set_out()

    def hold(self, held: bool) -> None:
        """Whether nothing is sent to the phone for now."""
        self.held = held
        if self.feeder is not None:
            self.feeder.set_out()

    def set_out(self) -> None:
        sink = self.sink
        if sink is None or sink.held:
            self.out = None
        elif sink is self:
            self.out = self._reflect
        else:
            self.out = sink.hot.send if sink.hot is not None else sink.send

    def _reflect(self, packet: bytes | bytearray | memoryview) -> None:
        """Back to the phone, as from another source: one's own SSRC would look like a loop (RFC 3550 8.2). What is
        encrypted stays as it is, since the SSRC is part of what is signed."""
        if not self.untouchable and not self.plain:
            packet = bytearray(packet)
            packet[8] ^= 0xFF
        self.send(packet)

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Towards the phone; nowhere while its address is not known. Raises OSError as sockets do."""
        if self.hot is not None:
            self.hot.send(data)
        elif self.destination is not None:
            self.cold.sendto(data, self.destination)

    def close(self) -> None:
        for opened in (self.hot, self.cold):  # in this order: alone, the first could be bound beside by strangers
            if opened is not None:
                self.loop.forget(opened)
                opened.close()
        if self.feeder is not None:
            self.feeder.lead_to(None)
        self.lead_to(None)
        self.hot, self.destination, self.locked, self.sibling = None, None, None, None

    # Packets. The loop itself handles the common case of a connected socket.

    def receive_cold(self, size: int, source: SockAddress, packet: memoryview) -> bool:
        """A packet from anybody; whether it may pass."""
        head, _, _, ssrc = HEAD.unpack_from(packet)
        if not self._well_formed(size, head):
            self.junk += 1
            return False
        if self.rtcp:
            ssrc = int.from_bytes(packet[4:8], "big")
        if source != self.locked and not self._admit(source, ssrc):
            if self.trusted or self.signalled is not None:  # else it may be the phone, faster than its description
                self.elsewhere += 1
            return False
        self.count(size, packet)
        return True

    def count(self, size: int, packet: memoryview) -> None:
        """Figures of a packet that is not the next one of its kind."""
        now = self.loop.now
        if not self.packets:
            self.first = now
        self.packets += 1
        self.bytes += size
        self.last = now
        if self.rtcp or self.plain or size < SMALLEST_RTP:
            if self.rtcp:
                self.ssrc = int.from_bytes(packet[4:8], "big")
            return
        head, sequence, timestamp, ssrc = HEAD.unpack_from(packet)
        known = self.head != NO_TYPE
        if ssrc != self.ssrc or not known:
            self.ssrc, self.sequence = ssrc, sequence
        else:
            self.step(sequence)
        head &= VERSION_AND_TYPE
        if head != self.head:  # telephone events among the voice: no base for jitter
            if self.rates is None:
                self.rates = self.media.rates if self.media is not None else {}
            self.head, self.rate = head, self.rates.get(head & 0x7F) or self.rate
        self.transit = now * self.rate - timestamp

    def step(self, sequence: int) -> None:
        """From the last sequence number to this one (RFC 3550 A.1): what is left out is lost until it comes late."""
        step = (sequence - self.sequence) & 0xFFFF
        if 0 < step < LARGE_STEP:
            self.lost += step - 1
            self.sequence = sequence
        elif step > LATE:
            self.lost -= self.lost > 0
        elif step:
            self.sequence = sequence

    def receive_hot(self, size: int, packet: memoryview) -> bool:
        """A packet of the phone itself that is not just the next of its kind; whether it may pass."""
        if not self._well_formed(size, HEAD.unpack_from(packet)[0]):
            self.junk += 1
            return False
        if (self.locked is None or self.moved) and self.hot is not None:
            with contextlib.suppress(OSError):
                peer = self.hot.getpeername()
                if self.locked is None or peer[:2] == self.signalled:
                    self.locked = peer
                    self.fresh = self.moved = False
        self.count(size, packet)
        return True

    def _well_formed(self, size: int, head: int) -> bool:
        if self.rtcp:
            return size >= 8 and head >> 14 == 2 and 192 <= head & 0xFF <= 223
        if self.plain:
            return size > 0
        # Types 72-79 are RTCP on the wrong port (RFC 5761 4): no media, and nobody is locked to it.
        return size >= SMALLEST_RTP and head >> 14 == 2 and not 72 <= head & 0x7F <= 79

    def _admit(self, source: SockAddress, ssrc: int) -> bool:
        """Whether a source this port is not locked to may be taken; then it is locked to it."""
        address = (source[0].partition("%")[0], source[1])
        if self.loop.is_own(address) or not (self._is_named(address) or self._may_be(address, ssrc)):
            if source != self.former:
                return False
            self.former, self.stays = None, True
        self._lock(source)
        return True

    def _is_named(self, address: Address) -> bool:
        """It is where the phone said it would be, and comes from where its signalling does: no guess can outdo that.
        Behind a NAT the port alone is the one named: that outdoes a port that was faster."""
        if self.signalled is None or address[0] != self.trusted or address[1] != self.signalled[1]:
            return False
        return address == self.signalled or self.locked is None or self.loop.now - self.settled < MOVE_SILENCE

    def _keeps_port(self) -> bool:
        """Whether this port is locked to the phone's address and the very port that it named."""
        return (
            self.locked is not None
            and self.signalled is not None
            and self.locked[0].partition("%")[0] == self.trusted
            and self.locked[1] == self.signalled[1]
        )

    def _may_be(self, address: Address, ssrc: int) -> bool:
        """Whether it may be the phone behind its NAT; or one that has none and speaks from another port than it says,
        after the one it named has been silent all the time."""
        if not self._believed(address):
            return False
        direct = self.signalled is not None and self.signalled[0] == self.trusted and not self.anywhere
        if self.locked is None:
            return bool(self.settled) and (not direct or self.loop.now - self.settled > MOVE_SILENCE)
        if direct and self._keeps_port():
            return False
        if self.fresh and not direct and self._may_be_new():
            return True
        if ssrc != self.ssrc or self.plain or self.stays or not self._same_host(address):
            return False
        if self.loop.now - self.last <= MOVE_SILENCE:
            return False
        self.former = self.former or self.locked
        return True

    def _may_be_new(self) -> bool:
        """Whether a phone that has described itself again is not heard any more from where it was."""
        if self.moved:
            return True
        if self._keeps_port():
            return self.talks and self.loop.now - max(self.last, self.described) > MOVE_SILENCE
        return self.loop.now - self.last > OFFER_SILENCE

    def _same_host(self, address: Address) -> bool:
        return self.locked is not None and address[0] == self.locked[0].partition("%")[0]

    def _believed(self, address: Address) -> bool:
        if address[0] == self.trusted or address == self.signalled:
            return True
        if self.locked is not None and not self.fresh:
            return self._same_host(address)
        if not self.trusted and self.signalled is not None and address[0] == self.signalled[0]:
            return True
        if self.anywhere:
            # RTCP follows its RTP and finds no other place by itself
            rtp = self.sibling
            return rtp is None or (rtp.locked is not None and rtp.locked[0] == address[0])
        return False

    def _lock(self, source: SockAddress) -> None:
        self.locked = source
        self.fresh = self.moved = False
        self._send_to(source)

    def _send_to(self, address: SockAddress) -> None:
        self.destination = address
        if self.rtcp:
            return  # too few packets to be worth a socket
        known, hot = self.hot, self.hot
        self.hot = None
        try:
            hot = hot or open_socket(self.address, self.port, beside=self.cold)
            hot.connect(address)
            self.hot = hot
        except OSError:  # no route, or no file descriptor left: the cold socket serves both ways
            if known is not None:
                self.loop.forget(known)
            if hot is not None:
                hot.close()
        else:
            _drain(hot)
            if known is None:
                self.loop.watch(hot, self, connected=True)
        if self.feeder is not None:
            self.feeder.set_out()


def _drain(hot: socket.socket) -> None:
    """What came to it between `bind` and `connect`, or from the peer before: a packet or two, dropped."""
    with contextlib.suppress(OSError):
        for _ in range(64):
            hot.recv(1)


def deliver(out: Send, packet: memoryview) -> None:
    """Send and forget: a closed port of a phone, a full buffer or a missing route cost that packet and no more."""
    with contextlib.suppress(OSError):
        out(packet)
