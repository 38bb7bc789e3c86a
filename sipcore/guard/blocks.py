"""What the guard has blocked, and what it asks of the place where that is kept.

The Django side (``pbx/diagnosis/guard_store.py``) fulfils :class:`GuardStore`; tests fulfil it with lists. Times are
seconds since 1970 (UTC) as floats, as everywhere in the engine."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

GUESSING, WRONG_PASSWORD, ADMINISTRATOR = "guessing", "wrong_password", "administrator"
REASONS = (GUESSING, WRONG_PASSWORD, ADMINISTRATOR)

SOURCE_LIMIT, NUMBER_LIMIT = 45, 64
"""The widths of the columns."""

NUMBERS_KEPT = 20
SPARED_KEPT = 2000
MOST_BLOCKS = 10_000
"""Rows, in force or remembered; the one that ends first goes first."""

REMEMBERED = 86400.0
"""Seconds for which a block that has ended is remembered: the next one of that address lasts twice as long."""


@dataclass(slots=True)
class Block:
    """An address, or one number from there, that is not answered. ``numbers``: the last few that were tried;
    ``spared``: those that go on, known good there or repaired meanwhile; ``tries``: since it was blocked."""

    source: str  # as source_key() makes it
    number: str  # in lower case; empty: all of them
    reason: str  # one of REASONS
    since: float
    until: float
    by: str = ""  # who did it; empty: the guard itself
    failures: int = 0
    numbers: list[str] = field(default_factory=list)
    spared: set[str] = field(default_factory=set)
    tries: int = 0
    last_try_at: float | None = None
    user_agent: str = ""

    def tried(self, number: str, user_agent: str, now: float) -> None:
        """Somebody tried in vain."""
        self.tries += 1
        self.last_try_at = now
        self.user_agent = user_agent or self.user_agent
        if number and (not self.numbers or self.numbers[-1] != number):
            self.numbers = [*(known for known in self.numbers if known != number), number][-NUMBERS_KEPT:]


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A phone that has signed in from ``source`` lately. ``call_id`` and ``port`` while it is registered, else empty
    and 0."""

    source: str
    number: str  # in lower case
    call_id: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class GuardRequest:
    """What an administrator asked for. ``unblock``: lift it; ``block``: read the row anew; ``pardon``: this number was
    repaired, whatever its address (``source`` is empty)."""

    id: int
    action: str
    source: str
    number: str


class GuardStore(Protocol):
    """Every method raises :class:`~sipcore.ports.StoreUnavailable` when the store is away; each may be done twice."""

    def load(self, now: float, source: str | None = None) -> list[Block]:
        """Those in force and those still remembered; of ``source`` alone where it is given."""

    def last_request(self) -> int:
        """The newest id of all requests; 0 when there is none."""

    def requests(self, after: int) -> list[GuardRequest]:
        """Those with a higher id, the oldest first; a few thousand at once."""

    def save(self, blocks: Sequence[Block]) -> None:
        """New blocks, and tell the other processes. Raises :class:`~sipcore.ports.StoreRejected`."""

    def update(self, blocks: Sequence[Block]) -> None:
        """What has been tried since; one that was lifted meanwhile stays lifted."""

    def known_at(self, sources: Collection[str], now: float) -> list[KnownDevice]:
        """The phones that signed in from these within the last week."""

    def sweep(self, now: float) -> None:
        """Delete what is remembered no longer, and what is past ``MOST_BLOCKS``."""


def source_key(host: str) -> str:
    """What is counted and blocked together: an IPv4 address, or the /64 of an IPv6 address (one customer's)."""
    return _ipv6_key(host) if ":" in host or len(host) > SOURCE_LIMIT else host


@lru_cache(maxsize=4096)
def _ipv6_key(host: str) -> str:
    try:
        address = ipaddress.IPv6Address(host.strip("[]").partition("/")[0].partition("%")[0])
    except ValueError:
        return host[:SOURCE_LIMIT]
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address.is_link_local or address.is_loopback:
        return str(address)  # the neighbours on one cable are not one customer
    return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"
