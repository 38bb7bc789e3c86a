"""Messages: what may come in, what can be smuggled (nothing), what goes out."""

import unittest

from sipcore.protocol.errors import SipError, Unanswerable
from sipcore.protocol.headers import STAR
from sipcore.protocol.message import (
    MAX_HEADERS,
    MAX_MESSAGE,
    Message,
    Request,
    Response,
    make_response,
    parse_message,
    validate_request,
)

HEAD = (
    "REGISTER sip:pbx.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:1@pbx.test>;tag=a\r\n"
    "To: <sip:1@pbx.test>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n"
)


def read(*lines: str, head: str = HEAD, body: str = "") -> Request:
    message = parse_message(
        (head + "".join(line + "\r\n" for line in lines) + "\r\n" + body).encode("utf-8", "surrogateescape")
    )
    assert isinstance(message, Request)
    validate_request(message)
    return message


class MessageTestCase(unittest.TestCase):
    def refused(self, *lines: str, status: int = 400, head: str = HEAD, body: str = "") -> None:
        with self.assertRaises(SipError) as caught:
            read(*lines, head=head, body=body)
        self.assertEqual(caught.exception.status, status, lines)


class ReadingTest(MessageTestCase):
    def test_names_in_any_case_and_short(self):
        message = read("m: <sip:1@192.0.2.1>", "uSER-aGENT : Phone \t", "x-Own-thing:1", "EXPIRES:  60 ")
        self.assertEqual(message.get("Contact"), "<sip:1@192.0.2.1>")
        self.assertEqual((message.get("contact"), message.get("M")), (message.get("m"), message.get("Contact")))
        self.assertEqual((message.user_agent, message.expires, message.get("X-OWN-THING")), ("Phone", 60, "1"))

    def test_folding(self):
        message = read("Subject: one", " two", "\tthree", "Contact:", "  <sip:1@192.0.2.1>")
        self.assertEqual((message.get("Subject"), len(message.contacts)), ("one two three", 1))

    def test_lines_before_the_start_line(self):
        self.assertEqual(parse_message(b"\r\n\r\n" + HEAD.encode() + b"\r\n").method, "REGISTER")

    def test_body_by_content_length_and_without(self):
        self.assertEqual(read(body="abc").body, b"abc")
        self.assertEqual(read("l: 2", body="abc").body, b"ab")
        self.assertEqual(read("Content-Length:  0", body="").body, b"")
        self.refused("Content-Length: 4", body="abc")

    def test_20_kilobytes_in_one_packet(self):
        message = read("X-Long: " + "x" * 20_000, f"Content-Length: {20_000}", body="b" * 20_000)
        self.assertEqual((len(message.get("X-Long")), len(message.body)), (20_000, 20_000))

    def test_unquoted_utf8_and_broken_utf8_names(self):
        head = HEAD.replace("From: ", "From: Алиса ").replace("To: ", "To: \udcc0\udcff ")
        message = read(head=head)
        self.assertEqual((message.from_.display_name, message.to.display_name), ("Алиса", "\udcc0\udcff"))
        again = make_response(message, 200).to_bytes()
        self.assertIn(b"To: \xc0\xff <sip:1@pbx.test>\r\n", again)  # as it came

    def test_from_without_brackets_pjsua(self):
        message = read(head=HEAD.replace("<sip:1@pbx.test>;tag=a", "sip:1@pbx.test;tag=a"))
        self.assertEqual((message.from_.tag, dict(message.from_.uri.params)), ("a", {}))

    def test_contacts(self):
        message = read('Contact: "a, b" <sip:1@h;x=1>;q=0.5;expires=60, <sip:2@h>', "m: sip:3@h;expires=5")
        self.assertEqual([contact.uri.user for contact in message.contacts], ["1", "2", "3"])
        self.assertEqual([contact.expires for contact in message.contacts], [60, None, 5])
        self.assertIs(read("Contact: *", "Expires: 0").contacts, STAR)
        self.assertEqual(read().contacts, [])
        self.assertEqual(read("Contact:").contacts, [])
        self.refused("Contact: *, <sip:1@h>")
        self.refused("Contact: *", "Contact: <sip:1@h>")

    def test_option_tags_and_path(self):
        message = read(
            "Supported: Path, outbound,,",
            "k: GRUU",
            "Require: Timer",
            "Path: <sip:a;lr>,<sip:b;lr>",
            "Path: <sip:c;lr>",
        )
        self.assertEqual((message.supported, message.require), ({"path", "outbound", "gruu"}, {"timer"}))
        self.assertEqual(message.path, ["<sip:a;lr>", "<sip:b;lr>", "<sip:c;lr>"])

    def test_thousands_of_values_are_not_read(self):
        """60 kB of Contacts took 60 ms, before anybody had shown a password."""
        lines = ["Contact: " + ",".join(f"<sip:{line}-{value}@h>" for value in range(200)) for line in range(10)]
        read(lines[0])
        self.refused(*lines)
        with self.assertRaises(SipError):
            _ = read("Path: " + ",".join(["<sip:a;lr>"] * 300)).path
        tags = read("Require: " + ",".join(f"tag{number}" for number in range(3_000))).require
        self.assertLessEqual(len(tags), 256)
        self.assertIn("tag0", tags)


class SmugglingTest(MessageTestCase):
    def test_header_names(self):
        for name in (
            "To\x01",
            "To\x00",
            "To\x0b",
            "T o",
            "\u00a0To",
            "To\u2028",
            "Тo",
            '"To"',
            "To;",
            "",
            "\x7f",
            "To\x85",
        ):
            self.refused(f"{name}: <sip:2@pbx.test>")
        self.refused("no colon at all")
        self.refused("X" * 300 + ": 1")

    def test_line_ends(self):
        for line in ("X: a\nTo: <sip:2@pbx.test>", "X: a\rTo: <sip:2@pbx.test>", "X: a\r", "X: a\n"):
            self.refused(line)
        with self.assertRaises(Unanswerable):
            parse_message(HEAD.replace("\r\n", "\n").encode() + b"\n")
        # other characters that Python takes for line ends are no line ends
        self.assertEqual(read("X: a\x85To: b\u2028Via: c\x0bd\x0c").get("X"), "a\x85To: b\u2028Via: c\x0bd\x0c")

    def test_no_empty_line(self):
        with self.assertRaises(SipError):
            parse_message(HEAD.encode())

    def test_single_headers_doubled_also_in_their_short_form(self):
        for line in ("f: <sip:2@h>;tag=b", "t: <sip:2@h>", "i: d", "CSEQ: 2 REGISTER"):
            self.refused(line)
        self.refused("Max-Forwards: 5", "Max-Forwards: 5")
        self.refused("Expires: 5", "Expires: 6")
        self.refused("l: 0", "Content-Length: 0")

    def test_missing_headers(self):
        for name in ("Via", "From", "To", "Call-ID", "CSeq"):
            self.refused(
                head="".join(line + "\r\n" for line in HEAD.strip().split("\r\n") if not line.startswith(name))
            )

    def test_parameters_twice_in_an_address(self):
        self.refused(head=HEAD.replace(";tag=a", ";tag=a;TAG=b"))
        self.refused(head=HEAD.replace(";branch=z9hG4bK1", ";branch=z9hG4bK1;branch=z9hG4bK2"))

    def test_tags_and_branches_cannot_hold_what_breaks_out(self):
        for bad in ('"a b"', "a\x01", "a\u00a0", "", "é"):
            self.refused(head=HEAD.replace(";tag=a", f";tag={bad}"))
            self.refused(head=HEAD.replace("z9hG4bK1", f"z9hG4bK{bad}" if bad else ""))

    def test_a_tag_is_a_token(self):
        """RFC 3261 25.1: what others would read as the end of an address is none."""
        for bad in ("<x>", "a<", "a>", "a@b", "a\\", "[a]", "a=b", "a?b", "a:b"):
            self.refused(head=HEAD.replace(";tag=a", f";tag={bad}"))
            self.refused(head=HEAD.replace(";tag=a", f";tag={bad};x=1"))
        self.assertEqual(read(head=HEAD.replace(";tag=a", ";tag=_a~1'+`*%!-.")).from_.tag, "_a~1'+`*%!-.")


class NumberTest(MessageTestCase):
    HUGE = "9" * 5000

    def test_cseq(self):
        for text in (self.HUGE, "2147483648", "-1", "+1", "1_0", "٣", "１", "0x1", "1.0", "", " "):
            self.refused(head=HEAD.replace("CSeq: 1 ", f"CSeq: {text} "))
        self.assertEqual(read(head=HEAD.replace("CSeq: 1 ", "CSeq: 2147483647 ")).cseq.number, 2**31 - 1)
        self.assertEqual(read(head=HEAD.replace("CSeq: 1 ", "CSeq: 0009\t ")).cseq, (9, "REGISTER"))

    def test_content_length(self):
        for text in (self.HUGE, "-1", "+0", "٠", "0x0", "1e0", ""):
            self.refused(f"Content-Length: {text}")
        self.assertEqual(read("Content-Length: 0000000000000").body, b"")

    def test_max_forwards(self):
        for text in (self.HUGE, "256", "-1", "٣", ""):
            self.refused(f"Max-Forwards: {text}")
        self.assertEqual(read("Max-Forwards: 0").max_forwards, 0)  # a registrar is where it wanted to go

    def test_ports(self):
        for text in (self.HUGE, "0", "65536", "-1", "٣", "", "5060x"):
            self.refused(head=HEAD.replace("192.0.2.1;", f"192.0.2.1:{text};"))
            self.refused(f"Contact: <sip:1@h:{text}>")

    def test_expires(self):
        for text, seconds in (
            (self.HUGE, 2**32 - 1),
            ("4294967296", 2**32 - 1),
            ("0060", 60),
            ("٣", None),
            ("-1", None),
            ("x", None),
        ):
            self.assertEqual(read(f"Expires: {text}").expires, seconds, text)
            self.assertEqual(read(f"Contact: <sip:1@h>;expires={text}").contacts[0].expires, seconds)

    def test_q_and_reg_id(self):
        for text, q in (
            ("0.5", 0.5),
            ("1", 1.0),
            ("1.1", None),
            ("-1", None),
            ("nan", None),
            ("٠", None),
            (self.HUGE, None),
        ):
            self.assertEqual(read(f"Contact: <sip:1@h>;q={text}").contacts[0].q, q)
        for text, number in (("1", 1), ("0", None), ("x", None), ("-1", None)):
            self.assertEqual(read(f"Contact: <sip:1@h>;reg-id={text}").contacts[0].reg_id, number)


class BoundTest(MessageTestCase):
    def test_sizes(self):
        with self.assertRaises(Unanswerable):
            parse_message(b"x" * (MAX_MESSAGE + 1))
        self.refused(*["X: 1"] * (MAX_HEADERS + 1))
        self.refused("X: " + "1" * 40_000)
        self.refused(head=HEAD.replace("REGISTER", "R" * 65))
        self.refused(head=HEAD.replace("Call-ID: c", "Call-ID: " + "c" * 1025))

    def test_methods(self):
        for method in ("REG{ISTER", "RÉGISTER", "REGISTER\x01", "(INVITE)"):
            self.refused(head=HEAD.replace("REGISTER", method))


class WritingTest(unittest.TestCase):
    def test_strict_out(self):
        message = Request("OPTIONS", "sip:a", [("f", "<sip:b>;tag=1"), ("content-length", "99"), ("x-a", "1")], b"body")
        self.assertEqual(
            message.to_bytes(),
            b"OPTIONS sip:a SIP/2.0\r\nFrom: <sip:b>;tag=1\r\nX-A: 1\r\nContent-Length: 4\r\n\r\nbody",
        )

    def test_no_control_character_leaves(self):
        for char in map(chr, [*range(32), 127]):
            response = Response(200, f"O{char}K", [("Subject", f"a{char}Via: b")])
            self.assertNotRegex(response.to_bytes(), rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
            self.assertEqual(response.to_bytes().count(b"\r\n"), 4)
            self.assertEqual(response.to_bytes().count(b"\n"), 4)

    def test_no_header_name_of_the_network_can_be_written(self):
        for name in ("X\r\nVia", "X:", "", "X Y"):
            with self.assertRaises(SipError):
                Response(200).add(name, "1")

    def test_changing_headers(self):
        message = Message([("Via", "a"), ("v", "b"), ("To", "<sip:x>")])
        message.set("VIA", "c")
        message.prepend("Route", "<sip:r>")
        message.add("t", "<sip:y>")
        self.assertEqual(message.headers, [("Route", "<sip:r>"), ("Via", "c"), ("To", "<sip:x>"), ("To", "<sip:y>")])
        self.assertEqual(message.to.uri.host, "x")
        message.set("To", "<sip:z>;tag=1")
        self.assertEqual((message.to.uri.host, message.to.tag), ("z", "1"))  # what was read before is read anew
        message.remove("to")
        self.assertEqual((message.get("To"), message.getall("Via")), (None, ["c"]))

    def test_response_to_a_request(self):
        head = HEAD.replace("Via:", "Record-Route: <sip:rr;lr>\r\nv: SIP/2.0/UDP top\r\nVia:").replace(
            "REGISTER", "INVITE"
        )
        asked = read("Contact: <sip:1@h>", head=head)
        response = make_response(asked, 200, to_tag="t9", headers=[("Contact", "<sip:me>")], body=b"x")
        names = [name for name, _ in response.headers]
        self.assertEqual(names, ["Record-Route", "Via", "Via", "From", "To", "Call-ID", "CSeq", "Contact"])
        self.assertEqual((response.to.tag, response.reason, response.body), ("t9", "OK", b"x"))
        self.assertIsNone(make_response(asked, 486).get("Record-Route"))
        self.assertEqual(make_response(asked, 299, "Own").to_bytes()[:15], b"SIP/2.0 299 Own")
