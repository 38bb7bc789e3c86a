"""Right credentials, written in ways that RFC 3261 and RFC 7616 allow or phones are known for: each must be taken."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.hardening.programs.digesting.forms import Abuse
from tests.hardening.programs.digesting.phone import LyingPhone, written

ELSEWHERE = 'Digest username="x", realm="elsewhere.test", nonce="n", uri="sip:elsewhere.test", response="00"'


def variants(algorithm: str) -> Iterator[Abuse]:
    def fields(phone: LyingPhone, uri: str = "sip:{}", **but: str | None) -> dict[str, str]:
        return phone.fields("REGISTER", uri.replace("{}", phone.domain), **but)

    def one(what: str, uri: str = "sip:{}", **but: str | None) -> Abuse:
        return Abuse(what, lambda phone: [("Authorization", written(fields(phone, uri, **but)))])

    yield one("as usual")
    for uri in ("sip:{}:5060", "sip:{};transport=udp", "SIP:{}", "sip:{};lr;x=y", "sip:{}."):
        yield one(f"uri={uri}", uri)
    yield Abuse(
        "uri with the domain in capitals",
        lambda phone: [("Authorization", written(phone.fields("REGISTER", f"sip:{phone.domain.upper()}")))],
    )
    yield one("algorithm in other letters", algorithm=algorithm.lower())
    yield one("algorithm in quotes", algorithm=f'"{algorithm}"')
    if algorithm == "MD5":
        yield one("no algorithm", algorithm=None)
    yield one("qop in quotes", qop='"auth"')
    yield one("a jump of the count", nc="0000ff00")
    yield one("a count in capitals", nc="000000AF")
    yield one("the highest count", nc="ffffffff")
    yield one("an opaque that nobody sent", opaque='"x"')
    yield one("a cnonce of 4,000 characters", cnonce='"' + "c" * 4000 + '"')
    yield one("a parameter that nobody knows", unheard='"of"')

    def edited(what: str, pattern: str, by: str) -> Abuse:
        return Abuse(what, lambda phone: [("Authorization", re.sub(pattern, by, written(fields(phone)), flags=re.S))])

    yield edited("blanks around", r"([=,]) *", r" \1 ")
    yield edited("no blanks", ", ", ",")
    yield edited("folded", ", ", ",\r\n ")
    yield edited("scheme in small letters", "^Digest", "digest")
    yield edited("a quoted-pair in the user name", 'username="1', r'username="\\1')

    def capitals(phone: LyingPhone) -> list[tuple[str, str]]:
        found = fields(phone)
        return [("Authorization", written({**found, "response": found["response"].upper()}))]

    yield Abuse("response in capitals", capitals)
    yield Abuse(
        "backwards, names in capitals",
        lambda phone: [
            ("Authorization", written({name.upper(): value for name, value in reversed(fields(phone).items())}))
        ],
    )
    yield Abuse(
        "beside those for another realm",
        lambda phone: [("Authorization", ELSEWHERE), ("Authorization", written(fields(phone)))],
    )
    yield Abuse(
        "beside those for a proxy",
        lambda phone: [("Proxy-Authorization", ELSEWHERE), ("Authorization", written(fields(phone)))],
    )
