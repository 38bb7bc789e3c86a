"""Inputs that broke something once: (target, what it was, bytes). Those of other servers bear the number that their
failure has in ``tests.hardening.past_failures``."""

from __future__ import annotations

from tests.hardening.fuzz.engine import DIALOG
from tests.hardening.fuzz.seeds import HEAD, REGISTER, SDP


def with_line(line: bytes) -> bytes:
    return REGISTER.replace(b"Max-Forwards: 70", line)


def in_a_call(method: bytes, more: bytes, body: bytes = b"") -> bytes:
    return DIALOG % {b"method": method, b"more": more, b"body": body, b"length": len(body)}


KEPT: list[tuple[str, str, bytes]] = [
    ("authorization", "10: incomplete Authorization", b"Digest"),
    ("authorization", "10: incomplete Authorization", b"Digest username="),
    ("authorization", "10: incomplete Authorization", b'Digest username="1001", realm="pbx.test", uri='),
    (
        "authorization",
        "10: empty parameters",
        b'Digest username="",realm="",nonce="",uri="",response="",qop=,nc=,cnonce=',
    ),
    ("authorization", "34: exponential time", b'Digest username="' + b'\\"' * 150 + b", realm="),
    ("engine", "10: no value at all", with_line(b"Authorization:")),
    ("message", "17: a control character before the colon", with_line(b"To\x01: <sip:1002@pbx.test>")),
    ("message", "17: white space before the colon", with_line(b"Remote-Party-ID : <sip:9999@pbx.test>")),
    ("message", "30: CSeq beyond 32 bits", REGISTER.replace(b"CSeq: 2", b"CSeq: 2147483648")),
    ("message", "30: more digits than int() takes", REGISTER.replace(b"CSeq: 2", b"CSeq: " + b"9" * 5000)),
    ("message", "30: digits that are none of ASCII", REGISTER.replace(b"CSeq: 2", "CSeq: ٣".encode())),
    ("framing", "30: a negative length", REGISTER.replace(b"Content-Length: 0", b"Content-Length: -1")),
    ("framing", "30: a length beyond 31 bits", REGISTER.replace(b"Content-Length: 0", b"Content-Length: 2147483648")),
    ("framing", "38: a header without end", b"REGISTER sip:a SIP/2.0\r\nX: " + b"a" * 60_000),
    ("address", "33: a To without its end", b'"a\\'),
    ("address", "33: a To that is one bracket", b"<"),
    ("via", "33: a Via of separators", b"SIP/2.0/UDP :;,"),
    ("via", "33: a branch without a value", b"SIP/2.0/UDP a;branch"),
    ("uri", "33: a port without digits", b"sip:a@b:"),
    ("uri", "33: brackets without an address", b"sip:a@[]"),
    ("lists", "34: quotes and commas", b'",' * 30_000),
    ("address", "34: brackets without end", b"<" * 65_000),
    (
        "engine",
        "31: one field of a body is too long",
        b"NOTIFY sip:1002@pbx.test SIP/2.0\r\n" + HEAD + b"CSeq: 1 NOTIFY\r\nEvent: message-summary\r\n"
        b"Content-Type: application/simple-message-summary\r\n\r\nMessage-Account: sip:" + b"a" * 30_000 + b"\r\n",
    ),
    (
        "call",
        "31: the same within a call",
        in_a_call(b"NOTIFY", b"Event: message-summary\r\n", b"Message-Account: " * 3000),
    ),
    (
        "subscribe",
        "32: a hundred Accept headers",
        b"SUBSCRIBE sip:1002@pbx.test SIP/2.0\r\n"
        + HEAD
        + b"CSeq: 1 SUBSCRIBE\r\nEvent: dialog\r\n"
        + b"Accept: a/b\r\n" * 100
        + b"Content-Length: 0\r\n\r\n",
    ),
    (
        "engine",
        "32: an INVITE without Contact",
        b"INVITE sip:1002@pbx.test SIP/2.0\r\n" + HEAD + b"CSeq: 1 INVITE\r\n\r\n",
    ),
    ("sdp", "32: an fmtp without anything", SDP + b"a=fmtp\r\na=fmtp:\r\na=fmtp: \r\na=rtpmap:\r\n"),
    ("sdp", "32: an fmtp of a payload that is too large", SDP + b"a=fmtp:999999999999 x\r\n"),
    ("sdp", "a text of control characters alone", SDP.replace(b"s=-", b"s=-\r\ni=\t\r\nu=\x01")),
    ("sdp", "a name in the origin that is a control character", SDP.replace(b"o=-", b"o=\0")),
    ("sdp", "rtcp-mux where it belongs to no medium", SDP.replace(b"t=0 0", b"t=0 0\r\na=rtcp-mux\r\na=rtcp:9")),
    (
        "call",
        "32: a body of many parts that has none",
        in_a_call(b"INVITE", b"Content-Type: multipart/mixed\r\n", b"--\r\n"),
    ),
    (
        "call",
        "an answer to the port that a Via without rport names",
        in_a_call(b"aaINVITE", b"").replace(b";rport", b"arport"),
    ),
    ("bencode", "30: lengths that are none", b"1 d5:99999:e"),
    ("bencode", "nested without end", b"1 " + b"l" * 60_000),
]
