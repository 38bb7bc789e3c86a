"""Bencoding (BEP 3), the encoding of the ``ng`` protocol: strict, bounded and linear.

One leniency: rtpengine does not sort the keys of its dictionaries, so any order is read. We write them sorted.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Union

MAX_BYTES = 65_535
"""The largest document, in bytes: one UDP datagram."""

MAX_DEPTH = 16
ZERO = ord("0")

Encodable = Union[bytes, str, int, Sequence["Encodable"], Mapping[str, "Encodable"]]  # noqa: UP007 - recursive
Decoded = Union[bytes, str, int, list["Decoded"], dict[str, "Decoded"]]  # noqa: UP007 - recursive; str: of JSON


class BencodeError(ValueError):
    """Not a bencoded document, or one beyond our bounds. The text is a fixed phrase, none of it from the network."""


def encode(value: Encodable) -> bytes:
    """Raises :class:`BencodeError` for a type that bencoding does not have (bool, float, None)."""
    parts: list[bytes] = []
    _encode(value, parts)
    return b"".join(parts)


def decode(data: bytes) -> Decoded:
    """Strings come as bytes, keys as str (what is not UTF-8 in them replaced). Raises :class:`BencodeError`."""
    if len(data) > MAX_BYTES:
        raise BencodeError("document too long")
    value, end = _decode(data, 0, MAX_DEPTH)
    if end != len(data):
        raise BencodeError("bytes after the end")
    return value


# Strings are written and read where they stand, without a call: each call of a phone is six documents of some twenty.


def _encode(value: Any, parts: list[bytes]) -> None:
    """By the exact type first."""
    kind = type(value)
    if kind is bytes:
        parts.append(b"%d:%b" % (len(value), value))
    elif kind is str or isinstance(value, str):
        raw = value.encode("utf-8", "replace")
        parts.append(b"%d:%b" % (len(raw), raw))
    elif kind is int:
        parts.append(b"i%de" % value)
    elif kind is dict or (kind is not list and isinstance(value, Mapping)):
        parts.append(b"d")
        for key in sorted(value):
            raw = key.encode("utf-8", "replace")
            item = value[key]
            if type(item) is bytes:
                parts.append(b"%d:%b%d:%b" % (len(raw), raw, len(item), item))
            else:
                parts.append(b"%d:%b" % (len(raw), raw))
                _encode(item, parts)
        parts.append(b"e")
    elif kind is list or isinstance(value, Sequence):
        parts.append(b"l")
        for item in value:
            _encode(item, parts)
        parts.append(b"e")
    else:
        raise BencodeError("type without an encoding")


def _decode(data: bytes, at: int, depth: int) -> tuple[Decoded, int]:
    first = data[at : at + 1]
    if first.isdigit():
        return _string(data, at)
    if first == b"d" or first == b"l":
        if depth <= 0:
            raise BencodeError("nested too deeply")
        return _table(data, at + 1, depth - 1) if first == b"d" else _items(data, at + 1, depth - 1)
    if first == b"i":
        end = data.find(b"e", at + 1, at + 22)  # 64 bits have at most 20 characters
        return _integer(data[at + 1 : end] if end > 0 else b""), end + 1
    raise BencodeError("unknown type")


def _items(data: bytes, at: int, depth: int) -> tuple[list[Decoded], int]:
    items: list[Decoded] = []
    while data[at : at + 1] != b"e":
        item, at = _decode(data, at, depth)
        items.append(item)
    return items, at + 1


def _table(data: bytes, at: int, depth: int) -> tuple[dict[str, Decoded], int]:
    table: dict[str, Decoded] = {}
    find, size = data.find, len(data)
    while data[at : at + 1] != b"e":
        colon = find(b":", at, at + 6)
        digits = data[at:colon] if colon > 0 else b""
        if not digits.isdigit() or (digits[0] == ZERO and colon - at > 1):
            raise BencodeError("no string")
        start = colon + 1
        at = start + int(digits)
        if at > size:
            raise BencodeError("string cut off")
        key = data[start:at].decode("utf-8", "replace")
        if key in table:
            raise BencodeError("key twice")
        table[key], at = _decode(data, at, depth)
    return table, at + 1


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    colon = data.find(b":", at, at + 6)
    digits = data[at:colon] if colon > 0 else b""
    if not digits.isdigit() or (digits[0] == ZERO and colon - at > 1):
        raise BencodeError("no string")
    end = colon + 1 + int(digits)
    if end > len(data):
        raise BencodeError("string cut off")
    return data[colon + 1 : end], end


def _integer(text: bytes) -> int:
    if text.startswith(b"-"):
        number = _digits(text[1:])
        if number == 0:
            raise BencodeError("negative zero")
        return -number
    return _digits(text)


def _digits(text: bytes) -> int:
    if not text.isdigit() or (text.startswith(b"0") and len(text) > 1):
        raise BencodeError("no number")
    return int(text)
