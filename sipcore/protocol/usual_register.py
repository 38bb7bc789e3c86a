"""A REGISTER as nearly every phone writes it, read in one go.

Two come with each registration, thousands a second, and the general way (message, headers, uri) pays for all that a
message could be. Here nothing is understood but one form, and that form gives what the general way makes of the same
bytes; a test compares them. Whatever is written otherwise, or wrong, is not for here."""

import re
from functools import lru_cache
from typing import NamedTuple

from .endpoint import LONG_KEY, MAGIC
from .errors import SipError
from .headers import SHORT, USUAL_VIA
from .message import SPELLING, Lazy, Request, names_and_values
from .ordinary import ordinary
from .uri import Uri, parse_uri

LONGEST = 2048
"""Bytes. One that is longer goes the general way."""

_START = re.compile(r"REGISTER ([^ ]{1,255}) SIP/2\.0")
# From and To: `"Front desk" <sip:1001@pbx.example.com;transport=UDP>;tag=1b2c`; no escapes in the user part
_PARTY = re.compile(
    r"(?:\"[^\"\\]*+\" *+)?<sips?:([A-Za-z0-9_.+-]{1,64}+)@([A-Za-z0-9.-]{1,255}+)(?::[1-9][0-9]{0,3}+)?"
    r"(?:;transport=[A-Za-z]{2,4}+)?>(?:;tag=([A-Za-z0-9.!%*_+`'~-]++))?"
)
_PRINTABLE = bytes(range(32, 127))
_NUMBERS = frozenset(map(str, range(256)))  # of Max-Forwards
_NEEDED = ("Via", "From", "To", "Call-ID", "CSeq", "Contact")
# What stands in a REGISTER and asks nothing more of a registrar than is read here. Not Path, Require, Record-Route ...
_HARMLESS = frozenset((
    *_NEEDED, "Max-Forwards", "Expires", "User-Agent", "Content-Length", "Authorization", "Allow", "Allow-Events",
    "Supported", "Accept", "Accept-Encoding", "Accept-Language", "Date", "Organization", "Subject", "MIME-Version",
    "P-Access-Network-Info", "P-Preferred-Identity",
))  # fmt: skip


class UsualRegister(NamedTuple):
    """``firsts``: the one value of each header, Via with the source of the packet in it (RFC 3581); ``via``: as it
    came; ``key``: what its transaction is known by (RFC 3261 17.2.3); ``identity``: what the To-tag of an answer to it
    is made of (8.2.7). ``to_user`` as it stands, ``from_user`` in lower case. ``expires`` in seconds, None for none.
    All text is printable ASCII."""

    firsts: dict[str, str]
    uri_text: str
    uri: Uri
    via: str
    key: str
    identity: str
    from_user: str
    to_user: str
    to_host: str
    call_id: str
    cseq: int
    contact: str
    expires: int | None


@ordinary
class UsualRequest(Request):
    """The same as a request: what is not known yet is read from its headers when it is asked for."""

    @Lazy
    def headers(self) -> list[tuple[str, str]]:
        """As they came, but for the Via."""
        return list((self.firsts or {}).items())


def read_usual_register(data: bytes, host: str, port: int) -> UsualRegister | None:
    """Read a packet that came from ``host`` (without a zone) and ``port``; None when it has another form. Linear.

    One value of each header, at most :data:`LONGEST` bytes, no body, no tag in To, one Contact, rport asked for."""
    if len(data) > LONGEST:
        return None
    # Nothing but printable ASCII and whole line ends.
    text = data.decode("latin-1")
    lines = text.split("\r\n")
    count = len(lines) - 3
    if data.translate(None, _PRINTABLE) != b"\r\n" * (count + 2) or lines.pop() or lines.pop():
        return None
    parts = names_and_values(text, lines)
    if parts is None:
        return None
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
        uri, from_, to = _uri_of(start), _PARTY.fullmatch(firsts["From"]), _PARTY.fullmatch(firsts["To"])
    except (KeyError, SipError):
        return None
    _transport, sent_host, sent_port, rport, branch, end = usual.groups()
    if from_ is None or to is None or to[3] is not None:
        return None
    if not branch.startswith(MAGIC) or len(branch) == len(MAGIC):
        return None
    if end if rport else end != ";rport":
        return None
    if sent_port is not None and (sent_port[0] == "0" or int(sent_port) > 65535):
        return None
    firsts["Via"] = f"{via.replace(';rport', f';rport={port}')};received={host}"
    key = f"{branch} {sent_host.lower()}:{sent_port} REGISTER {host}"
    expires = firsts.get("Expires")
    if len(key) > LONG_KEY or (expires is not None and not (expires.isdigit() and len(expires) < 10)):
        return None
    return UsualRegister(
        firsts, start[9:-8], uri, via, key, f"{call_id}|{from_[3] or ''}|{branch}|{host}",
        from_[1].lower(), to[1], to[2].lower(), call_id, int(number), contact,
        None if expires is None else int(expires),
    )  # fmt: skip


def request_of(usual: UsualRegister, size: int, answer_tag: str) -> Request:
    """The same as a request, validated. ``size`` in bytes; ``answer_tag``: the To-tag of all answers to it."""
    request = UsualRequest.__new__(UsualRequest)
    request.__dict__ = {
        "method": "REGISTER", "uri": usual.uri_text, "body": b"", "firsts": usual.firsts, "single": True,
        "validated": True, "size": size, "via_text": usual.via, "transaction_key": usual.key, "answer_tag": answer_tag,
        "path": [],
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
