"""Values made by the grammar of RFC 3261 25.1 and RFC 8866, and beyond it in one place now and then."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.hardening.fuzz.seeds import SDP

WORD = st.one_of(
    st.text(st.sampled_from("abcXYZ0189-_.!~*'()&=+$,;?/%:@ "), max_size=8).map(str.encode),
    st.sampled_from([b"1001", b"alice", b"%61lice", b"%2541", b"a%40b", "имя".encode(), b"%c3%a9", b"", b"\xff", b"0"]),
)
HOST = st.sampled_from(
    [
        b"pbx.test",
        b"PBX.Test.",
        b"192.0.2.1",
        b"[::1]",
        b"[2001:DB8::9:1]",
        b"[::ffff:192.0.2.1]",
        b"[:::1.2.3.4]",
        b"a_b",
        b"1",
        b"[]",
        b"-",
    ]
)
PORT = st.sampled_from([b"", b"", b":5060", b":65535", b":1", b":0", b":65536", b":05060", b":"])
NAME = st.sampled_from(
    [
        b"transport",
        b"lr",
        b"tag",
        b"branch",
        b"rport",
        b"received",
        b"expires",
        b"q",
        b"+sip.instance",
        b"reg-id",
        b"maddr",
        b"user",
        b"ttl",
        b"x",
        b"X%41",
        b"method",
        b"ob",
        b" y ",
        b"",
    ]
)
VALUE = st.one_of(
    WORD, st.sampled_from([b"udp", b"z9hG4bK1", b"0.5", b"600", b'"a;b,c\\"<>"', b'"<urn:uuid:0>"', b'""'])
)
PARAMS = st.lists(st.tuples(NAME, st.none() | VALUE), max_size=5).map(
    lambda pairs: b"".join(b";" + name + (b"" if value is None else b"=" + value) for name, value in pairs)
)
HEADERS = st.one_of(st.just(b""), st.just(b""), st.tuples(WORD, WORD).map(lambda pair: b"?" + b"=".join(pair)))
MADE_URI = st.one_of(
    st.tuples(
        st.sampled_from([b"sip:", b"sip:", b"sips:", b"SIP:"]),
        st.one_of(st.just(b""), WORD.map(lambda user: user + b"@"), st.just(b"a:b@")),
        HOST,
        PORT,
        PARAMS,
        HEADERS,
    ).map(b"".join),
    st.tuples(st.sampled_from([b"tel:", b"http:", b"urn:"]), WORD, PARAMS).map(b"".join),
)
MADE_ADDRESS = st.one_of(
    st.tuples(
        st.sampled_from([b"", b"", b'"A" ', b'"A \\"b\\\\" ', b"Alice ", b'""', "Имя ".encode(), b'"a,b;c<d>"\t']),
        MADE_URI.map(lambda uri: b"<" + uri + b">"),
        PARAMS,
    ).map(b"".join),
    st.tuples(MADE_URI, PARAMS).map(b"".join),
)
MADE_VIA = st.tuples(
    st.sampled_from([b"SIP/2.0/UDP ", b"SIP/2.0/tcp\t", b"SIP / 2.0 / UDP  ", b"SIP/2.0/X-Y ", b"sip/2.0/UDP "]),
    HOST,
    PORT,
    PARAMS,
).map(b"".join)
MADE_LIST = st.lists(MADE_ADDRESS | MADE_VIA, max_size=5).map(b", ".join)
MADE_AUTHORIZATION = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"username",
                b"realm",
                b"nonce",
                b"uri",
                b"response",
                b"algorithm",
                b"qop",
                b"nc",
                b"cnonce",
                b"opaque",
                b"userhash",
                b"Realm",
            ]
        ),
        st.one_of(
            VALUE.map(lambda value: b'"' + value + b'"'), st.sampled_from([b"auth", b"MD5", b"00000001", b"SHA-256"])
        ),
    ).map(b"=".join),
    max_size=12,
    unique_by=lambda pair: pair.partition(b"=")[0],
).map(lambda params: b"Digest " + b", ".join(params))
MADE_SDP = st.lists(
    st.one_of(
        st.sampled_from([line for line in SDP.split(b"\r\n")[2:] if line]),
        st.tuples(
            st.sampled_from([b"m=audio ", b"m=video ", b"m=image "]),
            st.sampled_from([b"0", b"9", b"65535", b"7/2"]),
            st.sampled_from([b" RTP/AVP 0 8", b" RTP/SAVPF 96", b" udptl t38", b" RTP/AVP"]),
        ).map(b"".join),
        st.tuples(
            st.sampled_from([b"c=IN IP4 ", b"c=IN IP6 "]),
            st.sampled_from([b"0.0.0.0", b"::", b"::1", b"10.0.0.1/127", b"224.2.1.1/127/3", b"host", b"[::1]"]),
        ).map(b"".join),
        st.tuples(
            st.sampled_from([b"a=rtpmap:", b"a=fmtp:", b"a=rtcp:", b"a=ptime:", b"a=group:BUNDLE ", b"b=", b"x="]),
            st.sampled_from([b"0", b"96 opus/48000/2", b"127 a/0", b"128 a/1", b"4 IN IP4 10.9.9.9", b"20.5", b""]),
        ).map(b"".join),
        WORD,
    ),
    max_size=14,
).map(lambda lines: b"\r\n".join([b"v=0", b"o=- 3 4 IN IP4 192.168.1.20", *lines, b""]))
MADE_MESSAGE = st.tuples(
    st.sampled_from([b"REGISTER", b"INVITE", b"SUBSCRIBE", b"OPTIONS", b"FLY"]),
    MADE_URI,
    st.lists(
        st.one_of(
            MADE_VIA.map(lambda value: b"Via: " + value),
            MADE_LIST.map(lambda value: b"Contact: " + value),
            MADE_LIST.map(lambda value: b"Record-Route: " + value),
            MADE_AUTHORIZATION.map(lambda value: b"Authorization: " + value),
            st.tuples(
                st.sampled_from(
                    [
                        b"Expires",
                        b"Event",
                        b"Accept",
                        b"Supported",
                        b"Require",
                        b"X",
                        b"User-Agent",
                        b"Subject",
                        b"Session-Expires",
                    ]
                ),
                VALUE,
            ).map(b": ".join),
        ),
        max_size=6,
    ),
    MADE_ADDRESS,
    MADE_SDP | st.just(b""),
).map(
    lambda drawn: (
        drawn[0] + b" " + drawn[1] + b" SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.20:5062;branch=z9hG4bK-1;rport\r\n"
        b"From: <sip:1001@pbx.test>;tag=1\r\nTo: "
        + drawn[3]
        + b"\r\nCall-ID: a\r\nCSeq: 1 "
        + drawn[0]
        + b"\r\n"
        + b"".join(line + b"\r\n" for line in drawn[2])
        + b"Content-Length: %d\r\n\r\n" % len(drawn[4])
        + drawn[4]
    )
)
