"""A real Kamailio at the edge, as ``deploy/kamailio-edge.cfg`` sets it up: phones know only the edge, the PBX finds
them by Path (RFC 3327) and gives their sound to nobody else, though all their signalling comes from one address."""

from __future__ import annotations

import re
import socket
from typing import ClassVar

from tests.media.phones import Phone as Speaker
from tests.media.phones import deaf, empty, hears
from tests.support.caller import Address, Caller, Dialog, UdpWire
from tests.support.cases import PASSWORD, OnSqlite, PbxCase
from tests.support.kamailio_edge import HOST, KamailioEdge
from tests.support.phone import Phone
from tests.support.processes import wait_until

PRIVATE = "192.168.77.50"  # what a phone behind a router takes for its address


class EdgeWire(UdpWire):
    """Behind a router: the phone names an address that nobody else can reach. What the edge sends to keep the way open
    is answered by no one here, and counted."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.kept_open = 0

    def receive(self, seconds: float) -> tuple[bytes, Address] | None:
        got = super().receive(seconds)
        if got is not None and b"sip:keepalive@edge.invalid" in got[0]:
            self.kept_open += 1
            return b"\r\n", got[1]
        return got


class Forger(Phone):
    """Its REGISTER comes as if within a dialog, and brings a Path of its own."""

    def request(self, method: str, headers: list[str]) -> bytes:
        own = f"Path: <sip:{HOST};lr;received=sip:127.0.0.99%3A5060>\r\nRoute: <sip:{HOST};lr>\r\nTo:".encode()
        head, _, rest = super().request(method, headers).partition(b"To:")
        return head + own + rest.replace(b"\r\n", b";tag=x\r\n", 1)


class EdgeTests(PbxCase):
    settings: ClassVar = {"SIP_TRUSTED_PROXIES": HOST, "RTP_PORTS": "46000-46199"}
    edge: ClassVar[KamailioEdge]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.edge = KamailioEdge(cls.pbx.server)
        cls.addClassCleanup(cls.edge.stop)

    def phone(self, host: str) -> Caller:
        """Registered, through the edge."""
        number = self.new_extension()
        phone = Caller(EdgeWire(host), self.edge.server, number, PASSWORD, self.pbx.domain)
        self.addCleanup(phone.close)
        phone.register()
        return phone

    def speaker(self, phone: Caller, ssrc: int, *, named: str = "") -> Speaker:
        speaker = Speaker(phone.host, ssrc=ssrc, named=named)
        self.addCleanup(speaker.close)
        return speaker

    def talk(self, named: str) -> tuple[Caller, Speaker, Dialog, Caller, Speaker, Dialog]:
        """Two phones connected; ``named``: the address both take for their own, "" for the true ones."""
        ann, ben = self.phone("127.0.0.31"), self.phone("127.0.0.32")
        ann_speaks, ben_speaks = self.speaker(ann, 11, named=named), self.speaker(ben, 22, named=named)
        call = ann.invite(ben.number, ann_speaks.describe())
        invite = ben.expect("INVITE")
        bens = ben.answer(invite, ben_speaks.describe(), ack=False)
        anns = call.connected()
        ben.expect("ACK", call_id=invite.call_id)
        assert call.answer is not None
        ann_speaks.told(call.answer.body)
        ben_speaks.told(invite.body)
        return ann, ann_speaks, anns, ben, ben_speaks, bens

    def test_a_registration_brings_the_way_back_and_the_edge_keeps_it_open(self):
        phone = self.phone("127.0.0.31")
        (binding,) = self.pbx.bindings(phone.number)
        self.assertEqual((binding["remote_host"], binding["remote_port"]), self.edge.server)
        self.assertRegex(binding["path"], rf"^<sip:{re.escape(HOST)}:\d+;lr;received=sip:127\.0\.0\.31:\d+>$")
        wait_until(lambda: phone.pump(0.05) or phone.wire.kept_open, "the edge's keep-alive")

    def test_the_way_back_is_the_edges_whatever_the_phone_writes(self):
        number = self.new_extension()
        with Forger(self.edge.server, number, PASSWORD, self.pbx.domain) as phone:
            self.assertEqual(phone.register().status, 200)
        (binding,) = self.pbx.bindings(number)
        self.assertRegex(binding["path"], rf"^<sip:{re.escape(HOST)}:\d+;lr;received=sip:127\.0\.0\.1:\d+>$")

    def test_a_call_with_sound_both_ways_ended_by_who_was_called(self):
        ann, ann_speaks, anns, ben, ben_speaks, bens = self.talk("")
        hears(ben_speaks.rtp, ann_speaks)
        hears(ann_speaks.rtp, ben_speaks)
        ben.bye(bens)
        ann.take_bye(anns)

    def test_phones_behind_routers_hear_each_other_and_no_stranger(self):
        ann, ann_speaks, anns, ben, ben_speaks, bens = self.talk(PRIVATE)
        stranger = Speaker("127.0.0.66", ssrc=99)
        self.addCleanup(stranger.close)
        beside = Speaker(HOST, ssrc=98)  # the edge itself has no sound
        self.addCleanup(beside.close)
        for one in (stranger, beside):
            one.say(5, to=ann_speaks.relay)
            one.say(5, to=ben_speaks.relay)
        self.assertTrue(deaf([ann_speaks.rtp, ben_speaks.rtp]))
        ann_speaks.say()
        hears(ann_speaks.rtp, ben_speaks)
        hears(ben_speaks.rtp, ann_speaks)
        empty(ann_speaks.rtp, ben_speaks.rtp)
        stranger.say(5, to=ann_speaks.relay)
        self.assertTrue(deaf([ann_speaks.rtp, ben_speaks.rtp]))
        ann.bye(anns)
        ben.take_bye(bens)

    def test_another_phone_behind_the_same_edge_cannot_end_the_call(self):
        ann, _, anns, ben, _, bens = self.talk(PRIVATE)
        eve = self.phone("127.0.0.33")
        stolen = Dialog(anns.call_id, anns.local, anns.remote, anns.target, list(anns.routes), anns.cseq)
        answer = eve.final(eve.request(stolen, "BYE"))
        self.assertEqual(answer.status, 401)
        ben.quiet(0.3, "OPTIONS")
        anns.cseq += 1
        ann.bye(anns)
        ben.take_bye(bens)

    def test_the_edge_leads_nowhere_but_to_the_pbx(self):
        phone = self.phone("127.0.0.31")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as victim:
            victim.bind(("127.0.0.40", 0))
            host, port = victim.getsockname()
            us = f"<sip:{HOST}:{self.edge.server[1]};lr>"
            for routes in ([us], [us, f"<sip:{host}:{port};lr>"]):
                target = f"sip:1@{host}:{port}" if len(routes) == 1 else f"sip:1@127.0.0.1:{self.pbx.port}"
                stolen = Dialog("x", f"<{phone.aor}>;tag=a", f"<{phone.aor}>;tag=b", target, routes)
                self.assertEqual(phone.final(phone.request(stolen, "BYE")).status, 403)
            victim.settimeout(0.2)
            with self.assertRaises(TimeoutError):
                victim.recv(2000)


class EdgeOnSqlite(EdgeTests, OnSqlite):
    pass


del EdgeTests
