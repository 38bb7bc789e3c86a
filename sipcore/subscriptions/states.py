"""What there is to tell of an extension: its calls and whether a phone of it can be reached. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sipcore.calls.leg import Leg, LegState

if TYPE_CHECKING:
    from sipcore.calls.call import Call

TRYING, EARLY, CONFIRMED = "trying", "early", "confirmed"
_ORDER = (TRYING, EARLY, CONFIRMED)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One call of an extension (RFC 4235 section 3.7.1), all its devices together. ``outgoing``: it is the caller."""

    id: str
    outgoing: bool
    state: str
    remote: str
    remote_name: str


@dataclass(frozen=True, slots=True)
class ExtensionState:
    """``registered``: a phone of it can be reached now."""

    conversations: tuple[Conversation, ...] = ()
    registered: bool = False

    @property
    def on_the_phone(self) -> bool:
        """In a call, or making one; one that rings only is not."""
        return any(c.outgoing or c.state == CONFIRMED for c in self.conversations)


@dataclass(frozen=True, slots=True)
class Telling:
    """What one document is made of. ``entity``: the extension's URI, as the subscriber knows it. ``version`` rises with
    each document. ``ended``: calls told before that are over. ``named``: whether the document may name the other party.
    ``note``: the words for "on the phone"."""

    number: str
    entity: str
    domain: str
    version: int
    state: ExtensionState
    ended: tuple[Conversation, ...] = ()
    named: bool = False
    note: str = ""


def conversations(
    calls: Iterable[Call], call_of: Mapping[Leg, Call], numbers: Collection[str]
) -> dict[str, tuple[Conversation, ...]]:
    """The calls of each of these numbers. ``call_of`` tells which call a leg belongs to: one that is being transferred
    stands in two of them for a while."""
    found: dict[str, dict[str, Conversation]] = {number: {} for number in numbers}
    for call in calls:
        rows = call.row.legs
        caller, callee = call.caller, call.callee
        if caller.number in found and call_of.get(caller) is call:
            if caller.state is LegState.CONFIRMED:
                _note(found, call, caller.number, True, CONFIRMED)
            elif caller.state is LegState.EARLY:
                rings = any(row.ringing_at is not None for row in rows)
                _note(found, call, caller.number, True, EARLY if rings else TRYING)
        if callee is not None and callee.number in found and callee.state is LegState.CONFIRMED:
            _note(found, call, callee.number, False, CONFIRMED)
        for row in rows:
            if row.number in found and row.ended_at is None and row.answered_at is None:
                _note(found, call, row.number, False, EARLY if row.ringing_at is not None else TRYING)
    return {number: tuple(of.values()) for number, of in found.items()}


def _note(found: dict[str, dict[str, Conversation]], call: Call, number: str, outgoing: bool, state: str) -> None:
    # The call's own name holds the machine's, which is nobody's business.
    id = hashlib.sha256(f"{call.id} {number} {outgoing}".encode()).hexdigest()[:16]
    known = found[number].get(id)
    if known is not None and _ORDER.index(known.state) >= _ORDER.index(state):
        return
    if not outgoing:
        remote, name = call.caller.number, call.caller.party.display_name
    elif call.callee is not None:
        remote, name = call.callee.number, call.callee.party.display_name
    else:
        remote, name = call.row.dst, ""
    found[number][id] = Conversation(id, outgoing, state, remote, name)
