"""Header values: addresses, Via, Contact, lists and parameters (RFC 3261 7.3, 20, 25.1). All linear, all bounded."""

import re
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache, partial
from typing import Final, TypeVar

from .errors import SipError
from .uri import Uri, parse_host_port, parse_port, parse_uri

Params = dict[str, str | None]  # names in lower case; values as they stood, quotes included

MAX_PARAMS = 128  # of one value
MAX_LIST = 512  # values in one line
SHORT = 128  # characters of an address that is read once and remembered

LARGEST = 2**32 - 1  # what a larger number of seconds or a larger counter is read as (RFC 3261 20.19)

# RFC 3261 25.1: token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~" )
TOKEN = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+")
# a branch as phones send it: any printable ASCII that cannot leave its parameter
_OPAQUE = re.compile(r"[!#-+\x2d-:<-~]+")
# header names may hold quoted parameter names of intmeth and "+sip.instance" alike
_PARAM_NAME = re.compile(r"[A-Za-z0-9.!%*_+`'~-]{1,128}")
_USUAL_PARAMS = frozenset(("branch", "rport", "received", "tag", "expires", "q", "+sip.instance", "reg-id", "ob", "lr"))
_LIST_SPECIAL = re.compile(r'[,"<]')
_PARAM_SPECIAL = re.compile(r'[;"]')
# RFC 3261 25.1: quoted-string; possessive, so that one without end costs no more than one with
_QUOTED_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
# what phones write as Via: `SIP/2.0/UDP 192.0.2.4:5060;rport;branch=z9hG4bKnashds8`, with rport and alias at either end
USUAL_VIA = re.compile(
    r"SIP/2\.0/(UDP|TCP|TLS|WSS?) ([A-Za-z0-9._-]{1,255}+)(?::([0-9]{1,5}+))?"
    r"(;rport)?;branch=([!#-+\x2d-:<-~]++)((?:;rport|;alias)*+)"
)
# what phones write: `<sip:1001@pbx.example.com>;tag=1b2c`, and without the tag
_USUAL_ADDRESS = re.compile(r"<([^<>\"]++)>(?:;tag=([A-Za-z0-9.!%*_+`'~-]++))?")
_QVALUE = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?|\.[0-9]{1,3}")
# C0, DEL, C1, line and paragraph separators, the marks that reorder text on a page, lone surrogates
_UNCLEAN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


Address = TypeVar("Address", bound="NameAddr")


class Star(Enum):
    """The type of STAR, so that a type checker can tell it from a list."""

    STAR = "*"


STAR: Final = Star.STAR  # `Contact: *` (RFC 3261 10.2.2)


@dataclass(slots=True)
class NameAddr:
    """From, To, Contact, Route ...: an optional name, a URI, header parameters (RFC 3261 20.10)."""

    display_name: str  # without quotes and backslashes; may hold anything printable or not: clean before showing
    uri: Uri
    params: Params = field(default_factory=dict)

    @property
    def tag(self) -> str | None:
        return self.params.get("tag")

    def __str__(self) -> str:
        name = f"{quote(self.display_name)} " if self.display_name else ""
        return f"{name}<{self.uri}>{format_params(self.params)}"


@dataclass(slots=True)
class Contact(NameAddr):
    """One Contact value of a REGISTER (RFC 3261 20.10, RFC 5626 4.1)."""

    @property
    def expires(self) -> int | None:
        """Seconds; None when absent or malformed (the header's or the default applies, RFC 3261 20.19)."""
        return parse_number(self.params.get("expires"))

    @property
    def q(self) -> float | None:
        value = self.params.get("q")
        return float(value) if value is not None and _QVALUE.fullmatch(value) is not None else None

    @property
    def instance(self) -> str | None:
        """+sip.instance without quotes and angle brackets."""
        value = self.params.get("+sip.instance")
        if not value:
            return None
        value = unquote(value)
        return (value[1:-1] if value[:1] == "<" and value[-1:] == ">" else value) or None

    @property
    def reg_id(self) -> int | None:
        return parse_number(self.params.get("reg-id")) or None


@dataclass(slots=True)
class Via:
    """One Via value (RFC 3261 20.42). sent-by is `host` and `port`; host in lower case, IPv6 without brackets."""

    transport: str
    host: str
    port: int | None
    params: Params = field(default_factory=dict)

    @property
    def branch(self) -> str | None:
        return self.params.get("branch")

    @property
    def sent_by(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"SIP/2.0/{self.transport} {self.sent_by}{format_params(self.params)}"


def parse_name_addr(text: str) -> NameAddr:
    """Read one name-addr or addr-spec with its parameters. Raises SipError 400. The same text may give the same
    object: it must not be changed."""
    return _short_name_addr(text) if len(text) <= SHORT else parse_address(NameAddr, text)


def parse_contact(text: str) -> Contact:
    """Read one Contact value (not `*`). Raises SipError 400. The same text may give the same object: it must not be
    changed."""
    return _short_contact(text) if len(text) <= SHORT else parse_address(Contact, text)


def parse_via(text: str) -> Via:
    """Read one Via value; white space is allowed where RFC 3261 25.1 allows it (wsinv of RFC 4475). Raises SipError."""
    usual = USUAL_VIA.fullmatch(text)
    if usual is not None:
        transport, host, port_text, rport, branch, alias = usual.groups()
        given: Params = {"rport": None} if rport else {}
        given["branch"] = branch
        for name in alias[1:].split(";") if alias else ():
            given[name] = None
        if len(given) == (rport is not None) + 1 + alias.count(";"):
            return Via(transport, host.lower(), parse_port(port_text) if port_text else None, given)
    if text[:8] == "SIP/2.0/":
        transport, _, rest = text[8:].partition(" ")
        if not transport.isalnum():
            transport, rest = _spaced_protocol(text)
    else:
        transport, rest = _spaced_protocol(text)
    sent_by, semicolon, param_text = rest.partition(";")
    sent_by = sent_by.strip(" \t")
    if " " in sent_by or "\t" in sent_by:
        sent_by = ":".join(part.strip(" \t") for part in sent_by.split(":"))
    host, port = parse_host_port(sent_by)
    params = parse_params(param_text) if semicolon else {}
    if (branch := params.get("branch")) is not None and _OPAQUE.fullmatch(branch) is None:
        raise SipError(400, "Bad Via Branch")
    return Via(transport.upper(), host, port, params)


def stamped_via(text: str, address: str, port: int) -> tuple[Via, str] | None:
    """A Via value as most phones write it, read, and with the source of its packet written in (RFC 3261 18.2.1, RFC
    3581 4); as text too. None for any other, which takes the long way."""
    usual = USUAL_VIA.fullmatch(text)
    if usual is None:
        return None
    transport, host, sent_port, rport, branch, end = usual.groups()
    if (end and (rport or end != ";rport")) or (sent_port and not 0 < int(sent_port) < 65536):
        return None
    params: Params
    if rport:
        params = {"rport": str(port), "branch": branch, "received": address}
    elif end:
        params = {"branch": branch, "rport": str(port), "received": address}
    else:
        params = {"branch": branch, "received": address}
    if rport or end:
        text = text.replace(";rport", f";rport={port}")
    via = Via(transport, host.lower(), int(sent_port) if sent_port else None, params)
    return via, f"{text};received={address}"


def parse_params(text: str) -> Params:
    """Read `a=1;b;c="x;y"` (without the leading semicolon). Raises SipError 400 on doubled, empty or bad names."""
    params: Params = {}
    parts = text.split(";") if '"' not in text else _split_quoted(text)
    if len(parts) > MAX_PARAMS:
        raise SipError(400, "Too Many Parameters")
    spaced = " " in text or "\t" in text
    if not parts[-1].strip(" \t"):
        parts.pop()  # one trailing semicolon harms nobody
    for part in parts:
        name, equals, value = part.partition("=")
        if name not in _USUAL_PARAMS:
            name = name.strip(" \t").lower()
            if _PARAM_NAME.fullmatch(name) is None:
                raise SipError(400, "Bad Parameter")
        if name in params:
            raise SipError(400, "Doubled Parameter")
        if spaced:
            value = value.strip(" \t")
        params[name] = value if equals else None
    return params


def format_params(params: Params) -> str:
    return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in params.items()])


def split_list(text: str) -> list[str]:
    """Split at the commas outside quotes and angle brackets; empty elements are dropped. Raises SipError 400."""
    if '"' not in text and "<" not in text:
        if text.count(",") >= MAX_LIST:
            raise SipError(400, "Too Many Values")
        return [part for piece in text.split(",") if (part := piece.strip(" \t"))]
    parts: list[str] = []
    start = position = marks = 0
    while match := _LIST_SPECIAL.search(text, position):
        char, position, marks = match.group(), match.end(), marks + 1
        if marks > 4 * MAX_LIST:
            raise SipError(400, "Too Many Values")
        if char == ",":
            parts.append(text[start : position - 1])
            start = position
        elif char == '"':
            position = quoted_end(text, position - 1)
        else:
            position = text.find(">", position) + 1
            if not position:
                raise SipError(400, "Unclosed Angle Bracket")
    parts.append(text[start:])
    return [part for piece in parts if (part := piece.strip(" \t"))]


def quoted_end(text: str, start: int) -> int:
    """The index after the quoted-string whose opening quote is at `start` (RFC 3261 25.1). Raises SipError 400."""
    match = _QUOTED_STRING.match(text, start)
    if match is None:
        raise SipError(400, "Unbalanced Quote")
    return match.end()


def quote(text: str) -> str:
    """A quoted-string (control characters are the business of to_bytes)."""
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def unquote(text: str) -> str:
    """The text within quotes, its backslashes undone; any other text as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    text = text[1:-1]
    if "\\" not in text:
        return text
    return "\\".join([piece.replace("\\", "") for piece in text.split("\\\\")])


def parse_number(text: str | None) -> int | None:
    """ASCII digits as a number of at most 2^32 - 1 (larger ones are read as that), or None (hardening rule 30)."""
    if not text or not text.isascii() or not text.isdigit():
        return None
    if len(text) > 10:
        text = text.lstrip("0") or "0"
        if len(text) > 10:
            return LARGEST
    return min(int(text), LARGEST)


def clean_text(text: str, limit: int) -> str:
    """Text from the network made fit for a page, a log or a column of `limit` characters.

    Control characters, NUL, lone surrogates and the marks that reorder text are replaced by U+FFFD.
    """
    if not (text.isascii() and text.isprintable()):
        text = _UNCLEAN.sub("\ufffd", text[:limit])
    return text[:limit]


def parse_address(kind: type[Address], text: str) -> Address:
    """Read a NameAddr or a Contact. Raises SipError 400."""
    usual = _USUAL_ADDRESS.fullmatch(text)
    if usual is not None:
        uri_text, tag = usual.groups()
        return kind("", parse_uri(uri_text), {} if tag is None else {"tag": tag})
    left = text.find("<")
    quote_at = text.find('"')
    name = ""
    if quote_at >= 0 and (left < 0 or quote_at < left):
        if text[:quote_at].strip(" \t"):
            # `sip:a@b;x="<"`: the quote belongs to a parameter of an address without brackets
            return _bare_address(kind, text)
        end = quoted_end(text, quote_at)
        name = unquote(text[quote_at:end])
        left = text.find("<", end)
        if left < 0 or text[end:left].strip(" \t"):
            raise SipError(400, "Bad Address")
    elif left < 0:
        return _bare_address(kind, text)
    elif left:
        name = text[:left].strip(" \t")
        if "," in name or ">" in name:
            raise SipError(400, "Unquoted Display Name")
    right = text.find(">", left)
    if right < 0:
        raise SipError(400, "Unclosed Angle Bracket")
    uri = parse_uri(text[left + 1 : right])
    right += 1
    if right == len(text):
        return kind(name, uri, {})
    blank, semicolon, param_text = text[right:].partition(";")
    if blank and blank.strip(" \t"):
        raise SipError(400, "Bad Address")
    return kind(name, uri, _address_params(param_text) if semicolon else {})


# A phone's To, From and Contact come again with each of its messages, and most calls are within one second.
_short_name_addr = lru_cache(maxsize=8192)(partial(parse_address, NameAddr))
_short_contact = lru_cache(maxsize=8192)(partial(parse_address, Contact))


def _bare_address(kind: type[Address], text: str) -> Address:
    """An address without angle brackets: what follows a semicolon belongs to the header (RFC 3261 20)."""
    address, semicolon, param_text = text.partition(";")
    address = address.strip(" \t")
    if "?" in address or "," in address:
        raise SipError(400, "Address Needs Angle Brackets")
    return kind("", parse_uri(address), _address_params(param_text) if semicolon else {})


def _address_params(text: str) -> Params:
    if text[:4] == "tag=" and TOKEN.fullmatch(tag := text[4:]) is not None:
        return {"tag": tag}  # the usual From and To
    params = parse_params(text)
    if "tag" in params and ((value := params["tag"]) is None or TOKEN.fullmatch(value) is None):
        raise SipError(400, "Bad Tag")
    return params


def _split_quoted(text: str) -> list[str]:
    """Split at the semicolons outside quotes."""
    quotes = text.count('"')
    if quotes > 4 * MAX_PARAMS:
        raise SipError(400, "Too Many Parameters")
    if "\\" not in text:
        pieces = text.split('"')
        if quotes % 2 == 0 and ";" not in "".join(pieces[1::2]):
            return text.split(";")
    parts: list[str] = []
    start = position = 0
    while match := _PARAM_SPECIAL.search(text, position):
        position = match.end()
        if match.group() == '"':
            position = quoted_end(text, position - 1)
        elif len(parts) > MAX_PARAMS:
            raise SipError(400, "Too Many Parameters")
        else:
            parts.append(text[start : position - 1])
            start = position
    parts.append(text[start:])
    return parts


def _spaced_protocol(text: str) -> tuple[str, str]:
    """`SIP / 2.0 / UDP rest` -> transport and rest."""
    name, _, rest = text.partition("/")
    version, _, rest = rest.partition("/")
    if name.strip(" \t").upper() != "SIP" or version.strip(" \t") != "2.0":
        raise SipError(400, "Bad Via")
    rest = rest.lstrip(" \t").replace("\t", " ")
    transport, _, rest = rest.partition(" ")
    if TOKEN.fullmatch(transport) is None or len(transport) > 32:
        raise SipError(400, "Bad Via")
    return transport, rest
