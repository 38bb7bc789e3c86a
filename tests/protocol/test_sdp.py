"""Session descriptions: read leniently, written strictly."""

import unittest

from sipcore.protocol.errors import SipError
from sipcore.protocol.sdp import Codec, Connection, parse_sdp

OFFER = b"""v=0
o=alice 2890844526 18446744073709551616 IN IP4 192.0.2.1
s=
i=info
c=IN IP4 192.0.2.1
b=AS:84
t=0 0
r=7d 1h 0 25h
a=group:BUNDLE 0 1
a=sendonly
m=audio 49170/2 RTP/AVP 0 8 101 96
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=rtpmap:96 opus/48000/2
a=ptime:20
a=recvonly
c=IN IP6 2001:db8::1
m=video 0 UDP/TLS/RTP/SAVPF 97
x=unknown
a=rtpmap:97 VP8/90000
m=image 5000 udptl t38
""".replace(b"\n", b"\r\n")


class SdpTest(unittest.TestCase):
    def test_reading(self):
        session = parse_sdp(OFFER)
        audio, video, image = session.media
        self.assertEqual(
            (session.name, session.origin.version, session.bandwidths), ("-", "18446744073709551616", ["AS:84"])
        )
        self.assertEqual((audio.kind, audio.port, audio.port_count, audio.protocol), ("audio", 49170, 2, "RTP/AVP"))
        self.assertEqual(
            audio.codecs,
            [
                Codec(0, "PCMU", 8000, 1, ""),
                Codec(8, "PCMA", 8000, 1, ""),
                Codec(101, "telephone-event", 8000, 1, "0-16"),
                Codec(96, "opus", 48000, 2, ""),
            ],
        )
        self.assertEqual((audio.ptime, video.ptime), (20, None))
        self.assertEqual((video.rejected, image.formats, image.codecs), (True, ["t38"], []))
        self.assertEqual(session.connection_of(audio), Connection("IP6", "2001:db8::1"))
        self.assertEqual(session.connection_of(image), Connection("IP4", "192.0.2.1"))
        self.assertEqual((session.direction_of(audio), session.direction_of(video)), ("recvonly", "sendonly"))

    def test_what_is_written_is_read_the_same(self):
        session = parse_sdp(OFFER)
        written = session.to_bytes()
        self.assertEqual(parse_sdp(written), session)
        self.assertEqual(parse_sdp(written).to_bytes(), written)
        letters = [line[:1] for line in written.decode().split("\r\n")]
        self.assertEqual("".join(letters), "vosicbtraa" + "mc" + "aaaaa" + "ma" + "m")
        self.assertNotIn(b"x=", written)

    def test_changing(self):
        session = parse_sdp(OFFER)
        audio = session.media[0]
        session.set_direction(audio, "inactive")
        audio.remove("ptime")
        audio.add("rtcp-mux")
        self.assertEqual(session.direction_of(audio), "inactive")
        self.assertEqual([audio.get("ptime"), audio.get("rtcp-mux"), audio.has("recvonly")], [None, "", False])
        self.assertEqual(audio.getall("rtpmap"), ["101 telephone-event/8000", "96 opus/48000/2"])
        with self.assertRaises(ValueError):
            session.set_direction(audio, "a\r\nm=x")

    def test_lenient(self):
        session = parse_sdp(b"v=0\no=- 1 1 IN IP4 pbx.test\nm=audio 4000 RTP/AVP\n\n")
        self.assertEqual((session.name, session.times, session.media[0].formats), ("-", ["0 0"], []))
        self.assertEqual(parse_sdp(b"v=0\r\ns=\xff\r\no=- 1 1 IN IP4 h\r\n").name, "\ufffd")

    def test_broken_ones(self):
        start = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n"
        for data in (
            b"",
            b"v=1\r\n",
            b"v=0\r\n",
            b"o=- 1 1 IN IP4 h\r\nv=0",
            b"v=0\r\no=- 1 IN IP4 h",
            b"v=0\r\no=- 1 1 IN ATM h",
            start + b"junk",
            start + b"m=audio x RTP/AVP 0",
            start + b"m=audio 65536 RTP/AVP 0",
            start + b"m=audio -1 RTP/AVP 0",
            start + b"m=audio 1",
            start + b"m=audio 1/0 RTP/AVP 0",
            start + b"m=a\x00b 1 RTP/AVP 0",
            start + b"c=IN IP4 a b",
            start + b"c=IN IP4 \x01",
            start + b"c=IN IP6 :::",
            start + b"a=",
            start + b"a=\x01:x",
            start + "m=audio ١ RTP/AVP 0".encode(),
            start + b"m=audio " + b"9" * 5000 + b" RTP/AVP 0",
            start + b"m=audio 1 RTP/AVP 0\r\n" * 100,
            start + b"a=x\r\n" * 3000,
            b"\xff\xfe",
            b"x" * 70_000,
        ):
            with self.assertRaises(SipError, msg=data[:60]):
                parse_sdp(data)

    def test_numbers_that_overflow_are_no_payload_types(self):
        start = b"v=0\r\no=- 1 1 IN IP4 h\r\nm=audio 1 RTP/AVP "
        for payload in (b"128", b"9" * 250, "٣".encode()):
            try:
                self.assertEqual(parse_sdp(start + payload).media[0].codecs, [])
            except SipError:
                self.assertFalse(payload.isdigit())
        maps = b"0\r\na=rtpmap:0 X/" + b"9" * 5000 + b"\r\na=fmtp:x y\r\na=ptime:" + b"9" * 5000
        media = parse_sdp(start + maps).media[0]
        self.assertEqual((media.codecs, media.ptime), ([], None))

    def test_control_characters_are_replaced_as_they_come_in(self):
        data = b"v=0\r\no=\x00 1 1 IN IP4 h\r\ns=a\tb\x1b[2J\r\ni=\t\r\nu=\x7f\r\nm=audio 1 RTP/AVP 0\r\na=x:\x01\r\n"
        session = parse_sdp(data)
        self.assertEqual(session.origin.username, "\ufffd")
        self.assertEqual(session.name, "a b\ufffd[2J")
        self.assertEqual(session.media[0].get("x"), "\ufffd")
        self.assertEqual(parse_sdp(session.to_bytes()), session)

    def test_strict_out(self):
        session = parse_sdp(OFFER)
        session.name = "a\r\nm=evil 1 RTP/AVP 0"
        session.media[0].add("x", "y\r\na=evil\x00")
        written = session.to_bytes()
        self.assertNotIn(b"\nm=evil", written)
        self.assertNotIn(b"\na=evil", written)
        self.assertNotIn(b"\0", written)
