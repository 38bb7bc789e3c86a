"""By bytes: what a stranger gets for numbers of every kind, in every way he can ask, once and again. Masked is only
what differs between two tries at the same number: the nonce, the tag of To, the branch and the port of the sender."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.hardening.conformance.peer import Received, Silence, digest
from tests.hardening.programs.enumerating.house import KINDS, At
from tests.support.pbx import RunningPbx

METHODS = (
    "REGISTER", "INVITE", "SUBSCRIBE", "MESSAGE", "OPTIONS", "REFER", "PUBLISH", "INFO", "NOTIFY", "UPDATE", "PRACK",
    "BYE", "CANCEL", "ACK", "DANCE",
)  # fmt: skip
NOBODY = "7777"  # called, and unknown
SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
REPEATS = 3.3
"""Seconds in which what repeats by itself is counted: 0.5, 1 and 2 s after the answer (RFC 3261 17.2.1)."""

MASKED = (
    (rb'nonce="[^"]*"', b"nonce"),
    (rb"(?im)^(to|t):([^\r]*);tag=[^\r;]*", rb"\1:\2;tag"),
    (rb"z9hG4bK[\w.]+", b"branch"),
    (rb"rport=\d+", b"rport"),
    (rb"(127\.0\.\d+\.\d+):\d+", b"place"),
    (rb"received=[\d.]+", b"received"),
)


@dataclass(frozen=True)
class Course:
    """All that came back for one number: each answer masked, in the order it came."""

    number: str
    answers: tuple[bytes, ...]


Ask = Callable[[At, str, str], bytes]
"""One request for ``method`` and the number, by a stranger who has a challenge."""


def ways() -> Mapping[str, Ask]:
    def request(stranger: At, method: str, number: str, **credentials: str) -> bytes:
        stranger.number = number
        uri = f"sip:{stranger.domain}" if method == "REGISTER" else f"sip:{NOBODY}@{stranger.domain}"
        add = [("Event", "dialog"), ("Refer-To", f"<sip:{NOBODY}@{stranger.domain}>")]
        if credentials:
            given = {"username": f'"{number}"', **credentials}
            count, target = int(given.pop("count", "1")), given.pop("target", uri)
            value = digest(stranger.challenge, number, "wrong", method, target, count, **given)
            add.append(("Authorization", value))
        body = SDP if method == "INVITE" else b""
        if body:
            add.append(("Content-Type", "application/sdp"))
        return stranger.request(method, uri, None, add, body)

    def called(stranger: At, method: str, number: str) -> bytes:
        stranger.number = NOBODY
        return stranger.request(method, f"sip:{number}@{stranger.domain}", {"To": f"<sip:{number}@{stranger.domain}>"})

    def within(stranger: At, method: str, number: str) -> bytes:
        stranger.number = NOBODY
        to = f"<sip:{number}@{stranger.domain}>;tag=made-up"
        return stranger.request(method, f"sip:{number}@{stranger.domain}", {"To": to})

    def third(stranger: At, method: str, number: str) -> bytes:
        return request(stranger, method, NOBODY, count="1", username=f'"{number}"')

    def with_credentials(**credentials: str) -> Ask:
        return lambda stranger, method, number: request(stranger, method, number, **credentials)

    return {
        "no credentials": request,
        "a wrong password": with_credentials(count="1"),
        "a wrong password, high count": with_credentials(count="70000"),
        "a stale nonce": with_credentials(nonce='"' + "A" * 40 + '"'),
        "no qop": with_credentials(qop="-", nc="-", cnonce="-"),
        "another algorithm": with_credentials(algorithm="SHA-256"),
        "another uri": with_credentials(target="sip:elsewhere.test"),
        "user name of another than From": third,
        "no response": with_credentials(response="-"),
        "called by a stranger": called,
        "within a made-up dialog": within,
    }


def compare(pbx: RunningPbx, methods: tuple[str, ...], wait: bool) -> Iterator[tuple[str, list[str]]]:
    """For each way and method the kinds of numbers that were answered otherwise than the unknown one. ``wait``: also
    for what repeats by itself."""
    for way, ask in ways().items():
        for method in methods:
            courses = courses_of(pbx, method, ask, wait)
            unknown = courses["unknown"].answers
            yield f"{way}, {method}", [kind for kind, course in courses.items() if course.answers != unknown]


def courses_of(pbx: RunningPbx, method: str, ask: Ask, wait: bool) -> dict[str, Course]:
    """The request three times, by strangers who all begin anew."""
    strangers = {kind: At(pbx, number) for kind, number in KINDS.items()}
    try:
        found: dict[str, list[Received]] = {}
        for kind, stranger in strangers.items():
            number = KINDS[kind]
            stranger.learn(stranger.ask(stranger.request("REGISTER")))
            stranger.cseq = 0
            data = ask(stranger, method, number)
            found[kind] = []
            for _ in range(3):
                stranger.send(data)
                found[kind] += _until_final(stranger, 0.0 if method == "ACK" else 1.0)
        if wait:
            end = time.monotonic() + REPEATS
            for kind, stranger in strangers.items():
                found[kind] += _all(stranger, end)
        return {
            kind: Course(KINDS[kind], tuple(masked(answer.raw, KINDS[kind]) for answer in answers))
            for kind, answers in found.items()
        }
    finally:
        for stranger in strangers.values():
            stranger.close()


def _until_final(stranger: At, seconds: float) -> list[Received]:
    found: list[Received] = []
    try:
        while not found or found[-1].status < 200:
            found.append(stranger.receive(max(seconds, 0.02)))
    except Silence:
        pass
    return found


def _all(stranger: At, end: float) -> list[Received]:
    found: list[Received] = []
    try:
        while True:
            found.append(stranger.receive(max(0.001, end - time.monotonic())))
    except Silence:
        return found


def masked(raw: bytes, number: str) -> bytes:
    for pattern, by in MASKED:
        raw = re.sub(pattern, by, raw)
    return raw.replace(number.encode(), b"NUMBER").replace(NOBODY.encode(), b"NOBODY")
