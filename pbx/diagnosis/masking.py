"""Takes the persons out of a text and leaves the technology in: numbers, names, addresses and domains become `ext-1`,
`ip-private-2`, `host-3`, the same one the same each time, so that a ladder can still be followed.

Three nets, each for what the one before cannot know: headers of SIP messages by their grammar (only headers known to
be harmless are kept), then what looks like a URI, an address or a domain wherever it stands, then every number, name
and domain of this installation word for word."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

_KEPT_HEADERS = frozenset((
    "cseq", "expires", "max-forwards", "allow", "supported", "require", "content-type", "content-length",
    "min-expires", "retry-after", "unsupported", "session-expires", "min-se", "rseq", "rack", "event",
    "subscription-state", "accept", "date", "allow-events", "proxy-require",
))  # fmt: skip
_ADDRESS_HEADERS = frozenset((
    "from", "to", "contact", "via", "route", "record-route", "path", "refer-to", "referred-by", "authorization",
    "www-authenticate", "proxy-authorization", "proxy-authenticate", "p-asserted-identity", "service-route",
    "f", "t", "m", "v", "r", "b",
))  # fmt: skip
_AGENT_HEADERS = frozenset(("user-agent", "server"))
_AUTH_HEADERS = frozenset(("authorization", "www-authenticate", "proxy-authorization", "proxy-authenticate"))
_SHOWN_AUTH = frozenset(("realm", "username", "uri", "algorithm", "qop", "nc", "stale"))
_SHORT = {"s": "subject", "i": "call-id", "c": "content-type", "l": "content-length", "k": "supported", "o": "event"}
_SDP_KEPT = frozenset("vcmtb")

_URI = re.compile(r"\b(sips?|tel):([^\s<>\";,@?]{1,256}@)?([^\s<>\";,?]{1,256})", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w]|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])\[?(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f.]{0,15}(?:%\w+)?\]?(?![\w])")
_DOMAIN = re.compile(r"(?<![\w.-])(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_QUOTED = re.compile(r'"[^"\n]{0,512}"')
_AUTH_PARAM = re.compile(r'([A-Za-z*-]{1,32})=("[^"]{0,1024}"|[^\s,"]{0,256})')
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_MAC = re.compile(r"(?<![\w])(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}(?![\w])|(?<![0-9A-Za-z])[0-9A-Fa-f]{12}(?![\w])")
_FILES = re.compile(r"\.(?:py|txt|json|env|service|conf|sock|sqlite3|md)$", re.IGNORECASE)
_PLAIN_HOSTS = frozenset(("0.0.0.0", "::", "127.0.0.1", "::1", "255.255.255.255"))
_MASKED = re.compile(r"\b(?:ext|num|name|host|ip-private|ip-public|call|device|realm|path)-\Z")
_SENT_BY = re.compile(r"(SIP\s*/\s*2\.0\s*/\s*\w{1,10}\s+)([^\s;,]{1,256})", re.IGNORECASE)
_TOKEN = re.compile(r"\w+")
_HOLE = "\x00{}\x00"


class Mask:
    """One bundle, one mask. ``numbers`` are those known to be extensions; ``words`` are other texts to be hidden, each
    with its kind (`name`, `host`, `path` ...); ``agents`` what phones call themselves, which stays readable."""

    def __init__(
        self, numbers: Iterable[str] = (), words: Iterable[tuple[str, str]] = (), agents: Iterable[str] = ()
    ) -> None:
        self._given: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._words: dict[str, str] = {}
        for number in numbers:
            if number:
                self._words[number.lower()] = self._as("ext", number)
        for text, kind in words:
            if len(text) > 1 and text.lower() not in self._words and text.strip("[]") not in _PLAIN_HOSTS:
                self._words[text.lower()] = self.host(text) if kind == "host" else self._as(kind, text)
        self._agents = sorted({agent for agent in agents if len(agent) > 2}, key=len, reverse=True)
        # Known by their first token, each with how much stands before it: an alternation of thousands takes minutes.
        self._by_token: dict[str, list[tuple[str, int]]] = {}
        self._signs: list[str] = []  # names of signs alone, that have none
        for word in sorted(self._words, key=len, reverse=True):
            if token := _TOKEN.search(word):
                self._by_token.setdefault(token[0], []).append((word, token.start()))
            else:
                self._signs.append(word)

    # One thing

    def number(self, text: str) -> str:
        """A number that may or may not be an extension."""
        return self._words.get(text.lower()) or (self._as("num", text) if text else "")

    def host(self, text: str) -> str:
        """An address or a name."""
        plain = text.strip("[]").partition("%")[0].lower().rstrip(".")
        if not plain or plain in _PLAIN_HOSTS or plain == "localhost":
            return text
        try:
            address = ipaddress.ip_address(plain)
        except ValueError:
            return self._as("host", plain)
        if address.is_loopback:
            return text
        return self._as("ip-private" if address.is_private else "ip-public", str(address))

    def place(self, text: str) -> str:
        """host:port; a bare address of IPv6 is no name with a port."""
        if text.count(":") > 1 and not text.startswith("["):
            try:
                return self.host(str(ipaddress.IPv6Address(text)))
            except ValueError:
                pass
        host, colon, port = text.rpartition(":")
        return f"{self.host(host)}:{port}" if colon and port.isdigit() else self.host(text)

    def network(self, text: str) -> str:
        """An address, a name, or a network: of that the length stays."""
        plain, slash, length = text.partition("/")
        try:
            ipaddress.ip_address(plain)
        except ValueError:
            return "…" if slash else self.place(text)
        return self.host(plain) + slash + length

    # Texts

    def text(self, text: str) -> str:
        """Free text: a sentence of a verdict, a line of evidence."""
        kept: list[str] = []
        for agent in self._agents:
            if agent in text:
                text = text.replace(agent, _HOLE.format(len(kept)))
                kept.append(self._known(agent))
        text = _URI.sub(self._uri, text)
        text = _UUID.sub(lambda found: self._as("device", found[0].lower()), text)
        text = _MAC.sub(lambda found: self._as("device", found[0].lower()), text)
        text = self._known(text)
        text = _IPV6.sub(self._ipv6, text)
        text = _IPV4.sub(lambda found: self.host(found[0]), text)
        text = _DOMAIN.sub(lambda found: found[0] if _FILES.search(found[0]) else self.host(found[0]), text)
        for index, agent in enumerate(kept):
            text = text.replace(_HOLE.format(index), agent)
        return text

    def message(self, text: str) -> str:
        """A scrubbed SIP message. A header that is not known to be harmless keeps its name alone."""
        lines = text.replace("\r\n", "\n").split("\n")
        found = [self._start(lines[0])]
        body = False
        for line in lines[1:]:
            if body:
                found += self._body_line(line)
            elif not line:
                body = True
                found.append("")
            else:
                found.append(self._header(line))
        return "\n".join(found)

    def _start(self, line: str) -> str:
        if line.upper().startswith("SIP/2.0 "):
            return self._known_tail(line)
        method, _space, rest = line.partition(" ")
        return f"{method[:20]} {self.text(rest)}" if method.isalpha() else self.text(line)

    def _known_tail(self, line: str) -> str:
        """A status line: the number in it is no extension, its words may be anything."""
        parts = line.split(" ", 2)
        return " ".join([*parts[:2], *(self.text(part) for part in parts[2:])])

    def _header(self, line: str) -> str:
        name, colon, value = line.partition(":")
        key = name.strip().lower()
        key = _SHORT.get(key, key)
        if not colon or not re.fullmatch(r"[A-Za-z0-9-]{1,40}", name.strip()):
            return "…"
        if key == "call-id":
            return f"{name}: {self._as('call', value.strip())}"
        if key in _AGENT_HEADERS:
            return f"{name}: {self._known(value.strip())}"
        if key in _AUTH_HEADERS:
            return f"{name}: {self._authentication(value)}"
        if key in _ADDRESS_HEADERS:
            value = self._nameless(value.strip()) if key != "via" and key != "v" else _SENT_BY.sub(
                lambda found: f"{found[1]}{self._host_port(found[2])}", value.strip()
            )
            return f"{name}: {self.text(value)}"
        if key in _KEPT_HEADERS:
            return f"{name}: {self.text(value.strip()) if key == 'event' else self._typed(value)}"
        return f"{name}: …"

    def _typed(self, value: str) -> str:
        """Values made of tokens: what is longer than a token of SIP is not shown."""
        return value.strip() if re.fullmatch(r"[\w\s./;,=:+*<>\"-]{0,400}", value.strip()) else "…"

    def _nameless(self, value: str) -> str:
        """The display names: quoted ones, and what stands before the < of an address."""
        value = _QUOTED.sub(lambda found: f'"{self._as("name", found[0][1:-1])}"' if len(found[0]) > 2 else '""', value)
        before, bracket, after = value.partition("<")
        if bracket and before.strip() and not before.strip().startswith('"') and ":" not in before:
            return f"{self._as('name', before.strip())} <{after}"
        return value

    def _authentication(self, value: str) -> str:
        scheme, _space, rest = value.strip().partition(" ")
        found = []
        for name, given in _AUTH_PARAM.findall(rest):
            name, given = name.lower(), given.strip('"')
            if name not in _SHOWN_AUTH:
                continue
            if name == "username":
                given = self.number(given)
            elif name == "realm":
                given = self._words.get(given.lower()) or self._as("realm", given.lower())
            elif name == "uri":
                given = self.text(given)
            else:
                given = given[:20]
            found.append(f"{name}={given}")
        return f"{scheme[:10]} {', '.join(found)}"

    def _body_line(self, line: str) -> list[str]:
        """SDP by its letters; other bodies are not kept."""
        if re.match(r"[a-z]=", line) is None:
            return ["…"] if line.strip() else []
        letter, value = line[0], line[2:]
        if letter in _SDP_KEPT:
            return [f"{letter}={self.text(value)}"]
        if letter == "o":
            return [f"o=- {self.text(' '.join(value.split()[-3:]))}"]
        if letter == "a" and not value.startswith(("crypto", "ice-", "fingerprint", "ssrc", "msid", "cname", "label")):
            return [f"a={self.text(value)}"]
        return [f"{letter}=…"]

    # Parts

    def _uri(self, found: re.Match[str]) -> str:
        scheme, user, host = found[1], found[2], found[3]
        if scheme.lower() == "tel":
            return f"tel:{self.number(host)}"
        return f"{scheme}:{self.number(user[:-1].partition(':')[0]) + '@' if user else ''}{self._host_port(host)}"

    def _host_port(self, text: str) -> str:
        if text.startswith("["):
            host, bracket, rest = text.partition("]")
            return f"{self.host(host + bracket)}{rest}"
        host, colon, port = text.partition(":")
        return f"{self.host(host)}{colon}{port}" if port.isdigit() or not colon else self._as("host", text)

    def _ipv6(self, found: re.Match[str]) -> str:
        plain = found[0].strip("[]").partition("%")[0]
        try:
            ipaddress.IPv6Address(plain)
        except ValueError:
            return found[0]
        return self.host(found[0])

    def _known(self, text: str) -> str:
        """Every number, name and domain that this installation has, word for word; of two the longer one."""
        for sign in self._signs:
            text = text.replace(sign, self._words[sign])
        pieces: list[str] = []
        done = 0
        for found in _TOKEN.finditer(text):
            for word, before in self._by_token.get(found[0].lower(), ()):
                start = found.start() - before
                end = start + len(word)
                if start < done or text[start:end].lower() != word or not _stands_alone(text, start, end):
                    continue
                if _MASKED.search(text[max(0, start - 12) : start]):  # the 1 of ext-1, where there is an extension 1
                    break
                pieces += [text[done:start], self._words[word]]
                done = end
                break
        return "".join([*pieces, text[done:]])

    def _as(self, kind: str, text: str) -> str:
        key = kind, text.lower()
        given = self._given.get(key)
        if given is None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            given = self._given[key] = f"{kind}-{self._counts[kind]}"
        return given


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether it is no part of a longer word."""
    return not (start > 0 and _TOKEN.match(text, start - 1)) and _TOKEN.match(text, end) is None
