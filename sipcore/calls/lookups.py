"""Questions to the store that wait are asked together: one visit for all calls that begin while it is busy, and for
one call that of its sender's account together with those of the two numbers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from sipcore.calls.ports import Party
from sipcore.ports import Account
from sipcore.protocol.headers import clean_text
from sipcore.store import Queue


@dataclass(slots=True)
class Found:
    """Those that exist. ``accounts`` by the names asked for, ``parties`` by the numbers, in lower case."""

    accounts: dict[str, Account] = field(default_factory=dict)
    parties: dict[str, Party] = field(default_factory=dict)


LONGEST = 64
"""Characters; no number has as many."""


def _can_exist(name: str) -> bool:
    """What no column takes would make the question of all others fail with it."""
    return len(name) <= LONGEST and clean_text(name, LONGEST) == name


class _Group:
    def __init__(self) -> None:
        self.names: set[str] = set()
        self.numbers: set[str] = set()
        self.waiting: list[asyncio.Future[Found]] = []


class Lookups:
    """``accounts`` and ``parties`` run in the store's thread. ``seconds``: how long the store is waited for."""

    def __init__(
        self,
        store: Queue,
        accounts: Callable[[Collection[str]], dict[str, Account]],
        parties: Callable[[list[str]], dict[str, Party]],
        seconds: float,
    ) -> None:
        self._store, self._accounts, self._parties, self._seconds = store, accounts, parties, seconds
        self._open: _Group | None = None
        self._lock = threading.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, names: Iterable[str] = (), numbers: Iterable[str] = ()) -> Found:
        """The accounts of these names (capital and small letters count) and the parties of these numbers (they do not);
        others may be among them. Raises :class:`~sipcore.ports.StoreUnavailable`."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Found] = loop.create_future()
        with self._lock:
            group = self._open
            if group is None:
                group = self._open = _Group()
                task = loop.create_task(self._ask(group))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            group.names.update(filter(_can_exist, names))
            group.numbers.update(number.lower() for number in numbers if _can_exist(number))
            group.waiting.append(found)
        return await found

    async def _ask(self, group: _Group) -> None:
        def question() -> Found:
            self._close(group)
            return Found(
                self._accounts(sorted(group.names)) if group.names else {},
                self._parties(sorted(group.numbers)) if group.numbers else {},
            )

        try:
            found = await self._store.ask(question, self._seconds)
        except Exception as error:
            self._close(group)
            for one in group.waiting:
                if not one.done():
                    one.set_exception(error)
        else:
            for one in group.waiting:
                if not one.done():
                    one.set_result(found)

    def _close(self, group: _Group) -> None:
        """Nobody joins this group any more."""
        with self._lock:
            if self._open is group:
                self._open = None
