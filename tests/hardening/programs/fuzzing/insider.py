"""Spoiled messages of somebody who has an extension: the digest is computed over what was spoiled, so that what lies
behind the password is reached. His other phone answers what reaches it, spoiled too."""

from __future__ import annotations

import contextlib
import random
import re
import socket
from collections.abc import Callable
from unittest import SkipTest

from tests.hardening.fuzz.seeds import SDP
from tests.hardening.programs.fuzzing.mutation import Mutator
from tests.support.pbx import RunningPbx
from tests.support.phone import Answer, AnswerFault, Challenge, Phone, authorization

START = re.compile(rb"(\S+) (\S*) ")
NONCE_USES = 300
TRIES = 20

HEAD = (
    "Via: SIP/2.0/UDP {place};rport;branch=z9hG4bK@ID@\r\nMax-Forwards: 70\r\n"
    'From: "In Sider" <sip:{number}@{domain}>;tag=f@ID@\r\nTo: <sip:{to}@{domain}>\r\nCall-ID: c@ID@\r\n'
    "CSeq: @ID@ {method}\r\nContact: <sip:{number}@{place}>\r\n{more}Authorization: @AUTH@\r\n"
    "Content-Length: {length}\r\n\r\n"
)
SOAP = "Content-Type: text/plain\r\n"
REQUESTS: list[tuple[str, str, bytes]] = [
    ("REGISTER", 'Supported: path, outbound, gruu\r\nExpires: 600\r\nUser-Agent: Zoiper "5"\r\n', b""),
    ("REGISTER", "Expires: 0\r\nPath: <sip:p.example.com;lr>\r\nQ: 0.5\r\n", b""),
    ("INVITE", "Content-Type: application/sdp\r\nSupported: timer, 100rel\r\nSession-Expires: 1800\r\n", SDP),
    ("INVITE", 'Content-Type: application/sdp\r\nReplaces: a;to-tag=b;from-tag=c\r\nAlert-Info: <x>\r\n', SDP),
    ("INVITE", "Diversion: <sip:9@x>\r\nP-Asserted-Identity: <sip:9@x>\r\n", b""),
    ("SUBSCRIBE", "Event: dialog;id=7\r\nAccept: application/dialog-info+xml\r\nExpires: 60\r\n", b""),
    ("SUBSCRIBE", "Event: presence\r\nAccept: application/pidf+xml\r\nExpires: 0\r\n", b""),
    ("SUBSCRIBE", "Event: message-summary\r\nExpires: 100\r\n", b""),
    ("REFER", "Refer-To: <sip:1102@pbx.test?Replaces=a%40b%3bto-tag%3dx%3bfrom-tag%3dy>\r\n", b""),
    ("MESSAGE", SOAP, b"Salom, qalay?"),
    ("PUBLISH", "Event: presence\r\nExpires: 60\r\n", b"<presence/>"),
    ("OPTIONS", "Accept: application/sdp\r\n", b""),
    ("INFO", "Content-Type: application/dtmf-relay\r\n", b"Signal=5\r\n"),
    ("NOTIFY", "Event: refer\r\nSubscription-State: active\r\n", b"SIP/2.0 200 OK"),
]
STATUSES = [
    b"100 Trying", b"180 Ringing", b"183 Session Progress", b"200 OK", b"202 Accepted", b"302 Moved", b"403 No",
    b"480 Away", b"486 Busy", b"486 Busy", b"486 Busy", b"488 No", b"603 Declined",
]  # fmt: skip


class Insider:
    """``number`` speaks, and ``other`` is what rings."""

    def __init__(
        self, pbx: RunningPbx, number: str, other: str, password: str, host: str, chance: random.Random
    ) -> None:
        self._pbx, self._chance = pbx, chance
        self._number, self._password = number, password
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        place = f"{host}:{self._socket.getsockname()[1]}"
        self._asking = Phone(pbx.server, number, password, pbx.domain, local_host=host)
        self._other = Phone(pbx.server, other, password, pbx.domain, local_host=host)
        self.seeds = [
            f"{method} sip:{'' if method == 'REGISTER' else other + '@'}{pbx.domain} SIP/2.0\r\n".encode()
            + HEAD.format(
                place=place, number=number, domain=pbx.domain, to=number if method == "REGISTER" else other,
                method=method, more=more, length=len(body),
            ).encode() + body
            for method, more, body in REQUESTS
        ]  # fmt: skip
        self._mutate = Mutator(chance, self.seeds, (1, 1, 1, 2))
        self._challenge: Challenge | None = None
        self._uses = 0
        self._count = chance.randrange(1, 1000) * 1000

    def close(self) -> None:
        self._asking.close()
        self._other.close()
        self._socket.close()

    def settle(self) -> None:
        """Both phones are registered, and the nonce is good. Raises ``SkipTest`` when they are not let in."""
        for phone in (self._asking, self._other):
            # What was spoiled, and the seed before, have left as many devices as there may be.
            self._patiently(phone.unregister_all)
            if self._patiently(phone.register).status != 200:
                raise SkipTest(f"{phone.number} cannot register: {phone.answers[-1].status}")
        self._challenge, self._uses = None, 0

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        """Both phones may ring while they wait for an answer."""
        for _ in range(TRIES):
            with contextlib.suppress(AnswerFault):
                return ask()
            self.answer()
        return ask()

    def _authorization(self, data: bytes) -> bytes:
        if self._challenge is None:
            # A nonce of one's own address, as a REGISTER without credentials gets it.
            self._asking.challenge = None
            answer = self._patiently(lambda: self._asking.ask("REGISTER", []))
            self._challenge, self._uses = self._asking._chosen_challenge(answer), 0
        found = START.match(data)
        method, uri = (found[1], found[2]) if found else (b"REGISTER", b"sip:pbx.test")
        self._uses += 1
        value = authorization(
            self._challenge, username=self._number, password=self._password, nc=self._uses,
            method=method.decode("latin-1"), uri=uri.decode("utf-8", "replace"),
        )
        if self._uses >= NONCE_USES:
            self._challenge = None
        return value.encode("utf-8", "replace")

    def send(self) -> int:
        """One message; its bytes."""
        self._count += 1
        data = self._mutate(self._chance.choice(self.seeds))
        data = data.replace(b"@AUTH@", self._authorization(data)).replace(b"@ID@", str(self._count).encode())
        data = data[:65_507]
        self._socket.sendto(data, self._pbx.server)
        return len(data)

    def answer(self) -> None:
        """What the other phone says to all that has come to it."""
        for phone in (self._asking, self._other):
            self._answer_as(phone)

    def _answer_as(self, phone: Phone) -> None:
        while True:
            try:
                data, source = phone.socket.recvfrom(65535)
            except OSError:
                return
            if data.startswith((b"SIP/2.0", b"ACK")) or not data.strip(b"\r\n\0"):
                continue
            lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
            copied = [line for line in lines[1:] if line.startswith((b"Via:", b"From:", b"Call-ID:", b"CSeq:"))]
            to = next((line for line in lines if line.startswith(b"To:")), b"To: <sip:a@b>")
            if b";tag=" not in to:
                to += b";tag=t%d" % self._chance.randrange(10**6)
            ordinary = data.startswith((b"OPTIONS", b"BYE", b"CANCEL")) or self._chance.random() < 0.3
            status = b"200 OK" if ordinary else self._chance.choice(STATUSES)
            contact = b"Contact: <sip:1102@127.0.0.1:9>"
            rest = b"\r\n".join([b"", *copied, to, contact, b"Content-Length: 0", b"", b""])
            if not ordinary:
                rest = self._mutate(rest)  # not its status: a 500 of the phone's own is passed on
            phone.socket.sendto((b"SIP/2.0 " + status + rest)[:65_507], source)
