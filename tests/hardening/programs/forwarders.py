"""Phones that send on what they are sent: each call or text that comes goes back to the PBX, as a forked call of RFC
5393 would. They run in a thread of their own, so that an honest phone can call meanwhile."""

from __future__ import annotations

import secrets
import select
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.caller import Address, Fault, Msg, UdpWire, make_sdp, read
from tests.support.phone import Challenge, authorization, read_challenge


@dataclass
class Forwarder:
    """One phone with ``contacts`` Contacts, all at its own address. ``then`` is done with each INVITE and MESSAGE."""

    server: Address
    number: str
    password: str
    domain: str
    host: str
    contacts: int = 1
    then: Callable[[Forwarder, Msg], None] = lambda phone, request: phone.answer(request, 486)
    got: Counter[str] = field(default_factory=Counter)
    challenge: Challenge | None = None
    nc: int = 0
    asked: dict[str, tuple[Msg | None, str, list[str]]] = field(default_factory=dict)
    """Of what it has sent, by branch: on whose behalf, to whom, and the lines that an ACK or CANCEL repeats."""

    def __post_init__(self) -> None:
        self.wire = UdpWire(self.host)
        self._seen: set[str] = set()

    @property
    def place(self) -> str:
        return f"{self.wire.address[0]}:{self.wire.address[1]}"

    def register(self, contacts: list[str] | None = None, expires: int = 600) -> int:
        """The status. ``contacts``: others than its own."""
        uri = f"sip:{self.domain}"
        own = [f"<sip:{self.number}-{index}@{self.place}>" for index in range(self.contacts)]
        for _ in range(2):
            lines = [f"Contact: {contact}" for contact in (own if contacts is None else contacts)]
            branch = self._send("REGISTER", uri, f"<sip:{self.number}@{self.domain}>", [*lines, f"Expires: {expires}"])
            answer = self._await(branch)
            if answer.status != 401:
                return answer.status
            self.challenge, self.nc = read_challenge(answer.one("WWW-Authenticate")), 0
        return answer.status

    def _await(self, branch: str) -> Msg:
        while got := self.wire.receive(5.0):
            if got[0].startswith(b"SIP/2.0"):
                answer = read(got[0], got[1], 0.0)
                if answer.branch == branch and answer.status >= 200:
                    return answer
        raise Fault(f"{self.number}: no answer")

    def invite(self, number: str, hops: int = 70, behalf: Msg | None = None) -> None:
        self._ask("INVITE", number, hops, behalf, "application/sdp", make_sdp(self.host, 40000).decode())

    def text(self, number: str, hops: int = 70, behalf: Msg | None = None) -> None:
        self._ask("MESSAGE", number, hops, behalf, "text/plain", "on and on")

    def _ask(self, method: str, number: str, hops: int, behalf: Msg | None, kind: str, body: str) -> None:
        uri = f"sip:{number}@{self.domain}"
        lines = [f"Contact: <sip:{self.number}@{self.place}>", f"Content-Type: {kind}"]
        self._send(method, uri, f"<{uri}>", lines, hops=hops, body=body, behalf=behalf)

    def _send(
        self, method: str, uri: str, to: str, lines: list[str], *, hops: int = 70, body: str = "",
        behalf: Msg | None = None,
    ) -> str:
        branch = f"z9hG4bK{secrets.token_hex(6)}"
        names = [
            f"From: <sip:{self.number}@{self.domain}>;tag={secrets.token_hex(4)}", f"Call-ID: {secrets.token_hex(8)}"
        ]
        if self.challenge is not None:
            self.nc += 1
            lines = [*lines, "Authorization: " + authorization(
                self.challenge, username=self.number, password=self.password, method=method, uri=uri, nc=self.nc)]
        via = f"Via: SIP/2.0/UDP {self.place};rport;branch={branch}"
        self._write([
            f"{method} {uri} SIP/2.0", via, f"Max-Forwards: {hops}", *names, f"To: {to}", f"CSeq: 1 {method}", *lines
        ], body)
        self.asked[branch] = (behalf, uri, [via, *names, f"To: {to}"])
        return branch

    def _write(self, lines: list[str], body: str = "") -> None:
        text = "\r\n".join([*lines, f"Content-Length: {len(body)}"]) + "\r\n\r\n" + body
        self.wire.send(text.encode(), self.server)

    def answer(self, request: Msg, status: int, *lines: str) -> None:
        copied = [f"{name}: {value}" for name, value in request.headers if name in ("Via", "From", "Call-ID", "CSeq")]
        to = request.one("To") + ("" if request.to_tag or status == 100 else f";tag={self.number}x")
        self._write([f"SIP/2.0 {status} Whatever", *copied, f"To: {to}", *lines])

    def accept(self, invite: Msg) -> None:
        """200 with a description."""
        copied = [f"{name}: {value}" for name, value in invite.headers if name in ("Via", "From", "Call-ID", "CSeq")]
        to = invite.one("To") + ("" if invite.to_tag else f";tag={self.number}x")
        self._write([
            "SIP/2.0 200 OK", *copied, f"To: {to}", f"Contact: <sip:{self.number}@{self.place}>",
            "Content-Type: application/sdp",
        ], make_sdp(self.host, 40000).decode())

    def refer(self, invite: Msg, target: str, number: int) -> None:
        """Within the dialog of a call that it has accepted."""
        branch = f"z9hG4bK{secrets.token_hex(6)}"
        self.asked[branch] = (None, invite.target, [])
        self._write([
            f"REFER {invite.target} SIP/2.0", f"Via: SIP/2.0/UDP {self.place};rport;branch={branch}",
            "Max-Forwards: 70", f"From: {invite.one('To')};tag={self.number}x", f"To: {invite.one('From')}",
            f"Call-ID: {invite.call_id}", f"CSeq: {number} REFER", f"Contact: <sip:{self.number}@{self.place}>",
            f"Refer-To: <{target}>",
        ])

    def take(self, data: bytes, source: Address) -> None:
        """One packet from the PBX."""
        if not data.strip(b"\r\n\0"):
            return
        message = read(data, source, 0.0)
        if message.status:
            self._take_answer(message)
            return
        again = f"{message.method} {message.branch}" in self._seen
        self._seen.add(f"{message.method} {message.branch}")
        self.got[message.method] += not again
        if message.method == "ACK" or again:
            return
        if message.method in ("INVITE", "MESSAGE"):
            self.then(self, message)
        elif message.method == "CANCEL":
            self._take_back(message)
        else:
            self.answer(message, 200)

    def _take_back(self, cancel: Msg) -> None:
        self.answer(cancel, 200)
        for branch, (behalf, uri, lines) in list(self.asked.items()):
            if behalf is not None and behalf.branch == cancel.branch:
                self.answer(behalf, 487)
                self.asked[branch] = (None, uri, lines)
                self._write([f"CANCEL {uri} SIP/2.0", *lines, "Max-Forwards: 70", "CSeq: 1 CANCEL"])

    def _take_answer(self, answer: Msg) -> None:
        behalf, uri, lines = self.asked.get(answer.branch, (None, "", []))
        if answer.status < 200 or not uri or answer.method == "CANCEL":
            return
        self.got[f"{answer.method} {answer.status}"] += 1
        if answer.method == "INVITE" and answer.status >= 300:
            self._write([
                f"ACK {uri} SIP/2.0", *(line for line in lines if not line.startswith("To:")),
                f"To: {answer.one('To')}", "Max-Forwards: 70", "CSeq: 1 ACK",
            ])
        if behalf is not None:
            self.answer(behalf, answer.status)
            self.asked[answer.branch] = (None, uri, lines)

    def close(self) -> None:
        self.wire.close()


class Thread(threading.Thread):
    """Lets these phones do what they do, until :meth:`stop`."""

    def __init__(self, phones: list[Forwarder]) -> None:
        super().__init__(name="forwarders", daemon=True)
        self._phones = {phone.wire._socket: phone for phone in phones}
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            ready, _, _ = select.select(list(self._phones), [], [], 0.05)
            for socket in ready:
                phone = self._phones[socket]
                got = phone.wire.receive(0.001)
                if got is not None:
                    phone.take(*got)

    def stop(self) -> None:
        self._over.set()
        self.join(5)
