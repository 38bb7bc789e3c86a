"""Call records on their way to the store: each change marks a row, and all marked rows are written together, in the
store's thread, as soon as it has time. What is marked again meanwhile is written once more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from sipcore.calls.records import CallRow, CallStore
from sipcore.log import SipLog
from sipcore.ports import StoreUnavailable
from sipcore.store import Store


def _soon(work: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(work)


class RecordBook:
    """``soon`` runs a function in the loop's thread, when the loop has its next turn."""

    def __init__(
        self, store: Store, calls: CallStore, log: SipLog, soon: Callable[[Callable[[], None]], object] = _soon
    ) -> None:
        self._store, self._calls, self._log, self._soon = store, calls, log, soon
        self._news: dict[str, CallRow] = {}
        self._marked: dict[str, CallRow] = {}
        self._lock = threading.Lock()
        self._asked = False

    def changed(self, row: CallRow) -> None:
        """Write this row soon, as it is when the loop has done what it is about."""
        if not self._news:
            self._soon(self._hand_over)
        self._news[row.uniqueid] = row

    def _hand_over(self) -> None:
        news, self._news = self._news, {}
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
