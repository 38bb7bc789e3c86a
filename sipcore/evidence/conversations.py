"""The messages of the last minutes, in memory: raw, by Call-ID. What they cost is paid by every message, so nothing
is read here but the Call-ID; understanding and scrubbing wait until something has failed."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from typing import NamedTuple

from sipcore.protocol.flow import Flow

KEPT_OF_ONE = 8192
"""Bytes kept of one message."""

MOST_MESSAGES, MOST_BYTES = 128, 256 * 1024
"""Of one conversation, in memory. What goes first is its middle: how it began explains how it ends."""

AGED_AT_ONCE = 2_000
"""Conversations that a pool forgets each second for their age."""

OVERHEAD = 160
"""Bytes that a message takes beside its own, and that are counted too: packets of two dozen bytes are many."""

OF_CONVERSATION = 400
"""Bytes that a conversation takes beside its messages and its Call-ID."""

LONGEST_ID = 256
"""Bytes of a Call-ID; a longer one is known by its hash."""

BEGINNING = 16
"""Messages that are kept from the beginning of a conversation."""

# RFC 3261 20.8 and 7.3.1 (compact form). Only for who does not write it as everybody does.
_CALL_ID = re.compile(rb"[\r\n](?:call-id|i)[ \t]*+:[ \t]*+([^\r\n]*+)", re.IGNORECASE)


class Entry(NamedTuple):
    """One message as it was on the wire, cut to ``KEPT_OF_ONE``. ``at`` in seconds since 1970."""

    at: float
    sent: bool
    flow: Flow
    data: bytes
    size: int


class Conversation:
    """All messages of one Call-ID. ``number``: whose leg of a call it is, empty for anything else. ``told``: how many
    of the entries a watching administrator has been given."""

    __slots__ = ("bytes", "call_id", "entries", "last", "number", "pool", "told")

    def __init__(self, call_id: bytes) -> None:
        self.call_id = call_id
        self.entries: list[Entry] = []
        self.bytes = OF_CONVERSATION + len(call_id)
        self.last = 0.0
        self.number = ""
        self.told = 0
        self.pool: Pool | None = None

    def trim(self) -> None:
        """Drop half of the middle."""
        entries = self.entries
        first = min(BEGINNING, len(entries) // 4)
        end = first + (len(entries) - first) // 2
        self.bytes -= sum(len(entry.data) + OVERHEAD for entry in entries[first:end])
        del entries[first:end]
        self.told = first + max(0, self.told - end) if self.told > first else self.told


class Pool:
    """Conversations within bounds of their own; the one that was silent for longest goes first."""

    def __init__(self, most_bytes: int, most: int, seconds: float) -> None:
        self.most_bytes, self.most, self.seconds = most_bytes, most, seconds
        self.bytes = 0
        self.by_id: OrderedDict[bytes, Conversation] = OrderedDict()

    def put(self, conversation: Conversation) -> None:
        before = conversation.pool
        if before is not None:
            del before.by_id[conversation.call_id]
            before.bytes -= conversation.bytes
        conversation.pool = self
        self.by_id[conversation.call_id] = conversation
        self.bytes += conversation.bytes
        if self.bytes > self.most_bytes or len(self.by_id) > self.most:
            self._make_room()

    def add(self, conversation: Conversation, entry: Entry) -> None:
        size = len(entry.data) + OVERHEAD
        entries = conversation.entries
        entries.append(entry)
        conversation.last = entry.at
        conversation.bytes = bytes_of_it = conversation.bytes + size
        self.bytes += size
        self.by_id.move_to_end(conversation.call_id)
        if bytes_of_it > MOST_BYTES or len(entries) > MOST_MESSAGES:
            conversation.trim()
            self.bytes -= bytes_of_it - conversation.bytes
        if self.bytes > self.most_bytes:
            self._make_room()

    def age(self, now: float) -> None:
        """Drop what has been silent for longer than this pool remembers, or the first of it: a herd that came in one
        second grows old in one second. ``now`` in seconds since 1970."""
        before = now - self.seconds
        for _ in range(AGED_AT_ONCE):
            if not self.by_id or next(iter(self.by_id.values())).last >= before:
                break
            self._drop_first()

    def _make_room(self) -> None:
        while (self.bytes > self.most_bytes or len(self.by_id) > self.most) and self.by_id:
            self._drop_first()

    def _drop_first(self) -> None:
        _, conversation = self.by_id.popitem(last=False)
        self.bytes -= conversation.bytes
        conversation.pool = None


def call_id_of(data: bytes, host: str) -> bytes:
    """The Call-ID of a raw message; one without shares a place with all others of ``host`` that have none."""
    start = data.find(b"\r\nCall-ID:")
    if start >= 0:
        start += 10
        end = data.find(b"\r", start)
        call_id = (data[start:end] if end >= 0 else data[start : start + 256]).strip()
        return call_id if len(call_id) <= LONGEST_ID else key_of(call_id)
    found = _CALL_ID.search(data, 0, KEPT_OF_ONE)
    if found is not None and (name := found.group(1).strip()):
        return key_of(name)
    return b" " + host.encode("ascii", "replace")  # begins with a blank, which no Call-ID does


def key_of(call_id: bytes) -> bytes:
    """What a conversation is known by: its Call-ID where that is as long as phones make them. A sender can make it as
    long as a packet."""
    if len(call_id) <= LONGEST_ID:
        return call_id
    return call_id[:32] + b"~" + hashlib.blake2b(call_id, digest_size=16).hexdigest().encode()
