"""All subscriptions of this process, by dialog, by phone and by what they watch. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sipcore.calls.ports import Party
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import Request
from sipcore.subscriptions.subscription import Source, Subscription, dialog_key
from sipcore.subscriptions.watched import Watched, WatchList


class SubscriptionTable:
    def __init__(self) -> None:
        self.watched = WatchList()
        self._by_dialog: dict[tuple[str, str], Subscription] = {}
        self._by_source: dict[Source, Subscription] = {}
        self._of_subscriber: dict[int, dict[str, Subscription]] = {}
        self._account_of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._by_dialog)

    def __contains__(self, subscription: Subscription) -> bool:
        return self._by_dialog.get((subscription.dialog.call_id, subscription.tag)) is subscription

    def in_dialog(self, call_id: str, tag: str) -> bool:
        return (call_id, tag) in self._by_dialog

    def find(self, request: Request) -> Subscription | None:
        """The one that a request within a dialog belongs to: Call-ID and both tags."""
        subscription = self._by_dialog.get(dialog_key(request))
        if subscription is None or subscription.dialog.remote_tag != (request.from_.tag or ""):
            return None
        return subscription

    def like(self, subscription: Subscription) -> Subscription | None:
        """The one that this one replaces."""
        return self._by_source.get(subscription.source)

    def of_subscriber(self, account_id: int) -> list[Subscription]:
        return list(self._of_subscriber.get(account_id, {}).values())

    def count_of(self, account_id: int) -> int:
        return len(self._of_subscriber.get(account_id, ()))

    def of_number(self, number: str) -> list[Subscription]:
        """The subscriptions of this subscriber."""
        account_id = self._account_of.get(number)
        return [] if account_id is None else [s for s in self.of_subscriber(account_id) if s.subscriber == number]

    def subscribers(self) -> Iterable[str]:
        """Their numbers."""
        return self._account_of

    def enter(self, subscription: Subscription, resource: Party, now: float, wall: float) -> Watched:
        watched = self.watched.add(resource, now, wall)
        watched.subscriptions[subscription.tag] = subscription
        subscription.watched = watched
        self._by_dialog[subscription.dialog.call_id, subscription.tag] = subscription
        self._by_source[subscription.source] = subscription
        self._of_subscriber.setdefault(subscription.subscriber_id, {})[subscription.tag] = subscription
        self._account_of[subscription.subscriber] = subscription.subscriber_id
        return watched

    def leave(self, subscription: Subscription) -> None:
        """Nothing finds it any more; it still knows what it watched."""
        self._by_dialog.pop((subscription.dialog.call_id, subscription.tag), None)
        self._drop_source(subscription)
        of_phone = self._of_subscriber.get(subscription.subscriber_id, {})
        of_phone.pop(subscription.tag, None)
        if not of_phone:
            self._of_subscriber.pop(subscription.subscriber_id, None)
            self._account_of.pop(subscription.subscriber, None)
        watched = subscription.watched
        if watched is not None:
            watched.subscriptions.pop(subscription.tag, None)
            if not watched.subscriptions:
                self.watched.drop(watched)

    def move(self, subscription: Subscription, flow: Flow) -> None:
        """Its phone is elsewhere now."""
        self._drop_source(subscription)
        subscription.flow = flow
        self._by_source[subscription.source] = subscription

    def _drop_source(self, subscription: Subscription) -> None:
        if self._by_source.get(subscription.source) is subscription:
            del self._by_source[subscription.source]
