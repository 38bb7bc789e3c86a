"""Whether the phones of a call that is talked are still there: their session timers, and sound that has stopped.

One timer for a whole call, and work only when one of the three times has come: nearly every call ends before."""

from __future__ import annotations

import asyncio
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from sipcore.calls.leg import Leg
from sipcore.calls.session_timer import nobody

if TYPE_CHECKING:
    from sipcore.calls.call import Call


class Watch:
    """Begins at once; ends the call, with its cause, when a phone is gone. Times are the loop's."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._every = call.board.settings.media_seconds / 3
        self._listen_at = self._loop.time() + self._every
        self._due: dict[Leg, float] = {}
        for leg in call.legs:
            leg.timer.refreshed = partial(self._refreshed, leg)  # a ring, which stop() undoes
            self._due[leg] = self._loop.time() + leg.timer.patience
        self._wait()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for leg in self._due:
            leg.timer.refreshed = nobody
        self._due.clear()  # a leg may go on in another call: what it says is for the watch of that one

    def _refreshed(self, leg: Leg) -> None:
        """RFC 4028 section 10: refresh, or expect to be refreshed; the phone has just done so."""
        if leg in self._due:
            self._due[leg] = self._loop.time() + leg.timer.patience
            self._wait()

    def _wait(self) -> None:
        due = min(self._listen_at, *self._due.values())
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._look) if due < inf else None

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        for leg, due in list(self._due.items()):
            if due > now:
                continue
            if not leg.timer.ours:
                self._call.hang_up("session_expired")
                return
            self._due[leg] = inf
            self._call.spawn(self._refresh(leg))
        if self._listen_at <= now:
            self._listen_at = inf
            self._call.spawn(self._listen())
        self._wait()

    async def _refresh(self, leg: Leg) -> None:
        if await leg.alive():
            self._refreshed(leg)
        else:
            self._call.hang_up("session_expired")

    async def _listen(self) -> None:
        """A direction that was heard and has fallen silent, without hold: ask whether the phone is still there."""
        call, now = self._call, self._call.board.wall()
        for heard in await call.board.media.heard(call.id):
            leg = next((leg for leg in call.legs if leg.tag == heard.tag), None)
            if leg is None or heard.last_at is None or is_on_hold(leg):
                continue
            if now - heard.last_at > 3 * self._every and not await leg.alive():
                call.hang_up("media_timeout")
                return
        self._listen_at = self._loop.time() + self._every
        if self._due:
            self._wait()


def is_on_hold(leg: Leg) -> bool:
    """Whether the phone said that it sends nothing now (RFC 3264 section 8.4), or listens to somebody who holds it."""
    return any(
        word in sdp for sdp in (leg.sdp_from, leg.sdp_to) for word in (b"a=sendonly", b"a=inactive", b"a=recvonly")
    )
