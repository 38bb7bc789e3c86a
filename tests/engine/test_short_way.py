"""The short way of a REGISTER against the general way: whatever the packet, nobody can tell which one was gone."""

from __future__ import annotations

import random
from unittest import TestCase
from unittest.mock import patch

from django.test import tag
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sipcore.guard.door import Door
from sipcore.guard.guard import Guard
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import parse_message
from tests.engine.core_under_test import Engine, Phone
from tests.protocol.test_robustness import NASTY

HERE = ("192.0.2.1", 5060)
THERE = ("192.168.1.5", 5062)
CONTACT = "Contact: <sip:1001@192.168.1.5:5062>"

# What a phone or an attacker may change in its first REGISTER, and in the one with credentials.
CHANGES = [
    ("Max-Forwards: 70", "Max-Forwards: 0"), ("Max-Forwards: 70", "Max-Forwards: 256"), ("Max-Forwards: 70\r\n", ""),
    ("User-Agent: Zoiper\r\n", ""), ("User-Agent: Zoiper", "User-Agent: Zoiper Z\u00e9 \u202e"),
    ("User-Agent: Zoiper", "User-Agent: " + "Z" * 300), ("User-Agent: Zoiper", "User-Agent:  Zoiper "),
    ("Call-ID: ", "i: "), ("Call-ID: ", "call-id : "), ("Call-ID: 1001@phone", "Call-ID: a b"),
    ("Call-ID: 1001@phone", "Call-ID: " + "c" * 255), ("Call-ID: 1001@phone", "Call-ID: " + "c" * 256),
    (";tag=a", ""), (";tag=a", ";tag=a;x=1"), ("To: <sip:1001@pbx.test>", "To: <sip:1001@pbx.test>;tag=b"),
    ("To: <sip:1001@", "To: 1001 <sip:1001@"), ("To: <sip:1001@", "To: <sip:%31001@"),
    ("To: <sip:1001@", "To: <sip:1002@"), ("From: <sip:1001@", "From: \"A\" <sip:1001@"),
    ("From: <sip:1001@", "From: <sip:2000@"),
    ("From: <sip:1001@pbx.test>", "From: <sip:1001@PBX.test;transport=udp>"),
    ("To: <sip:1001@pbx.test>", "To: <tel:1001>"), ("To: <sip:1001@pbx.test>", "To: <sip:1001@elsewhere.test>"),
    ("REGISTER sip:pbx.test ", "REGISTER sip:elsewhere.test "), ("REGISTER sip:pbx.test ", "REGISTER sip:192.0.2.1 "),
    ("REGISTER sip:pbx.test ", "REGISTER sip:pbx.test:5060 "), ("REGISTER sip:pbx.test ", "REGISTER sips:pbx.test "),
    ("REGISTER sip:pbx.test ", "REGISTER tel:1 "), ("REGISTER sip:pbx.test ", "REGISTER sip:pbx.test?a=b "),
    ("REGISTER sip:pbx.test ", "REGISTER  sip:pbx.test "), ("sip:pbx.test SIP/2.0", "sip:pbx.test SIP/3.0"),
    ("REGISTER\r\n", "register\r\n"), ("CSeq: ", "CSeq: 0"), ("CSeq: ", "CSeq: 99999999"), ("CSeq: ", "CSeq: -"),
    (" REGISTER\r\n", "\tREGISTER\r\n"), (" REGISTER\r\n", " INVITE\r\n"), (CONTACT + "\r\n", ""),
    (CONTACT, "Contact: *"), (CONTACT, "Contact: *\r\nExpires: 0"), (CONTACT, CONTACT + ";expires=0"),
    (CONTACT, CONTACT + ";expires=10"), (CONTACT, CONTACT + ", <sip:1001@192.168.1.6>"), (CONTACT, CONTACT + ","),
    (CONTACT, "Contact: <sip:1001@192.0.2.1:5060>"), (CONTACT, "Contact: <sip:1001@224.0.0.1>"),
    (CONTACT, "Contact: x"), (CONTACT, CONTACT + ';+sip.instance="<urn:uuid:1>";reg-id=1'),
    (CONTACT, CONTACT + ";q=0.5"), (CONTACT, CONTACT + ";q=x"), (CONTACT, CONTACT + "\r\nExpires: 120"),
    (CONTACT, CONTACT + "\r\nExpires: 99999999999"), (CONTACT, CONTACT + "\r\nExpires: -1"),
    (CONTACT, CONTACT + "\r\nExpires: 30"), (CONTACT, CONTACT + "\r\n" + CONTACT),
    (CONTACT, CONTACT + "\r\nSupported: path, gruu"), (CONTACT, CONTACT + "\r\nPath: <sip:p.test;lr>"),
    (CONTACT, CONTACT + "\r\nRequire: gruu"), (CONTACT, CONTACT + "\r\nX-Own: 1"),
    (CONTACT, CONTACT + "\r\nAllow: INVITE, ACK, BYE\r\nAllow-Events: talk"), (CONTACT, CONTACT + "\r\n\tfolded"),
    (CONTACT, CONTACT + "\r\n folded: 1"), (CONTACT, CONTACT + "\r\nRoute: <sip:a;lr>"),
    (CONTACT, CONTACT + "\r\nContent-Type: a/b"),
    ("UDP 192.168.1.5:5062;rport;branch", "UDP 192.168.1.5:5062;branch"),
    (";rport;branch=z9hG4bK", ";branch=z9hG4bK"), (";rport;", ";rport;keep;"), (";rport;", ";rport=1;"),
    (";rport;", ";received=10.0.0.1;rport;"), ("UDP 192.168.1.5:5062", "TCP 192.168.1.5:5062"),
    ("UDP 192.168.1.5:5062", "UDP Phone.Local"), (":5062;", ":05062;"), (":5062;", ":70000;"),
    ("branch=z9hG4bK", "branch=" + "z9hG4bK" * 50), ("branch=z9hG4bK", "branch=old"),
    ("Via: ", "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\r\nVia: "),
    ("Content-Length: 0\r\n\r\n", "Content-Length: 0\r\n\r\nbody"),
    ("Content-Length: 0\r\n\r\n", "Content-Length: 4\r\n\r\nbody"), ("Content-Length: 0\r\n\r\n", "\r\n"),
    ("Content-Length: 0\r\n\r\n", "Content-Length: 0\r\n"), ("Content-Length: 0", "Content-Length: 9"),
    ("Content-Length: 0", "l: 0"), ("\r\n", "\n"), ("From: ", "From: \x00"), ("From: ", "FROM: "),
    ("From: ", "from:"), ("From: ", "From: \t"),
]  # fmt: skip
IN_CREDENTIALS = [
    ("MD5", "md5"), ("MD5", "SHA-256"), ("MD5", "SHA-512-256"), ("qop=auth", "qop=auth-int"),
    ("qop=auth", "qop=AUTH"), (", qop=auth", ""), ('cnonce="c"', 'cnonce=""'), (', cnonce="c"', ""),
    ("nc=00000001", "nc=1"), ("nc=", "nc=z"), ('username="1001"', 'username="1002"'),
    ('username="1001"', 'username=1001'), ('username="1001"', 'username="100\\1"'),
    ('realm="pbx.test"', 'realm="other"'), ('uri="sip:pbx.test"', 'uri="sip:pbx.test:5060"'),
    ('response="', 'response="0'), ('uri="sip:pbx.test"', 'uri="sip:other.test"'),
    ('uri="sip:pbx.test"', 'uri="SIP:PBX.TEST;a=b"'), ('uri="sip:pbx.test"', 'uri="x"'), ("Digest ", "Basic "),
    ("Digest ", "DIGEST "), ('nonce="', 'nonce="A'), ("Authorization: ", "Proxy-Authorization: "),
    ("Authorization: ", "Authorization: Digest realm=x\r\nAuthorization: "), (", nc=", ", nc=00000002, nc="),
    (", nc=", ", opaque=q, nc="),
]  # fmt: skip


class Pair:
    """Two equal engines; the second one knows no short way. All that can be told of them is compared."""

    def __init__(self, **options) -> None:
        with patch("sipcore.authentication.secrets.token_bytes", return_value=b"runs"):
            self.engines = [Engine(**options), Engine(**options)]
        for engine in self.engines:
            core = engine.core
            core.door = Door(Guard(), core.authenticator, engine.clock, core.recorder)
            engine.directory.add("1001")
            engine.directory.add("1002")
            engine.core.remember(THERE[0])
        self.served = 0
        taken = self.engines[0].core._short_way

        def take(data, flow, now):
            done = taken(data, flow, now)
            self.served += done
            return done

        self.engines[0].core._short_way = take
        self.engines[1].core._short_way = lambda data, flow, now: False

    def exchange(self, data: bytes, flow: Flow, settle: bool = True):
        answers = []
        for engine in self.engines:
            engine.core.receive(data, flow)
            engine.core.hand_over()
            if settle:
                engine.core.completed(engine.store.settle())
            answers.append(engine.core.datagrams_to_send())
        assert answers[0] == answers[1], (data, *answers)
        return [parse_message(answer) for answer, _ in answers[0]]

    def states(self):
        return [self._state(engine) for engine in self.engines]

    @staticmethod
    def _state(engine: Engine):
        core, recorder = engine.core, engine.core.recorder
        pools = [
            {key: [(e.at, e.sent, e.flow, e.data, e.size) for e in one.entries] for key, one in pool.by_id.items()}
            for pool in (recorder._phones, recorder._settled, recorder._calls, recorder._strangers)
        ]
        challenges = {
            key: (one.flow, one.transaction, one.data, one.until, one.tries, one.repeats)
            for group in (*recorder._challenges._open.values(), recorder._challenges._lost)
            for key, one in group.items()
        }
        return {
            "rows": engine.directory.rows,
            "evidence": pools,
            "bytes": recorder.kept_bytes,
            "challenges": challenges,
            "found": repr(recorder.take()),
            "open": sorted(core.endpoint._servers),
            "kept": core.endpoint.answers_kept,
            "watched": sorted((id, w.ends, w.heard, w.contact) for id, w in core.keepalive._by_id.items()),
            "waiting": core.pending,
        }

    def lines(self):
        return [[line.partition("[SIP]")[2] for line in engine.log_lines()] for engine in self.engines]


class ShortWayTest(TestCase):
    maxDiff = None

    def pair(self, **options) -> Pair:
        pair = Pair(**options)
        self.addCleanup(self.compare, pair)
        return pair

    def compare(self, pair: Pair) -> None:
        short, general = pair.states()
        self.assertEqual(short, general)
        short_lines, general_lines = pair.lines()
        self.assertEqual(short_lines, general_lines)

    def phone(self, pair: Pair, number: str = "1001", **more) -> Phone:
        return Phone(pair, number, flow=Flow("UDP", HERE, THERE), **more)

    def both(self, phone: Phone, edit, in_credentials: bool = False) -> None:
        """One registration with an edited text: the first message, and the one with credentials."""
        for _ in range(2):
            data = phone.request()
            if not in_credentials or b"Authorization" in data:
                data = edit(data)
            answers = phone.engine.exchange(data, phone.flow)
            for answer in answers:
                if getattr(answer, "status", 0) == 401:
                    phone.take_challenge(answer)
            if phone.nonce is None:
                phone.nonce = ""

    def test_a_usual_registration_goes_the_short_way(self):
        pair = self.pair()
        phone = self.phone(pair)
        self.assertEqual(200, phone.register().status)
        self.assertEqual(2, pair.served)
        self.assertEqual(200, phone.register().status)  # refreshed, with the same nonce
        self.assertEqual(3, pair.served)
        phone.password = "wrong"
        self.assertEqual(403, phone.send(phone.request()).status)
        self.assertEqual(4, pair.served)  # only the store knew
        phone.password = "secret"
        self.assertEqual(200, phone.send(phone.request()).status)
        self.assertEqual(4, pair.served)  # there is something against the sender now

    def test_phones_as_they_are(self):
        """What baresip, MicroSIP (pjsip) and Zoiper send, with other names in it."""
        for lines in (
            (
                "Via: SIP/2.0/UDP 192.168.1.5:5062;branch=z9hG4bK0d9b1c3a5f7e;rport",
                'Contact: <sip:1001-0x55d0c8@192.168.1.5:5062>;+sip.instance="<urn:uuid:7d3a>"', "Max-Forwards: 70",
                "To: <sip:1001@pbx.test>", "From: <sip:1001@pbx.test>;tag=8e0bb6a1", "Call-ID: 5f0e2a",
                "CSeq: 48812 REGISTER", "User-Agent: baresip v1.0.0 (x86_64/linux)", "Expires: 3600",
                "Supported: replaces", "Allow: INVITE,ACK,BYE,CANCEL,OPTIONS,NOTIFY,SUBSCRIBE,INFO,MESSAGE,REFER",
            ),
            (
                "Via: SIP/2.0/UDP 192.168.1.5:5062;rport;branch=z9hG4bKPj4f1c8e", "Max-Forwards: 70",
                'From: "Front desk" <sip:1001@pbx.test>;tag=9b7d0c', 'To: "Front desk" <sip:1001@pbx.test>',
                "Call-ID: 0ab4c1", "CSeq: 21010 REGISTER", "User-Agent: MicroSIP/3.21.3",
                'Contact: "Front desk" <sip:1001@192.168.1.5:5062;ob>', "Expires: 300",
                "Allow: PRACK, INVITE, ACK, BYE, CANCEL, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, OPTIONS",
            ),
            (
                "Via: SIP/2.0/UDP 192.168.1.5:5062;branch=z9hG4bK-524287-1---77c1;rport", "Max-Forwards: 70",
                "Contact: <sip:1001@192.168.1.5:5062;rinstance=a1b2c3;transport=UDP>",
                "To: <sip:1001@pbx.test;transport=UDP>", "From: <sip:1001@pbx.test;transport=UDP>;tag=3f1c9a",
                "Call-ID: kT2fE5..", "CSeq: 1 REGISTER", "Expires: 60", "User-Agent: Zoiper v2.10.20",
                "Allow-Events: presence, kpml, talk", "Supported: replaces, norefersub, extended-refer, timer, path",
            ),
        ):  # fmt: skip
            with self.subTest(lines[0]):
                pair = Pair()
                text = "\r\n".join(["REGISTER sip:pbx.test SIP/2.0", *lines, "Content-Length: 0", "", ""])
                [answer] = pair.exchange(text.encode(), Flow("UDP", HERE, THERE))
                self.assertEqual((401, 1), (answer.status, pair.served))
                self.compare(pair)

    def test_two_challenges(self):
        pair = self.pair(algorithms=("SHA-256", "MD5"))
        phone = self.phone(pair)
        for length in (0, 80, 160, 240, 320, 400, 480, 560, 640, 720):
            phone.nonce = None
            phone.send(phone.request(headers=["Subject: " + "s" * length]))
        self.assertTrue(0 < pair.served < 10)

    def test_who_does_not_go_it(self):
        for options, flow in (
            ({}, Flow("UDP", HERE, ("198.51.100.7", 5062))),  # nobody was ever registered there
            ({"trusted_proxies": lambda host: host == THERE[0]}, Flow("UDP", HERE, THERE)),
            ({}, Flow("TCP", HERE, THERE, "1")),
        ):
            with self.subTest(flow, options=options):
                pair = Pair(**options)
                phone = Phone(pair, flow=flow)
                phone.send(phone.request())
                self.assertEqual(0, pair.served)
                self.compare(pair)

    def test_repetitions(self):
        pair = self.pair()
        phone = self.phone(pair)
        first = phone.request()
        for _ in range(4):  # what we send does not arrive
            phone.engine.exchange(first, phone.flow)
        [answer] = phone.engine.exchange(first, phone.flow)
        phone.take_challenge(answer)
        second = phone.request()
        self.assertEqual([], pair.exchange(second, phone.flow, settle=False))
        self.assertEqual([], pair.exchange(second, phone.flow, settle=False))
        [answer] = pair.exchange(second, phone.flow)
        self.assertEqual(200, answer.status)
        for _ in range(3):
            [answer] = pair.exchange(second, phone.flow)
            self.assertEqual(200, answer.status)

    def test_a_long_number(self):
        """Its two messages go different ways, and what is kept of the first is found by the second."""
        pair = self.pair()
        phone = self.phone(pair, "1" * 300)
        phone.send(phone.request())
        phone.send(phone.request(headers=["X-Own: 1"]))
        for engine in pair.engines:
            engine.clock.time += 10
            self.assertNotIn("challenge_unanswered", repr(engine.core.recorder.take()))

    def test_the_order_of_answers(self):
        pair = self.pair()
        phone = self.phone(pair)
        phone.send(phone.request())
        first = phone.request()
        phone.nc = 0  # the same count again
        second = phone.request()
        pair.exchange(first, phone.flow, settle=False)
        answers = pair.exchange(second, phone.flow)
        self.assertEqual([200, 401], [answer.status for answer in answers])
        [kept] = pair.engines[0].core.recorder._settled.by_id.values()
        self.assertEqual([b"401", b"200", b"401"], [entry.data[8:11] for entry in kept.entries if entry.sent])

    def test_a_nonce_that_grows_old(self):
        pair = self.pair()
        phone = self.phone(pair)
        self.assertEqual(200, phone.register().status)
        for engine in pair.engines:
            engine.clock.time += 7300
        self.assertEqual(401, phone.send(phone.request()).status)
        self.assertEqual(200, phone.send(phone.request()).status)

    def test_another_address_shows_the_nonce(self):
        pair = self.pair()
        phone = self.phone(pair)
        phone.send(phone.request())
        for engine in pair.engines:
            engine.core.remember("192.168.1.77")
        data = phone.request()
        [answer] = pair.exchange(data, Flow("UDP", HERE, ("192.168.1.77", 5062)))
        self.assertEqual(401, answer.status)

    @tag("looks-inside")
    def test_a_server_that_is_full_or_stops(self):
        for stop in (True, False):
            pair = self.pair()
            phone = self.phone(pair)
            phone.send(phone.request())
            for engine in pair.engines:
                if stop:
                    engine.core.drain()
                else:
                    engine.store.has_room = lambda job, beside: False
            with patch("sipcore.core.retry_after", return_value=("Retry-After", "9")):
                self.assertEqual(503, phone.send(phone.request()).status)

    def test_each_change(self):
        for in_credentials, changes in ((False, CHANGES), (True, CHANGES + IN_CREDENTIALS)):
            for old, new in changes:
                with self.subTest(old=old, new=new, in_credentials=in_credentials):
                    pair = Pair()
                    phone = self.phone(pair)
                    self.both(
                        phone,
                        lambda data, old=old, new=new: data.decode().replace(old, new, 1).encode("utf-8"),
                        in_credentials,
                    )
                    self.compare(pair)

    @given(seed=st.integers(0, 2**32), edits=st.integers(1, 3), in_credentials=st.booleans())
    @example(seed=1, edits=1, in_credentials=True)
    @settings(max_examples=300, deadline=None)
    def test_any_change(self, seed: int, edits: int, in_credentials: bool):
        chance = random.Random(seed)

        def spoil(data: bytes) -> bytes:
            for _ in range(edits):
                start = chance.randrange(len(data))
                kind = chance.randrange(4)
                piece = chance.choice(NASTY) if kind else data[start : start + chance.randrange(20)]
                at = chance.randrange(len(data))
                data = data[:at] + piece + data[at + chance.randrange(3) * kind :]
            return data

        pair = Pair()
        self.both(self.phone(pair), spoil, in_credentials)
        self.compare(pair)
