"""Credentials of somebody who knows the password and presents it in a form that opens a hole, and of somebody who does
not know it. Each must be refused, and binds nothing."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.hardening.programs.digesting.phone import LyingPhone, written

Lines = list[tuple[str, str]]


@dataclass(frozen=True)
class Abuse:
    """``lines``: the header lines of its credentials; ``but``: other lines of the request."""

    what: str
    lines: Callable[[LyingPhone], Lines]
    but: Callable[[LyingPhone], dict[str, str]] = lambda phone: {}


OTHER = "1002"
"""Another number that exists."""


def abuses(algorithm: str, seed: int) -> Iterator[Abuse]:
    """For a phone that uses this algorithm, where SHA-256 and MD5 are offered."""
    yield from _left_out_and_unknown(algorithm)
    yield from _counts()
    yield from _uris()
    yield from _names()
    yield from _nonces(random.Random(seed))
    yield from _responses()
    yield from _writing()


def _with(what: str, but: Callable[[LyingPhone], dict[str, str]] = lambda phone: {}, **fields: str | None) -> Abuse:
    """The right password, these parameters otherwise. ``{}`` is the value that would be right."""

    def lines(phone: LyingPhone) -> Lines:
        right = {name: value.strip('"') for name, value in _right(phone).items()}
        filled = {name: value and value.replace("{}", right.get(name, "")) for name, value in fields.items()}
        return [("Authorization", phone.authorization("REGISTER", f"sip:{phone.domain}", **filled))]

    return Abuse(what, lines, but)


def _right(phone: LyingPhone) -> dict[str, str]:
    fields = phone.fields("REGISTER", f"sip:{phone.domain}")
    phone.count -= 1
    return fields


def _raw(what: str, change: Callable[[str], str]) -> Abuse:
    """The right Authorization, its text changed."""
    return Abuse(
        what, lambda phone: [("Authorization", change(written(phone.fields("REGISTER", f"sip:{phone.domain}"))))]
    )


def _left_out_and_unknown(algorithm: str) -> Iterator[Abuse]:
    yield _with("qop left out, as in RFC 2069", qop=None, nc=None, cnonce=None)
    yield _with("qop left out, nc and cnonce there", qop=None)
    for qop in ("auth-int", "auth-conf", '""', '"auth,auth-int"', '"auth-int,auth"', "none"):
        yield _with(f"qop={qop}", qop=qop)
    yield _with("no nc", nc=None)
    yield _with("no cnonce", cnonce=None)
    yield _with("empty cnonce", cnonce='""')
    other = "MD5" if algorithm == "SHA-256" else "SHA-256"
    yield Abuse(
        f"{algorithm} labelled {other}",
        lambda phone: [("Authorization", _labelled(phone, other, algorithm))],
    )
    if algorithm == "SHA-256":
        yield Abuse("SHA-256 without a label", lambda phone: [("Authorization", _labelled(phone, None, algorithm))])
    for label in (
        "MD5-sess", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess", "SHA-1", "SHA1", "MD4", "none", "",
        '""', "AKAv1-MD5",
        '"MD5,SHA-256"', f"{algorithm}x", f'"{algorithm} "', "\N{FULLWIDTH LATIN CAPITAL LETTER M}D5", "M" * 5000,
    ):  # fmt: skip
        yield _with(f"algorithm={label[:20]}", algorithm=label)


def _labelled(phone: LyingPhone, label: str | None, algorithm: str) -> str:
    fields = phone.fields("REGISTER", f"sip:{phone.domain}", algorithm=label)
    return written({**fields, "response": f'"{phone.response("REGISTER", fields, hashed_by=algorithm)}"'})


def _counts() -> Iterator[Abuse]:
    for nc in (
        "00000000", "1", "0000001", "000000001", "0000000g", "-0000001", "+0000001", "0x000001", "0000 001",
        "", '""', "ffffffff1",
        "\N{ARABIC-INDIC DIGIT ONE}" * 8, "9" * 5000,
    ):  # fmt: skip
        yield _with(f"nc={nc[:20]}", nc=nc)


def _uris() -> Iterator[Abuse]:
    for uri in (
        "sip:evil.test", "sip:{host}.evil.test", "sip:evil.test;{host}", "sip:{host}@evil.test",
        "sip:evil@{host}", "sip:1001@{host}",
        "sip:{host}:5061", "sip:{host}:0", "sip:{host}:65536", "sip:{host}:05060x", "sips:{host}", "tel:1001",
        "http://{host}/",
        "sip:", "*", "/", "{host}", "sip:{host} ", " sip:{host}", "sip:{host}%00", "sip:%00@{host}",
        "sip:{host}\\", "sip:@{host}",
        "sip:{host}/", "sip:[::1]", "sip:0x7f.1", "sip:{host}\N{FULLWIDTH FULL STOP}", "sip:" + "a" * 6000,
        "<sip:{host}>", "sip:{host}, sip:evil.test", "sip:{host}@{host}", "sip::@{host}", "sip:x:y@{host}",
    ):  # fmt: skip

        def lines(phone: LyingPhone, uri: str = uri) -> Lines:
            return [("Authorization", phone.authorization("REGISTER", uri.replace("{host}", phone.domain)))]

        yield Abuse(f"uri={uri[:24]}", lines)
    yield _with("uri empty", uri='""')
    yield _with("no uri", uri=None)


def _names() -> Iterator[Abuse]:
    for what, realm in (
        ("another", "elsewhere.test"), ("empty", ""), ("in capitals", None), ("with a blank", "{} "),
        ("with a NUL", "{}\0"),
        ("with a dot", "{}."), ("of 6,000 characters", "r" * 6000),
    ):  # fmt: skip
        if realm is None:
            yield _raw("realm in capitals", lambda text: text.replace('realm="pbx', 'realm="PBX'))
        else:
            yield _with(f"realm {what}", realm=f'"{realm}"')
    yield _with("no realm", realm=None)
    for what, name in (
        ("of another", OTHER), ("empty", ""), ("with a blank behind", "{} "), ("with a blank before", " {}"),
        ("with a NUL", "{}\0"),
        ("with a NUL and another", "{}\0" + OTHER), ("escaped", "%31001"), ("with its domain", "{}@pbx.test"),
        ("a whole URI", "sip:{}@pbx.test"),
        ("in full-width digits", "\uff11\uff10\uff10\uff11"), ("in Arabic digits", "\u0661\u0660\u0660\u0661"),
        ("with a zero-width space", "{}\u200b"), ("with a soft hyphen", "10\u00ad01"),
        ("with a combining mark", "{}\u0301"),
        ("with a right-to-left mark", "\u200f{}"), ("a percent", "%"), ("an SQL text", "' OR '1'='1"),
        ("a LIKE text", "1___"),
        ("a star", "*"), ("of 6,000 characters", "1" * 6000), ("the doctor's", "~doctor-1"),
        ("with a line end", "{}%0d%0a"),
        ("a colon and a realm", "{}:pbx.test"),
    ):  # fmt: skip
        yield _with(f"user name {what}", username=f'"{name}"')
    yield _with("no user name", username=None)
    yield _with("user name of another in From and To", _named(OTHER, OTHER))
    yield _with("another in To", _named("1001", OTHER))
    yield _with("another in From", _named(OTHER, "1001"))
    yield _with("user name of another, written %31002, in To", _named("1001", "%31002"))
    yield _with("user name of another, with parameters, in To", _named("1001", f"{OTHER};user=1001"))
    yield _with("its own user name, in To written so that it is another's", _named("1001", f"1001%00{OTHER}"))
    yield _raw("username* beside username", lambda text: text + f", username*=UTF-8''{OTHER}")
    yield _raw("username* in place of username", lambda text: text.replace('username="1001"', "username*=UTF-8''1001"))
    yield _raw("userhash=true", lambda text: text + ", userhash=true")


def _named(from_: str, to: str) -> Callable[[LyingPhone], dict[str, str]]:
    return lambda phone: {
        "From": f"<sip:{from_}@{phone.domain}>;tag={phone.tag}", "To": f"<sip:{to}@{phone.domain}>",
    }  # fmt: skip


def _nonces(rnd: random.Random) -> Iterator[Abuse]:
    yield _with("no nonce", nonce=None)
    yield _with("nonce empty", nonce='""')
    made_up = base64.urlsafe_b64encode(rnd.randbytes(30)).decode()
    for what, nonce in (
        ("made up", made_up), ("a word", "nonce"), ("of 6,000 characters", "A" * 6000), ("with a blank behind", "{} "),
        ("with a NUL", "{}\0"), ("filled up with =", "{}=="), ("twice", "{}{}"), ("not ASCII",
        "\N{CYRILLIC SMALL LETTER A}" * 40),
    ):  # fmt: skip
        yield _with(f"nonce {what}", nonce=f'"{nonce}"')
    for what, change in (
        ("an hour ahead", lambda head: (int.from_bytes(head[:4], "big") + 3600).to_bytes(4, "big") + head[4:]),
        ("of the year 2106", lambda head: b"\xff" * 4 + head[4:]),
        ("renewed by a second", lambda head: (int.from_bytes(head[:4], "big") + 1).to_bytes(4, "big") + head[4:]),
        ("of another worker", lambda head: head[:4] + b"\0\7" + head[6:]),
        ("with another salt", lambda head: head[:8] + bytes([head[8] ^ 1]) + head[9:]),
        ("cut by a byte", lambda head: head[:-1]),
    ):  # fmt: skip

        def lines(phone: LyingPhone, change: Callable[[bytes], bytes] = change) -> Lines:
            forged = base64.urlsafe_b64encode(change(base64.urlsafe_b64decode(phone.nonce))).decode()
            return [("Authorization", phone.authorization("REGISTER", f"sip:{phone.domain}", nonce=f'"{forged}"'))]

        yield Abuse(f"nonce forged: {what}", lines)
    for place in range(0, 40, 7):

        def flipped(phone: LyingPhone, place: int = place) -> Lines:
            letter = "A" if phone.nonce[place] != "A" else "B"
            nonce = phone.nonce[:place] + letter + phone.nonce[place + 1 :]
            return [("Authorization", phone.authorization("REGISTER", f"sip:{phone.domain}", nonce=f'"{nonce}"'))]

        yield Abuse(f"nonce with another letter at {place}", flipped)


def _responses() -> Iterator[Abuse]:
    for what, response in (
        ("left out", None), ("empty", '""'), ("of zeros", '"' + "0" * 32 + '"'), ("of 64 zeros", '"' + "0" * 64 + '"'),
        ("of one letter", '"0"'), ("of 6,000 letters", '"' + "0" * 6000 + '"'), ("a star", '"*"'), ("a NUL", '"\0"'),
        ("not ASCII", '"' + "\N{ARABIC-INDIC DIGIT ZERO}" * 32 + '"'),
    ):  # fmt: skip
        yield _with(f"response {what}", response=response)
    for what, cut in (
        ("cut in the middle", lambda r: r[: len(r) // 2]), ("cut by one", lambda r: r[:-1]),
        ("longer by one", lambda r: r + "0"),
        ("twice", lambda r: r + r), ("with a NUL behind", lambda r: r + "\0"),
        ("with a blank behind", lambda r: r + " "),
        ("reversed", lambda r: r[::-1]), ("in full-width letters", lambda r: "".join(chr(ord(c) + 0xFEE0) for c in r)),
    ):  # fmt: skip

        def lines(phone: LyingPhone, cut: Callable[[str], str] = cut) -> Lines:
            fields = phone.fields("REGISTER", f"sip:{phone.domain}")
            return [("Authorization", written({**fields, "response": f'"{cut(fields["response"].strip(chr(34)))}"'}))]

        yield Abuse(f"response {what}", lines)
    for method in ("INVITE", "OPTIONS", "MESSAGE", "register", ""):
        yield Abuse(
            f"response for the method {method or '(none)'}",
            lambda phone, method=method: [("Authorization", phone.authorization(method, f"sip:{phone.domain}"))],
        )
    for what, password in (("the empty", ""), ("a wrong", "wrong"), ("the number as", "1001"), ("None as", "None")):

        def guessed(phone: LyingPhone, password: str = password) -> Lines:
            fields = phone.fields("REGISTER", f"sip:{phone.domain}")
            response = phone.response("REGISTER", fields, password=password)
            return [("Authorization", written({**fields, "response": f'"{response}"'}))]

        yield Abuse(f"{what} password", guessed)
    yield Abuse("an empty HA1", lambda phone: [("Authorization", _of_ha1(phone, ""))])
    yield Abuse("None as HA1", lambda phone: [("Authorization", _of_ha1(phone, "None"))])
    yield Abuse(
        "zeros as HA1",
        lambda phone: [("Authorization", _of_ha1(phone, "0" * (32 if phone.algorithm == "MD5" else 64)))],
    )


def _of_ha1(phone: LyingPhone, ha1: str) -> str:
    fields = phone.fields("REGISTER", f"sip:{phone.domain}")
    return written({**fields, "response": f'"{phone.response("REGISTER", fields, ha1=ha1)}"'})


def _writing() -> Iterator[Abuse]:
    for name in ("username", "realm", "nonce", "uri", "response", "algorithm", "cnonce", "qop", "nc"):
        for what, value in (("the same", None), ("another", '"00000002"')):

            def doubled(phone: LyingPhone, name: str = name, value: str | None = value) -> Lines:
                fields = phone.fields("REGISTER", f"sip:{phone.domain}")
                return [("Authorization", f"{written(fields)}, {name.upper()}={value or fields[name]}")]

            yield Abuse(f"{name} twice, the second {what}", doubled)

    def right(phone: LyingPhone) -> str:
        return phone.authorization("REGISTER", f"sip:{phone.domain}")

    def wrong(phone: LyingPhone) -> str:
        return phone.authorization("REGISTER", f"sip:{phone.domain}", response='"' + "0" * 32 + '"')

    name = "Authorization"
    yield Abuse("two headers, the first wrong", lambda phone: [(name, wrong(phone)), (name, right(phone))])
    yield Abuse("two headers, the second wrong", lambda phone: [(name, right(phone)), (name, wrong(phone))])
    yield Abuse("two headers, both right", lambda phone: [(name, right(phone)), (name, right(phone))])
    yield Abuse("two in one header", lambda phone: [(name, f"{right(phone)}, {right(phone)}")])
    yield Abuse("Proxy-Authorization in its place", lambda phone: [("Proxy-Authorization", right(phone))])
    yield Abuse("WWW-Authenticate in its place", lambda phone: [("WWW-Authenticate", right(phone))])
    for scheme in ("Basic", "Bearer", "Digestx", "Digest,", "DigestDigest", "NTLM", "Digest Digest"):
        yield _raw(f"scheme {scheme}", lambda text, scheme=scheme: text.replace("Digest", scheme, 1))
    yield _raw("no scheme", lambda text: text.removeprefix("Digest "))
    yield _raw("nothing", lambda text: "")
    yield _raw("the scheme alone", lambda text: "Digest")
    yield _raw("semicolons for commas", lambda text: text.replace(",", ";"))
    yield _raw("an open quote", lambda text: text.removesuffix('"') if text.endswith('"') else text + ', opaque="')
    yield _raw("a parameter without a value", lambda text: text + ", stale")
    yield _raw("a value without a name", lambda text: text + ', ="x"')
    yield _raw("a name of 40 letters", lambda text: text + f", {'x' * 40}=1")
    yield _raw("a control character between", lambda text: text.replace(", ", ",\x01 ", 1))
    yield _raw("3,000 parameters", lambda text: text + "".join(f", p{number}=1" for number in range(3000)))
    yield _raw("30,000 blanks", lambda text: text.replace(", ", "," + " " * 30_000, 1))
    yield _raw("30,000 quotes", lambda text: text + ", opaque=" + '"' * 30_000)
    yield _raw("30,000 backslashes", lambda text: text + ', opaque="' + "\\" * 30_001 + '"')
    yield _with("a cnonce of 30,000 characters", cnonce='"' + "c" * 30_000 + '"')
