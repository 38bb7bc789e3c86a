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


class Confirming:
    """``again`` sends the 2xx once more; ``acknowledged`` ends that, with the ACK or however it is settled, and gets
    :class:`AckLost` in the end."""

    __slots__ = ("_acknowledged", "_again", "_end", "_interval", "_loop", "_timer")

    def __init__(self, acknowledged: asyncio.Future[Request], again: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._acknowledged, self._again = acknowledged, again
        self._interval, self._end = T1, self._loop.time() + ACK_SECONDS
        self._timer = self._loop.call_later(T1, self._repeat)
        acknowledged.add_done_callback(self._stop)

    def _stop(self, acknowledged: asyncio.Future[Request]) -> None:
        self._timer.cancel()

    def _repeat(self) -> None:
        now = self._loop.time()
        if now >= self._end - 0.001:
            self._acknowledged.set_exception(AckLost())
            self._acknowledged.exception()  # it may be that nobody waits
            return
        self._again()
        self._interval = min(2 * self._interval, T2)
        self._timer = self._loop.call_at(min(now + self._interval, self._end), self._repeat)
