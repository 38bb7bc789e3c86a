"""From what the engine tells to what columns take: clean texts, within their widths, no more than a row should hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from pbx.diagnosis.models import Attempt as AttemptRow
from sipcore.evidence.facts import Asked, Attempt, WireMessage
from sipcore.protocol.headers import clean_text

MOST_MESSAGES, MOST_BYTES = 24, 48 * 1024
"""Kept with an attempt: the last ones that fit. Bytes as JSON."""

MOST_OF_A_CALL, MOST_BYTES_OF_A_CALL = 160, 256 * 1024
MOST_SOURCES = 8
LARGEST = 2**31 - 1
LATEST = 2**36
"""Seconds since 1970: nothing here happens after the year 4000."""

_NOT_STORED = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL takes neither; line feeds stay

_ASKED, _MESSAGE = (tuple(field.name for field in fields(kind)) for kind in (Asked, WireMessage))
_TEXTS = ("number", "source", "transport", "cause")
_WIDTHS = {field.name: field.max_length for field in AttemptRow._meta.concrete_fields if field.max_length}


def moment(seconds: float) -> datetime:
    """:raises ValueError: for what is no time."""
    if not 0 <= seconds < LATEST:
        raise ValueError("time")
    return datetime.fromtimestamp(seconds, UTC)


def attempt_values(attempt: Attempt) -> dict[str, Any]:
    """The columns of an attempt, but for its extension. :raises ValueError: for what cannot be stored."""
    return {
        **{name: clean_text(getattr(attempt, name), _WIDTHS[name]) for name in _TEXTS},
        "port": number(attempt.port),
        "proven": bool(attempt.proven),
        "count": number(attempt.count),
        "repeats": number(attempt.repeats),
        "first_at": moment(attempt.first_at),
        "last_at": moment(attempt.last_at),
        "user_agent": clean_text(attempt.asked.user_agent, _WIDTHS["user_agent"]),
        "sources": [clean_text(one, 64) for one in attempt.sources[-MOST_SOURCES:]],
        "asked": {name: _plain(getattr(attempt.asked, name)) for name in _ASKED},
        "messages": messages_json(attempt.messages),
    }


def messages_json(
    messages: Iterable[WireMessage], most: int = MOST_MESSAGES, most_bytes: int = MOST_BYTES
) -> list[dict[str, Any]]:
    """The last ``most`` of them, fewer if their JSON is longer than ``most_bytes``."""
    kept: list[dict[str, Any]] = []
    room = most_bytes - 2
    for message in reversed(tuple(messages)[-most:]):
        values = message_json(message)
        room -= len(json.dumps(values)) + 2
        if room < 0:
            break
        kept.append(values)
    return kept[::-1]


def message_json(message: WireMessage) -> dict[str, Any]:
    moment(message.at)
    return {name: _plain(getattr(message, name)) for name in _MESSAGE}


def number(value: int) -> int:
    return max(0, min(int(value), LARGEST))


def _plain(value: Any) -> Any:
    return _NOT_STORED.sub("\ufffd", value) if isinstance(value, str) else value
