"""Text inside XML: nothing that comes from a person or a phone can become markup, or a character XML 1.0 forbids."""

from __future__ import annotations

import re

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\r\n'

# XML 1.0 production [2]: Char ::= #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF]
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# xml.sax.saxutils does the same and brings half of urllib along, at every start.
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_IN_QUOTES = _MARKUP | str.maketrans({'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"})


def text(value: str) -> str:
    """Fit to stand between two tags."""
    return _FORBIDDEN.sub("\ufffd", value).translate(_MARKUP)


def attribute(value: str) -> str:
    """With its quotes."""
    return f'"{_FORBIDDEN.sub(chr(0xFFFD), value).translate(_IN_QUOTES)}"'
