"""The switchboard in memory with its subscriptions, their rows, and a restart."""

from __future__ import annotations

import copy

from sipcore.ports import StoreRejected, StoreUnavailable
from sipcore.subscriptions.exchange import SubscriptionSettings
from sipcore.subscriptions.subscriptions import Subscriptions
from tests.engine.calls_under_test import CallWorld


class MemoryRows:
    def __init__(self) -> None:
        self.rows = {}
        self.away = False
        self.refuse = lambda row: False
        self.writes = 0

    def write_subscriptions(self, changed, removed) -> None:
        self._there()
        if any(self.refuse(row) for row in changed):
            raise StoreRejected("IntegrityError")
        self.writes += 1
        for tag in removed:
            self.rows.pop(tag, None)
        self.rows.update((row.local_tag, copy.deepcopy(row)) for row in changed)

    def living_subscriptions(self, node, worker, now):
        self._there()
        return [copy.deepcopy(row) for row in reversed(self.rows.values()) if row.expires_at > now]

    def shift_subscriptions(self, node, seconds) -> None:
        for row in self.rows.values():
            row.expires_at += seconds

    def _there(self) -> None:
        if self.away:
            raise StoreUnavailable("OperationalError")


class SubscriptionWorld(CallWorld):
    def __init__(self, rows: MemoryRows | None = None, **settings) -> None:
        super().__init__()
        self.rows = rows or MemoryRows()
        self._settings = settings
        self.subscriptions = self.board.subscriptions = Subscriptions(
            SubscriptionSettings(node="n1", **settings), self.board, self.store, self.rows, self.clock,
            self.loop.call_later,
        )
        self.loop.call_later(1.0, self._second)

    def _second(self) -> None:
        self.subscriptions.every_second()
        self.loop.call_later(1.0, self._second)

    def restart(self, seconds: float = 1.0) -> SubscriptionWorld:
        """A new process on the same rows; the phones notice nothing."""
        new = SubscriptionWorld(self.rows, **self._settings)
        new.loop.selector.clock = self.loop.time() + seconds
        new.directory.rows, new.directory.by_number = self.directory.rows, self.directory.by_number
        new.directory.names, new.wires = self.directory.names, self.wires
        new._ports, new._numbers = self._ports, self._numbers
        for wire in new.wires.values():
            wire._world = new
        self.subscriptions.stop()
        self.wires = {}
        self.close()
        new.loop.call_soon(new.subscriptions.load)
        return new
