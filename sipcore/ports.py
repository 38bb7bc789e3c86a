"""What the engine needs from outside, as plain synchronous functions over lists.

The Django side (``extensions/directory.py``) fulfils :class:`Directory`; tests fulfil it with a dictionary.
Times are seconds since 1970 (UTC) as floats everywhere in the engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from sipcore.protocol.flow import Flow

HIDDEN_PREFIX = "~doctor-"
"""Of the numbers of the doctor's accounts; no extension's number can have its first character."""


class StoreUnavailable(Exception):
    """The store cannot be read or written now. The phone is told 503, never 401, 403 or 404."""


class StoreRejected(Exception):
    """The store refuses this very data (a bad value, a broken constraint): the statement can be split."""


class BindingId(NamedTuple):
    """Names one binding for good: its extension and its key (unique together)."""

    account_id: int
    key: str


@dataclass(slots=True)
class Account:
    """An extension as the engine sees it. ``ha1`` holds, by algorithm, only what is usable now: made for this
    number and this realm. ``has_stale`` tells that there were rows, but for another number or realm."""

    id: int
    number: str
    enabled: bool
    max_devices: int
    ha1: dict[str, str]
    has_stale: bool
    hidden: bool = False  # the doctor's: usable from this machine alone


@dataclass(slots=True)
class Binding:
    """One contact of an address-of-record (RFC 3261 section 10.3). ``expires_at`` in the past: ended."""

    account_id: int
    key: str
    contact: str
    instance: str
    reg_id: int | None
    q: float | None
    path: str
    transport: str
    remote_host: str
    remote_port: int
    local_host: str
    local_port: int
    connection: str
    node: str
    worker: int
    call_id: str
    cseq: int
    user_agent: str
    nonce: str
    nc: int
    registered_at: float
    refreshed_at: float
    expires_at: float
    unreachable_since: float | None
    domain: str = ""  # the name of ours that the phone registered under

    @property
    def id(self) -> BindingId:
        return BindingId(self.account_id, self.key)

    @property
    def flow(self) -> Flow:
        """The way its REGISTER came on: whatever is sent to this device goes there, and nowhere else."""
        return Flow(
            self.transport,
            (self.local_host, self.local_port),
            (self.remote_host, self.remote_port),
            self.connection,
        )


class Directory(Protocol):
    """Every method raises :class:`StoreUnavailable` when the store is away or locked."""

    def accounts(self, usernames: Collection[str]) -> dict[str, Account]:
        """Those that exist, by number, with their usable HA1 values: one read for the whole batch."""

    def transaction(self) -> AbstractContextManager[None]:
        """What is done inside is durable when it is left without an exception, or undone."""

    def registering(self) -> AbstractContextManager[None]:
        """The same for one :meth:`lock_enabled` or :meth:`lock_accounts`, after it at most one :meth:`write`, and
        nothing else."""

    def lock_enabled(self, account_ids: Collection[int]) -> dict[int, list[Binding]]:
        """Which of these are still there and enabled; they stay so until the transaction ends. With all rows of
        each, ended ones too, so that an old REGISTER is known for one."""

    def lock_accounts(self, usernames: Collection[str]) -> tuple[dict[str, Account], dict[int, list[Binding]]]:
        """What :meth:`accounts` says of these, and :meth:`lock_enabled` of all of them, in one journey."""

    def bindings(self, account_ids: Collection[int]) -> dict[int, list[Binding]]:
        """All rows of these accounts, ended ones too."""

    def write(self, changed: Sequence[Binding], removed: Sequence[BindingId]) -> None:
        """One upsert and at most one delete. Raises :class:`StoreRejected` on bad data."""

    def living(
        self, node: str, now: float, after: BindingId | None = None, limit: int | None = None,
        before: float | None = None,
    ) -> Sequence[Binding]:  # fmt: skip
        """The bindings of this node that have not ended, for the keep-alive after a start, in the order of their ids:
        at most ``limit`` of those behind ``after``, and none that was refreshed between ``before`` and ``now``. (Later
        still is a time of a clock that went ahead.)"""

    def still_there(self, ids: Collection[BindingId], now: float) -> set[BindingId]:
        """Which of these bindings have neither ended nor been removed by an administrator."""

    def mark_reachable(self, ids: Collection[BindingId], since: float | None) -> None:
        """``since`` None: they answer again; else: they have not answered since then."""

    def end_connections(self, lost: Mapping[BindingId, str], now: float) -> None:
        """The connections of these bindings have ended, so they have. One that has been registered over another
        connection since is left alone. May be done twice."""

    def shift_times(self, node: str, seconds: float) -> None:
        """The clock of this machine was set: move the times of its bindings along."""

    def sweep(self, before: float, limit: int) -> int:
        """Delete at most ``limit`` bindings that ended before then; returns how many there were."""
