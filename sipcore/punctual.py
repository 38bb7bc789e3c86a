"""Answers that leave a fixed time after their question came, however long it took to find them.

Whether a number exists, has a password, is disabled: each costs the store a few microseconds more or less, and who
measures often enough sees them. So what is refused is refused at a moment that was certain beforehand. The loop's own
timers do not do for that: they wake it at whole milliseconds counted from when they were set, and so tell when the
work was done."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

AFTER = 0.02
"""Seconds after which a request with a wrong password is refused: far more than a look into the store takes."""

MOST = 50
"""That wait at once. What is more comes from a flood, in which nobody measures anything, and is not delayed."""


class Punctual:
    """``in_loop`` runs a function in the loop's thread, from any. Times are of the monotonic clock, in seconds."""

    def __init__(self, in_loop: Callable[[Callable[[], None]], None]) -> None:
        self._in_loop = in_loop
        self._waiting: SimpleQueue[tuple[float, Callable[[], None]]] = SimpleQueue()
        self._waiter: threading.Thread | None = None

    def at(self, due: float, action: Callable[[], None]) -> None:
        """Run ``action`` in the loop at ``due``; at once when that has passed or too many wait. The one that is due
        first must be given first. From the loop's thread."""
        if due <= time.monotonic() or self._waiting.qsize() >= MOST:
            action()
            return
        if self._waiter is None:
            self._waiter = threading.Thread(target=self._run, name="punctual", daemon=True)
            self._waiter.start()
        self._waiting.put((due, action))

    async def until(self, due: float) -> None:
        """The same for a coroutine."""
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.at(due, lambda: None if reached.done() else reached.set_result(None))
        await reached

    def _run(self) -> None:
        while True:
            due, action = self._waiting.get()
            time.sleep(max(0.0, due - time.monotonic()))
            self._in_loop(action)
