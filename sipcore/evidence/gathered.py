"""What is handed to the store at once: taken in the loop as it is, read and scrubbed in the store's thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sipcore.evidence.conversations import Entry
from sipcore.evidence.facts import CallTrace, EvidenceStore, Period, Watched
from sipcore.evidence.failures import Failure, wire_message


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

    def write(self, store: EvidenceStore) -> None:
        """Write what is not written yet: may be called again after :class:`~sipcore.ports.StoreUnavailable`, and
        then counts nothing twice that was written before."""
        parts: list[tuple[str, Callable[[], None]]] = [
            ("failures", lambda: store.write_attempts([failure.attempt() for failure in self.failures])),
            ("periods", lambda: store.write_periods(self.periods)),
            ("traces", lambda: store.write_traces([raw.trace() for raw in self.traces])),
            ("watched", lambda: store.write_watched(
                [Watched(raw.number, raw.call_id, wire_message(raw.entry, raw.leg)) for raw in self.watched]
            )),
        ]
        for name, write in parts:
            if getattr(self, name):
                write()
                setattr(self, name, [])
