"""Subscriptions on their way to the store: each change marks a row, and all marked rows are written together, in the
store's thread, as soon as it has time. One that came and went meanwhile is never written."""

from __future__ import annotations

import threading
from collections.abc import Collection

from sipcore.log import Log
from sipcore.ports import StoreUnavailable
from sipcore.store import Queue
from sipcore.subscriptions.ports import SubscriptionRow, SubscriptionStore

ROWS_AT_ONCE = 500


class SubscriptionBook:
    def __init__(self, store: Queue, rows: SubscriptionStore, log: Log) -> None:
        self._store, self._rows, self._log = store, rows, log
        self._changed: dict[str, SubscriptionRow] = {}
        self._removed: set[str] = set()
        self._lock = threading.Lock()
        self._asked = False

    def changed(self, row: SubscriptionRow) -> None:
        with self._lock:
            self._changed[row.local_tag] = row
        self._ask()

    def removed(self, tag: str) -> None:
        with self._lock:
            self._changed.pop(tag, None)
            self._removed.add(tag)
        self._ask()

    def _ask(self) -> None:
        with self._lock:
            if self._asked:
                return
            self._asked = True
        self._store.call(self._write)

    def _write(self) -> None:
        """In the store's thread. A store that is away leaves all marked, and this is tried again."""
        with self._lock:
            self._asked = False
            tags = list(self._changed)[:ROWS_AT_ONCE]
            changed = {tag: self._changed.pop(tag) for tag in tags}
            removed, self._removed = self._removed, set()
        try:
            self._write_some(list(changed.values()), removed)
        except BaseException:
            with self._lock:
                gone = self._removed
                self._changed = {**{t: row for t, row in changed.items() if t not in gone}, **self._changed}
                self._removed = gone | removed
                self._asked = True
            raise
        if self._changed:
            self._ask()

    def _write_some(self, rows: list[SubscriptionRow], removed: Collection[str]) -> None:
        try:
            self._rows.write_subscriptions(rows, removed)
        except StoreUnavailable:
            raise
        except Exception:  # bad data, or a bug of ours: it must not cost all rows that come after it
            if len(rows) <= 1:  # its extension has just been deleted
                for row in rows:
                    self._log.info(f"A subscription of {row.subscriber} could not be stored")
                return
            middle = len(rows) // 2
            self._write_some(rows[:middle], removed)
            self._write_some(rows[middle:], ())
