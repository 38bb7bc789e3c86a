"""Call records on their way to the store: each change marks a row, and all marked rows are written together, in the
store's thread, as soon as it has time. What is marked again meanwhile is written once more."""

from __future__ import annotations

import threading
from dataclasses import replace

from sipcore.calls.records import CallRow, CallStore
from sipcore.log import SipLog
from sipcore.ports import StoreUnavailable
from sipcore.store import Store


class RecordBook:
    def __init__(self, store: Store, calls: CallStore, log: SipLog) -> None:
        self._store, self._calls, self._log = store, calls, log
        self._marked: dict[str, CallRow] = {}
        self._lock = threading.Lock()
        self._asked = False

    def changed(self, row: CallRow) -> None:
        """Write this row soon."""
        with self._lock:
            # A copy: the call goes on while the store's thread writes.
            self._marked[row.uniqueid] = replace(
                row, legs=[replace(leg) for leg in row.legs], media=[replace(media) for media in row.media]
            )
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
