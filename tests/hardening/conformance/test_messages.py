"""The form of a message: RFC 3261 sections 7, 8.1.1, 20 and 25, and what must not disturb a reader."""

from __future__ import annotations

from tests.hardening.conformance.case import ConformanceCase, for_each
from tests.hardening.conformance.peer import branch, message


class FormOfMessages(ConformanceCase):
    def test_7_3_1_header_names_in_any_case(self) -> None:
        """Header names are compared without regard to case."""
        peer = self.stranger()
        data = peer.request("OPTIONS")
        head = b"\r\n".join(
            line if not number else line.partition(b":")[0].swapcase() + b":" + line.partition(b":")[2]
            for number, line in enumerate(data.split(b"\r\n\r\n")[0].split(b"\r\n"))
        )
        self.assertEqual(200, peer.ask(head + b"\r\n\r\n").status)

    def test_7_3_3_compact_forms(self) -> None:
        """The short names mean what the long ones mean, mixed at will."""
        peer = self.stranger()
        short = {"Via": "v", "From": "f", "To": "t", "Call-ID": "i", "Content-Length": "l"}
        lines = [(short.get(name, name), value) for name, value in peer.lines("OPTIONS", f"sip:{peer.domain}")]
        self.assertEqual(200, peer.ask(message(f"OPTIONS sip:{peer.domain} SIP/2.0", lines)).status)

    def test_7_3_1_folded_lines(self) -> None:
        """A line that begins with white space continues the one before it."""
        peer = self.stranger()
        data = peer.request("OPTIONS", but={"From": f"<{peer.aor}>\r\n\t;tag\r\n =\r\n  {peer.tag}"})
        got = peer.ask(data)
        self.assertEqual(200, got.status)
        self.assertIn(peer.tag, got.one("from"))

    @for_each(none=":", many=" \t :   ", tab="\t:\t")
    def test_7_3_1_white_space_around_the_colon(self, colon: str) -> None:
        """Any white space, or none, may stand on either side of the colon."""
        peer = self.stranger()
        data = peer.request("OPTIONS").replace(b"\r\nCall-ID: ", b"\r\nCall-ID" + colon.encode())
        got = peer.ask(data)
        self.assertEqual((200, peer.call_id), (got.status, got.one("call-id")))

    def test_7_3_1_order_of_headers_does_not_matter(self) -> None:
        """Headers of different names may stand in any order."""
        peer = self.stranger()
        lines = peer.lines("OPTIONS", f"sip:{peer.domain}")
        self.assertEqual(200, peer.ask(message(f"OPTIONS sip:{peer.domain} SIP/2.0", lines[::-1])).status)

    def test_7_3_1_a_comma_list_equals_several_lines(self) -> None:
        """Several values may be joined by commas: here two Contacts in one line, which give two bindings."""
        peer = self.owner()
        two = f"<sip:a@{peer.host}:{peer.port}>, <sip:b@{peer.host}:{peer.port}>;expires=90"
        self.assertEqual(2, len(peer.prove(but={"Contact": two}).bindings))

    def test_7_5_line_ends_before_the_start_line(self) -> None:
        """Empty lines before the start line are skipped."""
        peer = self.stranger()
        self.assertEqual(200, peer.ask(b"\r\n\r\n\r\n" + peer.request("OPTIONS")).status)

    def test_7_1_the_method_is_case_sensitive(self) -> None:
        """``options`` is another method than ``OPTIONS``, which nobody knows."""
        peer = self.stranger()
        self.assertIn(peer.ask(peer.request("options")).status, (405, 501))

    def test_7_1_the_version_is_written_in_upper_case(self) -> None:
        """``SIP/2.0`` is sent in upper case, and read in any."""
        peer = self.stranger()
        got = peer.ask(peer.request("OPTIONS", version="sip/2.0"))
        self.assertEqual("SIP/2.0 200", got.start[:11])

    @for_each(higher="SIP/3.0", lower="SIP/1.0", minor="SIP/2.1", huge="SIP/7000.0")
    def test_21_5_6_another_version_is_505(self, version: str) -> None:
        """A version that is not supported is answered with 505."""
        peer = self.stranger()
        self.assertEqual(505, peer.ask(peer.request("OPTIONS", version=version)).status)

    def test_8_2_2_unknown_headers_are_ignored(self) -> None:
        """A header that is not understood is skipped, whatever it says."""
        peer = self.stranger()
        self.assertEqual(200, peer.ask(peer.request("OPTIONS", add=[("X-Nobody-Knows", 'a="b;c, <d>')])).status)

    def test_8_2_2_malformed_headers_that_are_not_needed_are_ignored(self) -> None:
        """A broken value of a header that the request does not need does not spoil it."""
        peer = self.stranger()
        add = [("Date", "the day after tomorrow"), ("Accept-Language", ";;;"), ("Warning", "9")]
        self.assertEqual(200, peer.ask(peer.request("OPTIONS", add=add)).status)

    @for_each(call_id="Call-ID", cseq="CSeq", from_="From", to="To")
    def test_8_1_1_mandatory_headers(self, name: str) -> None:
        """Without one of them a request is invalid: it does not succeed, and it breaks nothing."""
        peer = self.stranger()
        for got in peer.answers(peer.request("OPTIONS", but={name: None})):
            self.assertEqual(400, got.status)

    def test_8_1_1_a_request_without_via_is_not_answered(self) -> None:
        """There is no way back for an answer."""
        peer = self.stranger()
        self.assertEqual([], peer.answers(peer.request("OPTIONS", but={"Via": None})))

    def test_8_1_1_6_max_forwards_may_be_absent(self) -> None:
        """Devices of RFC 2543 do not send it (16.3 step 3)."""
        peer = self.stranger()
        self.assertEqual(200, peer.ask(peer.request("OPTIONS", but={"Max-Forwards": None})).status)

    @for_each(letters="many", signed="-1", large="256", huge="9" * 400)
    def test_20_22_max_forwards_is_0_to_255(self, value: str) -> None:
        """Anything else is malformed."""
        peer = self.stranger()
        self.assertEqual(400, peer.ask(peer.request("OPTIONS", but={"Max-Forwards": value})).status)

    @for_each(invite="INVITE", options="OPTIONS", message="MESSAGE")
    def test_16_3_no_hop_is_left(self, method: str) -> None:
        """Max-Forwards 0 is answered with 483."""
        peer = self.stranger()
        got = peer.ask(peer.request(method, f"sip:3001@{peer.domain}", but={"Max-Forwards": "0"}))
        self.assertEqual(483, got.status)

    def test_10_3_a_register_needs_no_hop(self) -> None:
        """It has reached the registrar, and goes no further."""
        self.assertEqual(200, self.owner().prove(but={"Max-Forwards": "0"}).status)

    @for_each(
        from_="From", to="To", call_id="Call-ID", cseq="CSeq", max_forwards="Max-Forwards", length="Content-Length",
    )
    def test_7_3_1_single_headers_stand_once(self, name: str) -> None:
        """A header whose grammar is no list and that stands twice makes the request ambiguous: 400."""
        peer = self.stranger()
        again = dict(peer.lines("OPTIONS", f"sip:{peer.domain}"))[name]
        self.assertEqual(400, peer.ask(peer.request("OPTIONS", add=[(name, again)])).status)

    @for_each(too_large="2147483648 OPTIONS", negative="-1 OPTIONS", letters="one OPTIONS", digits="9" * 5000, none="")
    def test_8_1_1_5_cseq_is_below_2_to_the_31(self, value: str) -> None:
        """A sequence number that does not fit is malformed."""
        peer = self.stranger()
        for got in peer.answers(peer.request("OPTIONS", but={"CSeq": value})):
            self.assertEqual(400, got.status)

    def test_8_1_1_5_the_greatest_cseq(self) -> None:
        """2^31 - 1 is allowed."""
        peer = self.stranger()
        self.assertEqual(200, peer.ask(peer.request("OPTIONS", but={"CSeq": "2147483647 OPTIONS"})).status)

    def test_8_1_1_5_the_method_of_cseq_matches(self) -> None:
        """It is the method of the request, or the request is malformed."""
        peer = self.stranger()
        self.assertEqual(400, peer.ask(peer.request("OPTIONS", but={"CSeq": "1 INVITE"})).status)

    def test_20_8_call_ids_differ_by_case(self) -> None:
        """A Call-ID is compared byte for byte, and comes back as it was."""
        peer = self.stranger()
        self.assertEqual("aBcD@Ef", peer.ask(peer.request("OPTIONS", but={"Call-ID": "aBcD@Ef"})).one("call-id"))

    @for_each(
        quoted='"A. \\"B\\", <sip:x@y>; z" <sip:a@pbx.test>;tag=1', bare="sip:a@pbx.test;tag=1",
        words="Alice of Tashkent <sip:a@pbx.test>;tag=1", parameters="<sip:a@pbx.test;user=phone>;x=y;tag=1",
    )
    def test_20_10_forms_of_an_address(self, value: str) -> None:
        """All forms of name-addr and addr-spec are read, and come back unchanged."""
        peer = self.stranger()
        got = peer.ask(peer.request("OPTIONS", but={"From": value}))
        self.assertEqual((200, value), (got.status, got.one("from")))

    @for_each(long_form="OPTIONS", tokens="Y-._!%*'~+`")
    def test_25_1_a_request_of_the_torture_kind(self, method: str) -> None:
        """What the grammar allows is read: odd methods, escapes, odd parameters."""
        peer = self.stranger()
        via = f"SIP / 2.0 / UDP {peer.host}:{peer.port} ; branch = {branch()} ; rport ; x=\"a;b,c\""
        got = peer.ask(peer.request(method, f"sip:{peer.domain};unknownparam", but={"Via": via}))
        self.assertIn(got.status, (200, 405, 501))

    @for_each(space_before="To \x01", control="To\x01", bracket="To[1]")
    def test_25_1_a_header_name_is_a_token(self, name: str) -> None:
        """What is no token is no header name; the request is refused rather than guessed at."""
        peer = self.stranger()
        self.assertEqual(400, peer.ask(peer.request("OPTIONS", add=[(name, "<sip:a@b>")])).status)

    @for_each(lf=b"\n", cr=b"\r")
    def test_7_lines_end_with_crlf(self, end: bytes) -> None:
        """A bare CR or LF ends no line: two readers could see two different requests."""
        peer = self.stranger()
        data = peer.request("OPTIONS", add=[("X-One", "1")]).replace(b"X-One: 1", b"X-One: 1" + end + b"X-Two: 2")
        for got in peer.answers(data):
            self.assertEqual(400, got.status)

    @for_each(empty=b"", nul=b"\0" * 4, words=b"hello\r\n\r\n", http=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
              stun=b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"x" * 12, half=b"OPTIONS sip:pbx.test SIP/2.0\r\nVia: SIP/2")
    def test_18_what_is_no_sip_is_not_answered(self, data: bytes) -> None:
        """Nobody knows who would get the answer, nor what he would do with it."""
        self.assertEqual([], self.stranger().answers(data))
