"""A 2xx to an INVITE goes out again and again until its ACK comes (RFC 3261 section 13.3.1.4), also when nobody waits
for it any more: a call that is over has to be confirmed all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sipcore.protocol.message import Request

T1, T2 = 0.5, 4.0
ACK_SECONDS = 64 * T1
"""How long a 2xx is repeated before the call ends with ``ack_lost``."""


class AckLost(Exception):
    """The ACK to a 2xx never came: the phone cannot hear us, or we cannot hear it."""


def _nothing() -> None:
    """Nobody is to be told any more."""


class Confirming:
    """One 2xx that was sent. ``again`` sends it once more; ``settled`` is called when that has ended, and ``lost``
    when it was in vain.

    No future with callbacks: each would be a turn of the loop, and every call has this once or twice."""

    __slots__ = ("_again", "_end", "_interval", "_loop", "_settled", "_timer", "_waiting", "ack", "dropped", "lost")

    def __init__(
        self, again: Callable[[], None], settled: Callable[[], None], lost: Callable[[], None] = _nothing
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._again, self._settled, self.lost = again, settled, lost
        self._interval, self._end = T1, self._loop.time() + ACK_SECONDS
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(T1, self._repeat)
        self._waiting: list[asyncio.Future[Request]] = []
        self.ack: Request | None = None
        self.dropped = False
        """Whether the leg has ended without it, and nobody waits for it any more."""

    async def confirmed(self) -> Request:
        """Wait for the ACK. Who stops waiting does not stop the repetitions. Raises :class:`AckLost`, and
        CancelledError when the leg ends before."""
        if self.ack is not None:
            return self.ack
        mine: asyncio.Future[Request] = self._loop.create_future()
        if self.dropped:
            mine.cancel()
        elif self._timer is None:
            mine.set_exception(AckLost())
        else:
            self._waiting.append(mine)
        return await mine

    def acknowledged(self, ack: Request) -> None:
        self.ack, self.lost = ack, _nothing
        for one in self._stop():
            one.set_result(ack)

    def drop(self) -> None:
        """The phone has hung up: its ACK will not come."""
        self.dropped, self.lost = True, _nothing
        for one in self._stop():
            one.cancel()

    def _stop(self) -> list[asyncio.Future[Request]]:
        """Who waits still."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._settled()
        self._settled = self._again = _nothing  # both know this object: without them nothing is left to the collector
        waiting, self._waiting = self._waiting, []
        return [one for one in waiting if not one.done()]

    def _repeat(self) -> None:
        now = self._loop.time()
        if now >= self._end - 0.001:
            for one in self._stop():
                one.set_exception(AckLost())
            self.lost()
            self.lost = _nothing
            return
        self._again()
        self._interval = min(2 * self._interval, T2)
        self._timer = self._loop.call_at(min(now + self._interval, self._end), self._repeat)
