"""SIP as bytes, written and read here by hand: no line is shared with the parser that is tested."""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

Address = tuple[str, int]
But = Mapping[str, str | None]
"""Header lines that differ from the usual ones; None: the line is left out."""

SECONDS = 5.0

COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "l": "content-length"}
"""RFC 3261 7.3.3: answers to short requests of strangers have them."""


class Silence(AssertionError):
    """Nothing came."""


class Received:
    """One message off the wire. Header names are in lower case, ``status`` is 0 for a request."""

    def __init__(self, raw: bytes) -> None:
        head, blank, self.body = raw.partition(b"\r\n\r\n")
        if not blank or re.search(rb"\r(?!\n)|(?<!\r)\n", head):
            raise AssertionError(f"not a SIP message: {raw!r}")
        self.raw = raw
        self.start, *lines = head.decode().split("\r\n")
        pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        self.headers = [(COMPACT.get(name, name), value) for name, value in pairs]
        first, second, *_ = self.start.split()
        self.status = int(second) if first == "SIP/2.0" else 0
        self.method = self.get("cseq").rpartition(" ")[2] if self.status else first

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known == name]

    def get(self, name: str) -> str:
        return next(iter(self.all(name)), "")

    def one(self, name: str) -> str:
        values = self.all(name)
        if len(values) != 1:
            raise AssertionError(f"{name} must stand once:\n{self}")
        return values[0]

    def words(self, name: str) -> set[str]:
        """The members of a comma list."""
        return {word.strip() for value in self.all(name) for word in value.split(",")}

    @property
    def branch(self) -> str:
        return parameter(self.all("via")[0], "branch")

    @property
    def to_tag(self) -> str:
        return parameter(self.one("to").rpartition(">")[2], "tag")

    @property
    def bindings(self) -> dict[str, int]:
        """The URI of each Contact, and its seconds."""
        found = {}
        for value in self.all("contact"):
            uri, _, rest = value.partition("<")[2].partition(">")
            found[uri] = int(parameter(rest, "expires"))
        return found

    @property
    def challenge(self) -> dict[str, str]:
        """The parameters of the one WWW-Authenticate."""
        found = re.findall(r'([a-z-]+)=(?:"([^"]*)"|([^\s,]+))', self.one("www-authenticate"))
        return {name: quoted or token for name, quoted, token in found}

    def __str__(self) -> str:
        return self.raw.decode("utf-8", "replace")


def parameter(text: str, name: str) -> str:
    """ "" when it is not there or has no value."""
    found = re.search(rf";\s*{re.escape(name)}=([^;,\s]+)", text)
    return found[1] if found else ""


def has_parameter(text: str, name: str) -> bool:
    return re.search(rf";\s*{re.escape(name)}(?![a-z])", text) is not None


def branch() -> str:
    return "z9hG4bK" + secrets.token_hex(6)


def message(start: str, lines: Sequence[tuple[str, str]], body: bytes = b"") -> bytes:
    head = [start, *(f"{name}: {value}" for name, value in lines)]
    return "\r\n".join([*head, "", ""]).encode() + body


def digest(
    challenge: Mapping[str, str], number: str, password: str, method: str, uri: str, count: int = 1, **but: str
) -> str:
    """An Authorization (RFC 7616 3.4). ``but``: parameters with other values than the right ones (``-`` leaves one
    out); the response is computed over what is sent."""

    def h(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    fields = {
        "username": f'"{number}"', "realm": f'"{challenge["realm"]}"', "nonce": f'"{challenge["nonce"]}"',
        "uri": f'"{uri}"', "algorithm": "MD5", "cnonce": f'"{secrets.token_hex(4)}"', "qop": "auth",
        "nc": f"{count:08x}",
        **but,
    }
    fields = {name: value for name, value in fields.items() if value != "-"}
    plain = {name: fields.get(name, "").strip('"') for name in ("username", "realm", "nonce", "uri", "nc", "cnonce")}
    ha1, ha2 = h(f"{plain['username']}:{plain['realm']}:{password}"), h(f"{method}:{plain['uri']}")
    middle = f"{plain['nc']}:{plain['cnonce']}:{fields['qop']}:" if "qop" in fields else ""
    right = h(f"{ha1}:{plain['nonce']}:{middle}{ha2}")
    if but.get("response") != "-":
        fields.setdefault("response", f'"{right}"')
    return "Digest " + ", ".join(f"{name}={value}" for name, value in fields.items())


class Peer:
    """One UDP socket of its own, and the identifiers of one user agent behind it."""

    def __init__(self, server: Address, domain: str, number: str = "somebody", password: str = "") -> None:
        self.server, self.domain, self.number, self.password = server, domain, number, password
        self.socket = self._open()
        self.host, self.port = self.socket.getsockname()
        self.call_id, self.tag = secrets.token_hex(8), secrets.token_hex(4)
        self.cseq = 0
        self.challenge: dict[str, str] = {}
        """The last one; ``count``: how often its nonce was used."""
        self.count = 0

    transport = "UDP"
    address = "127.0.0.1"

    def _open(self) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind((self.address, 0))
        return opened

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    @property
    def aor(self) -> str:
        return f"sip:{self.number}@{self.domain}"

    @property
    def contact(self) -> str:
        return f"<sip:{self.number}@{self.host}:{self.port}>"

    # What goes out

    def lines(self, method: str, uri: str, but: But | None = None, body: bytes = b"") -> list[tuple[str, str]]:
        """What such a request usually has."""
        to = self.aor if method == "REGISTER" else uri
        lines = {
            "Via": f"SIP/2.0/{self.transport} {self.host}:{self.port};branch={branch()};rport",
            "Max-Forwards": "70",
            "From": f"<{self.aor}>;tag={self.tag}",
            "To": f"<{to}>",
            "Call-ID": self.call_id,
            "CSeq": f"{self.cseq} {method}",
            **({"Contact": self.contact} if method in ("REGISTER", "INVITE", "SUBSCRIBE", "REFER") else {}),
            **(but or {}),
            "Content-Length": (but or {}).get("Content-Length", str(len(body))),
        }
        return [(name, value) for name, value in lines.items() if value is not None]

    def request(
        self,
        method: str,
        uri: str = "",
        but: But | None = None,
        add: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        version: str = "SIP/2.0",
    ) -> bytes:
        """The next request, not sent yet. ``add``: lines at the end, also of names that are there already."""
        self.cseq += 1
        uri = uri or f"sip:{self.domain}"
        return message(f"{method} {uri} {version}", [*self.lines(method, uri, but, body), *add], body)

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, self.server)

    # What comes in

    def receive(self, seconds: float = SECONDS) -> Received:
        """The next message; raises ``Silence``."""
        self.socket.settimeout(seconds)
        try:
            data, source = self.socket.recvfrom(65535)
        except TimeoutError:
            raise Silence(f"nothing came within {seconds:g} s") from None
        if source != self.server:
            raise AssertionError(f"from {source}, who is not the server: {data!r}")
        return Received(data)

    def final(self, branch: str = "", seconds: float = SECONDS) -> Received:
        """The next final response, to the request with this branch if one is told."""
        end = time.monotonic() + seconds
        while True:
            got = self.receive(max(0.001, end - time.monotonic()))
            if got.status >= 200 and (not branch or got.branch == branch):
                return got

    def ask(self, data: bytes) -> Received:
        """Send it, and wait for a final response."""
        self.send(data)
        return self.final()

    def answers(self, *data: bytes) -> list[Received]:
        """All that comes back at once: until the answer to an OPTIONS sent behind it has come. The server answers
        strangers in order and statelessly, so nothing has to be waited for."""
        for each in data:
            self.send(each)
        last = branch()
        self.send(
            message(
                f"OPTIONS sip:{self.domain} SIP/2.0",
                self.lines(
                    "OPTIONS",
                    f"sip:{self.domain}",
                    {
                        "Via": f"SIP/2.0/{self.transport} {self.host}:{self.port};branch={last};rport",
                        "CSeq": "4711 OPTIONS",
                        "Call-ID": "last" + secrets.token_hex(8),
                    },
                ),
            )
        )
        found: list[Received] = []
        while True:
            got = self.receive()
            if got.status and got.branch == last:
                return found
            found.append(got)

    # With a password

    def authorization(self, method: str, uri: str, **but: str) -> str:
        """For the challenge that is known, its nonce used once more."""
        self.count += 1
        return digest(self.challenge, self.number, self.password, method, uri, self.count, **but)

    def learn(self, refusal: Received) -> None:
        self.challenge, self.count = refusal.challenge, 0

    def prove(
        self,
        method: str = "REGISTER",
        uri: str = "",
        but: But | None = None,
        add: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        **credentials: str,
    ) -> Received:
        """The request with the right credentials (but for ``credentials``), a challenge having been fetched if there
        is none yet."""
        uri = uri or f"sip:{self.domain}"
        if not self.challenge:
            refusal = self.ask(self.request("REGISTER"))
            assert refusal.status == 401, refusal
            self.learn(refusal)
        return self.ask(self.proven(method, uri, but, add, body, **credentials))

    def proven(
        self,
        method: str = "REGISTER",
        uri: str = "",
        but: But | None = None,
        add: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        **credentials: str,
    ) -> bytes:
        """The bytes of :meth:`prove`; the challenge is known."""
        uri = uri or f"sip:{self.domain}"
        value = self.authorization(method, uri, **credentials)
        return self.request(method, uri, but, [("Authorization", value), *add], body)


class TcpPeer(Peer):
    """One connection. ``send`` writes exactly these bytes, in one piece."""

    transport = "TCP"
    _data = b""

    def _open(self) -> socket.socket:
        return socket.create_connection(self.server, SECONDS, source_address=("127.0.0.1", 0))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, seconds: float = SECONDS) -> Received:
        end = time.monotonic() + seconds
        while True:
            head, blank, body = self._data.partition(b"\r\n\r\n")
            if blank and head:
                length = re.search(rb"(?i)\r\nContent-Length: *(\d+)", head)
                if length is None:
                    raise AssertionError(f"no Content-Length on a stream: {head!r}")
                if len(body) >= int(length[1]):
                    self._data = body[int(length[1]) :]
                    return Received(head + blank + body[: int(length[1])])
            self._read(end)

    def bytes(self, count: int) -> bytes:
        """So many bytes as they are."""
        end = time.monotonic() + SECONDS
        while len(self._data) < count:
            self._read(end)
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def _read(self, end: float) -> None:
        self.socket.settimeout(max(0.001, end - time.monotonic()))
        try:
            chunk = self.socket.recv(65536)
        except TimeoutError:
            raise Silence("nothing came") from None
        if not chunk:
            raise ConnectionError("the server has closed the connection")
        self._data += chunk
