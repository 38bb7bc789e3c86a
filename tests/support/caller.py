"""A strict SIP user agent of the tests' own, for calls. Like ``phone``, it shares no line with ``sipcore``.

    alice, bob = Caller(wire, "1001", ...), Caller(wire, "1002", ...)
    call = alice.invite("1002")
    ringing = bob.expect("INVITE")
    answered = bob.answer(ringing)

Nothing happens behind the test's back but this: a keep-alive OPTIONS gets its 200, a message that came before byte for
byte is counted as a repetition, and every message is checked against what RFC 3261 demands of its sender. What
nobody took stays in ``inbox``."""

from __future__ import annotations

import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.support.phone import authorization, read_challenge

Header = tuple[str, str]
Address = tuple[str, int]
SECONDS = 5.0
SINGLE = ("From", "To", "Call-ID", "CSeq", "Content-Length", "Max-Forwards", "Content-Type", "Expires")
REQUEST = re.compile(r"([A-Z]+) (\S+) SIP/2\.0")
STATUS = re.compile(r"SIP/2\.0 ([1-6]\d\d) ([^\x00-\x1f]*)")
HEADER = re.compile(r"([A-Za-z0-9.!%*_+`'~-]+): ([^\x00-\x08\x0a-\x1f\x7f]*)")


class Fault(AssertionError):
    """The server broke a rule, or did not do what the test expects of it."""


class Wire(Protocol):
    """How packets travel. ``address`` is where the others see this phone."""

    address: Address

    def send(self, data: bytes, to: Address) -> None: ...
    def receive(self, seconds: float) -> tuple[bytes, Address] | None: ...
    def now(self) -> float: ...
    def close(self) -> None: ...


@dataclass
class Msg:
    """One message off the wire. ``method`` of a response is the one in its CSeq."""

    raw: bytes
    start: str
    headers: list[Header]
    body: bytes
    method: str
    status: int = 0
    reason: str = ""
    uri: str = ""
    source: Address = ("", 0)
    at: float = 0.0

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> str:
        return next(iter(self.all(name)), "")

    def one(self, name: str) -> str:
        values = self.all(name)
        if len(values) != 1:
            raise Fault(f"{name} must be there once, it is there {len(values)} times:\n{self}")
        return values[0]

    @property
    def call_id(self) -> str:
        return self.one("Call-ID")

    @property
    def cseq(self) -> int:
        return int(self.one("CSeq").split()[0])

    @property
    def branch(self) -> str:
        return param(self.all("Via")[0], "branch")

    @property
    def from_tag(self) -> str:
        return param(self.one("From"), "tag")

    @property
    def to_tag(self) -> str:
        return param(self.one("To"), "tag")

    @property
    def target(self) -> str:
        matched = re.search(r"<([^>]+)>", self.one("Contact"))
        if not matched:
            raise Fault(f"no Contact in angle brackets:\n{self}")
        return matched[1]

    @property
    def sdp(self) -> str:
        return self.body.decode()

    def __str__(self) -> str:
        return self.raw.decode("utf-8", "replace")


def param(value: str, name: str) -> str:
    """A parameter outside of angle brackets and quotes; "" when it is not there."""
    outside = re.sub(r'<[^>]*>|"(?:[^"\\]|\\.)*"', "", value)
    matched = re.search(rf";\s*{name}\s*=\s*([^;,\s]+)", outside, re.IGNORECASE)
    return matched[1] if matched else ""


def read(data: bytes, source: Address, at: float) -> Msg:
    """Parse a message; raises ``Fault`` for what is not strictly RFC 3261."""
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank or re.search(rb"\r(?!\n)|(?<!\r)\n", head):
        raise Fault(f"not a message with CRLF line ends: {data!r}")
    lines = head.decode("utf-8").split("\r\n")
    headers = []
    for line in lines[1:]:
        matched = HEADER.fullmatch(line)
        if not matched:
            raise Fault(f"not a header line: {line!r}")
        headers.append((matched[1], matched[2]))
    message = Msg(data, lines[0], headers, body, "", source=source, at=at)
    for name in SINGLE:
        if len(message.all(name)) > 1:
            raise Fault(f"{name} is there twice:\n{message}")
    if int(message.one("Content-Length")) != len(body) or bool(body) != bool(message.get("Content-Type")):
        raise Fault(f"Content-Length or Content-Type does not fit the body:\n{message}")
    number, method = message.one("CSeq").split()
    for name in ("Via", "From", "To", "Call-ID"):
        if not message.get(name):
            raise Fault(f"no {name}:\n{message}")
    if not message.from_tag:
        raise Fault(f"no From-tag:\n{message}")
    if start := REQUEST.fullmatch(lines[0]):
        message.method, message.uri = start[1], start[2]
        if method != start[1] or not 0 < int(number) < 2**31:
            raise Fault(f"bad CSeq:\n{message}")
        if not message.branch.startswith("z9hG4bK") or not 0 <= int(message.one("Max-Forwards")) <= 70:
            raise Fault(f"bad branch or Max-Forwards:\n{message}")
        if message.method in ("INVITE", "UPDATE", "REFER", "SUBSCRIBE", "NOTIFY") and not message.target:
            raise Fault(f"no Contact:\n{message}")
    elif start := STATUS.fullmatch(lines[0]):
        message.method, message.status, message.reason = method, int(start[1]), start[2]
        if message.status > 100 and not message.to_tag:
            raise Fault(f"no To-tag in an answer:\n{message}")
        if method == "INVITE" and 200 <= message.status < 300 and not message.target:
            raise Fault(f"no Contact in a 2xx to INVITE:\n{message}")
    else:
        raise Fault(f"not a start line: {lines[0]!r}")
    return message


def make_sdp(
    host: str,
    port: int,
    direction: str = "sendrecv",
    codecs: str = "0 8 101",
    profile: str = "RTP/AVP",
    version: int = 1,
) -> bytes:
    lines = [
        "v=0",
        f"o=- 4711 {version} IN IP4 {host}",
        "s=-",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"m=audio {port} {profile} {codecs}",
        *(["a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15"] if "101" in codecs.split() else []),
        f"a={direction}",
    ]
    return ("\r\n".join(lines) + "\r\n").encode()


@dataclass
class Dialog:
    """One side of a dialog, with what it needs to speak in it."""

    call_id: str
    local: str
    remote: str
    target: str
    routes: list[str] = field(default_factory=list)
    cseq: int = 0
    invite: Msg | None = None
    sent_branch: str = ""

    @property
    def local_tag(self) -> str:
        return param(self.local, "tag")

    @property
    def remote_tag(self) -> str:
        return param(self.remote, "tag")


@dataclass
class Sent:
    """A request that went out."""

    method: str
    uri: str
    headers: list[Header]
    body: bytes
    data: bytes
    branch: str
    kind: str

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


class Caller:
    """One user agent. ``password`` None: it answers no challenge."""

    def __init__(self, wire: Wire, server: Address, number: str, password: str | None, domain: str) -> None:
        self.wire, self.server, self.number, self.password, self.domain = wire, server, number, password, domain
        self.inbox: list[Msg] = []
        self.repeated: Counter[str] = Counter()
        """How often each start line (with CSeq and call) came again byte for byte."""
        self.on_ping: Callable[[Msg], bool] = lambda ping: True
        self._seen: set[bytes] = set()
        self._cseq = 0
        self.media_port = 40000 + secrets.randbelow(4000) * 2
        self._register_call = secrets.token_hex(8)
        self.registered = False

    # --- the wire -----------------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        return self.wire.address[0]

    @property
    def sent_by(self) -> str:
        return f"{self.wire.address[0]}:{self.wire.address[1]}"

    @property
    def contact(self) -> str:
        return f"<sip:{self.number}@{self.sent_by}>"

    @property
    def aor(self) -> str:
        return f"sip:{self.number}@{self.domain}"

    def close(self) -> None:
        self.wire.close()

    def sdp(self, direction: str = "sendrecv", **more: object) -> bytes:
        return make_sdp(self.host, self.media_port, direction, **more)  # type: ignore[arg-type]

    def pump(self, seconds: float) -> bool:
        """Take what comes within this time; True as soon as there is a new message in the inbox."""
        end = self.wire.now() + seconds
        while True:
            got = self.wire.receive(max(0.0, end - self.wire.now()))
            if got is None:
                return False
            data, source = got
            if not data.strip(b"\r\n\0"):
                continue
            if source != self.server:
                raise Fault(f"a packet from {source}, who is not the server: {data!r}")
            message = read(data, source, self.wire.now())
            if message.method == "OPTIONS" and not message.status and not message.to_tag and self.on_ping(message):
                self.respond(message, 200)
                continue
            if data in self._seen:
                self.repeated[f"{message.start.split(' SIP/2.0')[0]} {message.one('CSeq')} {message.call_id}"] += 1
                continue
            self._seen.add(data)
            self.inbox.append(message)
            return True

    def expect(self, what: str | int, seconds: float = SECONDS, *, method: str = "", call_id: str = "") -> Msg:
        """The oldest request of this method, or response of this status (``method``: to what). A final response other
        than the expected one, to the same request, is told at once."""
        end = self.wire.now() + seconds
        while True:
            for message in self.inbox:
                wanted = message.method == what if isinstance(what, str) else message.status == what
                if isinstance(what, str) and message.status:
                    wanted = False
                if method and message.method != method:
                    wanted = False
                if call_id and message.call_id != call_id:
                    wanted = False
                if wanted:
                    self.inbox.remove(message)
                    return message
            if not self.pump(max(0.0, end - self.wire.now())) and self.wire.now() >= end - 1e-6:
                have = [f"{m.start} ({m.one('CSeq')})" for m in self.inbox]
                raise Fault(f"{self.number}: no {what} {method} within {seconds:g} s; in the inbox: {have}")

    def quiet(self, seconds: float = 0.3, *but: str | int) -> None:
        """Nothing more must come; ``but`` these methods and statuses may."""
        end = self.wire.now() + seconds
        while self.wire.now() < end - 1e-6:
            self.pump(max(0.0, end - self.wire.now()))
        rest = [m for m in self.inbox if m.status not in (*but, 100) and (m.status or m.method not in but)]
        if rest:
            raise Fault(f"{self.number}: did not expect\n" + "\n".join(str(m) for m in rest))

    def times_repeated(self, start: str) -> int:
        return sum(count for line, count in self.repeated.items() if line.startswith(start))

    # --- sending ------------------------------------------------------------------------------------------

    def send(
        self,
        method: str,
        uri: str,
        headers: Sequence[Header],
        body: bytes = b"",
        *,
        branch: str = "",
        kind: str = "application/sdp",
        to: Address | None = None,
    ) -> Sent:
        branch = branch or f"z9hG4bK{secrets.token_hex(8)}"
        lines = [("Via", f"SIP/2.0/UDP {self.sent_by};rport;branch={branch}")]
        if not any(name == "Max-Forwards" for name, _ in headers):
            lines.append(("Max-Forwards", "70"))
        lines += headers
        if body and not any(name == "Content-Type" for name, _ in headers):
            lines.append(("Content-Type", kind))
        lines.append(("Content-Length", str(len(body))))
        text = f"{method} {uri} SIP/2.0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines) + "\r\n"
        data = text.encode() + body
        self.wire.send(data, to or self.server)
        return Sent(method, uri, [*headers], body, data, branch, kind)

    def respond(
        self,
        request: Msg,
        status: int,
        reason: str = "",
        headers: Sequence[Header] = (),
        body: bytes = b"",
        *,
        tag: str = "",
        kind: str = "application/sdp",
    ) -> None:
        lines = [("Via", value) for value in request.all("Via")]
        lines += [("Record-Route", value) for value in request.all("Record-Route")]
        to = request.one("To")
        if tag and not request.to_tag:
            to = f"{to};tag={tag}"
        elif status > 100 and not request.to_tag:
            to = f"{to};tag={secrets.token_hex(4)}"
        lines += [
            ("From", request.one("From")),
            ("To", to),
            ("Call-ID", request.call_id),
            ("CSeq", request.one("CSeq")),
        ]
        lines += headers
        if body:
            lines.append(("Content-Type", kind))
        lines.append(("Content-Length", str(len(body))))
        text = f"SIP/2.0 {status} {reason or 'Whatever'}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines) + "\r\n"
        self.wire.send(text.encode() + body, request.source)

    def with_credentials(self, sent: Sent, refusal: Msg, *, cseq: int) -> Sent:
        """The same request again, with the answer to its challenge (RFC 3261 22.2)."""
        if self.password is None:
            raise Fault("this phone has no password")
        challenge = read_challenge(refusal.one("WWW-Authenticate"))
        value = authorization(
            challenge, username=self.number, password=self.password, method=sent.method, uri=sent.uri, nc=1
        )
        headers = [(n, f"{cseq} {sent.method}" if n == "CSeq" else v) for n, v in sent.headers if n != "Authorization"]
        return self.send(sent.method, sent.uri, [*headers, ("Authorization", value)], sent.body, kind=sent.kind)

    def ask(
        self,
        method: str,
        uri: str,
        headers: Sequence[Header],
        body: bytes = b"",
        *,
        kind: str = "text/plain",
        authenticate: bool = True,
        seconds: float = SECONDS,
    ) -> Msg:
        """A request outside of dialogs and its final answer, after a challenge."""
        self._cseq += 1
        call_id = secrets.token_hex(8)
        if not any(name == "From" for name, _ in headers):
            headers = [("From", f"<{self.aor}>;tag={secrets.token_hex(4)}"), *headers]
        if not any(name == "Call-ID" for name, _ in headers):
            headers = [("Call-ID", call_id), *headers]
        else:
            call_id = dict(headers)["Call-ID"]
        if not any(name == "To" for name, _ in headers):
            headers = [("To", f"<{uri}>"), *headers]
        sent = self.send(method, uri, [("CSeq", f"{self._cseq} {method}"), *headers], body, kind=kind)
        answer = self.final(sent, seconds)
        if answer.status == 401 and authenticate and self.password is not None:
            self._cseq += 1
            sent = self.with_credentials(sent, answer, cseq=self._cseq)
            answer = self.final(sent, seconds)
        return answer

    def final(self, sent: Sent, seconds: float = SECONDS) -> Msg:
        """The final answer to a request; provisional ones before it are dropped. Its Via must be ours (8.1.3.3)."""
        end = self.wire.now() + seconds
        while True:
            for message in list(self.inbox):
                if message.status and message.branch == sent.branch and message.method == sent.method:
                    self.inbox.remove(message)
                    vias = [value for name, value in sent.headers if name == "Via"]
                    if message.all("Via")[1:] != vias or f"received={self.host}" not in message.all("Via")[0]:
                        raise Fault(f"Via of an answer:\n{message}")
                    if message.status >= 200:
                        return message
            if not self.pump(max(0.0, end - self.wire.now())) and self.wire.now() >= end - 1e-6:
                raise Fault(f"{self.number}: {sent.method} got no final answer within {seconds:g} s")

    def register(self, expires: int = 3600, contact: str = "") -> Msg:
        uri = f"sip:{self.domain}"
        headers = [
            ("To", f"<{self.aor}>"),
            ("Call-ID", self._register_call),
            ("Contact", contact or self.contact),
            ("Expires", str(expires)),
            ("User-Agent", f"Tester {self.number}"),
        ]
        answer = self.ask("REGISTER", uri, headers)
        if answer.status != 200:
            raise Fault(f"{self.number} could not register:\n{answer}")
        self.registered = expires > 0
        return answer

    # --- calls --------------------------------------------------------------------------------------------

    def invite(
        self,
        number: str,
        body: bytes | None = None,
        headers: Sequence[Header] = (),
        *,
        authenticate: bool = True,
        call_id: str = "",
        from_: str = "",
        uri: str = "",
        kind: str = "application/sdp",
    ) -> Outbound:
        """Send an INVITE (``body`` None: with an offer of ours; b"": without) and answer the challenge."""
        body = self.sdp() if body is None else body
        self._cseq += 1
        tag = secrets.token_hex(4)
        uri = uri or f"sip:{number}@{self.domain}"
        local = f"{from_ or f'<{self.aor}>'};tag={tag}"
        lines = [
            ("From", local),
            ("To", f"<{uri}>"),
            ("Call-ID", call_id or secrets.token_hex(8)),
            ("CSeq", f"{self._cseq} INVITE"),
            ("Contact", self.contact),
            *headers,
        ]
        sent = self.send("INVITE", uri, lines, body, kind=kind)
        if authenticate and self.password is not None:
            refusal = self.expect(401, method="INVITE")
            self.ack_failure(sent, refusal)
            self._cseq += 1
            sent = self.with_credentials(sent, refusal, cseq=self._cseq)
        return Outbound(self, sent)

    def ack_failure(self, sent: Sent, answer: Msg) -> None:
        """17.1.1.3: the same branch."""
        keep = [(n, v) for n, v in sent.headers if n in ("From", "Call-ID")]
        self.send(
            "ACK", sent.uri, [*keep, ("To", answer.one("To")), ("CSeq", f"{answer.cseq} ACK")], branch=sent.branch
        )

    def dialog_of(self, invite: Msg, tag: str) -> Dialog:
        """As the called side."""
        return Dialog(
            invite.call_id,
            f"{invite.one('To')};tag={tag}",
            invite.one("From"),
            invite.target,
            invite.all("Record-Route"),
            100,
            invite,
        )

    def ring(
        self, invite: Msg, tag: str = "", body: bytes = b"", status: int = 180, headers: Sequence[Header] = ()
    ) -> str:
        tag = tag or secrets.token_hex(4)
        self.respond(invite, status, "Ringing", [("Contact", self.contact), *headers], body, tag=tag)
        return tag

    def answer(
        self, invite: Msg, body: bytes | None = None, headers: Sequence[Header] = (), *, tag: str = "", ack: bool = True
    ) -> Dialog:
        """200 to an INVITE, with an answer of ours unless told; waits for the ACK."""
        tag = tag or secrets.token_hex(4)
        body = self.sdp() if body is None else body
        self.respond(
            invite,
            200,
            "OK",
            [("Contact", self.contact), ("Allow", "INVITE, ACK, BYE, CANCEL"), *headers],
            body,
            tag=tag,
        )
        dialog = self.dialog_of(invite, tag)
        if ack:
            self.expect("ACK", call_id=invite.call_id)
        return dialog

    def request(
        self,
        dialog: Dialog,
        method: str,
        headers: Sequence[Header] = (),
        body: bytes = b"",
        *,
        kind: str = "application/sdp",
        cseq: int = 0,
    ) -> Sent:
        """Within a dialog; the answer is taken with ``final``."""
        if not cseq and method not in ("ACK", "CANCEL"):
            dialog.cseq += 1
        number = cseq or dialog.cseq
        lines = [("Route", route) for route in dialog.routes]
        lines += [
            ("From", dialog.local),
            ("To", dialog.remote),
            ("Call-ID", dialog.call_id),
            ("CSeq", f"{number} {method}"),
        ]
        if method in ("INVITE", "UPDATE", "REFER", "SUBSCRIBE"):
            lines.append(("Contact", self.contact))
        return self.send(method, dialog.target, [*lines, *headers], body, kind=kind)

    def ack(self, dialog: Dialog, cseq: int, body: bytes = b"") -> Sent:
        return self.request(dialog, "ACK", body=body, cseq=cseq)

    def reinvite(self, dialog: Dialog, body: bytes, headers: Sequence[Header] = ()) -> Sent:
        return self.request(dialog, "INVITE", headers, body)

    def bye(self, dialog: Dialog, status: int = 200) -> Msg:
        answer = self.final(self.request(dialog, "BYE"))
        if answer.status != status:
            raise Fault(f"BYE got\n{answer}")
        return answer

    def take_bye(self, dialog: Dialog, seconds: float = SECONDS) -> Msg:
        bye = self.expect("BYE", seconds, call_id=dialog.call_id)
        self.respond(bye, 200)
        return bye


class Outbound:
    """A call that this phone makes."""

    def __init__(self, phone: Caller, sent: Sent) -> None:
        self.phone, self.sent = phone, sent
        self.answer: Msg | None = None
        self.dialog = Dialog(
            sent.get("Call-ID"), sent.get("From"), sent.get("To"), sent.uri, cseq=int(sent.get("CSeq").split()[0])
        )

    def provisional(self, status: int, seconds: float = SECONDS) -> Msg:
        message = self.phone.expect(status, seconds, method="INVITE", call_id=self.dialog.call_id)
        if message.status > 100:
            self._learn(message)
        return message

    def _learn(self, message: Msg) -> None:
        self.dialog.remote = message.one("To")
        if message.get("Contact"):
            self.dialog.target = message.target
            self.dialog.routes = message.all("Record-Route")[::-1]

    def final(self, seconds: float = SECONDS) -> Msg:
        self.answer = self.phone.final(self.sent, seconds)
        if self.answer.status < 300:
            self._learn(self.answer)
        return self.answer

    def connected(self, seconds: float = SECONDS, body: bytes = b"") -> Dialog:
        """200 and our ACK."""
        answer = self.final(seconds)
        if answer.status != 200:
            raise Fault(f"the call was refused:\n{answer}")
        self.phone.ack(self.dialog, answer.cseq, body)
        return self.dialog

    def refused(self, status: int, seconds: float = SECONDS) -> Msg:
        answer = self.final(seconds)
        if answer.status != status:
            raise Fault(f"wanted {status}, got\n{answer}")
        self.phone.ack_failure(self.sent, answer)
        return answer

    def cancel(self, phone: Caller | None = None) -> Msg:
        """CANCEL (from another phone's socket, if told) and its answer."""
        phone = phone or self.phone
        keep = [(n, v) for n, v in self.sent.headers if n in ("From", "To", "Call-ID")]
        sent = self.send_cancel(phone, keep)
        return phone.final(sent)

    def send_cancel(self, phone: Caller, keep: list[Header]) -> Sent:
        return phone.send(
            "CANCEL", self.sent.uri, [*keep, ("CSeq", f"{self.dialog.cseq} CANCEL")], branch=self.sent.branch
        )


class UdpWire:
    """A real socket."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        import socket

        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, port))
        self.address: Address = self._socket.getsockname()

    def send(self, data: bytes, to: Address) -> None:
        self._socket.sendto(data, to)

    def receive(self, seconds: float) -> tuple[bytes, Address] | None:
        end = time.monotonic() + seconds
        while True:
            self._socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                return self._socket.recvfrom(65535)
            except TimeoutError:
                return None
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    return None

    def now(self) -> float:
        return time.monotonic()

    def close(self) -> None:
        self._socket.close()
