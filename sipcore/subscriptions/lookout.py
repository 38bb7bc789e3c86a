"""Looks out for news of the extensions that are watched: their calls, and whether a phone of theirs can be reached.

Runs in the loop's thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from sipcore.calls.ports import Party
from sipcore.clock import Clock
from sipcore.ports import Binding, StoreUnavailable
from sipcore.subscriptions.exchange import Exchange
from sipcore.subscriptions.notifier import Later
from sipcore.subscriptions.states import ExtensionState, conversations
from sipcore.subscriptions.subscription import Subscription
from sipcore.subscriptions.table import SubscriptionTable
from sipcore.subscriptions.watched import Watched

COALESCE_SECONDS = 0.02
"""Changes within so short a time are one."""

LOOKED_UP_AT_ONCE = 200


class Lookout:
    """``news``: a watched extension has another state; ``ended``: a subscription has lost its extension or its
    subscriber, with the reason that its phone is told."""

    def __init__(
        self,
        table: SubscriptionTable,
        exchange: Exchange,
        clock: Clock,
        later: Later,
        news: Callable[[Subscription], None],
        ended: Callable[[Subscription, str], None],
    ) -> None:
        self._table, self._exchange, self._clock, self._later = table, exchange, clock, later
        self._news, self._ended = news, ended
        self._called: set[str] = set()
        self._stale: set[str] = set()
        self._asking: set[str] = set()
        """Those that the store is being asked about, unless we have heard of them meanwhile."""
        self._looking_up = False
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    def calls_changed(self, numbers: Iterable[str]) -> None:
        watched = [number for number in numbers if self._table.watched.get(number) is not None]
        if watched:
            if not self._called:
                self._later(COALESCE_SECONDS, self._look)
            self._called.update(watched)

    def _look(self) -> None:
        numbers, self._called = self._called, set()
        self.look_at([w for number in numbers if (w := self._table.watched.get(number)) is not None])

    def look_at(self, watched: Collection[Watched]) -> None:
        """What calls they have now."""
        exchange = self._exchange
        found = conversations(exchange.calls.values(), exchange.call_of, {one.number for one in watched})
        for one in watched:
            if found[one.number] != one.state.conversations:
                one.state = ExtensionState(found[one.number], one.state.registered)
                self._tell_all(one)

    def _tell_all(self, watched: Watched) -> None:
        for subscription in watched.subscriptions.values():
            self._news(subscription)

    def registered(self, number: str, bindings: Iterable[Binding]) -> None:
        """A phone of this extension has registered, refreshed its registration or signed off; these are all that are
        registered now. Cheap when nobody watches it."""
        self._asking.discard(number)
        watched = self._table.watched.get(number)
        if watched is not None and self._table.watched.learn(
            watched, bindings, self._clock.now(), self._clock.wall()
        ):
            self._tell_all(watched)

    def registrations_changed(self, numbers: Iterable[str]) -> None:
        """Whether these extensions can be reached may have changed, in a way that only the store knows."""
        self._look_up({number for number in numbers if self._table.watched.get(number) is not None})

    def accounts_changed(self, account_ids: Iterable[int]) -> None:
        """The same, by the extensions' ids."""
        watched = [self._table.watched.of_account(id) for id in account_ids]
        self._look_up({one.number for one in watched if one is not None})

    def _look_up(self, numbers: Collection[str]) -> None:
        """Ask the store about these extensions, soon and together."""
        self._stale.update(numbers)
        if self._stale and not self._looking_up and not self._stopped:
            self._looking_up = True
            self._later(COALESCE_SECONDS, lambda: self._exchange.run(self._look_up_stale()))

    async def _look_up_stale(self) -> None:
        try:
            while self._stale and not self._stopped:
                numbers = [self._stale.pop() for _ in range(min(len(self._stale), LOOKED_UP_AT_ONCE))]
                self._asking = set(numbers)
                try:
                    self._learn(numbers, await self._exchange.parties(numbers))
                except StoreUnavailable:
                    self._stale.update(numbers)  # with the next turn
                    return
        finally:
            self._looking_up = False

    def _learn(self, numbers: Iterable[str], parties: dict[str, Party]) -> None:
        now, wall = self._clock.now(), self._clock.wall()
        for number in numbers:
            party = parties.get(number)
            watched = self._table.watched.get(number)
            if watched is not None:
                if party is None or party.account_id != watched.account_id or party.number != number:
                    for subscription in list(watched.subscriptions.values()):
                        self._ended(subscription, "noresource")
                elif number in self._asking and self._table.watched.learn(
                    watched, party.bindings if party.enabled else (), now, wall
                ):
                    self._tell_all(watched)
            for subscription in self._table.of_number(number):
                if party is None or party.account_id != subscription.subscriber_id or not party.enabled:
                    self._ended(subscription, "rejected")

    def every_second(self) -> None:
        """Registrations that have expired, and whoever's turn it is to be looked up."""
        now, watched = self._clock.now(), self._table.watched
        self._look_up({*watched.expired(now, LOOKED_UP_AT_ONCE), *watched.next_turn(self._table.subscribers, now)})
