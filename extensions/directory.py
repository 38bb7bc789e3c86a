"""What the SIP engine asks of the database: plain synchronous functions over lists (``sipcore.ports.Directory``)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import BooleanField, F, FilteredRelation, Func, Q, QuerySet
from django.db.models.functions import Lower

from extensions.binding_table import (
    AS_THE_ENGINE_HAS_THEM,
    TIMES,
    Seconds,
    as_bindings,
    as_stored,
    delete,
    upsert,
)
from extensions.hidden_account import forget_hidden_accounts
from extensions.models import Binding as BindingRow
from extensions.models import Extension
from pbx.prepared import AMONG, LATER, BriefTransaction, PreparedRead, rows_together
from pbx.store_access import engine_errors, own_connection, renew_connection, unit_of_work
from sipcore.calls.ports import Party
from sipcore.ports import Account, Binding, BindingId
from sipcore.protocol.headers import clean_text

R = TypeVar("R")
Rows = list[Sequence[Any]]

READ_AT_ONCE = 400
"""Names in one IN list: SQLite's limit is 999 parameters."""


class OfNumbers(Func):
    """Whether an extension is one of those with the numbers that come later, as ``number__any_of`` would say. On
    PostgreSQL these are looked up first: a join would be planned once and for all while the tables are small."""

    output_field = BooleanField()

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, Sequence[Any]]:
        template = f"%(expressions)s = ANY(ARRAY(SELECT id FROM {Extension._meta.db_table} WHERE number = ANY($1)))"
        return self.as_sql(compiler, connection, template=template, **extra)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, Sequence[Any]]:
        column, params = compiler.compile(self.get_source_expressions()[0])
        return f"{column} IN (SELECT id FROM {Extension._meta.db_table} WHERE number {AMONG})", [*params, LATER]


class DjangoDirectory:
    """``realm`` is the one of now; ``algorithms`` are those offered to phones. Of several workers each has a share of
    the bindings: when there were more before, nobody's are left over."""

    def __init__(self, realm: str, algorithms: Sequence[str], worker: int = 0, workers: int = 1) -> None:
        self._worker, self._workers = worker, workers
        self._realm = realm
        usable = FilteredRelation("credentials", condition=Q(credentials__algorithm__in=list(algorithms)))
        self._accounts = PreparedRead(
            "sip_accounts", "text",
            Extension.everything.alias(usable=usable).filter(number__any_of=LATER).order_by().values_list(
                "id", "number", "enabled", "max_devices",
                "usable__algorithm", "usable__username", "usable__realm", "usable__ha1", "hidden",
            ),
        )  # fmt: skip
        # skip_locked: a row that an administrator is saving at this moment is left to the next batch, so that
        # one open transaction never holds up everybody. Sorted, so that two workers cannot deadlock.
        self._enabled = PreparedRead(
            "sip_enabled", "int8",
            Extension.everything.select_for_update(no_key=True, skip_locked=True)
            .filter(pk__any_of=LATER, enabled=True).order_by("pk").values_list("pk"),
        )  # fmt: skip
        self._bindings = PreparedRead(
            "sip_bindings", "int8",
            BindingRow.objects.filter(extension__any_of=LATER).order_by().values_list(*AS_THE_ENGINE_HAS_THEM),
        )  # fmt: skip
        # The same by the numbers of the extensions, before it is known whose they are.
        self._enabled_of = PreparedRead(
            "sip_enabled_of", "text",
            Extension.everything.select_for_update(no_key=True, skip_locked=True)
            .filter(number__any_of=LATER, enabled=True).order_by("pk").values_list("pk"),
        )  # fmt: skip
        self._bindings_of = PreparedRead(
            "sip_bindings_of", "text",
            BindingRow.objects.filter(OfNumbers("extension_id")).order_by().values_list(*AS_THE_ENGINE_HAS_THEM),
        )  # fmt: skip
        self._ends = PreparedRead(
            "sip_ends", "int8",
            self._ours(BindingRow.objects.filter(extension__any_of=LATER)).order_by().values_list(
                "extension_id", "key", Seconds("expires_at")
            ),
        )  # fmt: skip
        self._parties = PreparedRead(
            "sip_parties", "text",
            Extension.everything.annotate(lower_number=Lower("number")).filter(lower_number__any_of=LATER)
            .order_by().values_list(
                "id", "number", "display_name", "enabled", "ring_seconds", "media_from_anywhere", "hidden",
                "lower_number",
            ),
        )  # fmt: skip
        self.brief: BriefTransaction | None = None

    @unit_of_work
    def accounts(self, usernames: Collection[str]) -> dict[str, Account]:
        return self._as_accounts(self._accounts.rows(list(usernames)))

    def _as_accounts(self, rows: Iterable[Sequence[Any]]) -> dict[str, Account]:
        accounts: dict[str, Account] = {}
        for id, number, enabled, max_devices, algorithm, username, realm, ha1, hidden in rows:
            account = accounts.get(number)
            if account is None:
                account = accounts[number] = Account(id, number, bool(enabled), max_devices, {}, False, bool(hidden))
            if algorithm is None:
                continue
            if username == number and realm == self._realm:
                account.ha1[algorithm] = ha1
            else:
                account.has_stale = True
        return accounts

    @unit_of_work
    def parties(self, numbers: Sequence[str], now: float) -> dict[str, Party]:
        """Those that exist, by the number asked for, capital and small letters being the same, with their living
        bindings (``sipcore.calls.ports.PartyDirectory``)."""
        wanted: dict[str, list[str]] = {}
        for number in numbers:
            wanted.setdefault(number.lower(), []).append(number)
        parties: dict[int, Party] = {}
        found: dict[str, Party] = {}
        for id, number, name, enabled, seconds, anywhere, hidden, lower in self._parties.rows(list(wanted)):
            party = parties[id] = Party(
                id, number, clean_text(name, 80), bool(enabled), seconds, bool(anywhere), hidden=bool(hidden)
            )
            found.update(dict.fromkeys(wanted[lower], party))
        for binding in as_bindings(self._bindings.rows(list(parties))):
            if binding.expires_at > now:
                parties[binding.account_id].bindings.append(binding)
        return found

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with engine_errors():
            renew_connection()
            with transaction.atomic():
                yield

    def registering(self) -> AbstractContextManager[None]:
        return _Registering(self)

    def lock_enabled(self, account_ids: Collection[int]) -> dict[int, list[Binding]]:
        ids = sorted(account_ids)
        with engine_errors():
            # The bindings are looked for when the locks are held.
            begin = self.brief.begin if self.brief is not None else ""
            locked, bindings = rows_together([self._enabled, self._bindings], ids, begin)
        return _of_each(locked, bindings)

    def lock_accounts(self, usernames: Collection[str]) -> tuple[dict[str, Account], dict[int, list[Binding]]]:
        names = sorted(usernames)
        with engine_errors():
            try:
                locked, accounts, bindings = self._locked(names)
            except (OperationalError, InterfaceError):
                if self.brief is None or not self.brief.begin or own_connection().vendor == "sqlite":
                    raise  # SQLite has waited for another writer already
                own_connection().close()  # as unit_of_work does: nothing of the transaction was done yet
                locked, accounts, bindings = self._locked(names)
        return self._as_accounts(accounts), _of_each(locked, bindings)

    def _locked(self, names: list[str]) -> list[Rows]:
        begin = self.brief.begin if self.brief is not None else ""
        if own_connection().vendor != "sqlite":
            return rows_together([self._enabled_of, self._accounts, self._bindings_of], names, begin)
        # The transaction itself is the lock.
        accounts, bindings = rows_together([self._accounts, self._bindings_of], names, begin)
        return [[(id,) for id, _number, enabled, *_rest in accounts if enabled], accounts, bindings]

    @unit_of_work
    def bindings(self, account_ids: Collection[int]) -> dict[int, list[Binding]]:
        found: dict[int, list[Binding]] = {}
        for binding in as_bindings(self._bindings.rows(list(account_ids))):
            found.setdefault(binding.account_id, []).append(binding)
        return found

    def write(self, changed: Sequence[Binding], removed: Sequence[BindingId]) -> None:
        with engine_errors():
            if removed:
                delete(removed)
            if changed:
                upsert(changed, self.brief.commit if self.brief is not None else "")

    @unit_of_work
    def living(
        self, node: str, now: float, after: BindingId | None = None, limit: int | None = None,
        before: float | None = None,
    ) -> Sequence[Binding]:  # fmt: skip
        rows = self._ours(BindingRow.objects.filter(node=node, expires_at__gt=_moment(now)))
        if before is not None:
            rows = rows.filter(Q(refreshed_at__lte=_moment(before)) | Q(refreshed_at__gt=_moment(now)))
        rows = rows.order_by("extension_id", "key")
        if after is not None:
            account, key = after
            rows = rows.filter(extension_id__gte=account)  # for the index: it does not see through the next line
            rows = rows.filter(Q(extension_id__gt=account) | Q(key__gt=key))
        return as_bindings(rows.values_list(*AS_THE_ENGINE_HAS_THEM)[:limit])

    @unit_of_work
    def still_there(self, ids: Collection[BindingId], now: float) -> set[BindingId]:
        # Asked once a second about a sixtieth of all phones, while others wait for the interpreter: through the ORM
        # 1,700 took 20 to 45 ms of it.
        ends = self._ends.rows(list({id.account_id for id in ids}))
        moment = as_stored(now)
        there = {(account, key) for account, key, end in ends if end > moment}
        return {id for id in ids if id in there}

    @unit_of_work
    def mark_reachable(self, ids: Collection[BindingId], since: float | None) -> None:
        moment = None if since is None else _moment(since)
        for keys in _slices(_primary_keys(ids)):
            BindingRow.objects.filter(pk__in=keys).update(unreachable_since=moment)

    @unit_of_work
    def end_connections(self, lost: Mapping[BindingId, str], now: float) -> None:
        moment = _moment(now)
        with transaction.atomic():  # one commit for a whole office whose router was switched off
            stored = _primary_keys(lost)
            for keys in _slices(stored):
                # On its own connection, or on another one that has ended too.
                names = {lost[stored[key]] for key in keys}
                rows = BindingRow.objects.filter(pk__in=keys, connection__in=names)
                rows.filter(expires_at__gt=moment).update(expires_at=moment)

    @unit_of_work
    def shift_times(self, node: str, seconds: float) -> None:
        by = timedelta(seconds=seconds)
        self._ours(BindingRow.objects.filter(node=node)).update(
            **{name: F(name) + by for name in TIMES}
        )

    @unit_of_work
    def sweep(self, before: float, limit: int) -> int:
        old = BindingRow.objects.filter(expires_at__lt=_moment(before)).order_by("expires_at")
        ids = list(old.values_list("pk", flat=True)[:limit])
        for part in _slices(ids):
            BindingRow.objects.filter(pk__in=part).delete()
        forget_hidden_accounts()
        return len(ids)

    def _ours(self, rows: QuerySet[BindingRow]) -> QuerySet[BindingRow]:
        """Those of this worker."""
        if self._workers == 1:
            return rows
        return rows.alias(share=F("worker") % self._workers).filter(share=self._worker)


class _Registering:
    """``DjangoDirectory.registering``: as a class, because a generator costs several times as much."""

    def __init__(self, directory: DjangoDirectory) -> None:
        self._directory = directory

    def __enter__(self) -> None:
        with engine_errors():
            renew_connection()
            self._directory.brief = BriefTransaction().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        brief, self._directory.brief = self._directory.brief, None
        with engine_errors() as errors:
            if brief is not None:
                brief.__exit__(kind, error, trace)
        errors.__exit__(kind, error, trace)


def _of_each(locked: Iterable[Sequence[Any]], bindings: Iterable[Sequence[Any]]) -> dict[int, list[Binding]]:
    found: dict[int, list[Binding]] = {pk: [] for pk, in locked}
    for binding in as_bindings(bindings):
        if binding.account_id in found:
            found[binding.account_id].append(binding)
    return found


def _slices(values: Collection[R]) -> Iterator[list[R]]:
    ordered = list(values)
    for start in range(0, len(ordered), READ_AT_ONCE):
        yield ordered[start : start + READ_AT_ONCE]


def _primary_keys(ids: Collection[BindingId]) -> dict[int, BindingId]:
    """Of those that are there, in an order that is the same for all writers."""
    wanted = set(ids)
    found: dict[int, BindingId] = {}
    for accounts in _slices({id.account_id for id in wanted}):
        rows = BindingRow.objects.filter(extension_id__in=accounts).order_by()
        named = ((pk, BindingId(*id)) for pk, *id in rows.values_list("pk", "extension_id", "key"))
        found.update((pk, id) for pk, id in named if id in wanted)
    return dict(sorted(found.items()))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
