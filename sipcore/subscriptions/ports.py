"""How subscriptions are kept, as plain synchronous functions over lists.

The Django side (``pbx/subscriptions/store.py``) fulfils :class:`SubscriptionStore`; tests fulfil it with a dictionary.
Times are seconds since 1970 (UTC) as floats, as everywhere in the engine."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

CALL_ID_LIMIT, TAG_LIMIT, EVENT_ID_LIMIT = 255, 128, 64
URI_LIMIT = 512
ROUTES_LIMIT = 10
"""The widths of the columns, and the longest route set. What is longer is refused: cut, it would not lead back."""


@dataclass(slots=True)
class SubscriptionRow:
    """One subscription, known by ``local_tag`` (ours, unique). ``next_seq``: no NOTIFY up to this CSeq has been sent
    under a row of before; the engine goes on from there after a restart."""

    local_tag: str
    remote_tag: str
    call_id: str
    event: str
    event_id: str
    subscriber_id: int
    subscriber: str  # its number
    resource_id: int
    resource: str  # its number
    local_uri: str
    remote_uri: str
    remote_target: str
    next_seq: int
    remote_seq: int
    transport: str
    remote_host: str
    remote_port: int
    local_host: str
    local_port: int
    connection: str
    node: str
    worker: int
    expires_at: float
    route_set: list[str] = field(default_factory=list)


class SubscriptionStore(Protocol):
    """Every method raises :class:`~sipcore.ports.StoreUnavailable` when the store is away or locked; all may be done
    twice."""

    def write_subscriptions(self, changed: Sequence[SubscriptionRow], removed: Collection[str]) -> None:
        """One upsert and one delete (by local tag). Raises :class:`~sipcore.ports.StoreRejected` on bad data, also when
        an extension has been deleted meanwhile."""

    def living_subscriptions(self, node: str, worker: int, now: float) -> list[SubscriptionRow]:
        """Those of this process that have not expired, the newest first, of subscribers that are
        enabled. Expired ones are removed on the way."""

    def shift_subscriptions(self, node: str, seconds: float) -> None:
        """The clock of the machine was set: move all ends along."""
