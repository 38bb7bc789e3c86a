"""What the engine in memory hands over as evidence, for tests of what is made of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sipcore.calls.tracing import LAST_WORDS
from sipcore.evidence.facts import Attempt, CallTrace, Period, Watched, WireMessage
from tests.engine.calls_under_test import CallWorld


@dataclass
class Kept:
    """Fulfils the writing half of ``sipcore.evidence.facts.EvidenceStore``."""

    attempts: list[Attempt] = field(default_factory=list)
    traces: dict[str, CallTrace] = field(default_factory=dict)
    watched: list[Watched] = field(default_factory=list)

    def write_attempts(self, attempts: list[Attempt]) -> None:
        self.attempts += attempts

    def write_periods(self, periods: list[Period]) -> None:
        pass

    def write_traces(self, traces: list[CallTrace]) -> None:
        self.traces.update((trace.uniqueid, trace) for trace in traces)

    def write_watched(self, messages: list[Watched]) -> None:
        self.watched += messages


def kept(world: CallWorld, wait: float = LAST_WORDS + 0.5) -> Kept:
    """What has come together, ``wait`` seconds of the world's clock from now."""
    world.pass_time(wait)
    store = Kept()
    gathered = world.core.recorder.take()
    while gathered.write(store):  # type: ignore[arg-type]
        pass
    return store


def only_trace(world: CallWorld) -> tuple[WireMessage, ...]:
    """The messages of the one call that left some."""
    [trace] = kept(world).traces.values()
    return trace.messages
