"""Provisional responses to the caller, reliable ones where it requires them (RFC 3262)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sipcore.protocol.message import Request

if TYPE_CHECKING:
    from sipcore.calls.call import Call

T1 = 0.5


class ReliableProvisional:
    """One at a time: the next reliable response waits until the one before is acknowledged (section 3). It is told for
    which call each time: one that it knew would be a ring, for the collector to find."""

    def __init__(self) -> None:
        self._rseq = 0
        self._waiting: asyncio.Future[None] | None = None
        self._queue: list[tuple[int, bytes]] = []
        self._task: asyncio.Task[None] | None = None
        self._last: tuple[int, bytes] | None = None

    def send(self, call: Call, status: int, sdp: bytes = b"") -> None:
        """Send a 101-199. The same again is not repeated."""
        invite = call.caller.invite
        if (status, sdp) == self._last or invite is None:
            return
        self._last = (status, sdp)
        if "100rel" not in invite.request.require:
            call.caller.provisional(status, sdp=sdp)
            return
        self._queue.append((status, sdp))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(call))

    def acknowledged(self, call: Call, prack: Request) -> bool:
        """Whether this PRACK belongs to the response that waits for one (section 3: RAck)."""
        fields = (prack.get("RAck") or "").split()
        waiting = self._waiting
        invite = call.caller.invite
        if waiting is None or waiting.done() or invite is None or len(fields) != 3:
            return False
        if fields != [str(self._rseq), str(invite.request.cseq.number), "INVITE"]:
            return False
        waiting.set_result(None)
        return True

    async def settled(self, over: asyncio.Future[None]) -> None:
        """Wait until nothing is unacknowledged: a 2xx comes after it (section 3). Or until the call is over."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task, over], return_when=asyncio.FIRST_COMPLETED)

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self, call: Call) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            status, sdp = self._queue.pop(0)
            self._rseq += 1
            self._waiting = loop.create_future()
            headers = [("Require", "100rel"), ("RSeq", str(self._rseq))]
            interval, end = T1, loop.time() + 64 * T1
            while True:
                if call.caller.invite is None:
                    return
                call.caller.provisional(status, sdp=sdp, headers=headers)
                try:
                    await asyncio.wait_for(asyncio.shield(self._waiting), interval)
                    break
                except TimeoutError:
                    interval *= 2
                    if loop.time() >= end:
                        call.hang_up("ack_lost")
                        return
