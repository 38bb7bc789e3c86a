"""Descriptions of real phones on their way through our relay."""

import unittest

from sipcore.media.errors import MediaRefused
from sipcore.media.ng import Path
from sipcore.media.pool import echo_answer
from sipcore.media.rewrite import places, read, rewrite
from sipcore.protocol.sdp import parse_sdp

CHROMIUM = """v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS stream
m=audio 54321 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 203.0.113.5
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1 1 udp 2122260223 192.168.1.7 54321 typ host generation 0 network-id 1
a=candidate:2 1 tcp 1518280447 192.168.1.7 9 typ host tcptype active generation 0
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=ice-options:trickle
a=fingerprint:sha-256 D1:2C:BE:AD:C4:F6:64:5C:25:16:11:9C:AF:E7:0F:73:79:36:4E:9C:1E:15:54:39:0C:06:8B:ED:96:86:00:39
a=setup:actpass
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:110 telephone-event/48000
a=rtpmap:126 telephone-event/8000
a=ssrc:3735928559 cname:Ub4TNjdSV0vTSgFq
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=bundle-only
a=mid:1
a=rtcp-mux
a=rtpmap:96 VP8/90000
"""
LINPHONE = """v=0
o=1002 3465 1911 IN IP4 192.168.77.20
s=Talk
c=IN IP4 192.168.77.20
t=0 0
a=ice-pwd:31ec21eb38b2ec6d36e8dc7b
a=ice-ufrag:3daa2f5c
a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics
m=audio 7076 RTP/AVP 96 0 8 101
a=rtcp:7555
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:101 telephone-event/48000
a=candidate:1 1 UDP 2130706303 192.168.77.20 7076 typ host
a=candidate:1 2 UDP 2130706302 192.168.77.20 7077 typ host
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz
a=rtcp-fb:* trr-int 1000
m=video 9078 RTP/AVP 97
a=rtpmap:97 H264/90000
a=fmtp:97 profile-level-id=42801F
"""
BARESIP = """v=0
o=- 1893455206 396387222 IN IP4 10.0.0.5
s=-
c=IN IP4 10.0.0.5
t=0 0
a=tool:baresip 1.0.0
m=audio 18554 RTP/AVP 0 8 101
b=AS:125
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=rtcp:18555
a=sendrecv
a=label:1
a=rtcp-rsize
a=ptime:20
"""
PASSES_THE_RELAY = ("candidate", "ice-", "rtcp-mux", "BUNDLE", "bundle-only", "192.168.", "203.0.113.", "10.0.0.5")


def wire(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def rewritten(text: str, ports: list[int], address: str = "198.51.100.1") -> list[str]:
    return rewrite(read(wire(text)), address, ports).decode().split("\r\n")


class DescriptionTests(unittest.TestCase):
    def test_nothing_leads_past_the_relay(self) -> None:
        for text, ports in ((CHROMIUM, [10_000, 10_002]), (LINPHONE, [10_004, 10_006]), (BARESIP, [10_008])):
            for address in ("198.51.100.1", "2001:db8::1"):
                lines = rewritten(text, ports, address)
                for word in PASSES_THE_RELAY:
                    self.assertFalse([line for line in lines if word in line], word)
                family = "IP6" if ":" in address else "IP4"
                self.assertTrue(lines[1].endswith(f" IN {family} {address}"))
                self.assertIn(f"c=IN {family} {address}", lines)

    def test_what_belongs_to_a_medium_is_not_told_of_the_session(self) -> None:
        lines = rewritten(BARESIP.replace("t=0 0", "t=0 0\na=rtcp-mux\na=rtcp:9 IN IP4 203.0.113.7"), [10_008])
        self.assertEqual([line for line in lines if line.startswith("a=rtcp")], ["a=rtcp:10009", "a=rtcp-rsize"])

    def test_all_else_passes_untouched(self) -> None:
        for text, ports in ((CHROMIUM, [10_000, 10_002]), (LINPHONE, [10_004, 10_006]), (BARESIP, [10_008])):
            lines = set(rewritten(text, ports))
            for line in text.splitlines():
                if not line.startswith(("o=", "c=", "m=", "a=rtcp:", "a=group")) and not any(
                    word in line for word in PASSES_THE_RELAY
                ):
                    self.assertIn(line, lines)
            after = read(rewrite(read(wire(text)), "1.2.3.4", ports)).media
            for before, passed in zip(parse_sdp(wire(text)).media, after, strict=True):
                self.assertEqual((before.formats, before.protocol), (passed.formats, passed.protocol))

    def test_ports_and_the_port_of_reports(self) -> None:
        lines = rewritten(LINPHONE, [10_004, 0])
        self.assertIn("m=audio 10004 RTP/AVP 96 0 8 101", lines)
        self.assertIn("m=video 0 RTP/AVP 97", lines)
        self.assertIn("a=rtcp:10005", lines)

    def test_where_phones_want_to_be_reached(self) -> None:
        audio, video = places(read(wire(LINPHONE)))
        self.assertEqual((audio.rtp, audio.rtcp), (("192.168.77.20", 7076), ("192.168.77.20", 7555)))
        self.assertEqual((video.rtcp, audio.rates[96], video.rates[97]), (("192.168.77.20", 9079), 48_000, 90_000))
        audio, video = places(read(wire(CHROMIUM)))
        self.assertTrue(audio.plain and audio.encrypted)
        self.assertIsNone(video.rtp)
        self.assertTrue(video.zero and not video.listens)
        held = places(read(wire(BARESIP.replace("a=sendrecv", "a=inactive"))))[0]
        self.assertFalse(held.listens)
        named = places(read(wire(BARESIP.replace("c=IN IP4 10.0.0.5", "c=IN IP4 phone.example"))))[0]
        self.assertIsNone(named.rtp)

    def test_a_port_of_reports_that_is_none(self) -> None:
        """One of more than five digits once ended the relay, with the sound of all calls (hardening rule 30)."""
        for number in ("0", "65536", "0000011234567", "000001" + "1" * 5000, "-1", "7555x"):
            audio = places(read(wire(LINPHONE.replace("a=rtcp:7555", f"a=rtcp:{number}"))))[0]
            self.assertEqual(audio.rtcp, ("192.168.77.20", 7077), number[:20])

    def test_an_echo_accepts_what_can_be_reflected(self) -> None:
        session = parse_sdp(echo_answer(wire(LINPHONE.replace("a=rtcp:7555", "a=sendonly"))))
        self.assertEqual([media.rejected for media in session.media], [False, False])
        self.assertEqual(session.direction_of(session.media[0]), "recvonly")
        self.assertEqual(len(session.media[0].getall("crypto")), 1)
        self.assertTrue(all(media.rejected for media in parse_sdp(echo_answer(wire(CHROMIUM))).media))

    def test_of_many_media_four_are_relayed_and_the_others_refused_in_their_place(self) -> None:
        head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
        lines = ["m=audio 4000 RTP/AVP 0", "m=video 0 RTP/AVP 97"]
        lines += [f"m=audio {4002 + 2 * number}/2 RTP/AVP 8" for number in range(5)]
        for end in ("\r\n", "\n"):
            sent = Path().keys((head + "".join(line + end for line in lines)).encode())["sdp"]
            ports = [media.port for media in parse_sdp(sent).media]
            self.assertEqual(ports, [4000, 0, 4002, 4004, 4006, 0, 0])

    def test_too_much_and_nonsense(self) -> None:
        for text in ("", "v=1\n", BARESIP + "m=audio 1 RTP/AVP 0\n" * 40, BARESIP.replace("18554", "99999")):
            with self.assertRaises(MediaRefused):
                read(wire(text))
