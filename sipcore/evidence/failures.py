"""Failed attempts on their way to the store: grouped and counted as they come, within bounds whatever comes.

Room is kept for whom it matters to. Phones that were registered from their address once, strangers who name an
extension that exists, and all others have shares of their own, and of each share one source takes only a part: a
scanner may fill its own, and nobody else's."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sipcore.evidence.asked import asked_of, number_of
from sipcore.evidence.conversations import Conversation, Entry
from sipcore.evidence.facts import Attempt, WireMessage
from sipcore.evidence.scrub import scrubbed
from sipcore.naming import place
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import Request

MOST_MESSAGES = 24
"""Messages kept with one attempt: the last ones."""

KNOWN, NAMED, OTHERS = "known", "named", "others"
ROOM = {KNOWN: 300, NAMED: 60, OTHERS: 40}
"""Groups of each share between two writings."""

OF_ONE_SOURCE = {KNOWN: 60, NAMED: 6, OTHERS: 6}

BYTES = {KNOWN: 384 * 1024, NAMED: 96 * 1024, OTHERS: 96 * 1024}
"""Of the messages of each share, read and scrubbed for one writing: each group gets an equal part of it. That is what
costs, up to some microseconds a byte, and registrations wait for the same thread; whose source is forged sends for
nothing as much as he likes."""

NAMES_AN_EXTENSION = frozenset((
    "wrong_password", "disabled", "no_credential", "stale_credential", "too_many_devices", "expires_too_short",
))
"""Causes that only an extension that exists can have."""


@dataclass(slots=True, eq=False)
class Failure:
    """One group. ``entries`` are set when it is taken, its messages scrubbed only when it is written. ``most_bytes``:
    of its messages."""

    share: str
    number: str
    flow: Flow
    source: str
    cause: str
    first_at: float
    last_at: float
    request: Request | None
    data: bytes
    fault: str
    conversation: Conversation | None
    count: int = 0
    repeats: int = 0
    proven: bool = False
    sources: tuple[str, ...] = ()
    entries: list[Entry] = field(default_factory=list)
    most_bytes: int = 0

    def attempt(self) -> Attempt:
        """What is written: called in the store's thread."""
        request, host = self.request, self.flow.remote[0]
        attempt = Attempt(
            number=self.number,
            source=self.source,
            port=self.flow.remote[1],
            transport=self.flow.transport,
            cause=self.cause,
            first_at=self.first_at,
            last_at=self.last_at,
            count=self.count,
            proven=self.proven,
            repeats=self.repeats,
            sources=self.sources,
        )
        if request is not None:
            attempt.asked = asked_of(request, self.data, self.fault)
        # A phone whose address changes under way has messages from several; of others only its own are shown.
        own = [entry for entry in self.entries if self.sources or entry.flow.remote[0] == host]
        attempt.messages = tuple(wire_message(entry) for entry in _latest(own, self.most_bytes))
        return attempt


class Failures:
    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, str], Failure] = {}
        self._shares: Counter[str] = Counter()
        self._of_source: Counter[tuple[str, str]] = Counter()

    def __len__(self) -> int:
        return len(self._groups)

    def add(
        self,
        request: Request | None,
        flow: Flow,
        source: str,
        cause: str,
        at: float,
        conversation: Conversation | None,
        *,
        known: bool,
        proven: bool = False,
        count: int = 1,
        repeats: int = 0,
        sources: tuple[str, ...] = (),
        data: bytes = b"",
        fault: str = "",
    ) -> None:
        """``at`` in seconds since 1970; ``data`` the message as it came, where that is to be measured."""
        number = number_of(request) if request is not None else ""
        key = (number.lower(), source, cause)
        group = self._groups.get(key)
        if group is None:
            share = KNOWN if known else NAMED if proven or cause in NAMES_AN_EXTENSION else OTHERS
            if not self._has_room(share, source):
                return
            group = self._groups[key] = Failure(
                share, number, flow, source, cause, at, at, request, data, fault, conversation
            )
        group.number, group.flow, group.last_at = number, flow, at
        group.request, group.data, group.fault, group.conversation = request, data, fault, conversation
        group.count += count
        group.repeats += repeats
        group.proven = group.proven or proven
        group.sources = sources or group.sources

    def take(self) -> list[Failure]:
        """All groups, with their messages of now; the next ones begin anew."""
        groups = list(self._groups.values())
        for group in groups:
            if group.conversation is not None:
                group.entries = group.conversation.entries[-2 * MOST_MESSAGES :]
                group.most_bytes = BYTES[group.share] // self._shares[group.share]
                group.conversation = None
        self._groups = {}
        self._shares.clear()
        self._of_source.clear()
        return groups

    def _has_room(self, share: str, source: str) -> bool:
        of_source = (share, source)
        if self._shares[share] >= ROOM[share] or self._of_source[of_source] >= OF_ONE_SOURCE[share]:
            return False
        self._shares[share] += 1
        self._of_source[of_source] += 1
        return True


def _latest(entries: list[Entry], most_bytes: int) -> list[Entry]:
    """The last ones that are so many bytes together; the very last one is cut to that."""
    kept: list[Entry] = []
    for entry in reversed(entries[-MOST_MESSAGES:]):
        if len(entry.data) > most_bytes:
            if not kept:
                kept.append(entry._replace(data=entry.data[:most_bytes]))
            break
        kept.append(entry)
        most_bytes -= len(entry.data)
    return kept[::-1]


def wire_message(entry: Entry, number: str = "") -> WireMessage:
    flow = entry.flow
    return WireMessage(
        at=entry.at,
        sent=entry.sent,
        transport=flow.transport,
        local=place(flow, ours=True),
        remote=place(flow),
        size=entry.size,
        text=scrubbed(entry.data),
        number=number,
    )
