"""Call records on their way to the store: each change marks a row, and all marked rows are written together, in the
store's thread, as soon as it has time. What is marked again meanwhile is written once more.

Nobody waits for a record, and each writing is a transaction that the loop shares its processor with: a busy server
gathers the changes of all calls for a moment. On an idle one the first change of a call is written at once."""

from __future__ import annotations

import asyncio
import threading

from sipcore.calls.records import CallRow, CallStore
from sipcore.log import Log
from sipcore.ports import StoreUnavailable
from sipcore.store import Queue

GATHERED = 0.1
"""Seconds from one handing over of changed rows to the next. With every change on its own, 300 calls a second cost a
third more processor time, most of it in the two threads waiting for each other."""


class RecordBook:
    """``loop``: that of whoever calls :meth:`changed`, where it is not the running one."""

    def __init__(
        self, store: Queue, calls: CallStore, log: Log, loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self._store, self._calls, self._log, self._loop = store, calls, log, loop
        self._not_before = 0.0
        self._gathered = GATHERED
        self._waiting: asyncio.TimerHandle | None = None
        self._news: dict[str, CallRow] = {}
        self._marked: dict[str, CallRow] = {}
        self._lock = threading.Lock()
        self._asked = False

    def changed(self, row: CallRow) -> None:
        """Write this row soon, as it is when the loop has done what it is about."""
        if not self._news:
            loop = self._loop or asyncio.get_running_loop()
            now = loop.time()
            if now >= self._not_before:
                self._not_before = now + self._gathered
                loop.call_soon(self._hand_over)
            else:
                self._waiting = loop.call_at(self._not_before, self._hand_over)
                self._not_before += self._gathered
        self._news[row.uniqueid] = row

    def gather_no_more(self) -> None:
        """The process ends: what waits is written now, and what comes after this at once."""
        self._gathered = self._not_before = 0.0
        if self._waiting is not None:
            self._waiting.cancel()
        self._hand_over()

    def _hand_over(self) -> None:
        self._waiting = None
        news, self._news = self._news, {}
        if not news:
            return
        with self._lock:
            for uniqueid, row in news.items():
                self._marked[uniqueid] = row.copy()  # the call goes on while the store's thread writes
            if self._asked:
                return
            self._asked = True
        self._store.call(self._write)

    def _write(self) -> None:
        """In the store's thread. A store that is away leaves the rows marked, and this is tried again."""
        with self._lock:
            self._asked = False
            rows, self._marked = self._marked, {}
        try:
            self._write_some(list(rows.values()))
        except BaseException:
            with self._lock:
                self._marked = {**rows, **self._marked}
                self._asked = True
            raise

    def _write_some(self, rows: list[CallRow]) -> None:
        try:
            self._calls.write_calls(rows)
        except StoreUnavailable:
            raise
        except Exception:  # bad data, or a bug of ours: it must not cost all records that come after it
            if len(rows) <= 1:
                for row in rows:
                    self._log.error(f"The record of call {row.uniqueid} could not be stored")
                return
            middle = len(rows) // 2
            self._write_some(rows[:middle])
            self._write_some(rows[middle:])
