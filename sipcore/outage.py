"""That the store is away, said once when it goes and once when it is back, however many phones ask meanwhile."""

from __future__ import annotations

from sipcore.clock import Clock
from sipcore.log import Log

SURE = 2
"""Looks in a row that must find it there: one that comes and goes is away."""


class Outage:
    """:meth:`look` is called once a second, and whenever it is known to be away."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log, self._clock = log, clock
        self._since: float | None = None
        self._back_at = 0.0
        self._looks = 0

    def look(self, available: bool) -> None:
        now = self._clock.now()
        if not available:
            self._looks = 0
            if self._since is None:
                self._since = now
                self._log.warning("The database does not answer: phones wait, or get 503, until it does")
        elif self._since is not None:
            if not self._looks:
                self._back_at = now
            self._looks += 1
            if self._looks >= SURE:
                self._log.info(f"The database answers again, after {self._back_at - self._since:.0f} s")
                self._since, self._looks = None, 0
