"""Reads the kept text of a SIP message as far as a diagram needs it. Whatever the text is, nothing here raises, and the
time it takes grows with its length alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from sipcore.evidence.facts import WireMessage
from sipcore.protocol.headers import clean_text

LONGEST, MOST_LINES, LONGEST_NAME = 16_384, 200, 64
SHORT = {"i": "call-id", "m": "contact", "f": "from", "t": "to", "v": "via", "l": "content-length", "c": "content-type",
         "e": "content-encoding", "k": "supported", "s": "subject", "o": "event", "r": "refer-to", "b": "referred-by",
         "x": "session-expires"}
_KINDS = {"at": float, "sent": bool, "transport": str, "local": str, "remote": str, "size": int, "text": str,
          "number": str}


@dataclass(frozen=True, slots=True)
class SipText:
    """``method``: of a response that of its CSeq; empty when the message cannot be read. ``status`` 0: a request.
    ``headers``: the first of each name, names in lower case and whole."""

    message: WireMessage
    method: str = ""
    status: int = 0
    reason: str = ""
    uri: str = ""
    cseq: int = -1
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    @property
    def sent(self) -> bool:
        return self.message.sent

    @property
    def call_id(self) -> str:
        return self.headers.get("call-id", "")

    @property
    def branch(self) -> str:
        return parameter(self.headers.get("via", ""), "branch")

    @property
    def in_dialog(self) -> bool:
        return bool(parameter(self.headers.get("to", ""), "tag"))

    @property
    def user_agent(self) -> str:
        return clean_text(self.headers.get("user-agent") or self.headers.get("server") or "", LONGEST_NAME)

    @property
    def has_credentials(self) -> bool:
        return "authorization" in self.headers or "proxy-authorization" in self.headers

    @property
    def phone(self) -> str:
        """The number of the phone at the other end."""
        if self.message.number:
            return self.message.number
        # From is who asked (RFC 3261 8.1.1.3), in the answers too.
        asked_by_phone = self.sent == bool(self.status)
        return user_of(self.headers.get("from" if asked_by_phone and self.method != "REGISTER" else "to", ""))

    @property
    def direction(self) -> str:
        """What the session description says of the sound: sendrecv, sendonly, recvonly, inactive; empty without."""
        if "m=audio" not in self.body:
            return ""
        return next((way for way in ("inactive", "sendonly", "recvonly") if f"a={way}" in self.body), "sendrecv")

    @property
    def repeats_as(self) -> tuple[object, ...]:
        """Two messages for which this is equal are one message and its repetition (RFC 3261 17.2.3)."""
        if not self.method:
            return (self.sent, self.message.text)
        return (self.sent, self.call_id, self.method, self.status, self.cseq, self.branch)


def read(message: WireMessage) -> SipText:
    head, _, body = message.text[:LONGEST].replace("\r\n", "\n").partition("\n\n")
    start, *lines = head.split("\n")
    headers: dict[str, str] = {}
    for line in lines[:MOST_LINES]:
        name, colon, value = line.partition(":")
        if colon:
            name = name.strip().lower()
            headers.setdefault(SHORT.get(name, name), value.strip())
    number, _, method = headers.get("cseq", "").partition(" ")
    cseq = int(number) if number.isascii() and number.isdigit() and len(number) < 12 else -1
    first, _, rest = start.partition(" ")
    if first.upper() == "SIP/2.0":
        code, _, reason = rest.partition(" ")
        status = int(code) if len(code) == 3 and code.isascii() and code.isdigit() else 0
        if status < 100:
            return SipText(message, headers=headers)
        return SipText(message, _name(method), status, clean_text(reason, LONGEST_NAME), "", cseq, headers, body)
    uri, _, version = rest.rpartition(" ")
    if version.upper() != "SIP/2.0":
        return SipText(message, headers=headers)
    return SipText(message, _name(first), 0, "", clean_text(uri, LONGEST_NAME), cseq, headers, body)


def _name(method: str) -> str:
    return clean_text(method.strip(), 20)


def parameter(value: str, name: str) -> str:
    """A parameter after the angle brackets of a header's first value, without quotes; "" when it is not there."""
    outside = value.rpartition(">")[2] if "<" in value else value
    for part in outside.split(";")[1:]:
        key, _, found = part.partition("=")
        if key.strip().lower() == name:
            return found.partition(",")[0].strip().strip('"')
    return ""


def user_of(value: str) -> str:
    """The user part of the URI in a header or Request-URI; without one, its host."""
    inner = value.partition("<")[2].partition(">")[0] if "<" in value else value.partition(";")[0]
    rest = inner.partition(":")[2] or inner
    user, at, host = rest.partition("@")
    return clean_text((user if at else host or rest).partition(";")[0].strip(), LONGEST_NAME)


def seconds(text: str | None) -> int | None:
    """A number of seconds as a header has it."""
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 11 else None


def messages_from_json(rows: Any) -> tuple[WireMessage, ...]:
    """What was stored, whoever wrote it: what cannot be read is left out."""
    return tuple(_messages(rows if isinstance(rows, list) else []))


def _messages(rows: Iterable[Any]) -> Iterable[WireMessage]:
    names = {one.name for one in fields(WireMessage)}
    for row in rows:
        if isinstance(row, Mapping):
            values = {name: row[name] for name in names if name in row}
            try:
                yield WireMessage(**{name: _KINDS[name](value) for name, value in values.items()})
            except (TypeError, ValueError, KeyError, OverflowError):
                continue
