"""What the fuzzers begin with, and how they spoil it."""

from __future__ import annotations

from hypothesis import strategies as st

from sipcore.media import ng
from tests.protocol.corpus_files import CORPUS, rfc4475, rfc5118

HEAD = (
    b"Via: SIP/2.0/UDP 192.168.1.20:5062;branch=z9hG4bK-1;rport\r\nMax-Forwards: 70\r\n"
    b'From: "Al\\"ice" <sip:1001@pbx.test>;tag=8a7b\r\nTo: <sip:1002@pbx.test>\r\nCall-ID: 97wAGhfHgHGPGaLQ\r\n'
)
AUTHORIZATION = (
    b'Digest username="1001", realm="pbx.test", nonce="AAAA", uri="sip:pbx.test", '
    b'response="0123456789abcdef0123456789abcdef", cnonce="abc", nc=00000001, qop=auth, algorithm=MD5'
)
REGISTER = (
    b"REGISTER sip:pbx.test SIP/2.0\r\n" + HEAD + b"CSeq: 2 REGISTER\r\n"
    b'Contact: "A" <sip:1001@192.168.1.20:5062;ob>;expires=600;q=0.5;+sip.instance="<urn:uuid:0>";reg-id=1\r\n'
    b"Supported: path, outbound\r\nPath: <sip:p.example.com;lr>\r\nUser-Agent: Zoiper\r\nAuthorization: "
    + AUTHORIZATION
    + b"\r\nContent-Length: 0\r\n\r\n"
)
SDP = (
    b"v=0\r\no=- 3 4 IN IP4 192.168.1.20\r\ns=-\r\nc=IN IP4 192.168.1.20\r\nb=AS:80\r\nt=0 0\r\n"
    b"m=audio 4000/2 RTP/SAVP 96 8 0 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:101 0-15\r\n"
    b"a=rtcp:4003 IN IP4 10.0.0.1\r\n"
    b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n"
    b"a=ptime:20\r\na=sendonly\r\n"
    b"a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host\r\nm=video 0 RTP/AVP 31\r\nc=IN IP6 ::1\r\na=rtcp-mux\r\n"
)
INVITE = (
    b"INVITE sip:1002@pbx.test SIP/2.0\r\n" + HEAD + b"CSeq: 1 INVITE\r\nContact: <sip:1001@192.168.1.20:5062>\r\n"
    b"Session-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\nSupported: timer, 100rel\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: %d\r\n\r\n" % len(SDP) + SDP
)
SUBSCRIBE = (
    b"SUBSCRIBE sip:1002@pbx.test SIP/2.0\r\n" + HEAD + b"CSeq: 1 SUBSCRIBE\r\nContact: <sip:1001@192.168.1.20>\r\n"
    b"Event: dialog;id=7\r\nAccept: application/dialog-info+xml, */*;q=0.1\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
)
REFER = (
    b"REFER sip:1002@pbx.test SIP/2.0\r\n" + HEAD + b"CSeq: 3 REFER\r\nContact: <sip:1001@192.168.1.20>\r\n"
    b"Refer-To: <sip:1003@pbx.test?Replaces=a%40b%3bto-tag%3dx%3bfrom-tag%3dy>\r\nContent-Length: 0\r\n\r\n"
)
RINGING = b"SIP/2.0 180 Ringing\r\n" + HEAD + b"CSeq: 1 INVITE\r\nContact: <sip:1002@192.168.1.21>\r\n\r\n"
MESSAGES = [
    REGISTER,
    INVITE,
    SUBSCRIBE,
    REFER,
    RINGING,
    *(rfc4475(path.stem) for path in sorted((CORPUS / "rfc4475").glob("*.dat"))),
    *(rfc5118(path.name) for path in sorted((CORPUS / "rfc5118").iterdir())),
]


def values_of(*names: bytes) -> list[bytes]:
    """Every value that one of these headers has in the corpus."""
    wanted = {name.lower() for name in names}
    lines = [line.partition(b":") for message in MESSAGES for line in message.split(b"\r\n")]
    return sorted({value.strip() for name, _, value in lines if name.strip().lower() in wanted})


ADDRESSES = values_of(b"From", b"To", b"Contact", b"f", b"t", b"m", b"Route", b"Record-Route", b"Refer-To")
VIAS = values_of(b"Via", b"v")
URIS = [
    *(message.partition(b"\r\n")[0].split(b" ")[1] for message in MESSAGES if message[:4] not in (b"SIP/", b"\r\n")),
    *(value.partition(b"<")[2].partition(b">")[0] for value in ADDRESSES if b"<" in value),
    b"tel:+998712000000;phone-context=uz",
]
AUTHORIZATIONS = [AUTHORIZATION, *values_of(b"Authorization", b"Proxy-Authorization")]
CHALLENGES = [b'Digest realm="pbx.test", nonce="AAAA", algorithm=MD5, qop="auth", stale=true']
DESCRIPTIONS = [SDP, *(body for message in MESSAGES if b"v=0" in (body := message.partition(b"\r\n\r\n")[2]))]
STREAMS = [first + second for first, second in zip(MESSAGES, MESSAGES[7:], strict=False)] + [b"\r\n\r\n" + REGISTER]
DOCUMENTS = [
    ng.pack(b"1_1", {"command": "offer", "call-id": "x", "from-tag": "a", "flags": ["a", "b"], "sdp": SDP}),
    ng.pack(
        b"2",
        {
            "result": "ok",
            "created": 7,
            "tags": {
                "a": {
                    "tag": "a",
                    "medias": [
                        {
                            "index": 1,
                            "type": "audio",
                            "streams": [
                                {"stats": {"packets": 3, "bytes": 9}, "endpoint": {"address": "10.0.0.1", "port": 4000}}
                            ],
                        }
                    ],
                }
            },
            "SSRC": {"1": {"packets": 1, "average jitter": 3}},
        },
    ),
]

NASTY = [
    b"",
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n ",
    b"\r\n\r\n",
    b'"',
    b"\\",
    b'\\"',
    b"<",
    b">",
    b";",
    b",",
    b":",
    b"@",
    b"%",
    b"%0",
    b"%41",
    b"%00",
    b"[",
    b"]",
    b"[::",
    b"=",
    b"*",
    b"?",
    b"&",
    b"/",
    b"\t",
    b"\x1b[2J",
    b"\x7f",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\xe2\x80\xae",
    "٣".encode(),
    "１".encode(),
    b"9" * 30,
    b"-1",
    b"0",
    b"4294967296",
    b"18446744073709551616",
    b"9" * 5000,
    b"SIP/2.0",
    b"sip:",
    b"sip:a@b",
    b"tag=",
    b";tag=x",
    b"branch=z9hG4bK",
    b"\r\nVia: ",
    b"\r\nContact: *",
    b"\r\nContent-Length: ",
    b"\r\nRequire: x",
    b"INVITE",
    b"ACK",
    b"CANCEL",
    b"z9hG4bK",
    b"Digest ",
    b"nc=",
    b"i-0e",
    b"l",
    b"d",
    b"e",
    b"5:",
    b"m=audio ",
    b"a=rtpmap:",
]

PIECES = st.one_of(st.sampled_from(NASTY), st.binary(max_size=8))
MILD = st.sampled_from([bytes((code,)) for code in b'aZ09.-_:;=?&@%, "<>'])
EDITS = st.tuples(
    st.floats(0, 1, exclude_max=True),  # where
    st.sampled_from((0, 0, 1, 1, 2, 7, 60)),  # so many bytes go
    st.one_of(MILD, MILD, PIECES),  # this comes in their place
    st.sampled_from((1, 1, 1, 1, 1, 1, 2, 40, 3000)),  # so many times
)


def spoil(data: bytes, edits: list[tuple[float, int, bytes, int]], limit: int = 65_535) -> bytes:
    for share, gone, piece, times in edits:
        at = int(share * (len(data) + 1))
        data = data[:at] + piece * times + data[at + gone :]
    return data[:limit]


def spoiled(seeds: list[bytes], made: st.SearchStrategy[bytes] | None = None) -> st.SearchStrategy[bytes]:
    """A seed, or one made by the grammar, with a few edits; sometimes the beginning of one and the end of another;
    sometimes anything."""
    whole = st.sampled_from(seeds) if made is None else st.sampled_from(seeds) | made
    spliced = st.tuples(whole, whole, st.floats(0, 1), st.floats(0, 1)).map(
        lambda pair: pair[0][: int(pair[2] * len(pair[0]))] + pair[1][int(pair[3] * len(pair[1])) :]
    )
    touched = st.tuples(whole, EDITS).map(lambda drawn: spoil(drawn[0], [drawn[1]]))
    edited = st.tuples(whole | spliced, st.lists(EDITS, max_size=6)).map(lambda drawn: spoil(*drawn))
    built = st.lists(PIECES, max_size=40).map(b"".join)
    return st.one_of(whole, touched, touched, edited, edited, spliced, built, st.binary(max_size=300))
