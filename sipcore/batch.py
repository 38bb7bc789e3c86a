"""One batch of REGISTERs against the store: read together, decided one by one, written and committed together.

A request whose row the store refuses must not hurt its neighbours: the batch is halved until only the guilty
one is left, and only that one is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sipcore.authentication import is_from_here, prove
from sipcore.ports import Account, Binding, BindingId, Directory, StoreRejected
from sipcore.registrar import (
    Accepted,
    Busy,
    Cause,
    Decision,
    Policy,
    Refused,
    Registration,
    register,
)


class RegistrationBatch:
    """Runs in the store's thread. ``decoy_ha1``, by algorithm, stands in for numbers that do not exist. ``draw``: a
    number at random from 0 to less than 1, another one for each REGISTER."""

    def __init__(
        self,
        directory: Directory,
        policy: Policy,
        decoy_ha1: dict[str, str],
        wall: Callable[[], float],
        draw: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._directory = directory
        self._policy = policy
        self._decoy_ha1 = decoy_ha1
        self._wall = wall
        self._draw = draw

    def __call__(self, asked: Sequence[Registration]) -> list[Decision]:
        """The decisions, in the order asked; every :class:`Accepted` among them is on disk when this returns.

        Raises :class:`~sipcore.ports.StoreUnavailable`; then nothing of the batch has been answered, and the
        whole batch can be given again."""
        accounts = self._directory.accounts({request.number for request in asked})
        decisions: list[Decision | None] = [None] * len(asked)
        proven: dict[int, list[int]] = {}
        for index, request in enumerate(asked):
            account = accounts.get(request.number)
            from_here = is_from_here(request.flow) and not request.path
            refusal = prove(request.credentials, request.method, account, self._decoy_ha1, from_here)
            if refusal is not None:
                decisions[index] = refusal
            elif account is not None:
                proven.setdefault(account.id, []).append(index)
        if proven:
            by_id = {account.id: account for account in accounts.values()}
            self._settle(asked, by_id, proven, decisions)
        return [decision for decision in decisions if decision is not None]

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

    def _write_together(
        self,
        asked: Sequence[Registration],
        by_id: dict[int, Account],
        proven: dict[int, list[int]],
        decisions: list[Decision | None],
    ) -> None:
        """All requests of the accounts in ``proven``, those of one account folded in the order they came."""
        directory, now = self._directory, self._wall()
        decided: dict[int, Decision] = {}
        with directory.transaction():
            # Locked first: a disable or delete that commits meanwhile wins (the next batch sees it), one that
            # comes later waits for us.
            enabled = directory.lock_enabled(sorted(proven))
            on_record = directory.bindings(enabled)
            changed: list[Binding] = []
            removed: list[BindingId] = []
            for account_id, indexes in proven.items():
                if account_id not in enabled:
                    for index in indexes:
                        decided[index] = Busy()
                    continue
                rows = {b.key: b for b in on_record.get(account_id, ())}
                touched: dict[str, Binding] = {}
                forgotten: set[BindingId] = set()
                for index in indexes:
                    decision = register(
                        asked[index], by_id[account_id], list(rows.values()), self._policy, now, self._draw()
                    )
                    decided[index] = decision
                    if isinstance(decision, Accepted):
                        for binding in decision.changed:
                            rows[binding.key] = touched[binding.key] = binding
                        for binding_id in decision.removed:
                            rows.pop(binding_id.key, None)
                            forgotten.add(binding_id)
                changed += touched.values()
                removed += [b for b in forgotten if b.key not in touched]
            if changed or removed:
                # Sorted: two writers that take their rows in different orders would deadlock.
                changed.sort(key=lambda b: b.id)
                directory.write(changed, sorted(removed))
        for index, decision in decided.items():
            decisions[index] = decision


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
