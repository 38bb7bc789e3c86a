"""Who failed lately, by address and number, and who is known good there. Everything has a limit; times are seconds
since 1970, as arguments."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

MOST_SOURCES, MOST_PAIRS, PAIRS_OF_A_SOURCE = 30_000, 60_000, 64
"""About 1 kB each: who owns a /48 of IPv6 has 65,536 sources."""

MARKS_KEPT = 8

Mark = int
"""What tells two devices of one number apart: a port, or the Call-ID of a registration. Of that only the hash is kept,
because a stranger makes it as long as he likes."""


def marks_of(call_id: str, port: int) -> list[Mark]:
    """Those that are known; "" and 0 are none."""
    return [mark for mark in (hash(call_id) if call_id else 0, port) if mark]


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a request: the address of the phone (behind a trusted proxy its own), and the number it claims, in
    lower case. ``port`` 0: not known."""

    host: str
    number: str
    call_id: str = ""
    port: int = 0
    user_agent: str = ""

    @property
    def marks(self) -> list[Mark]:
        return marks_of(self.call_id, self.port)


@dataclass(slots=True, eq=False)
class Pair:
    """One number at one address."""

    failures: int = 0  # in a row
    failed_at: float = 0.0
    slow_until: float = 0.0
    guesses: bool = False  # the last one was a guess, as far as can be told
    unprovable: bool = False  # there was nothing that its password could be compared with
    tries: int = 0  # since tries_from; those refused unseen too
    tries_from: float = 0.0
    failing: list[Mark] = field(default_factory=list)  # of the devices that failed

    def remember_marks(self, marks: Iterable[Mark]) -> None:
        self.failing += [mark for mark in marks if mark not in self.failing]
        del self.failing[:-MARKS_KEPT]


@dataclass(slots=True, eq=False)
class Source:
    """One address (or /64)."""

    pairs: dict[str, Pair] = field(default_factory=dict)  # who failed last at the end
    failed_at: float = 0.0
    asking: bool = False  # nothing from there is evaluated until the store has answered
    asked_at: float = float("-inf")
    known: dict[str, set[Mark]] = field(default_factory=dict)
    """The numbers that are known good here, with the marks of their devices that are registered now."""

    def knows(self, sender: Sender) -> bool:
        """Whether it is a device that is registered here, and not itself one that fails."""
        known = self.known.get(sender.number)
        if not known:
            return False
        pair = self.pairs.get(sender.number)
        failing = pair.failing if pair is not None else ()
        return any(mark in known for mark in sender.marks) and not any(mark in failing for mark in sender.marks)

    def guessed(self, since: float) -> list[str]:
        """The numbers that somebody guessed at since then, the latest last."""
        return [
            number
            for number, pair in self.pairs.items()
            if pair.guesses and pair.failed_at > since and number not in self.known
        ]


class Failures:
    """All of them, by ``source_key``; whoever failed longest ago goes when there are too many."""

    def __init__(self) -> None:
        self._sources: OrderedDict[str, Source] = OrderedDict()
        self._pairs = 0

    def __len__(self) -> int:
        return len(self._sources)

    @property
    def pairs(self) -> int:
        return self._pairs

    def get(self, key: str) -> Source | None:
        return self._sources.get(key)

    def source(self, key: str) -> Source:
        source = self._sources.get(key)
        if source is None:
            source = self._sources[key] = Source()
            while len(self._sources) > MOST_SOURCES or self._pairs > MOST_PAIRS:
                _key, gone = self._sources.popitem(last=False)
                self._pairs -= len(gone.pairs)
        return source

    def failed(self, key: str, number: str, now: float) -> Pair:
        source = self.source(key)
        source.failed_at = now
        self._sources.move_to_end(key)
        pair = source.pairs.pop(number, None)
        if pair is None:
            pair = Pair()
            self._pairs += 1
            if len(source.pairs) >= PAIRS_OF_A_SOURCE:
                del source.pairs[next(iter(source.pairs))]
                self._pairs -= 1
        source.pairs[number] = pair
        return pair

    def forget_numbers(self, key: str, numbers: Iterable[str]) -> None:
        source = self._sources.get(key)
        if source is None:
            return
        for number in numbers:
            if source.pairs.pop(number, None) is not None:
                self._pairs -= 1

    def forget_everywhere(self, numbers: set[str]) -> None:
        for key, source in self._sources.items():
            self.forget_numbers(key, numbers & source.pairs.keys())

    def forget_source(self, key: str) -> None:
        source = self._sources.pop(key, None)
        if source is not None:
            self._pairs -= len(source.pairs)

    def forget_older(self, before: float, most: int = 1000) -> None:
        """At most ``most`` are looked at."""
        oldest = [key for (key, source), _ in zip(self._sources.items(), range(most), strict=False)
                  if source.failed_at < before and not source.asking]
        for key in oldest:
            self.forget_source(key)

    def clock_set(self, moved: float) -> None:
        for source in self._sources.values():
            source.failed_at += moved
            source.asked_at += moved
            for pair in source.pairs.values():
                pair.failed_at += moved
                pair.slow_until += moved
                pair.tries_from += moved
