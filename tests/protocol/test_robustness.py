"""No bytes raise anything but SipError, and no 64 KB take long (style items 3 and 4, hardening rule 9)."""

import random
import time
import unittest
from collections.abc import Callable
from contextlib import suppress

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sipcore.protocol import digest, headers, sdp, uri
from sipcore.protocol.dialog import Dialog
from sipcore.protocol.errors import SipError
from sipcore.protocol.message import Request, make_response, parse_message, validate_request

from .corpus_files import CORPUS, FLOW, new_endpoint, rfc4475, rfc5118

LIMIT = 0.020  # seconds a message, named in issue 2
SIZE = 65_000

REGISTER = (
    b"REGISTER sip:pbx.example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.168.1.20:5062;branch=z9hG4bK-1;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b'Contact: "A" <sip:1001@192.168.1.20:5062;ob>;expires=600;+sip.instance="<urn:uuid:0>";reg-id=1, <sip:2@[::1]>\r\n'
    b"To: <sip:1001@pbx.example.com>\r\n"
    b'From: "Al\\"ice" <sip:1001@pbx.example.com>;tag=8a7b\r\n'
    b"Call-ID: 97wAGhfHgHGPGaLQ\r\nCSeq: 2 REGISTER\r\nExpires: 600\r\nSupported: path, outbound\r\n"
    b"User-Agent: Zoiper\r\nPath: <sip:p.example.com;lr>\r\n"
    b'Authorization: Digest username="1001",realm="pbx",nonce="AAAA",uri="sip:pbx.example.com",'
    b'response="0123456789abcdef0123456789abcdef",cnonce="abc",nc=00000001,qop=auth,algorithm=MD5\r\n'
    b"Content-Length: 0\r\n\r\n"
)
SEEDS = (
    [REGISTER]
    + [rfc4475(path.stem) for path in sorted((CORPUS / "rfc4475").glob("*.dat"))]
    + [rfc5118(path.name) for path in sorted((CORPUS / "rfc5118").iterdir())]
)
NASTY = [
    b"\0", b"\r", b"\n", b"\r\n ", b'"', b"\\", b"<", b">", b";", b",", b":", b"@", b"%", b"%0", b"[", b"]", b"=", b"*",
    b"?", b"\xff", b"\xed\xa0\x80", b"\xc2\x85", b"\xe2\x80\xa8", "٣".encode(), "１".encode(), b"9" * 5000, b"-1",
    b" " * 300, b"SIP/2.0", b"sip:", b"\r\nVia: ", b"\r\n\r\n", b"INVITE", b"z9hG4bK",
]  # fmt: skip


def look_at_everything(data: bytes) -> None:
    """What an endpoint and a core do with a packet, and more. May raise SipError."""
    message = parse_message(data)
    errors = 0
    for name in ("via", "from_", "to", "call_id", "cseq", "max_forwards", "contacts", "path", "request_uri"):
        try:
            value = getattr(message, name, None)
            str(value)
            for contact in value if name == "contacts" and isinstance(value, list) else ():
                str((contact.expires, contact.q, contact.instance, contact.reg_id, contact.uri.canonical, str(contact)))
            if name == "request_uri" and value is not None:
                uri.same_uri(value, value)
                uri.same_uri(uri.parse_uri(str(value)), value, ignore_params=True)
        except SipError:
            errors += 1
    str((message.expires, message.supported, message.require, message.user_agent))
    for value in message.getall("Authorization"):
        try:
            credentials = digest.parse_authorization(value)
            digest.response_matches("0" * 32, credentials, "REGISTER")
            digest.Nonces(b"k", 1, 10).state(credentials.nonce, 1.0, "192.0.2.1")
        except SipError:
            errors += 1
    try:
        sdp.parse_sdp(message.body).to_bytes()
    except SipError:
        errors += 1
    message.to_bytes()
    if isinstance(message, Request):
        try:
            parse_message(make_response(message, 400, to_tag="x").to_bytes())
            Dialog.as_uas(message, "tag", "<sip:me@example.com>").make_request("BYE").to_bytes()
        except SipError:
            errors += 1
        validate_request(message)


def throw(data: bytes) -> None:
    """One packet at everything; any exception but SipError fails the test."""
    try:
        look_at_everything(data)
    except SipError as error:
        assert error.reason.isascii() and error.reason.isprintable()
    endpoint = new_endpoint()
    endpoint.receive_datagram(data, FLOW, 0.0)
    while endpoint.next_event() is not None:
        pass
    for packet, flow in endpoint.datagrams_to_send():
        assert flow == FLOW
        head = packet.partition(b"\r\n\r\n")[0]
        lines = head.split(b"\r\n")
        assert not any((byte < 32 and byte != 9) or byte == 127 for line in lines for byte in line)


def mutate(seed: bytes, chance: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0:
                data[at:at] = chance.choice(NASTY)
            case 1:
                del data[at : at + chance.choice((1, 1, 2, 5, 40))]
            case 2:
                data[at : at + 1] = bytes((chance.randrange(256),))
            case 3:
                end = at + chance.choice((3, 20, 100))
                data[at:at] = data[at:end] * chance.choice((1, 2, 30))
            case 4:
                data[at : at + 1] = chance.choice(NASTY)
        if not data:
            break
    return bytes(data)


class NoOtherExceptionTest(unittest.TestCase):
    def test_mutated_messages(self):
        for number in range(4_000):
            chance = random.Random(number)
            data = mutate(chance.choice(SEEDS), chance)
            try:
                throw(data)
            except Exception as error:
                raise AssertionError(f"mutation {number}: {data!r}") from error

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=600))
    @example(b"")
    @example(b"\r\n")
    @example(b"SIP/2.0")
    @example(b"SIP/2.0 200")
    @example(b" \r\n\r\n")
    @example(b"A B SIP/2.0\r\n\r\n")
    def test_any_bytes(self, data: bytes):
        throw(data)

    @settings(max_examples=500, deadline=None)
    @given(st.text(alphabet=st.sampled_from(list("\"\\<>;,:@%=[]?*/ \t\0\x85\u2028a1zZ9.-'٣１é\udc80")), max_size=60))
    def test_any_text_in_any_value(self, text: str):
        for parser in PARSERS.values():
            try:
                parser(text)
            except SipError:
                continue
        headers.clean_text(text, 20).encode("utf-8")
        uri.normalise_escapes(text)
        value = text.encode("utf-8", "surrogateescape")
        for name in (b"Via", b"From", b"To", b"Contact", b"CSeq", b"Call-ID", b"Authorization", b"Expires", b"Path"):
            throw(b"REGISTER sip:a SIP/2.0\r\n" + name + b": " + value + b"\r\n" + REGISTER.partition(b"\r\n")[2])

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=40), st.text(max_size=40))
    def test_nothing_that_is_written_can_end_a_line(self, name: str, value: str):
        """Strict out: whatever a core puts into a header, what leaves is one header."""
        response = make_response(parse_message(REGISTER), 200, headers=[("Subject", value)])
        response.add("Contact", str(headers.NameAddr(name, uri.parse_uri("sip:a@b"))))
        again = parse_message(response.to_bytes())
        self.assertEqual([line[0] for line in again.headers][-3:], ["Subject", "Contact", "Content-Length"])


def value_of(name: bytes) -> Callable[[str], object]:
    """A whole REGISTER with the text as one more value of a header."""
    before, after = REGISTER.split(b"Max-Forwards", 1)

    def parse(text: str) -> object:
        line = name + b": " + text.encode("utf-8", "replace") + b"\r\n"
        return look_at_everything((before + line + b"Max-Forwards" + after)[:65_535])

    return parse


def sdp_of(text: str) -> sdp.Session:
    return sdp.parse_sdp(("v=0\no=- 1 1 IN IP4 a\n" + text).encode("utf-8", "replace"))


PARSERS: dict[str, Callable[[str], object]] = {
    "uri": uri.parse_uri,
    "canonical": lambda text: uri.parse_uri("sip:" + text).canonical,
    "uri parameters": lambda text: uri.parse_uri("sip:a@b;" + text).canonical,
    "escapes": lambda text: uri.normalise_escapes(text[: uri.MAX_URI]),
    "via": headers.parse_via,
    "via parameters": lambda text: headers.parse_via("SIP/2.0/UDP a;" + text),
    "name-addr": headers.parse_name_addr,
    "contact": headers.parse_contact,
    "parameters": headers.parse_params,
    "list": headers.split_list,
    "unquote": headers.unquote,
    "number": headers.parse_number,
    "clean": lambda text: headers.clean_text(text, 100_000),
    "authorization": digest.parse_authorization,
    "digest": lambda text: digest.parse_authorization("Digest " + text[: digest.MAX_AUTHORIZATION]),
    "nonce": lambda text: digest.Nonces(b"k", 1, 10).state(text, 1.0, text),
    "sdp": lambda text: sdp_of(text).to_bytes(),
    "codecs": lambda text: sdp_of("m=audio 1 RTP/AVP 0\na=rtpmap:" + text).media[0].codecs,
}
WHOLE = {name: value_of(name.encode()) for name in ("Via", "Contact", "From", "Authorization", "X", "Supported")}

# A unit is repeated to 64 KB, with a beginning and an end that keep a parser trying until the last character.
UNITS = [
    ' ', '\t', 'a', '"', '\\', '\\"', '"\\', '";', ';"', '","', '",', '<', '>', '<>', '><', ';', ',', ';;', ';a',
    ';a=', 'a=b;', ';=', ', ', ':', '::', '@', 'a@', '%', '%4', '%41', '%25', '=', 'a=', 'a="', 'a="b",', 'a=b,',
    'a=b ,', 'a = ', 'a="" ', '[', ']', '[]', ':::', '/', ' /', 'SIP/', '1', '0', '٣', 'é', '\u2028', '<sip:a>',
    '<sip:a>,', '"a" <sip:a>,', 'sip:', '*,', '&a=b', '?', '\r\n ', '\r\n', '\n', '\na=b',
    '\nm=audio 1 RTP/AVP 0', '\na=rtpmap:0 a/1', '\nc=IN IP4 a', 'a:', '-', '.',
]  # fmt: skip
FRAMES = [
    ("", ""), ('"', ""), ("", '"'), ("<", ""), ("", ">"), ("<sip:a>;x=", '"'), ("sip:", "@"), ("a=", '"'), ('a="', ""),
]  # fmt: skip


def took(parser: Callable[[str], object], text: str, enough: float = LIMIT / 4) -> float:
    """The least of several runs, in seconds of this thread's own work: others on the machine only ever add."""
    best = float("inf")
    for _ in range(8):
        start = time.thread_time()
        with suppress(SipError):
            parser(text)
        best = min(best, time.thread_time() - start)
        if best < enough:
            break
    return best


def grows_faster(parser: Callable[[str], object], small: str, large: str) -> str:
    """Empty when twice the text takes about twice the time; a neighbour that is loud only now gets three chances."""
    for _ in range(3):
        before = took(parser, small, enough=0.002)
        if before < 0.002:
            return ""  # too little to compare; the limit of 20 ms bounds it
        after = took(parser, large, enough=3 * before)
        if after <= 3 * before + 0.002:
            return ""
    return f"{before * 1e3:.1f} -> {after * 1e3:.1f} ms"


class WorstCaseTest(unittest.TestCase):
    def test_64_kilobytes_stay_below_20_ms(self):
        for name, parser in [*PARSERS.items(), *WHOLE.items()]:
            for unit in UNITS:
                for begin, end in FRAMES if name in PARSERS else FRAMES[:3]:
                    text = begin + unit * ((SIZE - 1000) // len(unit.encode("utf-8"))) + end
                    seconds = took(parser, text)
                    if seconds >= LIMIT:
                        self.fail(f"{name}: {begin!r} + {unit!r} * n + {end!r}: {seconds * 1000:.0f} ms")

    def test_twice_the_input_takes_about_twice_the_time(self):
        for name, parser in PARSERS.items():
            for unit in UNITS:
                for begin, end in FRAMES:
                    count = 32_000 // len(unit.encode("utf-8"))
                    fault = grows_faster(parser, begin + unit * count + end, begin + unit * (2 * count) + end)
                    self.assertEqual(fault, "", f"{name}: {begin!r} {unit!r} {end!r}")
