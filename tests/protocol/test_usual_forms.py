"""What phones usually write is read by a shorter way; it must be read as by the long one, which reads anything."""

import re
from pathlib import Path
from unittest import TestCase
from unittest.mock import patch

from sipcore.protocol import digest, headers, message
from sipcore.protocol.digest import parse_authorization
from sipcore.protocol.errors import SipError
from sipcore.protocol.headers import Contact, NameAddr, parse_address, parse_via
from sipcore.protocol.message import Request, parse_message, validate_request
from tests.protocol.test_robustness import REGISTER

CORPUS = Path(__file__).parent / "corpus"
NEVER = re.compile(r"(?!)(a)(b)(c)(d)(e)(f)")


def outcome(read, *arguments):
    try:
        return read(*arguments)
    except SipError as error:
        return error.status, error.reason


class UsualFormsTest(TestCase):
    def test_addresses(self):
        texts = [
            "<sip:1001@pbx.test>", "<sip:1001@pbx.test>;tag=1b2c", "<sip:1001@pbx.test>;tag=", "<sip:@pbx.test>;tag=1",
            "<sip:1001@[2001:db8::1]:5060;transport=tcp>;tag=a", "<tel:+998901234567>", "<sip:a@b>;tag=x;tag=y", "<>",
            "<sip:a@b> ;tag=x", "<sip:a@b>x", "<sip:a b@c>;tag=x", "<sips:a@B.Test:5061>;tag=%20", "<sip:a@b?x=y>",
        ]  # fmt: skip
        for kind in (NameAddr, Contact):
            for text in texts:
                with self.subTest(text, kind=kind):
                    short = outcome(parse_address, kind, text)
                    with patch.object(headers, "_USUAL_ADDRESS", NEVER):
                        self.assertEqual(short, outcome(parse_address, kind, text))

    def test_via(self):
        texts = [
            "SIP/2.0/UDP 192.0.2.4:5060;rport;branch=z9hG4bK1", "SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK1;rport",
            "SIP/2.0/TCP Phone.Test:5060;branch=z9hG4bK1;alias;rport", "SIP/2.0/TLS a;rport;branch=1;alias",
            "SIP/2.0/UDP a:0;branch=1", "SIP/2.0/UDP a:99999;branch=1", "SIP/2.0/UDP a;rport;branch=1;rport",
            "SIP/2.0/UDP a;branch=1;alias;alias", "SIP/2.0/UDP a;branch=", "SIP/2.0/UDP a;branch=a,b",
            "SIP/2.0/UDP a;branch=1;rport=5", "SIP/2.0/udp a;branch=1", "SIP/2.0/WS a.invalid;branch=1",
        ]  # fmt: skip
        for text in texts:
            with self.subTest(text):
                short = outcome(parse_via, text)
                with patch.object(headers, "USUAL_VIA", NEVER):
                    long = outcome(parse_via, text)
                self.assertEqual(short, long)
                self.assertEqual(str(short), str(long))  # and in the order they came

    def test_credentials(self):
        whole = (
            'Digest username="1001", realm="pbx, east", nonce="A=", uri="sip:pbx.test", response="0123", '
            'algorithm=MD5, cnonce="c", qop=auth, nc=00000001'
        )
        changes = [
            ("", ""), (", ", ","), (", ", " ,\t"), ("=", " = "), ('"1001"', "1001"), ('"1001"', '""'),
            ('"1001"', '"1001'), ('"1001"', '"10" 01'), ('"1001"', 'x"1001"'), ('"1001"', '"1001"x'),
            ('"1001"', '"\0"'), ("MD5", "\0"), ("MD5", "0"), ("MD5", '"MD5"'), ("auth", '"auth"'),
            ("username", "USERNAME"), ("username", "user name"), ("realm", "username"), ("nonce", "Realm"),
            (", realm", "realm"), ("nc=", 'nc="'), ("00000001", "1"), (", nc=00000001", ""), ("Digest ", "Digest , "),
            ("Digest ", "Digest opaque, "), ("Digest ", 'Digest userhash="true", '),
            ("Digest ", "Digest " + "x" * 300 + '="1", '), ("00000001", "00000001,"), ("00000001", '00000001, ""'),
        ]  # fmt: skip
        for old, new in changes:
            for count in (1, -1):
                text = whole.replace(old, new, count) if old else whole
                with self.subTest(text):
                    for _ in range(2):  # read, and remembered
                        short = outcome(parse_authorization, text)
                    with patch.object(digest, "_SHORT_SHAPE", -1):
                        self.assertEqual(outcome(parse_authorization, text), short)

    def test_messages(self):
        base = REGISTER.decode()
        packets = [path.read_bytes() for path in sorted(CORPUS.rglob("*")) if path.is_file()]
        packets += [
            base.replace(*change).encode()
            for change in (
                ("Max-Forwards: 70", "Max-Forwards:70"), ("Call-ID: ", "i:\t"), ("CSeq: ", "CSEQ :"),
                ("From: ", "X-Mine: a\r\nFrom: "), ("\r\nTo:", " \r\nTo:"), ("\r\nTo:", "\r\n \tfolded\r\nTo:"),
                ("From: ", "Supported: a\r\nSupported: b\r\nFrom: "), ("From: ", "From: x\r\nFrom: "),
                ("To: ", "To: \n"), ("To: ", "To: \r"), ("To: ", "To\x01: "), ("To: ", "To"), ("\r\n\r\n", "\r\n"),
                ("REGISTER sip:", "REGISTER sip:\n"), ("REGISTER ", "register\r "), (" SIP/2.0\r", " SIP/2.0\n\r"),
            )
        ]  # fmt: skip
        usual = 0
        for data in [REGISTER, *packets]:
            with self.subTest(data[:60]):
                short = self._read(data)
                usual += short[0]
                with patch.object(message, "_split_usual_headers", return_value=None):
                    self.assertEqual(short[1:], self._read(data)[1:])
        self.assertGreater(usual, len(packets) // 5)

    def _read(self, data):
        try:
            found = parse_message(data)
            if isinstance(found, Request):
                validate_request(found)
        except SipError as error:
            return getattr(error.message, "single", False), error.status, error.reason, _all(error.message)
        return found.single, _all(found)


def _all(found):
    if found is None:
        return None
    names = ("via", "from_", "to", "call_id", "cseq", "contacts", "max_forwards", "expires", "path", "require")
    return found.headers, found.body, found.firsts, [outcome(getattr, found, name) for name in names]
