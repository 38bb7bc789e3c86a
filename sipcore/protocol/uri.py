"""SIP and SIPS URIs (RFC 3261 19.1, 25.1); tel: and unknown schemes are representable too."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote

from .errors import SipError

MAX_URI = 8192  # characters

# RFC 3261 25.1: scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,63}")
# hostname and IPv4address; the underscore is not in the grammar but in many networks
_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}")
# the usual address, `sip:1001@pbx.example.com:5060`; no two neighbours match the same character, but user and host,
# which the possessive quantifier and the @ keep apart
_USUAL = re.compile(r"(sips?):(?:([A-Za-z0-9_.+-]++)@)?([A-Za-z0-9.-]{1,255}+)(?::([0-9]{1,5}+))?")
# what no URI may hold unescaped, and what would let it break out of <> or of its line
_FORBIDDEN = re.compile(r'[\x00-\x20\x7f<>"\\\ud800-\udfff]')
_NOT_IN_PARAMS = re.compile(r"[^!#-;=A-\[\]-~]")  # of the usual address: neither ? nor @, nor what is forbidden
# RFC 3261 25.1: unreserved = alphanum / mark
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()")
_HEX = "0123456789abcdefABCDEF"
_NORMAL_ESCAPES = {
    f"%{a}{b}": char if (char := chr(int(a + b, 16))) in _UNRESERVED else f"%{a}{b}".upper() for a in _HEX for b in _HEX
}
_ASCII = "".join(map(chr, range(128)))
_ESCAPE = re.compile(r"%[0-9a-fA-F]{2}")
# RFC 3261 19.1.4: these never match when only one of the two URIs has them
_MUST_BE_IN_BOTH = ("user", "ttl", "method", "maddr", "transport")


@dataclass(frozen=True, slots=True, eq=True)
class Uri:
    """One URI. For sip and sips all fields mean what they say; `host` is in lower case, IPv6 without its brackets.

    For tel: `user` is the number and `params` its parameters; for any other scheme `user` is all that follows the
    colon. `host` is "" in both cases.
    """

    scheme: str
    user: str | None = None
    password: str | None = None
    host: str = ""
    port: int | None = None
    params: Mapping[str, str | None] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.host:
            text = f"{self.scheme}:{self.user or ''}"
        else:
            user = "" if self.user is None else self.user
            if self.password is not None:
                user = f"{user}:{self.password}"
            host = f"[{self.host}]" if ":" in self.host else self.host
            text = f"{self.scheme}:{user}@{host}" if user else f"{self.scheme}:{host}"
            if self.port is not None:
                text = f"{text}:{self.port}"
        for name, value in self.params.items():
            text += f";{name}" if value is None else f";{name}={value}"
        if self.headers:
            text += "?" + "&".join(f"{name}={value}" for name, value in self.headers.items())
        return text

    def __hash__(self) -> int:
        return hash((self.scheme, self.user, self.host, self.port))

    @property
    def canonical(self) -> str:
        """One spelling for URIs that differ only in case, in needless escapes and in the order of parameters.

        Escapes are normalised exactly once (RFC 3261 19.1.4): `%61` is `a`, `%2541` stays as it is. The user part
        keeps its case.
        """
        host = self.host
        if host and not (self.params or self.headers or self.password) and ":" not in host and host[-1] != ".":
            user = normalise_escapes(self.user or "")
            text = f"{self.scheme}:{user}@{host}" if user else f"{self.scheme}:{host}"
            return text if self.port is None else f"{text}:{self.port}"  # as nearly all are
        if not self.host:
            text = f"{self.scheme}:{normalise_escapes(self.user or '')}"
        else:
            user = "" if self.user is None else normalise_escapes(self.user)
            if self.password is not None:
                user = f"{user}:{normalise_escapes(self.password)}"
            host = f"[{_same_address(self.host)}]" if ":" in self.host else self.host.rstrip(".")
            text = f"{self.scheme}:{user}@{host}" if user else f"{self.scheme}:{host}"
            if self.port is not None:
                text = f"{text}:{self.port}"
        for name, value in sorted(_normal_params(self).items()):
            text += f";{name}" if value is None else f";{name}={value}"
        if self.headers:
            text += "?" + "&".join(f"{name}={value}" for name, value in sorted(_normal_headers(self).items()))
        return text

    @property
    def canonical_user(self) -> str:
        """The user part with its escapes normalised once; "" when there is none."""
        return "" if self.user is None else normalise_escapes(self.user)


def parse_uri(text: str) -> Uri:
    """Read a URI as it stands in a start line or between < and >. Raises SipError 400. Linear in its length."""
    return _parse_short(text) if len(text) <= 96 else _parse(text)


def same_uri(a: Uri, b: Uri, *, ignore_params: bool = False) -> bool:
    """Whether two URIs are equal (RFC 3261 19.1.4).

    With ignore_params, parameters and headers do not count and port 5060 (5061 for sips) equals none: the
    comparison of a digest uri with the Request-URI, which phones and the proxies between them write differently.
    """
    if a is b:
        return True
    if a.scheme != b.scheme or a.canonical_user != b.canonical_user:
        return False
    if normalise_escapes(a.password or "") != normalise_escapes(b.password or ""):
        return False
    if a.host != b.host and _same_address(a.host) != _same_address(b.host):
        return False
    if ignore_params:
        default = 5061 if a.scheme == "sips" else 5060
        return (a.port or default) == (b.port or default)
    if a.port != b.port or _normal_headers(a) != _normal_headers(b):
        return False
    ours, theirs = _normal_params(a), _normal_params(b)
    if any((name in ours) != (name in theirs) for name in _MUST_BE_IN_BOTH):
        return False
    return all(theirs[name] == value for name, value in ours.items() if name in theirs)


def parse_host_port(text: str) -> tuple[str, int | None]:
    """Read `host[:port]`, the host as name, IPv4 or IPv6 in brackets (RFC 3261 25.1). Raises SipError 400.

    The host comes back in lower case and without brackets.
    """
    if text[:1] == "[":
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and rest[0] != ":"):
            raise SipError(400, "Bad IPv6 Address")
        return _ipv6(host), parse_port(rest[1:]) if rest else None
    host, colon, port = text.partition(":")
    if _HOST.fullmatch(host) is None:
        raise SipError(400, "Bad Host")
    return host.lower(), parse_port(port) if colon else None


def parse_port(text: str) -> int:
    """Read a port, 1 to 65535 in ASCII digits. Raises SipError 400."""
    if 0 < len(text) <= 5 and text.isascii() and text.isdigit() and 0 < (port := int(text)) < 65536:
        return port
    raise SipError(400, "Bad Port")


def normalise_escapes(text: str) -> str:
    """Undo each needless %HH once, write the others in capitals (RFC 3261 19.1.4)."""
    if "%" not in text:
        return text if text.isascii() else _escape_non_ascii(text)
    text = _ESCAPE.sub(lambda match: _NORMAL_ESCAPES[match.group()], text)
    return text if text.isascii() else _escape_non_ascii(text)


def _parse(text: str) -> Uri:
    if len(text) > MAX_URI:
        raise SipError(400, "URI Too Long")
    usual = _USUAL.match(text)
    if usual is not None:
        scheme, user, host, port = usual.groups()
        rest = text[usual.end() :]
        if not rest:
            return Uri(scheme, user, None, host.lower(), None if port is None else parse_port(port), {}, {})
        if rest[0] == ";" and _NOT_IN_PARAMS.search(rest) is None:
            params = _parse_params(rest[1:])
            return Uri(scheme, user, None, host.lower(), None if port is None else parse_port(port), params, {})
    return _parse_any(text)


def _parse_any(text: str) -> Uri:
    scheme, colon, rest = text.partition(":")
    if _FORBIDDEN.search(text) is not None or not colon or not rest:
        raise SipError(400, "Bad URI")
    scheme = scheme.lower()
    if scheme != "sip" and scheme != "sips":
        return _parse_other(scheme, rest)
    userinfo, at, hostpart = rest.rpartition("@")
    user: str | None = None
    password: str | None = None
    if at:
        user, colon, secret = userinfo.partition(":")
        if colon:
            password = secret
        if not user or "@" in userinfo:
            raise SipError(400, "Bad URI User")
    hostpart, mark, header_text = hostpart.partition("?")
    hostport, semicolon, param_text = hostpart.partition(";")
    host, port = parse_host_port(hostport)
    params = _parse_params(param_text) if semicolon else {}
    headers = _parse_headers(header_text) if mark else {}
    return Uri(scheme, user, password, host, port, params, headers)


_parse_short = lru_cache(maxsize=1024)(_parse)


def _parse_other(scheme: str, rest: str) -> Uri:
    if _SCHEME.fullmatch(scheme) is None:
        raise SipError(400, "Bad URI Scheme")
    if scheme != "tel":
        return Uri(scheme, rest)
    number, semicolon, param_text = rest.partition(";")
    if not number:
        raise SipError(400, "Bad Telephone Number")
    return Uri(scheme, number, params=_parse_params(param_text) if semicolon else {})


def _parse_params(text: str) -> dict[str, str | None]:
    params: dict[str, str | None] = {}
    parts = text.split(";")
    if not parts[-1]:
        parts.pop()  # one trailing semicolon harms nobody
    for part in parts:
        name, equals, value = part.partition("=")
        name = name.lower()
        if not name or name in params:
            raise SipError(400, "Bad URI Parameter")
        params[name] = value if equals else None
    return params


def _parse_headers(text: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for part in text.split("&"):
        name, equals, value = part.partition("=")
        if not name or not equals:
            raise SipError(400, "Bad URI Header")
        headers[name] = value
    return headers


@lru_cache(maxsize=1024)
def _ipv6(text: str) -> str:
    if len(text) > 45 or "%" in text:
        raise SipError(400, "Bad IPv6 Address")
    # RFC 3261's own grammar allows a third colon before an IPv4 tail, and phones were built from it (RFC 5118 4.10)
    usual = text.replace(":::", "::", 1) if "." in text else text
    try:
        ipaddress.IPv6Address(usual)
    except ValueError:
        raise SipError(400, "Bad IPv6 Address") from None
    return usual.lower()


def _same_address(host: str) -> str:
    """One spelling for an IPv6 address; a name without the dot of the root."""
    if ":" not in host:
        return host.lower().rstrip(".")
    try:
        return ipaddress.IPv6Address(host).compressed
    except ValueError:
        return host.lower()


def _normal_params(uri: Uri) -> dict[str, str | None]:
    if not uri.params:
        return {}
    return {
        normalise_escapes(name).lower(): None if value is None else normalise_escapes(value).lower()
        for name, value in uri.params.items()
    }


def _normal_headers(uri: Uri) -> dict[str, str]:
    return {normalise_escapes(name).lower(): normalise_escapes(value) for name, value in uri.headers.items()}


def _escape_non_ascii(text: str) -> str:
    return quote(text, safe=_ASCII, errors="surrogatepass")
