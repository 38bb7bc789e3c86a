"""What is handed to the store at once: taken in the loop as it is, read and scrubbed in the store's thread."""

from __future__ import annotations

from dataclasses import dataclass, field

from sipcore.evidence.conversations import Entry
from sipcore.evidence.facts import CallTrace, EvidenceStore, Period, Watched
from sipcore.evidence.failures import Failure, wire_message

FAILURES, PERIODS, TRACES, WATCHED = 20, 100, 5, 100
"""Written at once, some ten milliseconds of work: registrations wait for the same thread. All of a flood's failures
together kept them waiting for 400, and the periods of 500 phones that had come again for 200."""


@dataclass(slots=True)
class RawTrace:
    """The messages of one call, with the number whose leg each belongs to."""

    uniqueid: str
    entries: list[tuple[str, Entry]]

    def trace(self) -> CallTrace:
        ordered = sorted(self.entries, key=lambda one: one[1].at)
        return CallTrace(self.uniqueid, tuple(wire_message(entry, number) for number, entry in ordered))


@dataclass(slots=True)
class RawWatched:
    number: str
    call_id: str
    leg: str
    entry: Entry


@dataclass(slots=True)
class Gathered:
    failures: list[Failure] = field(default_factory=list)
    periods: list[Period] = field(default_factory=list)
    traces: list[RawTrace] = field(default_factory=list)
    watched: list[RawWatched] = field(default_factory=list)

    def write(self, store: EvidenceStore) -> bool:
        """Write a portion of each that is not written yet, and say whether there is more. May be called again after
        :class:`~sipcore.ports.StoreUnavailable`, and then counts nothing twice that was written before."""
        if self.failures:
            store.write_attempts([failure.attempt() for failure in self.failures[:FAILURES]])
            del self.failures[:FAILURES]
        if self.periods:
            store.write_periods(self.periods[:PERIODS])
            del self.periods[:PERIODS]
        if self.traces:
            store.write_traces([raw.trace() for raw in self.traces[:TRACES]])
            del self.traces[:TRACES]
        if self.watched:
            store.write_watched([
                Watched(raw.number, raw.call_id, wire_message(raw.entry, raw.leg)) for raw in self.watched[:WATCHED]
            ])
            del self.watched[:WATCHED]
        return bool(self.failures or self.periods or self.traces or self.watched)
