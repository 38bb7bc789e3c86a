"""Time that does not jump. Deadlines follow the monotonic clock; the wall clock is read through it, so that
setting the machine's clock ends no registration. A step is noticed and told, so that stored times can be moved."""

from __future__ import annotations

import time
from typing import Protocol

STEP = 2.0
"""Seconds the wall clock may be away from ours before it counts as having been set."""


class Clock(Protocol):
    """``now()`` in seconds of the monotonic clock; ``wall()`` in seconds since 1970, steady until
    :meth:`follow`."""

    def now(self) -> float: ...

    def wall(self) -> float: ...

    def step(self) -> float:
        """How far the machine's clock has been set, in seconds, until :meth:`follow` is told so; 0 for mere drift,
        which is followed silently."""

    def follow(self, moved: float) -> None:
        """What is stored has been moved by so much: from now on :meth:`wall` tells the new time."""


class MachineClock:
    """See :class:`Clock`."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.monotonic() + self._offset

    def step(self) -> float:
        offset = time.time() - time.monotonic()
        moved = offset - self._offset
        if abs(moved) > STEP:
            return moved
        self._offset = offset
        return 0.0

    def follow(self, moved: float) -> None:
        self._offset += moved
