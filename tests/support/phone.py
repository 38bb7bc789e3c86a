"""A small, strict SIP phone of the tests' own. It shares no line with ``sipcore``: it may disagree with it.

It builds REGISTER and OPTIONS, answers digest challenges (RFC 7616: MD5 and SHA-256, qop=auth) and checks every answer
against RFC 3261: what a lenient phone would swallow is an ``AnswerFault`` here."""

from __future__ import annotations

import hashlib
import re
import secrets
import select
import socket
import time
from dataclasses import dataclass, field

T1 = 0.5  # seconds, RFC 3261 17.1.1.1
T2 = 4.0
TIMER_F = 64 * T1
HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}
PARAMETER = re.compile(r'\s*([A-Za-z0-9_.!%*+`\'~-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,";]+)\s*(?:,|$)')


class AnswerFault(AssertionError):
    """The server's answer breaks a rule; the message names it."""


class NoAnswer(AssertionError):
    """Nothing came within the phone's patience (Timer F)."""


@dataclass
class Answer:
    """One response as it came off the wire."""

    raw: bytes
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    seconds: float = 0.0
    """From the first sending of the request to this answer."""
    sendings: int = 1

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str:
        values = self.all(name)
        if len(values) != 1:
            raise AnswerFault(f"{name} must be there once, it is there {len(values)} times:\n{self.text}")
        return values[0]

    @property
    def text(self) -> str:
        return self.raw.decode("utf-8", "replace")

    @property
    def contacts(self) -> dict[str, int]:
        """Contact URI to seconds left (RFC 3261 10.3 step 8: each with its expires)."""
        found: dict[str, int] = {}
        for value in self.all("Contact"):
            for item in re.split(r',(?=(?:[^"]*"[^"]*")*[^"]*$)', value):
                matched = re.fullmatch(r'\s*(?:"[^"]*"\s*)?<([^>]*)>(.*)', item, re.DOTALL)
                if not matched:
                    raise AnswerFault(f"Contact is not a name-addr: {item!r}")
                expires = re.search(r";\s*expires\s*=\s*(\d+)", matched[2], re.IGNORECASE)
                if not expires:
                    raise AnswerFault(f"a Contact of the 200 carries no expires: {item!r}")
                if matched[1] in found:
                    raise AnswerFault(f"one Contact twice: {item!r}")
                found[matched[1]] = int(expires[1])
        return found


@dataclass
class Challenge:
    realm: str
    nonce: str
    algorithm: str
    stale: bool
    opaque: str | None = None


def read_answer(data: bytes) -> Answer:
    """Parse a response; raises ``AnswerFault`` for anything that is not strictly RFC 3261."""
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank:
        raise AnswerFault(f"no blank line after the headers: {data!r}")
    if re.search(rb"\r(?!\n)|(?<!\r)\n", head):
        raise AnswerFault(f"a bare CR or LF in the headers: {head!r}")
    lines = head.decode("utf-8").split("\r\n")
    start = re.fullmatch(r"SIP/2\.0 ([1-6]\d\d) ([^\x00-\x1f]*)", lines[0])
    if not start:
        raise AnswerFault(f"not a status line: {lines[0]!r}")
    headers = []
    for line in lines[1:]:
        matched = re.fullmatch(r"([A-Za-z0-9.!%*_+`'~-]+): ([^\x00-\x08\x0a-\x1f]*)", line)
        if not matched:
            raise AnswerFault(f"not a header line: {line!r}")
        headers.append((matched[1], matched[2]))
    answer = Answer(data, int(start[1]), start[2], headers, body)
    if int(answer.one("Content-Length")) != len(body):
        raise AnswerFault(f"Content-Length is not the length of the body ({len(body)}):\n{answer.text}")
    return answer


def read_challenge(value: str) -> Challenge:
    scheme, _, rest = value.partition(" ")
    if scheme != "Digest":
        raise AnswerFault(f"not a Digest challenge: {value}")
    parameters: dict[str, str] = {}
    place = 0
    while place < len(rest):
        matched = PARAMETER.match(rest, place)
        if not matched:
            raise AnswerFault(f"challenge cannot be read at {rest[place:]!r}")
        name = matched[1].lower()
        if name in parameters:
            raise AnswerFault(f"{name} twice in the challenge: {value}")
        quoted = matched[2].startswith('"')
        # RFC 7616 3.3: these are quoted strings, the others tokens; phones rely on it.
        if quoted != (name in {"realm", "domain", "nonce", "opaque", "qop"}):
            raise AnswerFault(f"{name} is {'quoted' if quoted else 'not quoted'} in the challenge: {value}")
        parameters[name] = matched[2].strip('"') if quoted else matched[2]
        place = matched.end()
    for name in ("realm", "nonce"):
        if not parameters.get(name):
            raise AnswerFault(f"no {name} in the challenge: {value}")
    if "auth" not in parameters.get("qop", "").split(","):
        raise AnswerFault(f"no qop=auth in the challenge: {value}")
    return Challenge(
        parameters["realm"], parameters["nonce"], parameters.get("algorithm", "MD5"),
        parameters.get("stale", "false").lower() == "true", parameters.get("opaque"),
    )


def authorization(
    challenge: Challenge, *, username: str, password: str, method: str, uri: str, nc: int, cnonce: str | None = None,
) -> str:
    """The value of an Authorization header, RFC 7616 3.4."""
    hash_of = HASHES[challenge.algorithm]

    def h(text: str) -> str:
        return hash_of(text.encode()).hexdigest()

    cnonce = cnonce or secrets.token_hex(8)
    count = f"{nc:08x}"
    ha1 = h(f"{username}:{challenge.realm}:{password}")
    response = h(f"{ha1}:{challenge.nonce}:{count}:{cnonce}:auth:{h(f'{method}:{uri}')}")
    value = (
        f'Digest username="{username}", realm="{challenge.realm}", nonce="{challenge.nonce}", uri="{uri}", '
        f'response="{response}", algorithm={challenge.algorithm}, cnonce="{cnonce}", qop=auth, nc={count}'
    )
    return value if challenge.opaque is None else f'{value}, opaque="{challenge.opaque}"'


@dataclass
class Phone:
    """One phone on one UDP socket, registering ``number`` at ``server``."""

    server: tuple[str, int]
    number: str
    password: str
    domain: str
    algorithm: str | None = None
    """None takes the first challenge it can answer (RFC 8760 2.3), a name insists on that one."""
    instance: str | None = None
    user_agent: str = "test-phone/1"
    local_host: str = "127.0.0.1"
    call_id: str = field(default_factory=lambda: secrets.token_hex(12))
    cseq: int = 0
    nc: int = 0
    challenge: Challenge | None = None
    answers: list[Answer] = field(default_factory=list)
    """Every final answer it got, oldest first."""
    patience: float = TIMER_F

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.server[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((self.local_host, 0))
        # An unconnected socket, so that an answer from elsewhere is seen and told, not dropped by the kernel.
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]
        host = f"[{self.local_host}]" if ":" in self.local_host else self.local_host
        self.sent_by = f"{host}:{self.port}"
        self.contact_uri = f"sip:{self.number}@{self.sent_by}"

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Phone:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what a person does with a phone ------------------------------------------------------------------

    def register(self, expires: int = 3600) -> Answer:
        """REGISTER, answering a challenge once (twice when the nonce was stale). The last answer."""
        return self._with_authentication([f"Contact: {self._contact()}", f"Expires: {expires}"])

    def unregister(self) -> Answer:
        return self._with_authentication([f"Contact: {self._contact()}", "Expires: 0"])

    def unregister_all(self) -> Answer:
        return self._with_authentication(["Contact: *", "Expires: 0"])

    def query(self) -> Answer:
        """REGISTER without Contact: asks what is registered and changes nothing (RFC 3261 10.2.3)."""
        return self._with_authentication([])

    def options(self) -> Answer:
        return self.ask("OPTIONS", ["Accept: application/sdp"])

    def _contact(self) -> str:
        return f"<{self.contact_uri}>" + (f';+sip.instance="<{self.instance}>"' if self.instance else "")

    def _with_authentication(self, headers: list[str]) -> Answer:
        for _ in range(3):
            extra = list(headers)
            if self.challenge:
                self.nc += 1
                extra.append("Authorization: " + authorization(
                    self.challenge, username=self.number, password=self.password, method="REGISTER",
                    uri=f"sip:{self.domain}", nc=self.nc,
                ))
            answer = self.ask("REGISTER", extra)
            if answer.status != 401:
                return answer
            known, offered = self.challenge, self._chosen_challenge(answer)
            if known and not offered.stale:
                return answer
            self.challenge, self.nc = offered, 0
        return answer

    def _chosen_challenge(self, answer: Answer) -> Challenge:
        offered = [read_challenge(value) for value in answer.all("WWW-Authenticate")]
        if not offered:
            raise AnswerFault(f"a 401 without WWW-Authenticate:\n{answer.text}")
        for challenge in offered:
            if challenge.algorithm in ([self.algorithm] if self.algorithm else HASHES):
                return challenge
        raise AnswerFault(f"no challenge offers {self.algorithm}:\n{answer.text}")

    # --- one transaction ----------------------------------------------------------------------------------

    def request(self, method: str, headers: list[str]) -> bytes:
        """The next request of this phone as bytes; counts CSeq up."""
        self.cseq += 1
        self._branch = f"z9hG4bK{secrets.token_hex(8)}"
        self._from_tag = secrets.token_hex(4)
        aor = f"sip:{self.number}@{self.domain}"
        lines = [
            f"{method} sip:{self.domain} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.sent_by};rport;branch={self._branch}",
            "Max-Forwards: 70",
            f"From: <{aor}>;tag={self._from_tag}",
            f"To: <{aor}>",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} {method}",
            f"User-Agent: {self.user_agent}",
            *headers,
            "Content-Length: 0",
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def ask(self, method: str, headers: list[str]) -> Answer:
        """Send and retransmit (Timer E) until the final answer. Raises ``NoAnswer`` after ``patience`` seconds and
        ``AnswerFault`` for an answer that breaks a rule."""
        return self.ask_raw(method, self.request(method, headers))

    def ask_raw(self, method: str, data: bytes) -> Answer:
        started = now = time.monotonic()
        interval, sendings = T1, 0
        resend_at = now
        while now - started < self.patience:
            if now >= resend_at:
                self.socket.sendto(data, self.server)
                sendings += 1
                resend_at, interval = now + interval, min(interval * 2, T2)
            ready, _, _ = select.select([self.socket], [], [], max(0.0, min(resend_at, started + self.patience) - now))
            now = time.monotonic()
            if not ready:
                continue
            try:
                received, source = self.socket.recvfrom(65535)
            except (BlockingIOError, ConnectionRefusedError):
                continue  # nobody there at the moment: a phone tries again
            if received.startswith((b"OPTIONS ", b"\r\n")):
                self._answer_ping(received, source)
                continue
            answer = read_answer(received)
            if f"branch={self._branch}" not in answer.text:
                continue  # a late double of an earlier answer
            if source[:2] != self.server:
                raise AnswerFault(f"asked {self.server}, answered by {source[:2]}")
            self._check(answer, method)
            answer.seconds, answer.sendings = now - started, sendings
            if answer.status >= 200:
                self.answers.append(answer)
                return answer
        raise NoAnswer(f"{method} {self.number}: no final answer in {self.patience:.0f} s")

    def _check(self, answer: Answer, method: str) -> None:
        """RFC 3261 8.2.6 and RFC 3581."""
        via = answer.one("Via")
        if not via.startswith(f"SIP/2.0/UDP {self.sent_by}"):
            raise AnswerFault(f"the Via is not ours: {via}")
        for wanted in (f"rport={self.port}", f"received={self.local_host}", f"branch={self._branch}"):
            if not re.search(rf";\s*{re.escape(wanted)}(?=[;\s]|$)", via):
                raise AnswerFault(f"no {wanted} in the Via: {via}")
        aor = f"<sip:{self.number}@{self.domain}>"
        if answer.one("From") != f"{aor};tag={self._from_tag}":
            raise AnswerFault(f"From was changed: {answer.one('From')}")
        if not re.fullmatch(re.escape(aor) + r";tag=[A-Za-z0-9.!%*_+`'~-]+", answer.one("To")) and answer.status > 100:
            raise AnswerFault(f"To must be ours with a tag: {answer.one('To')}")
        if answer.one("Call-ID") != self.call_id or answer.one("CSeq") != f"{self.cseq} {method}":
            raise AnswerFault(f"Call-ID or CSeq was changed:\n{answer.text}")
        if answer.status == 401 and not answer.all("WWW-Authenticate"):
            raise AnswerFault(f"a 401 without WWW-Authenticate:\n{answer.text}")
        if answer.status == 503 and not re.fullmatch(r"\d+\b.*", answer.one("Retry-After")):
            raise AnswerFault(f"a 503 whose Retry-After is no number of seconds:\n{answer.text}")
        if answer.status == 503 and not 1 <= int(answer.one("Retry-After").split(";")[0]) <= 300:
            raise AnswerFault(f"Retry-After: {answer.one('Retry-After')}")

    def _answer_ping(self, received: bytes, source: tuple[str, int]) -> None:
        """The server's keep-alive: any answer counts, this one is a 200."""
        if received.startswith(b"\r\n"):
            return
        head = received.partition(b"\r\n\r\n")[0].decode("utf-8", "replace").split("\r\n")
        copied = [line for line in head if re.match(r"(Via|From|Call-ID|CSeq)\s*:", line, re.IGNORECASE)]
        to = next((line for line in head if re.match(r"To\s*:", line, re.IGNORECASE)), "To: <sip:none>")
        lines = ["SIP/2.0 200 OK", *copied, f"{to};tag={secrets.token_hex(4)}", "Content-Length: 0"]
        self.socket.sendto(("\r\n".join(lines) + "\r\n\r\n").encode(), source)
