"""Transports: RFC 3261 section 18 on UDP and on TCP, RFC 5626 3.5.1."""

from __future__ import annotations

from tests.hardening.conformance.case import ConformanceCase, for_each
from tests.hardening.conformance.peer import message


class Datagrams(ConformanceCase):
    def test_18_3_without_content_length_the_body_is_the_rest(self) -> None:
        """On UDP the header may be absent."""
        peer = self.stranger()
        data = peer.request("OPTIONS", but={"Content-Length": None, "Content-Type": "text/plain"}, body=b"hello")
        self.assertEqual(200, peer.ask(data).status)

    def test_18_3_more_bytes_than_content_length(self) -> None:
        """The rest of the packet is dropped."""
        peer = self.stranger()
        self.assertEqual(200, peer.ask(peer.request("OPTIONS") + b"and more\r\n\r\n").status)

    def test_18_3_a_second_request_behind_is_not_seen(self) -> None:
        """One packet is one message."""
        peer = self.stranger()
        [got] = peer.answers(peer.request("OPTIONS") + peer.request("OPTIONS"))
        self.assertEqual("1 OPTIONS", got.one("cseq"))

    def test_18_3_fewer_bytes_than_content_length(self) -> None:
        """The message was cut off: 400."""
        peer = self.stranger()
        data = peer.request("OPTIONS", but={"Content-Length": "10", "Content-Type": "text/plain"}, body=b"short")
        self.assertEqual(400, peer.ask(data).status)

    @for_each(letters="ten", negative="-1", huge="9" * 300, sign="+0", arabic="٠", hexadecimal="0x0")
    def test_20_14_content_length_is_a_number(self, value: str) -> None:
        """Decimal digits and nothing else: 400."""
        peer = self.stranger()
        self.assertEqual(400, peer.ask(peer.request("OPTIONS", but={"Content-Length": value})).status)

    def test_18_1_1_a_packet_of_any_size(self) -> None:
        """All datagrams that IP can carry are read: here one of 60,000 bytes."""
        peer = self.stranger()
        data = peer.request("OPTIONS", but={"Content-Type": "text/plain"}, body=b"x" * 60_000)
        self.assertEqual(200, peer.ask(data).status)

    def test_18_1_1_a_long_header(self) -> None:
        """20 kB in one header that nobody needs are no reason to refuse."""
        peer = self.stranger()
        self.assertEqual(200, peer.ask(peer.request("OPTIONS", add=[("X-Long", "x" * 20_000)])).status)


class Streams(ConformanceCase):
    def test_18_2_2_the_answer_comes_on_the_same_connection(self) -> None:
        """Whatever the Via says."""
        peer = self.tcp()
        via = "SIP/2.0/TCP 192.0.2.3:9;branch=z9hG4bKtcp"
        got = peer.ask(peer.request("OPTIONS", but={"Via": via}))
        self.assertEqual(200, got.status)
        self.assertIn("received=127.0.0.1", got.all("via")[0])

    def test_18_3_two_requests_in_one_piece(self) -> None:
        """Content-Length tells where one ends and the next begins."""
        peer = self.tcp()
        peer.send(peer.request("OPTIONS") + peer.request("OPTIONS", but={"Content-Type": "a/b"}, body=b"OPTIONS x"))
        self.assertEqual(["1 OPTIONS", "2 OPTIONS"], [peer.final().one("cseq") for _ in range(2)])

    def test_18_3_one_request_in_many_pieces(self) -> None:
        """Byte for byte is slow, and the same request."""
        peer = self.tcp()
        for byte in peer.request("OPTIONS"):
            peer.send(bytes([byte]))
        self.assertEqual(200, peer.final().status)

    @for_each(missing=None, letters="ten", negative="-1", huge="99999999999")
    def test_20_14_a_stream_needs_content_length(self, value: str | None) -> None:
        """Without it nobody knows where the next message begins: 400, and the connection is closed."""
        peer = self.tcp()
        self.assertEqual(400, peer.ask(peer.request("OPTIONS", but={"Content-Length": value})).status)
        with self.assertRaises(ConnectionError):
            peer.receive()

    def test_20_14_the_compact_content_length(self) -> None:
        """``l`` is enough."""
        peer = self.tcp()
        data = peer.request("OPTIONS").replace(b"Content-Length:", b"l :")
        self.assertEqual([200, 200], [peer.ask(data).status, peer.ask(peer.request("OPTIONS")).status])

    def test_18_4_a_malformed_request_does_not_end_the_stream(self) -> None:
        """Where its end is known, the next one is read."""
        peer = self.tcp()
        self.assertEqual(400, peer.ask(peer.request("OPTIONS", but={"CSeq": "x OPTIONS"})).status)
        self.assertEqual(200, peer.ask(peer.request("OPTIONS")).status)

    def test_7_5_line_ends_between_messages(self) -> None:
        """They are skipped on a stream too."""
        peer = self.tcp()
        self.assertEqual(200, peer.ask(b"\r\n" + peer.request("OPTIONS")).status)
        self.assertEqual(200, peer.ask(b"\r\n" + peer.request("OPTIONS")).status)

    def test_rfc5626_3_5_1_a_ping_is_answered(self) -> None:
        """A double CRLF is answered with a single one."""
        peer = self.tcp()
        peer.send(b"\r\n\r\n")
        self.assertEqual(b"\r\n", peer.bytes(2))

    @for_each(http=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", tls=b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    def test_18_what_is_no_sip_is_cut_off(self, data: bytes) -> None:
        """Nothing is answered; the connection is closed."""
        peer = self.tcp()
        peer.send(data)
        with self.assertRaises(ConnectionError):
            peer.receive()

    def test_7_3_1_a_folded_content_length(self) -> None:
        """Folding is undone before the length is read."""
        peer = self.tcp()
        data = peer.request("OPTIONS").replace(b"Content-Length: 0", b"Content-Length:\r\n 0")
        self.assertEqual(200, peer.ask(data).status)

    def test_18_a_registration_over_tcp(self) -> None:
        """The registrar is the same on every transport."""
        self.assertEqual(200, self.tcp(self.new_number()).prove().status)

    def test_18_2_1_the_way_is_that_of_the_connection(self) -> None:
        """A Via that says UDP on a TCP connection does not send the answer elsewhere."""
        peer, other = self.tcp(), self.stranger()
        via = f"SIP/2.0/UDP {other.host}:{other.port};branch=z9hG4bKmix{peer.port}"
        lines = peer.lines("OPTIONS", f"sip:{peer.domain}", {"Via": via})
        self.assertEqual(200, peer.ask(message(f"OPTIONS sip:{peer.domain} SIP/2.0", lines)).status)
        self.assertEqual([], other.answers())
