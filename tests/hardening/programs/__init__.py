"""Attack and fault programs: black box, against a ``runsip`` of their own. Each module here is one program with

    def measure(scale: Scale) -> Iterator[Figure]

``python -m tests.hardening`` runs them one after the other and prints the table of figure against goal."""

from __future__ import annotations

from dataclasses import dataclass

ORDER = (
    "conformance", "torture", "fuzz", "digest", "enumeration", "amplification", "hijack", "forks", "injection", "media",
    "floods", "network", "kill", "store", "clock", "drain", "avalanche", "expiry",
)


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    measured: str
    goal: str
    met: bool
    timed: bool = False
    """It depends on how busy the machine is: ``--quick`` shows it and does not fail for it."""
    cause: str = ""
    """Of a miss: why, or where; of a known one what it would take."""
    of_others: bool = False
    """It is known that a program of others misses it (an rtpengine): shown as missed, and not counted."""


@dataclass(frozen=True)
class Scale:
    """How much is done. The programs are seeded: the same seed sends the same bytes in the same order."""

    quick: bool
    seed: int = 1

    def of(self, whole: int, quick: int) -> int:
        return quick if self.quick else whole
