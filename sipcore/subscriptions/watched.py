"""The extensions that somebody watches, with their state as it was last looked up. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from sipcore.calls.ports import Party
from sipcore.ports import Binding
from sipcore.subscriptions.states import ExtensionState

if TYPE_CHECKING:
    from sipcore.subscriptions.subscription import Subscription

TURN_SECONDS, TURNS = 10.0, 6
"""Every watched extension and every subscriber is looked up once in a minute at least, a sixth every ten seconds: an
administrator may have disabled, renamed or deleted it, or removed a registration, without telling us."""


@dataclass(slots=True, eq=False)
class Watched:
    number: str
    account_id: int
    state: ExtensionState
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    until: float = 0.0


class WatchList:
    """Times in monotonic seconds, but ``wall`` where it is said."""

    def __init__(self) -> None:
        self._by_number: dict[str, Watched] = {}
        self._by_account: dict[int, Watched] = {}
        self._ends: list[tuple[float, int, Watched]] = []
        self._serial = count()
        self._round: list[str] = []
        self._share = 0
        self._next_turn = 0.0

    def __len__(self) -> int:
        return len(self._by_number)

    def get(self, number: str) -> Watched | None:
        return self._by_number.get(number)

    def of_account(self, account_id: int) -> Watched | None:
        return self._by_account.get(account_id)

    def add(self, party: Party, now: float, wall: float) -> Watched:
        """Begin to watch an extension; what is known of its registrations is taken up."""
        watched = self._by_number.get(party.number)
        if watched is None or watched.account_id != party.account_id:
            watched = self.glance(party, now, wall)
            self._by_number[party.number] = self._by_account[party.account_id] = watched
        return watched

    def glance(self, party: Party, now: float, wall: float) -> Watched:
        """An extension as it is now, not watched any further."""
        watched = Watched(party.number, party.account_id, ExtensionState())
        self.learn(watched, party.bindings if party.enabled else (), now, wall)
        return watched

    def drop(self, watched: Watched) -> None:
        """Nobody watches it any more."""
        if self._by_number.get(watched.number) is watched:
            del self._by_number[watched.number]
        if self._by_account.get(watched.account_id) is watched:
            del self._by_account[watched.account_id]

    def learn(self, watched: Watched, bindings: Iterable[Binding], now: float, wall: float) -> bool:
        """Note whether a phone of it can be reached; whether that has changed."""
        ends = [b.expires_at for b in bindings if b.unreachable_since is None and b.expires_at > wall]
        before = watched.state.registered
        registered = bool(ends)
        watched.state = ExtensionState(watched.state.conversations, registered)
        until = now + max(ends) - wall if registered else 0.0
        if until != watched.until:
            watched.until = until
            if until:
                heapq.heappush(self._ends, (until, next(self._serial), watched))
        return registered != before

    def expired(self, now: float, limit: int) -> list[str]:
        """Numbers whose last registration has ended by now, if it was not refreshed: to be looked up again."""
        numbers: list[str] = []
        while self._ends and self._ends[0][0] <= now and len(numbers) < limit:
            until, _, watched = heapq.heappop(self._ends)
            if watched.until == until and self._by_number.get(watched.number) is watched:
                numbers.append(watched.number)
        if len(self._ends) > 4 * len(self._by_number) + 1000:  # refreshed ones leave their old ends behind
            self._ends = [entry for entry in self._ends if entry[2].until == entry[0]]
            heapq.heapify(self._ends)
        return numbers

    def next_turn(self, others: Callable[[], Iterable[str]], now: float) -> list[str]:
        """The numbers to be looked up now; ``others`` are the subscribers'."""
        if now < self._next_turn:
            return []
        self._next_turn = now + TURN_SECONDS
        if not self._round:
            self._round = list({*self._by_number, *others()})
            self._share = -(-len(self._round) // TURNS)
        turn, self._round = self._round[: self._share], self._round[self._share :]
        return turn
