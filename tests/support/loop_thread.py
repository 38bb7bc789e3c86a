"""An event loop in a thread, for sockets and timers that go on while a test waits for something else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class LoopThread:
    def __init__(self, name: str = "loop") -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True, name=name)
        self._thread.start()

    def __enter__(self) -> LoopThread:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def do(self, function: Callable[..., object], *arguments: object) -> None:
        """In the loop, soon; in the order in which it was asked for."""
        self.loop.call_soon_threadsafe(function, *arguments)

    def get(self, function: Callable[[], Result]) -> Result:
        """Run it in the loop and wait for what it gives."""

        async def run() -> Result:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(30)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()
