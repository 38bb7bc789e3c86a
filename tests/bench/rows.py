"""What the parts of the benchmark hand to its one table: rows, what is missing, and goals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from statistics import median


@dataclass(frozen=True)
class Row:
    """One line: what ``subject`` showed in doing ``what``. 0 stands for what does not apply."""

    subject: str
    what: str
    rate: float = 0.0
    """A second."""
    server: float = 0.0
    """Microseconds of processor time for each, of all processes of the server."""
    database: float = 0.0
    """The same of the database's processes."""
    p50: float = 0.0
    """Milliseconds."""
    p99: float = 0.0
    load: float = 0.0
    """How much of a processor the load generator needed, 0 to 1: near 1 it was the limit itself."""
    value: float = 0.0
    """What fits no column, in ``unit``."""
    unit: str = ""
    worst: bool = False
    """Of ``value`` the largest of all rounds is told, not the median."""
    failed: float = 0.0
    """How many went wrong; any makes the exit code of the benchmark 1."""
    note: str = ""

    @property
    def cpu(self) -> float:
        """Microseconds, server and database together."""
        return self.server + self.database


@dataclass(frozen=True)
class Missing:
    """What cannot be measured here, and how to get it."""

    subject: str
    sentence: str
    broken: bool = False
    """It is there and did not work: the exit code of the benchmark is 1."""


LEFT_OUT = "left out with --quick"


@dataclass(frozen=True)
class Goal:
    text: str
    value: float | None
    """None: not to be told in this run, because of what is missing."""
    limit: float
    at_least: bool
    """Else at most."""
    unit: str = "times"

    @property
    def met(self) -> bool:
        return self.value is not None and (self.value >= self.limit if self.at_least else self.value <= self.limit)

    def __str__(self) -> str:
        verdict = "not told" if self.value is None else "met" if self.met else "MISSED"
        found = "      -" if self.value is None else f"{self.value:7.2f}"
        return f"{verdict:<9}{found} {self.unit:<5}  {'>=' if self.at_least else '<='} {self.limit:<5g} {self.text}"


Found = Mapping[tuple[str, str], Row]
"""The medians of all rounds, by subject and what."""


@dataclass(frozen=True)
class Scale:
    quick: bool
    only: frozenset[str] = frozenset()
    """Names of what was asked for; empty: everything."""

    def wants(self, *names: str) -> bool:
        return not self.only or not self.only.isdisjoint(names)


Rows = Iterator[Row | Missing]
Part = Callable[[Scale], Rows]
"""One round of everything it measures."""


def ratio(found: Found, ours: tuple[str, str], theirs: tuple[str, str], figure: str) -> float | None:
    """Ours divided by theirs, None where one of the two is missing."""
    if ours not in found or theirs not in found or not getattr(found[theirs], figure):
        return None
    return getattr(found[ours], figure) / getattr(found[theirs], figure)


def figure(found: Found, subject: str, what: str, name: str) -> float | None:
    row = found.get((subject, what))
    return getattr(row, name) if row is not None else None


def middle(rows: list[Row]) -> Row:
    """The medians of the rounds; of what failed the sum, of notes the last."""
    figures = {
        one.name: median(getattr(row, one.name) for row in rows)
        for one in fields(Row) if one.type == "float" and one.name != "failed"
    }
    last = rows[-1]
    if last.worst:
        figures["value"] = max(row.value for row in rows)
    return replace(last, **figures, failed=sum(row.failed for row in rows))
