"""Connections of a worker that has no calls: what comes over them is for another one."""

from __future__ import annotations

import os
import socket

from sipcore.guard.guard import Guard
from sipcore.protocol.flow import Flow
from sipcore.workers.handover import Handover
from sipcore.workers.links import AT_ONCE, Kind, Links, make_channel
from tests.engine import test_streams

INVITE = (
    b"INVITE sip:1002@pbx.test SIP/2.0\r\nVia: SIP/2.0/TCP 192.168.1.5:5062;branch=z9hG4bK1\r\n"
    b"From: <sip:a@b>;tag=1\r\nTo: <sip:1002@pbx.test>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class HandedOverTests(test_streams.TcpCase):
    async def asyncSetUp(self):
        await super().asyncSetUp()
        channels = [make_channel() for _ in range(2)]
        outlets = [outlet for _, outlet in channels]
        self.calls, self.links = (
            Links(number, os.dup(channels[number][0].fileno()), [os.dup(outlet.fileno()) for outlet in outlets])
            for number in range(2)
        )
        for one in (*(end for channel in channels for end in channel), self.calls, self.links):
            self.addCleanup(one.close)
        self.handover = Handover(self.links, self.core, self.server, Guard(), self.clock, self.log)

    def fill(self) -> None:
        """The other worker reads nothing any more."""
        while self.links.tell(0, Kind.REACHABLE, [], b"x" * 1000):
            pass
        while self.links.tell(0, Kind.REACHABLE, []):
            pass

    async def test_what_is_handed_over_leaves_the_connection(self):
        phone = await self.connect()
        phone.send(INVITE)
        await self.until(lambda: [message.data for message in self.calls.read()] == [INVITE], "it is handed over")
        self.assertEqual(200, (await phone.register()).status)

    async def test_a_phone_whose_request_cannot_be_handed_over_learns_it_by_the_end_of_its_connection(self):
        phone = await self.connect()
        await phone.register()
        self.fill()
        phone.send(INVITE + INVITE)  # of the second nothing is to be found out any more
        self.assertEqual(b"", await phone.rest())
        await self.until(lambda: not self.living(), "its registration has ended too")
        self.assertRegex(self.log_text(), "Connection from .* ended, 1 registrations with it: another worker has no r")
        while len(self.calls.read()) == AT_ONCE:
            pass
        again = await self.connect()
        again.phone.cseq = 10
        self.assertEqual(200, (await again.register()).status)
        again.send(INVITE)
        await self.until(lambda: [message.data for message in self.calls.read()] == [INVITE], "it is served again")

    async def test_a_datagram_that_cannot_be_handed_over_ends_nothing(self):
        """Its phone sends it again."""
        phone = await self.connect()
        await phone.register()
        self.fill()
        lost = self.links.lost
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.bind((self.host, 0))
            flow = Flow("UDP", (self.host, self.port), datagrams.getsockname())
            self.assertTrue(self.handover.hand_over(INVITE.replace(b"TCP", b"UDP"), flow))
        self.assertEqual(lost + 1, self.links.lost)
        phone.phone.cseq = 10
        self.assertEqual(200, (await phone.register()).status)
