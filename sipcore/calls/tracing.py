"""Which calls leave their messages behind: those that did not become a conversation with sound, and those of phones
that somebody watches. An ordinary good call writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sipcore.calls.records import CallRow

if TYPE_CHECKING:
    from sipcore.calls.call import Call

LAST_WORDS = 1.5
"""Seconds after its end until a call's messages are collected: the confirmations of its end come then."""

TOGETHER = 0.05
"""Seconds before that at which they may be collected too, with those of another call."""

GOOD_ENDS = frozenset({"normal", "transferred", "hung_up_by_administrator", "pbx_stopped"})
JUDGED_AFTER = 2.0
"""Seconds of talk before missing sound means anything."""

STRAYS = 10
"""Packets from elsewhere that mean nothing."""

MOST_CALL_IDS = 64
"""Of one call: beyond that its devices are not looked at."""


class CallRecorder(Protocol):
    """What is needed of :class:`sipcore.evidence.recorder.Recorder`. ``watched``: numbers in lower case."""

    watched: frozenset[str]

    def link(self, call_id: str, number: str) -> None: ...
    def release(self, call_ids: Iterable[str]) -> None: ...
    def trace_calls(self, uniqueid: str, call_ids: Collection[str]) -> None: ...
    def last_heard(self, call_ids: Collection[str]) -> float: ...


@dataclass(slots=True)
class NoRecorder:
    """Keeps nothing."""

    watched: frozenset[str] = frozenset()

    def link(self, call_id: str, number: str) -> None:
        pass

    def release(self, call_ids: Iterable[str]) -> None:
        pass

    def trace_calls(self, uniqueid: str, call_ids: Collection[str]) -> None:
        pass

    def last_heard(self, call_ids: Collection[str]) -> float:
        return 0.0


class Traces:
    """Of all calls of this process. In the loop's thread."""

    def __init__(self, recorder: CallRecorder) -> None:
        self._recorder = recorder
        self._ending: dict[str, tuple[Call, float]] = {}
        """In their order, and until when they are waited for, on the loop's clock."""
        self._timer: asyncio.TimerHandle | None = None
        self._shown: dict[str, float] = {}

    def joins(self, call: Call, call_id: str, number: str) -> None:
        """A leg of this call, before anything is sent on it. The doctor's calls leave nothing."""
        if not call.caller.party.hidden and len(call.call_ids) < MOST_CALL_IDS:
            call.call_ids.append(call_id)
            self._recorder.link(call_id, number)

    def ended(self, call: Call) -> None:
        """Its record is closed; its last messages are still on their way."""
        if not call.call_ids:
            return
        self._shown.pop(call.id, None)
        loop = asyncio.get_running_loop()
        self._ending[call.id] = call, loop.time() + LAST_WORDS
        if self._timer is None:
            self._timer = loop.call_later(LAST_WORDS, self._collect_due, loop)

    def _collect_due(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all: on a busy server some end together."""
        now, self._timer = loop.time() + TOGETHER, None
        while self._ending:
            id, (_, due) = next(iter(self._ending.items()))
            if due > now:
                self._timer = loop.call_at(due, self._collect_due, loop)
                break
            self._collect(id)

    def _collect(self, id: str) -> None:
        call, _ = self._ending.pop(id)
        if self._is_watched(call) or not is_good(call.row):
            self._recorder.trace_calls(call.id, call.call_ids)
        # After a transfer some legs go on in another call.
        living = call.board.call_of.call_ids
        self._recorder.release([call_id for call_id in call.call_ids if call_id not in living])

    def show(self, calls: Iterable[Call]) -> None:
        """Once a second: calls of watched phones are written while they go on, when there is news."""
        if not self._recorder.watched:
            return
        for call in calls:
            if call.call_ids and self._is_watched(call):
                last = self._recorder.last_heard(call.call_ids)
                if last != self._shown.get(call.id):
                    self._shown[call.id] = last
                    self._recorder.trace_calls(call.id, call.call_ids)

    def stop(self) -> None:
        """The process ends: what waits for last words waits no more."""
        if self._timer is not None:
            self._timer.cancel()
        for id in list(self._ending):
            self._collect(id)

    def _is_watched(self, call: Call) -> bool:
        watched = self._recorder.watched
        return bool(watched) and not watched.isdisjoint(
            number.lower() for number in (call.row.src, call.row.dst, *(leg.number for leg in call.row.legs))
        )


def is_good(row: CallRow) -> bool:
    """Whether people talked and each side's sound came, from where it should."""
    if row.answer is None or row.cause not in GOOD_ENDS:
        return False
    if (row.end or row.answer) - row.answer < JUDGED_AFTER:
        return True
    heard: dict[tuple[str, str], int] = {}
    for media in row.media:
        way = (media.from_number, media.to_number)
        heard[way] = heard.get(way, 0) + media.packets
    return all(heard.values()) and all(media.foreign_packets <= STRAYS for media in row.media)
