"""A small synchronous phone: what the doctor registers and calls with. It speaks over a real socket, asks again when
no answer comes (RFC 3261 17.1), and answers the server's keep-alives."""

from __future__ import annotations

import secrets
import select
import socket
import threading
import time
from dataclasses import dataclass

from pbx.diagnosis.self_audio import Echo, measure_echo, offer, target_of
from sipcore.protocol.digest import Credentials, expected_response, make_ha1, parse_challenge
from sipcore.protocol.errors import SipError
from sipcore.protocol.headers import Star
from sipcore.protocol.message import Request, Response, make_response, parse_message

T1 = 0.5  # seconds, RFC 3261 17.1.1.1
PATIENCE = 4.0  # seconds for one answer: on one machine it takes milliseconds
LARGEST = 65_535
USER_AGENT = "PBX doctor"

Address = tuple[str, int]


class NoAnswer(Exception):
    """Nothing came in time. ``why``: the system's word (ECONNREFUSED ...), or empty."""

    def __init__(self, why: str = "") -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Account:
    number: str
    password: str
    domain: str


class SelfPhone:
    """One phone on one flow to ``server``, UDP. Use it as a context manager."""

    def __init__(self, server: Address, account: Account) -> None:
        self._server, self._account = server, account
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            # Connected: a port that nobody has is told at once (ICMP), and strangers' packets do not come in.
            self._socket.connect(server)
        except OSError:
            self._socket.close()
            raise
        host, port = self._socket.getsockname()[:2]
        self.local: Address = (host, port)
        self._me = f"{_in_uri(host)}:{port}"
        self._call_id, self._cseq, self._tag = secrets.token_hex(12), 0, secrets.token_hex(6)
        self._nonce: dict[str, str] = {}
        self._count = 0

    def __enter__(self) -> SelfPhone:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    # What a phone does

    def options(self) -> Response:
        """Are you there? Raises :class:`NoAnswer`."""
        return self._ask(self._request("OPTIONS", self._domain_uri(), self._domain_uri()))

    def register(self, seconds: int = 60) -> Response:
        """The last answer: a 200 when all is well; ``seconds`` 0 signs off. Raises :class:`NoAnswer`."""
        more = [*self._contact(), ("Expires", str(seconds))]
        return self._authenticated("REGISTER", self._domain_uri(), self._own_uri(), more)

    def call(self, number: str, packets: int) -> tuple[Response, Echo | None]:
        """Call ``number``, speak for ``packets`` times 20 ms, listen, hang up. The answer, and the sound when it was
        answered. Raises :class:`NoAnswer`."""
        family = socket.AF_INET6 if ":" in self.local[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as voice:
            voice.bind((self.local[0], 0))
            body = offer(self.local[0], voice.getsockname()[1])
            uri = f"sip:{number}@{_in_uri(self._account.domain)}"
            more = [*self._contact(), ("Content-Type", "application/sdp")]
            # A call is a dialog of its own.
            self._call_id, self._cseq, self._tag = secrets.token_hex(12), 0, secrets.token_hex(6)
            answer = self._authenticated("INVITE", uri, uri, more, body)
            if answer.status >= 300:
                return answer, None
            to, routes = answer.get("To") or f"<{uri}>", answer.getall("Record-Route")[::-1]
            contacts = answer.contacts
            remote = str(contacts[0].uri) if not isinstance(contacts, Star) and contacts else uri
            self._send(self._in_dialog("ACK", self._cseq, remote, to, routes))
            try:
                return answer, measure_echo(voice, target_of(answer.body), packets)
            finally:
                self._cseq += 1
                self._ask(self._in_dialog("BYE", self._cseq, remote, to, routes))

    def answer_call(self, stop: threading.Event) -> None:
        """Ring, take the first call that comes, give its sound back, until the other side hangs up or ``stop``.
        Raises :class:`NoAnswer` where the system refuses to send."""
        family = socket.AF_INET6 if ":" in self.local[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as voice:
            voice.bind((self.local[0], 0))
            target: Address | None = None
            while not stop.is_set():
                for ready in select.select([self._socket, voice], [], [], 0.05)[0]:
                    try:
                        data = ready.recv(LARGEST)
                        if ready is voice and target is not None:
                            voice.sendto(data, target)
                        message = parse_message(data) if ready is self._socket else None
                    except OSError as error:
                        raise NoAnswer(type(error).__name__) from None
                    except SipError:
                        continue
                    if not isinstance(message, Request):
                        continue
                    if message.method != "INVITE":
                        self._answer(message)
                        if message.method in ("BYE", "CANCEL"):
                            return
                        continue
                    target = target_of(message.body)
                    self._send(make_response(message, 180, to_tag=self._tag, headers=self._contact()))
                    body = offer(self.local[0], voice.getsockname()[1])
                    more = [*self._contact(), ("Content-Type", "application/sdp")]
                    self._send(make_response(message, 200, to_tag=self._tag, headers=more, body=body))

    # Requests

    def _contact(self) -> list[tuple[str, str]]:
        return [("Contact", f"<sip:{self._account.number}@{self._me}>")]

    def _authenticated(
        self, method: str, uri: str, to: str, more: list[tuple[str, str]], body: bytes = b""
    ) -> Response:
        """With the password as soon as it is asked for, and once more for a nonce that was too old."""
        answer = self._ask(self._request(method, uri, to, more, body))
        for _again in range(2):
            if answer.status not in (401, 407):
                break
            self._read_challenge(answer)
            credentials = [*more, ("Authorization", self._credentials(method, uri))]
            answer = self._ask(self._request(method, uri, to, credentials, body))
        return answer

    def _request(
        self, method: str, uri: str, to: str, more: list[tuple[str, str]] | None = None, body: bytes = b""
    ) -> Request:
        self._cseq += 1
        headers = [
            ("Via", self._via()), ("Max-Forwards", "70"), ("From", f"<{self._own_uri()}>;tag={self._tag}"),
            ("To", f"<{to}>"), ("Call-ID", self._call_id), ("CSeq", f"{self._cseq} {method}"),
            ("User-Agent", USER_AGENT), *(more or []),
        ]
        return Request(method, uri, headers, body)

    def _in_dialog(self, method: str, cseq: int, uri: str, to: str, routes: list[str]) -> Request:
        headers = [
            ("Via", self._via()), ("Max-Forwards", "70"), *(("Route", route) for route in routes),
            ("From", f"<{self._own_uri()}>;tag={self._tag}"), ("To", to), ("Call-ID", self._call_id),
            ("CSeq", f"{cseq} {method}"), ("User-Agent", USER_AGENT),
        ]
        return Request(method, uri, headers)

    def _via(self) -> str:
        return f"SIP/2.0/UDP {self._me};branch=z9hG4bK{secrets.token_hex(8)};rport"

    def _domain_uri(self) -> str:
        return f"sip:{_in_uri(self._account.domain)}"

    def _own_uri(self) -> str:
        return f"sip:{self._account.number}@{_in_uri(self._account.domain)}"

    def _read_challenge(self, answer: Response) -> None:
        """The first that we can compute. Raises SipError for one that cannot be read."""
        offered = [parse_challenge(v) for v in answer.getall("WWW-Authenticate") + answer.getall("Proxy-Authenticate")]
        usable = [one for one in offered if one.get("algorithm", "MD5").upper() in ("MD5", "SHA-256")]
        if not usable:
            raise SipError(400, "No Challenge")
        self._nonce, self._count = usable[0], 0

    def _credentials(self, method: str, uri: str) -> str:
        self._count += 1
        algorithm = self._nonce.get("algorithm", "MD5").upper()
        realm, nonce, cnonce, count = self._nonce["realm"], self._nonce["nonce"], secrets.token_hex(8), self._count
        mine = Credentials(
            self._account.number, realm, nonce, uri, "", algorithm, "auth", count, f"{count:08x}", cnonce
        )
        ha1 = make_ha1(algorithm, self._account.number, realm, self._account.password)
        response = expected_response(ha1, mine, method)
        return (
            f'Digest username="{mine.username}", realm="{realm}", nonce="{nonce}", uri="{uri}", '
            f'response="{response}", algorithm={algorithm}, qop=auth, nc={mine.nc_text}, cnonce="{cnonce}"'
        )

    # The wire

    def _send(self, message: Request | Response) -> None:
        try:
            self._socket.send(message.to_bytes())
        except OSError as error:
            raise NoAnswer(type(error).__name__) from None

    def _ask(self, request: Request) -> Response:
        """The final answer to this request; a refused INVITE gets its ACK (RFC 3261 17.1.1.3)."""
        branch = request.via.branch
        end = time.monotonic() + PATIENCE
        again, interval = 0.0, T1
        provisional = False
        while (now := time.monotonic()) < end:
            if now >= again and not (provisional and request.method == "INVITE"):
                self._send(request)
                again, interval = now + interval, interval * 2
            ready, _out, _bad = select.select([self._socket], [], [], max(0.0, min(again, end) - now))
            if not ready:
                if provisional:
                    again = end
                continue
            try:
                message = parse_message(self._socket.recv(LARGEST))
                mine = isinstance(message, Response) and message.via.branch == branch
            except OSError as error:
                raise NoAnswer(type(error).__name__) from None
            except SipError:
                continue
            if isinstance(message, Request):
                self._answer(message)
            elif mine and message.status < 200:
                provisional = True
            elif mine:
                if request.method == "INVITE" and message.status >= 300:
                    self._acknowledge(request, message)
                return message
        if provisional and request.method == "INVITE":
            self._send(self._beside(request, "CANCEL", request.get("To") or ""))
        raise NoAnswer()

    def _acknowledge(self, invite: Request, answer: Response) -> None:
        self._send(self._beside(invite, "ACK", answer.get("To") or invite.get("To") or ""))

    @staticmethod
    def _beside(invite: Request, method: str, to: str) -> Request:
        """The ACK to a refusal or the CANCEL: with the branch of the INVITE (RFC 3261 9.1, 17.1.1.3)."""
        kept = [line for line in invite.headers if line[0] in ("Via", "From", "Call-ID", "Max-Forwards", "Route")]
        return Request(method, invite.uri, [*kept, ("To", to), ("CSeq", f"{invite.cseq.number} {method}")])

    def _answer(self, request: Request) -> None:
        """Keep-alives and whatever else the server asks meanwhile."""
        if request.method != "ACK":
            self._send(make_response(request, 200, to_tag=self._tag))


def tcp_options(server: Address, domain: str) -> Response:
    """OPTIONS over TCP. Raises :class:`NoAnswer`."""
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    uri = f"sip:{_in_uri(domain)}"
    try:
        with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as stream:
            stream.settimeout(PATIENCE)
            stream.connect(server)
            host, port = stream.getsockname()[:2]
            stream.sendall(Request("OPTIONS", uri, [
                ("Via", f"SIP/2.0/TCP {_in_uri(host)}:{port};branch=z9hG4bK{secrets.token_hex(8)};rport"),
                ("Max-Forwards", "70"), ("From", f"<{uri}>;tag={secrets.token_hex(6)}"), ("To", f"<{uri}>"),
                ("Call-ID", secrets.token_hex(12)), ("CSeq", "1 OPTIONS"), ("User-Agent", USER_AGENT),
            ]).to_bytes())
            data = b""
            while b"\r\n\r\n" not in data and len(data) < LARGEST:
                more = stream.recv(4096)
                if not more:
                    raise NoAnswer("closed")
                data += more
        answer = parse_message(data)
    except OSError as error:
        raise NoAnswer(type(error).__name__) from None
    except SipError:
        raise NoAnswer("SipError") from None
    if not isinstance(answer, Response):
        raise NoAnswer("SipError")
    return answer


def _in_uri(host: str) -> str:
    host = host.strip("[]")
    return f"[{host}]" if ":" in host else host
