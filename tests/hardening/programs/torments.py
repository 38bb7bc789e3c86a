"""Torture messages of our own: long fields, huge numbers, control characters, what makes regular expressions take for
ever, deep nesting, 64 kB datagrams, thousands of headers, many Vias."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

LARGEST = 65_000


@dataclass(frozen=True)
class Torment:
    what: str
    data: bytes


USUAL = {
    "Via": b"SIP/2.0/UDP 127.66.0.1:5060;rport;branch=z9hG4bKtorment",
    "Max-Forwards": b"70",
    "From": b"<sip:1001@pbx.test>;tag=t",
    "To": b"<sip:1001@pbx.test>",
    "Call-ID": b"torment",
    "CSeq": b"1 REGISTER",
    "Contact": b"<sip:1001@127.66.0.1>",
}
LONG = (
    "Via", "From", "To", "Call-ID", "CSeq", "Contact", "Max-Forwards", "Expires", "User-Agent", "Authorization",
    "Route", "Supported", "Require", "Event", "Accept", "Subject", "Path", "Record-Route",
    "Content-Type", "Content-Length", "X",
)  # fmt: skip
NUMBERS = {
    "CSeq": b"%s REGISTER", "Max-Forwards": b"%s", "Expires": b"%s", "Content-Length": b"%s",
    "Contact": b"<sip:a@b:%s>;expires=%s;q=%s;reg-id=%s", "Via": b"SIP/2.0/UDP 127.66.0.1:%s;branch=z9hG4bKn",
    "RSeq": b"%s", "Session-Expires": b"%s;refresher=uac", "Min-SE": b"%s", "Timestamp": b"%s", "Retry-After": b"%s",
    "Authorization": b'Digest username="1001",realm="x",nonce="%s",uri="sip:pbx.test",response="0",nc=%s,qop=auth',
}  # fmt: skip
HUGE = (
    b"0", b"-1", b"+1", b"1e999999999", b"4294967296", b"18446744073709551616", b"9" * 400, b"9" * 4301, b"9" * 30_000,
    b"0" * 30_000 + b"1", "٣".encode(), "１".encode(), b"0x7fffffff", b"1_000", b"NaN", b"inf",
)  # fmt: skip
CONTROLS = (b"\0", b"\x01", b"\x07", b"\x08", b"\x0b", b"\x1b[2J\x1b]0;x\x07", b"\x7f", b"\xc2\x85", b"\xe2\x80\xa8",
            b"\xe2\x80\xae", b"\r", b"\n", b"\n\n", b"\rVia: x", b"\xff\xfe", b"\xed\xa0\x80")  # fmt: skip
ENDLESS = {
    "blanks in brackets": ("From", b"<" + b" " * 60_000),
    "brackets": ("From", b"<" * 60_000),
    "quotes": ("To", b'"' * 60_000 + b"<sip:a@b>"),
    "backslashes": ("To", b'"' + b"\\" * 60_001),
    "escaped quotes": ("Authorization", b'Digest username="' + b'\\"' * 29_000),
    "commas and quotes": ("Contact", b'",' * 29_000),
    "commas": ("Contact", b"," * 60_000),
    "semicolons": ("Via", b"SIP/2.0/UDP a" + b";" * 60_000),
    "parameters": ("From", b"<sip:a@b>" + b";a" * 29_000),
    "parameters with values": ("Contact", b"<sip:a@b>" + b";a=b" * 14_000),
    "equal signs": ("Authorization", b"Digest " + b"a=" * 29_000),
    "digest without commas": ("Authorization", b"Digest " + b'a="b" ' * 9_000),
    "blanks in the digest": ("Authorization", b"Digest a" + b" " * 60_000 + b"="),
    "percent signs": ("To", b"<sip:" + b"%" * 60_000 + b"@b>"),
    "escapes": ("To", b"<sip:" + b"%41" * 19_000 + b"@b>"),
    "at signs": ("To", b"<sip:" + b"@" * 60_000 + b">"),
    "colons": ("To", b"<sip:a@" + b":" * 60_000 + b">"),
    "dots": ("To", b"<sip:a@" + b"a." * 29_000 + b">"),
    "address of colons": ("To", b"<sip:a@[" + b"0:" * 29_000 + b"]>"),
    "URI in URI": ("To", b"<sip:a@b?" + b"To=%3Csip:a@b?" * 4_000 + b">"),
    "headers in a URI": ("Contact", b"<sip:a@b?" + b"a=b&" * 14_000 + b">"),
    "option tags": ("Require", b"a," * 29_000),
    "accepted types": ("Accept", b"a/b;q=0.1," * 5_900),
    "events": ("Event", b"dialog" + b";id=" * 14_000),
    "languages": ("Accept-Language", b"*-" * 29_000),
    "routes": ("Route", b"<sip:a;lr>," * 5_000),
    "paths": ("Path", b"<sip:a;lr>," * 5_000),
    "vias": ("Via", b"SIP/2.0/UDP a;branch=z9hG4bK1," * 1_900),
    "comments": ("User-Agent", b"(" * 60_000),
    "dates": ("Date", b"Mon, " * 12_000),
    "slashes": ("Via", b"/" * 60_000),
    "versions": ("Via", b"SIP/" * 15_000),
    "Replaces": ("Replaces", b"a;to-tag=b;from-tag=" * 3_000),
}

LINES = (
    b"X: 1", b"Via: SIP/2.0/UDP a;branch=z9hG4bK1", b"a:", b"Contact: <sip:1001@127.66.0.1>", b"To: <sip:a@b>",
    b"Route: <sip:a;lr>", b"Content-Length: 0", b" folded",
)  # fmt: skip
PART = b"--a\r\nContent-Type: multipart/mixed;boundary=a\r\n\r\n"
ENTITY = b'<!DOCTYPE a [<!ENTITY b "' + b"c" * 1000 + b'">]><a>'


def request(
    method: bytes = b"REGISTER", uri: bytes = b"sip:pbx.test", body: bytes = b"", add: bytes = b"", **other: bytes
) -> bytes:
    """With some headers of another value; an underscore in a name is a hyphen."""
    lines = USUAL | {name.replace("_", "-"): value for name, value in other.items()}
    if method != b"REGISTER" and "CSeq" not in other:
        lines["CSeq"] = b"1 " + method
    lines.setdefault("Content-Length", b"%d" % len(body))
    head = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in lines.items())
    return method + b" " + uri + b" SIP/2.0\r\n" + head + add + b"\r\n" + body


def torments() -> Iterator[Torment]:
    for name in LONG:
        for length in (1_000, 33_000, 60_000):
            yield Torment(f"{name} of {length} letters", request(**{name: b"a" * length}))
    for name, pattern in NUMBERS.items():
        for huge in HUGE:
            value = pattern.replace(b"%s", huge)[:60_000]
            yield Torment(f"{name} of {huge[:12]!r}, {len(huge)} characters", request(**{name: value}))
    for control in CONTROLS:
        for name in ("From", "To", "Call-ID", "Contact", "User-Agent", "X", "CSeq", "Via"):
            yield Torment(f"{control!r} in {name}", request(**{name: USUAL.get(name, b"a") + control + b"z"}))
        yield Torment(f"{control!r} in a name", request(add=b"X" + control + b"Y: 1\r\n"))
        yield Torment(f"{control!r} in the first line", request(uri=b"sip:pbx" + control + b".test"))
        yield Torment(f"{control!r} as method", request(method=b"REG" + control))
    for what, (name, value) in ENDLESS.items():
        yield Torment(f"endless {what}", request(**{name: value}))
        yield Torment(f"endless {what} of an INVITE", request(b"INVITE", b"sip:1001@pbx.test", **{name: value}))
    yield from _many()
    yield from _bodies()


def _many() -> Iterator[Torment]:
    for line in LINES:
        for count in (70, 129, 1_000, 60_000 // (len(line) + 2)):
            yield Torment(f"{count} times {line!r}", request(add=(line + b"\r\n") * count))
    yield Torment("30,000 line ends", b"\r\n" * 30_000 + request())
    yield Torment("30,000 line ends and no more", b"\r\n" * 30_000)
    yield Torment("30,000 bare line feeds", request().replace(b"\r\n", b"\n") + b"\n" * 30_000)
    yield Torment("65,000 zeros", b"\0" * LARGEST)
    yield Torment("65,000 letters", b"A" * LARGEST)
    yield Torment("65,000 blanks", b" " * LARGEST)
    yield Torment("a method of 60,000 letters", request(b"A" * 60_000))
    yield Torment("a Request-URI of 60,000 letters", request(uri=b"sip:" + b"a" * 60_000))
    yield Torment("a first line of blanks", b"REGISTER" + b" " * 60_000 + b"sip:a SIP/2.0\r\n\r\n")
    yield Torment("a status line of digits", b"SIP/2.0 " + b"2" * 60_000 + b"\r\n\r\n")
    yield Torment("an answer with 1,000 Vias", request().replace(b"REGISTER sip:pbx.test SIP/2.0", b"SIP/2.0 200 OK")
                  .replace(b"Max-Forwards", b"Via: SIP/2.0/UDP a\r\n" * 1_000 + b"Max-Forwards"))  # fmt: skip
    yield Torment("a version of digits", request().replace(b"SIP/2.0\r\n", b"SIP/" + b"9" * 60_000 + b"\r\n", 1))


def _bodies() -> Iterator[Torment]:
    start = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    for what, kind, body in (
        ("media lines", b"application/sdp", start + b"m=audio 1 RTP/AVP 0\r\n" * 2_500),
        ("formats", b"application/sdp", start + b"m=audio 1 RTP/AVP" + b" 0" * 28_000),
        ("attributes", b"application/sdp", start + b"a=x\r\n" * 11_000),
        ("groups", b"application/sdp", start + b"a=group:BUNDLE" + b" a" * 28_000),
        ("multiparts in multiparts", b"multipart/mixed;boundary=a", PART * 1_000),
        ("elements in elements", b"application/pidf+xml", b"<a>" * 19_000),
        ("entities", b"application/pidf+xml", ENTITY + b"&b;" * 15_000),
        ("brackets of JSON", b"application/json", b"[" * 60_000),
        ("signals", b"application/dtmf-relay", b"Signal=" * 8_000),
    ):  # fmt: skip
        for method in (b"INVITE", b"MESSAGE", b"PUBLISH", b"NOTIFY", b"INFO"):
            yield Torment(f"{what} in a {method.decode()}",
                          request(method, b"sip:1001@pbx.test", body[:LARGEST - 600], Content_Type=kind))  # fmt: skip
    yield Torment("a Content-Length beyond the end", request(Content_Length=b"99999"))
    yield Torment("a Content-Length of 2^31", request(Content_Length=b"2147483648"))
