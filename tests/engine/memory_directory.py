"""A Directory that is a dictionary, with the failures of a database at the press of a button."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

from sipcore.ports import Account, Binding, BindingId, StoreRejected, StoreUnavailable
from sipcore.protocol.digest import ALGORITHMS, make_ha1

REALM = "pbx.test"


class MemoryDirectory:
    def __init__(self) -> None:
        self.by_number: dict[str, Account] = {}
        self.rows: dict[BindingId, Binding] = {}
        self.away = False
        self.locked: set[int] = set()
        self.refuse = lambda binding: False
        self.calls: list[str] = []
        self.calls_written: dict = {}
        self.actions: list = []

    def add(self, number: str, password: str = "secret", **fields) -> Account:
        ha1 = {algorithm: make_ha1(algorithm, number, REALM, password) for algorithm in ALGORITHMS}
        account = Account(len(self.by_number) + 1, number, True, 5, ha1, False)
        for name, value in fields.items():
            setattr(account, name, value)
        self.by_number[number] = account
        return account

    def accounts(self, usernames: Collection[str]) -> dict[str, Account]:
        self._call("accounts")
        return {name: copy.deepcopy(self.by_number[name]) for name in usernames if name in self.by_number}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        before = copy.deepcopy(self.rows)
        try:
            yield
        except BaseException:
            self.rows = before
            raise
        self._call("commit")

    def registering(self) -> AbstractContextManager[None]:
        return self.transaction()

    def lock_enabled(self, account_ids: Collection[int]) -> dict[int, list[Binding]]:
        self._call("lock")
        ids = {account.id for account in self.by_number.values() if account.enabled}
        stored = self._stored(account_ids)
        return {id: stored.get(id, []) for id in (set(account_ids) & ids) - self.locked}

    def lock_accounts(self, usernames: Collection[str]) -> tuple[dict[str, Account], dict[int, list[Binding]]]:
        accounts = self.accounts(usernames)
        return accounts, self.lock_enabled([account.id for account in accounts.values()])

    def bindings(self, account_ids: Collection[int]) -> dict[int, list[Binding]]:
        self._call("bindings")
        return self._stored(account_ids)

    def _stored(self, account_ids: Collection[int]) -> dict[int, list[Binding]]:
        found: dict[int, list[Binding]] = {}
        for binding in self.rows.values():
            if binding.account_id in account_ids:
                found.setdefault(binding.account_id, []).append(copy.copy(binding))
        return found

    def write(self, changed: Sequence[Binding], removed: Sequence[BindingId]) -> None:
        self._call("write")
        assert [b.id for b in changed] == sorted(b.id for b in changed), "unsorted writers deadlock"
        if any(self.refuse(binding) for binding in changed):
            raise StoreRejected("DataError")
        for id in removed:
            self.rows.pop(id, None)
        self.rows.update((binding.id, copy.copy(binding)) for binding in changed)

    def living(
        self, node: str, now: float, after: BindingId | None = None, limit: int | None = None,
        before: float | None = None,
    ) -> Sequence[Binding]:  # fmt: skip
        self._call("living")
        behind = [b for id, b in sorted(self.rows.items()) if b.expires_at > now and (after is None or id > after)]
        return [b for b in behind if before is None or not before < b.refreshed_at <= now][:limit]

    def still_there(self, ids: Collection[BindingId], now: float) -> set[BindingId]:
        return {id for id in ids if id in self.rows and self.rows[id].expires_at > now}

    def mark_reachable(self, ids: Collection[BindingId], since: float | None) -> None:
        for id in ids:
            self.rows[id].unreachable_since = since

    def end_connections(self, lost: Mapping[BindingId, str], now: float) -> None:
        self._call("end")
        for id, connection in lost.items():
            if id in self.rows and self.rows[id].connection == connection:
                self.rows[id].expires_at = min(self.rows[id].expires_at, now)

    def shift_times(self, node: str, seconds: float) -> None:
        self._call("shift")
        for binding in self.rows.values():
            binding.expires_at += seconds
            binding.refreshed_at += seconds
            binding.registered_at += seconds

    def sweep(self, before: float, limit: int) -> int:
        old = [id for id, binding in self.rows.items() if binding.expires_at < before][:limit]
        for id in old:
            del self.rows[id]
        return len(old)

    # sipcore.calls.records.CallStore

    def write_calls(self, rows) -> None:
        self._call("write_calls")
        self.calls_written.update((row.uniqueid, copy.deepcopy(row)) for row in rows)

    def close_orphans(self, node: str, now: float) -> int:
        return 0

    def take_actions(self, node: str) -> list:
        actions, self.actions = self.actions, []
        return actions

    def sweep_calls(self, before: float, limit: int) -> int:
        return 0

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.away:
            raise StoreUnavailable("OperationalError")
