"""What one phone says and another one shows: nothing in it is obeyed by a screen, a terminal or a log."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sipcore.protocol.headers import clean_text
from sipcore.protocol.message import Message

MOST_SHOWN = 256
"""Characters of a header, or of the words of an answer."""

WRITTEN = ("text/", "application/dtmf", "message/sipfrag", "application/media_control+xml")
"""How the types of bodies begin that are shown, or read line by line."""

_CHARSET = re.compile(r'charset\s*=\s*"?([A-Za-z0-9_-]+)', re.IGNORECASE)
# C0 but tab and line ends, a CR alone, DEL, C1, separators of lines, what turns the text around
_OBEYED = re.compile("\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufffd]")
_LONE_CR = re.compile(rb"\r(?!\n)")
_CONTROLS = bytes.maketrans(bytes({*range(32), 127} - {9, 10, 13}), b"?" * 30)


def passed_headers(message: Message, names: Iterable[str]) -> list[tuple[str, str]]:
    """Those headers of a message that go through."""
    return [(name, passed_words(value)) for name, value in message.headers if name in names]


def passed_words(text: str) -> str:
    """The value of one header, or the reason phrase of a phone's answer."""
    return clean_text(text, MOST_SHOWN)


def passed_body(message: Message) -> bytes:
    """The body of an INFO or MESSAGE. What is no text is not touched; a text keeps its length in characters. One in
    another charset than UTF-8 keeps all bytes but control characters."""
    kind = message.get("Content-Type") or "text/plain"
    if not kind.strip().lower().startswith(WRITTEN):
        return message.body
    charset = _CHARSET.search(kind)
    if charset is not None and charset[1].lower() not in ("utf-8", "us-ascii"):
        return _plain(message.body)
    return _OBEYED.sub("?", message.body.decode("utf-8", "replace")).encode()


def passed_description(sdp: bytes) -> bytes:
    """A session description, whichever media engine it went through: session names and the like are shown too."""
    if sdp.isascii():
        return _plain(sdp)
    return _OBEYED.sub("?", sdp.decode("utf-8", "replace")).encode()


def _plain(data: bytes) -> bytes:
    return _LONE_CR.sub(b"?", data.translate(_CONTROLS))
