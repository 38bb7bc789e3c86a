"""Questions to the store that wait are asked together: one read for all calls that begin while it is busy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from sipcore.store import Store

T = TypeVar("T")


class _Group(Generic[T]):
    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.answer: asyncio.Future[dict[str, T]] = asyncio.get_running_loop().create_future()


class Lookups(Generic[T]):
    """``look_up`` runs in the store's thread. ``seconds``: how long the store is waited for."""

    def __init__(self, store: Store, look_up: Callable[[list[str]], dict[str, T]], seconds: float) -> None:
        self._store, self._look_up, self._seconds = store, look_up, seconds
        self._open: _Group[T] | None = None
        self._lock = threading.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, keys: Iterable[str]) -> dict[str, T]:
        """Those that exist. Raises :class:`~sipcore.ports.StoreUnavailable`."""
        keys = list(keys)
        with self._lock:
            group = self._open
            if group is None:
                group = self._open = _Group()
                task = asyncio.get_running_loop().create_task(self._ask(group))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            group.keys.update(keys)
        found = await asyncio.shield(group.answer)
        return {key: found[key] for key in keys if key in found}

    async def _ask(self, group: _Group[T]) -> None:
        def question() -> dict[str, T]:
            return self._look_up(self._close(group))

        try:
            found = await self._store.ask(question, self._seconds)
        except Exception as error:
            self._close(group)
            group.answer.set_exception(error)
            group.answer.exception()  # it may be that nobody waits any more
        else:
            group.answer.set_result(found)

    def _close(self, group: _Group[T]) -> list[str]:
        """Nobody joins this group any more."""
        with self._lock:
            if self._open is group:
                self._open = None
            return sorted(group.keys)
