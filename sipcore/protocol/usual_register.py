"""A REGISTER as nearly every phone writes it, read in one go.

Two come with each registration, thousands a second, and the general way (message, headers, uri) pays for all that a
message could be. Here nothing is understood but one form, and that form gives what the general way makes of the same
bytes; a test compares them. Whatever is written otherwise, or wrong, is not for here."""

import re
from functools import lru_cache
from itertools import repeat
from operator import contains
from typing import NamedTuple

from .errors import SipError
from .headers import SHORT, USUAL_VIA, NameAddr, parse_contact, parse_name_addr
from .message import SPELLING, CSeq, Request
from .uri import Uri, parse_uri

LONGEST = 2048
"""Bytes. One that is longer goes the general way."""

_START = re.compile(r"REGISTER ([^ ]{1,255}) SIP/2\.0")
_PRINTABLE = bytes(range(32, 127))
_NUMBERS = frozenset(map(str, range(256)))  # of Max-Forwards
_NEEDED = ("Via", "From", "To", "Call-ID", "CSeq", "Contact")
# What stands in a REGISTER and asks nothing more of a registrar than is read here. Not Path, Require, Record-Route ...
_HARMLESS = frozenset((
    *_NEEDED, "Max-Forwards", "Expires", "User-Agent", "Content-Length", "Authorization", "Allow", "Allow-Events",
    "Supported", "Accept", "Accept-Encoding", "Accept-Language", "Date", "Organization", "Subject", "MIME-Version",
    "P-Access-Network-Info", "P-Preferred-Identity",
))  # fmt: skip
_MAGIC = "z9hG4bK"  # RFC 3261 8.1.1.7
_LONGEST_KEY = 300  # characters: what the endpoint keeps as it is


class Party(NamedTuple):
    """From or To. ``user``: canonical and in lower case."""

    address: NameAddr
    user: str
    tag: str | None


class UsualRegister(NamedTuple):
    """``firsts``: the one value of each header, Via with the source of the packet in it (RFC 3581); ``via``: as it
    came. ``key``: what its transaction is known by (RFC 3261 17.2.3); ``branch``: of its Via. ``expires`` in seconds,
    None for none. All text is printable ASCII."""

    firsts: dict[str, str]
    uri_text: str
    uri: Uri
    via: str
    branch: str
    key: str
    from_: Party
    to: Party
    call_id: str
    cseq: int
    contact: str
    expires: int | None

    @property
    def identity(self) -> str:
        """What the To-tag of an answer to it is made of (RFC 3261 8.2.7)."""
        return f"{self.call_id}|{self.from_.tag or ''}|{self.branch}|{self.key.rpartition(' ')[2]}"

    @property
    def summary(self) -> str:
        """What the log says of it (see naming.summary)."""
        return f"REGISTER {(self.to.address.uri.user or '')[:40]} {self.firsts.get('User-Agent', '')[:40]}".rstrip()


def read_usual_register(data: bytes, host: str, port: int) -> UsualRegister | None:
    """Read a packet that came from ``host`` (without a zone) and ``port``; None when it has another form. Linear.

    One value of each header, at most :data:`LONGEST` bytes, no body, no tag in To, one Contact, rport asked for."""
    if len(data) > LONGEST:
        return None
    # Nothing but printable ASCII and whole line ends. Each line but the first has ": " once: so the places of names and
    # values alternate when all of these are turned into line ends. (Half the price of a regular expression.)
    text = data.decode("latin-1")
    lines = text.split("\r\n")
    count = len(lines) - 3
    if data.translate(None, _PRINTABLE) != b"\r\n" * (count + 2) or " \r" in text or ":  " in text:
        return None
    if lines.pop() or lines.pop() or text.count(": ") != count or not all(map(contains, lines[1:], repeat(": "))):
        return None
    parts = text.replace(": ", "\r\n").split("\r\n")
    try:
        firsts = dict(zip(map(SPELLING, parts[1:-2:2]), parts[2:-2:2], strict=True))
        if len(firsts) != count or not firsts.keys() <= _HARMLESS:
            return None
        start, via, call_id, contact = lines[0], firsts["Via"], firsts["Call-ID"], firsts["Contact"]
        usual = USUAL_VIA.fullmatch(via)
        number, _, method = firsts["CSeq"].partition(" ")
        if usual is None or method != "REGISTER" or not number.isdigit() or len(number) > 9:
            return None
        if not 0 < len(call_id) <= 255 or " " in call_id:
            return None
        if not 0 < len(contact) <= SHORT or "," in contact or contact == "*":
            return None
        if firsts.get("Max-Forwards", "70") not in _NUMBERS or firsts.get("Content-Length", "0") != "0":
            return None
        uri, from_, to = _uri_of(start), _party(firsts["From"]), _party(firsts["To"])
        parse_contact(contact)
    except (KeyError, SipError):
        return None
    _transport, sent_host, sent_port, rport, branch, end = usual.groups()
    if to.tag is not None or not branch.startswith(_MAGIC) or len(branch) == len(_MAGIC):
        return None
    if end if rport else end != ";rport":
        return None
    if sent_port is not None and (sent_port[0] == "0" or int(sent_port) > 65535):
        return None
    firsts["Via"] = f"{via.replace(';rport', f';rport={port}')};received={host}"
    key = f"{branch} {sent_host.lower()}:{sent_port} REGISTER {host}"
    expires = firsts.get("Expires")
    if len(key) > _LONGEST_KEY or (expires is not None and not (expires.isdigit() and len(expires) < 10)):
        return None
    return UsualRegister(
        firsts, start[9:-8], uri, via, branch, key, from_, to, call_id, int(number), contact,
        None if expires is None else int(expires),
    )  # fmt: skip


def request_of(usual: UsualRegister, size: int) -> Request:
    """The same as a request, validated; what is not read here is read from its headers when it is asked for. ``size``
    in bytes."""
    request = Request.__new__(Request)
    firsts, to = usual.firsts, usual.to.address
    request.__dict__ = {
        "method": "REGISTER", "uri": usual.uri_text, "headers": list(firsts.items()), "body": b"",
        "firsts": firsts, "single": True, "validated": True, "size": size,
        "via_text": usual.via, "transaction_key": usual.key, "request_uri": usual.uri,
        "from_": usual.from_.address, "to": to, "call_id": usual.call_id, "cseq": CSeq(usual.cseq, "REGISTER"),
        "expires": usual.expires, "path": [], "require": frozenset(),
    }  # fmt: skip
    return request


@lru_cache(maxsize=256)
def _uri_of(start: str) -> Uri:
    """Raises SipError, also for what is no URI of a phone."""
    found = _START.fullmatch(start)
    if found is None:
        raise SipError(400, "Bad Start Line")
    uri = parse_uri(found[1])
    if uri.scheme not in ("sip", "sips") or uri.headers:
        raise SipError(416, "Unsupported URI Scheme")
    return uri


@lru_cache(maxsize=8192)
def _short_party(text: str) -> Party:
    address = parse_name_addr(text)
    if "%" in (address.uri.user or ""):
        raise SipError(400, "Escaped User")  # for here: one spelling is enough
    return Party(address, address.uri.canonical_user.lower(), address.tag)


def _party(text: str) -> Party:
    if len(text) > SHORT:
        raise SipError(400, "Header Too Long")  # for here
    return _short_party(text)
