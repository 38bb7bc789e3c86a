"""One batch of REGISTERs against the store: read together, decided one by one, written and committed together.

A request whose row the store refuses must not hurt its neighbours: the batch is halved until only the guilty
one is left, and only that one is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter

from sipcore.authentication import is_from_here, prove
from sipcore.nonce_counts import NonceCounts
from sipcore.ports import Account, Binding, BindingId, Directory, StoreRejected
from sipcore.registrar import (
    Accepted,
    Busy,
    Cause,
    Decision,
    Policy,
    Refused,
    Registration,
    Stale,
    register,
)

_by_id = attrgetter("account_id", "key")


class RegistrationBatch:
    """Runs in the store's thread. ``decoy_ha1``, by algorithm, stands in for numbers that do not exist. ``draw``: a
    number at random from 0 to less than 1, another one for each REGISTER. ``counts``: of the nonces used; without it,
    those on record alone are looked at."""

    def __init__(
        self,
        directory: Directory,
        policy: Policy,
        decoy_ha1: dict[str, str],
        wall: Callable[[], float],
        draw: Callable[[], float] = lambda: 0.0,
        counts: NonceCounts | None = None,
    ) -> None:
        self._directory = directory
        self._policy = policy
        self._decoy_ha1 = decoy_ha1
        self._wall = wall
        self._draw = draw
        self._counts = counts
        self._all_proven = True  # in the batch before

    def __call__(self, asked: Sequence[Registration]) -> list[Decision]:
        """The decisions, in the order asked; every :class:`Accepted` among them is on disk when this returns.

        Raises :class:`~sipcore.ports.StoreUnavailable`; then nothing of the batch has been answered, and the
        whole batch can be given again."""
        if self._all_proven:
            try:
                return self._at_once(asked)
            except StoreRejected:
                pass  # whose it is will be found
        accounts = self._directory.accounts({request.number for request in asked})
        decisions, proven = self._prove(asked, accounts)
        if proven:
            by_id = {account.id: account for account in accounts.values()}
            self._settle(asked, by_id, proven, decisions)
        return [decision for decision in decisions if decision is not None]

    def _at_once(self, asked: Sequence[Registration]) -> list[Decision]:
        """One journey less: accounts are locked before their passwords are compared. Not while somebody tries some: he
        shall lock nothing."""
        with self._directory.registering():
            accounts, enabled = self._directory.lock_accounts({request.number for request in asked})
            decisions, proven = self._prove(asked, accounts)
            by_id = {account.id: account for account in accounts.values()}
            used = self._decide(asked, by_id, proven, enabled, decisions)
        self._use(used)
        return [decision for decision in decisions if decision is not None]

    def _prove(
        self, asked: Sequence[Registration], accounts: Mapping[str, Account]
    ) -> tuple[list[Decision | None], dict[int, list[int]]]:
        """Who is refused, and of each account the places of the others."""
        decisions: list[Decision | None] = [None] * len(asked)
        proven: dict[int, list[int]] = {}
        self._all_proven = True
        for index, request in enumerate(asked):
            account = accounts.get(request.number)
            from_here = account is not None and account.hidden and is_from_here(request.flow) and not request.path
            refusal = prove(request.credentials, request.method, account, self._decoy_ha1, from_here)
            if refusal is not None:
                decisions[index] = refusal
                self._all_proven = False
            elif account is not None:
                proven.setdefault(account.id, []).append(index)
        return decisions, proven

    def _settle(
        self,
        asked: Sequence[Registration],
        by_id: dict[int, Account],
        proven: dict[int, list[int]],
        decisions: list[Decision | None],
    ) -> None:
        try:
            self._write_together(asked, by_id, proven, decisions)
        except StoreRejected:
            for part in _halves(proven):
                self._settle(asked, by_id, part, decisions)
            if len(proven) == 1:
                ((_account_id, indexes),) = proven.items()
                if len(indexes) == 1:
                    decisions[indexes[0]] = Refused(400, Cause.MALFORMED)
                    self._use([asked[indexes[0]]])

    def _write_together(
        self,
        asked: Sequence[Registration],
        by_id: dict[int, Account],
        proven: dict[int, list[int]],
        decisions: list[Decision | None],
    ) -> None:
        """All requests of the accounts in ``proven``, those of one account folded in the order they came."""
        with self._directory.registering():
            # Locked first: a disable or delete that commits meanwhile wins (the next batch sees it), one that
            # comes later waits for us.
            enabled = self._directory.lock_enabled(sorted(proven))
            used = self._decide(asked, by_id, proven, enabled, decisions)
        self._use(used)

    def _decide(
        self,
        asked: Sequence[Registration],
        by_id: dict[int, Account],
        proven: dict[int, list[int]],
        enabled: Mapping[int, Sequence[Binding]],
        decisions: list[Decision | None],
    ) -> list[Registration]:
        """Those in ``proven``, in the transaction that has locked their accounts; returns whose counts are used when
        it is committed."""
        directory, now = self._directory, self._wall()
        decided: dict[int, Decision] = {}
        used: list[Registration] = []
        changed: list[Binding] = []
        removed: list[BindingId] = []
        for account_id, indexes in proven.items():
            stored = enabled.get(account_id)
            if stored is None:
                for index in indexes:
                    decided[index] = Busy()
                continue
            rows = {b.key: b for b in stored} if stored else {}
            counted: list[Registration] = []
            touched: dict[str, Binding] = {}
            forgotten: set[BindingId] = set()
            for index in indexes:
                one = asked[index]
                if self._is_spent(one, rows, counted):
                    decided[index] = Stale()
                    continue
                decision = register(one, by_id[account_id], [*rows.values()], self._policy, now, self._draw())
                decided[index] = decision
                counted.append(one)
                if isinstance(decision, Accepted):
                    for binding in decision.changed:
                        rows[binding.key] = touched[binding.key] = binding
                    for binding_id in decision.removed:
                        rows.pop(binding_id.key, None)
                        forgotten.add(binding_id)
                nonce, nc = one.credentials.nonce, one.nc
                for key, binding in rows.items():
                    # What changes nothing else (a question, a refusal) uses its count up too, after a restart too.
                    if binding.nonce == nonce and binding.nc < nc:
                        rows[key] = touched[key] = replace(binding, nc=nc)
            used += counted
            changed += touched.values()
            if forgotten:
                removed += [b for b in forgotten if b.key not in touched]
        if changed or removed:
            # Sorted: two writers that take their rows in different orders would deadlock.
            changed.sort(key=_by_id)
            directory.write(changed, sorted(removed))
        for index, decision in decided.items():
            decisions[index] = decision
        return used

    def _is_spent(self, asked: Registration, rows: Mapping[str, Binding], counted: Sequence[Registration]) -> bool:
        """Whether its nonce was used with this count or a higher one, or is too old to tell. ``rows`` and ``counted``
        (in the same batch): of the same account."""
        if self._counts is None:
            return False  # register() looks at the rows
        nonce, highest = asked.credentials.nonce, self._counts.highest(asked.credentials)
        for row in rows.values():
            if row.nonce == nonce and (highest is None or row.nc > highest):
                highest = row.nc
        for one in counted:
            if one.credentials.nonce == nonce and (highest is None or one.nc > highest):
                highest = one.nc
        return highest is None or asked.nc <= highest

    def _use(self, asked: Iterable[Registration]) -> None:
        if self._counts is not None:
            for one in asked:
                self._counts.use(one.credentials)


def _halves(proven: dict[int, list[int]]) -> list[dict[int, list[int]]]:
    """Split by account; a single account's requests are split in their order; a single request not at all."""
    if len(proven) > 1:
        items = list(proven.items())
        middle = len(items) // 2
        return [dict(items[:middle]), dict(items[middle:])]
    ((account_id, indexes),) = proven.items()
    if len(indexes) > 1:
        middle = len(indexes) // 2
        return [{account_id: indexes[:middle]}, {account_id: indexes[middle:]}]
    return []
