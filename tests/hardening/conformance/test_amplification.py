"""What an unauthenticated sender can make the server send: one packet, not much larger than his own, and to him alone.

With ``PBX_PRINT_FACTORS=1`` the factors are printed."""

from __future__ import annotations

import os

from tests.hardening.conformance.case import ConformanceCase, for_each
from tests.hardening.conformance.peer import Peer, branch

GOAL = 1.5
"""Bytes of the answer to bytes of the request, whatever it is."""

METHODS = {
    name.lower(): name
    for name in (
        "REGISTER", "INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE", "REFER", "INFO", "NOTIFY", "PUBLISH", "BYE", "CANCEL",
        "PRACK", "UPDATE", "DANCE",
    )
}  # fmt: skip

SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\n"
    b"a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
)


class Amplification(ConformanceCase):
    def factor(self, what: str, peer: Peer, data: bytes) -> float:
        """Bytes out by bytes in, whatever the number of packets; at most one may come."""
        got = peer.answers(data)
        self.assertLessEqual(len(got), 1, "more than one packet for one")
        out = sum(len(each.raw) for each in got)
        if os.environ.get("PBX_PRINT_FACTORS"):
            status = got[0].status if got else "-"
            print(f"{what:24} {len(data):5} -> {out:5} bytes  {out / len(data):5.2f}  ({status})", flush=True)
        return out / len(data)

    def usual(self, peer: Peer, method: str) -> bytes:
        """As phones send it: baresip, linphone and Zoiper all send these lines, and longer ones."""
        add = [("User-Agent", "Zoiper rv2.10.19.7"), ("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE")]
        but = {"Contact": f"<sip:{peer.number}@{peer.host}:{peer.port};transport=UDP>", "Expires": "600"}
        if method in ("INVITE", "UPDATE"):
            add.append(("Content-Type", "application/sdp"))
            return peer.request(method, f"sip:3001@{peer.domain}", but, add, SDP)
        return peer.request(method, f"sip:3001@{peer.domain}", but, add)

    @for_each(**METHODS)
    def test_26_3_2_4_a_usual_request(self, method: str) -> None:
        """The answer to a request as phones send it is at most half as long again."""
        peer = self.stranger()
        self.assertLessEqual(self.factor(f"usual {method}", peer, self.usual(peer, method)), GOAL)

    @for_each(**METHODS)
    def test_26_3_2_4_the_mandatory_headers_alone(self, method: str) -> None:
        """The lines that RFC 3261 8.1.1 demands and no other: no phone writes so little."""
        peer = self.stranger()
        data = peer.request(method, f"sip:3001@{peer.domain}")
        self.assertLessEqual(self.factor(f"mandatory {method}", peer, data), GOAL)

    @for_each(**METHODS)
    def test_26_3_2_4_the_shortest_request(self, method: str) -> None:
        """An attacker writes as little as can be understood, in compact forms: the answer is as short, or none."""
        peer = self.stranger()
        self.assertLessEqual(self.factor(f"shortest {method}", peer, self.shortest(peer, method)), GOAL)

    def shortest(self, peer: Peer, method: str) -> bytes:
        return (
            f"{method} sip:{peer.domain} SIP/2.0\r\nv:SIP/2.0/UDP a;branch={branch()}\r\n"
            f"f:<sip:1@{peer.domain}>;tag=1\r\nt:<sip:1@{peer.domain}>\r\ni:{peer.call_id}\r\nCSeq:1 {method}\r\n\r\n"
        ).encode()

    @for_each(
        garbage=b"\x00\xff" * 50, words=b"hello\r\n\r\n", response=b"SIP/2.0 200 OK\r\n\r\n",
        empty_lines=b"\r\n\r\n\r\n",
        nothing=b"", half=b"REGISTER sip:pbx.test SIP/2.0\r\n\r\n",
    )
    def test_26_3_2_4_garbage_is_not_answered(self, data: bytes) -> None:
        """Who cannot write SIP gets nothing."""
        self.assertEqual([], self.stranger().answers(data))

    def test_26_3_2_4_a_proven_source_is_answered_at_any_length(self) -> None:
        """Nobody can forge the source of a TCP connection."""
        peer = self.tcp()
        data = self.shortest(peer, "MESSAGE").replace(b"UDP", b"TCP").replace(b"CSeq", b"l:0\r\nCSeq")
        self.assertEqual(401, peer.ask(data).status)

    def test_26_3_2_4_nothing_is_repeated_to_strangers(self) -> None:
        """A challenge is sent once for each request, and never again by a timer: 1.2 s are two of timer G."""
        peer = self.stranger()
        peer.ask(peer.request("INVITE", f"sip:3001@{peer.domain}"))
        peer.socket.settimeout(1.2)
        with self.assertRaises(TimeoutError):
            peer.socket.recv(65535)
