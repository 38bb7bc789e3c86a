"""SUBSCRIBE (RFC 6665 section 4.2.1): who may watch what, for how long; and the news that go to those who watch.

Runs in the loop's thread."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Iterable
from itertools import count

from sipcore.calls.ports import Party
from sipcore.clock import Clock
from sipcore.later import retry_after
from sipcore.ports import Binding, StoreUnavailable
from sipcore.protocol.errors import SipError
from sipcore.protocol.flow import Flow
from sipcore.protocol.headers import clean_text
from sipcore.protocol.message import Request, make_response
from sipcore.protocol.transaction import ServerTransaction
from sipcore.store import Queue
from sipcore.subscriptions.book import SubscriptionBook
from sipcore.subscriptions.exchange import Exchange, SubscriptionSettings
from sipcore.subscriptions.lookout import Lookout
from sipcore.subscriptions.notifier import Later, Notifier
from sipcore.subscriptions.packages import ALLOW_EVENTS, Asked, Refusal, read_subscribe
from sipcore.subscriptions.ports import SubscriptionRow, SubscriptionStore
from sipcore.subscriptions.subscription import Subscription, from_row, new_dialog
from sipcore.subscriptions.table import SubscriptionTable
from sipcore.subscriptions.throttle import Throttle

LOAD_SPREAD_SECONDS = 4.0
LOAD_RETRY_SECONDS = 2.0
LOADED_AT_ONCE = 200
ENDED_AT_ONCE = 200
HELD_SECONDS, HELD_AT_ONCE, HELD_IN_ALL = 2.0, 3, 500
STORE_SECONDS = 8.0


class Subscriptions:
    """``exchange`` is the switchboard."""

    def __init__(
        self,
        settings: SubscriptionSettings,
        exchange: Exchange,
        store: Queue,
        rows: SubscriptionStore,
        clock: Clock,
        later: Later,
    ) -> None:
        self._settings, self._exchange, self._clock, self._later = settings, exchange, clock, later
        self._store, self._rows = store, rows
        self._table = SubscriptionTable()
        self._book = SubscriptionBook(store, rows, exchange.log)
        self._notifier = Notifier(settings, exchange, clock, later, self._write, self._lost)
        self._lookout = Lookout(self._table, exchange, clock, later, self._notifier.wish, self._end)
        self._ends: list[tuple[float, int, Subscription]] = []
        self._serial = count()
        self._throttle = Throttle()
        self._held: Counter[int] = Counter()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._table)

    # SUBSCRIBE

    async def on_subscribe(self, request: Request, flow: Flow, transaction: ServerTransaction, party: Party) -> None:
        """A SUBSCRIBE outside of dialogs, of a proven extension. Raises :class:`~sipcore.ports.StoreUnavailable`."""
        try:
            asked = read_subscribe(request, self._settings.limits)
            key = (party.account_id, asked.package.name, request.request_uri.canonical_user[:64])
            if not self._throttle.is_crowded(key, self._clock.now()):
                await self._subscribe(flow, transaction, party, asked)
            elif self._held[party.account_id] >= HELD_AT_ONCE or self._held.total() >= HELD_IN_ALL:
                raise Refusal(503, "Too Many Subscriptions", retry_after(5, 20))
            else:
                self._held[party.account_id] += 1
                self._later(HELD_SECONDS, lambda: self._exchange.run(self._release(flow, transaction, party, asked)))
        except SipError as error:
            self._refuse(transaction, error)

    async def _release(self, flow: Flow, transaction: ServerTransaction, party: Party, asked: Asked) -> None:
        """The phone that asks too often has waited long enough."""
        self._held[party.account_id] -= 1
        self._held += Counter()  # those at zero go
        try:
            await self._subscribe(flow, transaction, party, asked)
        except StoreUnavailable:
            self._refuse(transaction, Refusal(503, "Service Unavailable", retry_after(5, 20)))
        except SipError as error:
            self._refuse(transaction, error)

    async def _subscribe(self, flow: Flow, transaction: ServerTransaction, party: Party, asked: Asked) -> None:
        request = transaction.request
        dialog = new_dialog(request, self._exchange.token())
        number = request.request_uri.canonical_user or (party.number if asked.package.own_only else "")
        if not number or clean_text(number, 64) != number:
            raise SipError(404, "Not Found")
        resource = (await self._exchange.parties([number])).get(number)
        if resource is None:  # its sender is one of us and may learn which numbers there are
            raise SipError(404, "Not Found")
        if asked.package.own_only and resource.account_id != party.account_id:
            raise SipError(403, "Forbidden")
        subscription = Subscription(
            package=asked.package,
            event_id=asked.event_id,
            subscriber_id=party.account_id,
            subscriber=party.number,
            resource_id=resource.account_id,
            resource=resource.number,
            dialog=dialog,
            flow=flow,
            ends=self._clock.now() + asked.expires,
            contact=dialog.remote_target,
        )
        if asked.expires:
            replaced = self._table.like(subscription)
            if replaced is not None:
                self._forget(replaced)  # without a word: its phone has forgotten it too
            elif self._is_full(party.account_id):
                raise Refusal(503, "Too Many Subscriptions", retry_after(45, 90))
            self._enter(subscription, resource)
        else:
            subscription.watched = self._table.watched.glance(resource, self._clock.now(), self._clock.wall())
            self._lookout.look_at([subscription.watched])
        self._accept(subscription, transaction, asked.expires)

    def _is_full(self, account_id: int) -> bool:
        settings = self._settings
        return self._table.count_of(account_id) >= settings.max_per_extension or len(self) >= settings.max_in_all

    def find(self, request: Request) -> Subscription | None:
        """The subscription that a request within a dialog belongs to."""
        return self._table.find(request)

    def in_dialog(self, call_id: str, tag: str) -> bool:
        """Whether there is a subscription of this Call-ID and this tag of ours."""
        return self._table.in_dialog(call_id, tag)

    def on_in_dialog(self, request: Request, flow: Flow, transaction: ServerTransaction) -> bool:
        """A SUBSCRIBE within the dialog of a subscription: its phone refreshes or ends it. False when there is none.
        One from another address than the phone's must have been proven before."""
        subscription = self._table.find(request)
        if subscription is None:
            return False
        try:
            subscription.dialog.receive_request(request)
            asked = read_subscribe(request, self._settings.limits)
        except SipError as error:
            self._refuse(transaction, error)
            return True
        if asked.package is not subscription.package or asked.event_id != subscription.event_id:
            return False
        self._move(subscription, flow)
        self._accept(subscription, transaction, asked.expires)
        return True

    def _accept(self, subscription: Subscription, transaction: ServerTransaction, expires: int) -> None:
        """200, and at once a NOTIFY with the state of now (RFC 6665 section 4.2.1.2)."""
        subscription.ends = self._clock.now() + expires
        headers = [
            ("Contact", self._notifier.contact(subscription)),
            ("Expires", str(expires)),
            ("Allow-Events", ALLOW_EVENTS),
        ]
        response = make_response(transaction.request, 200, to_tag=subscription.tag, headers=headers)
        self._exchange.respond(transaction, response)
        if not expires:
            self._end(subscription, "timeout")
            return
        heapq.heappush(self._ends, (subscription.ends, next(self._serial), subscription))
        subscription.reserve()
        self._write(subscription)
        self._notifier.tell(subscription)

    def _refuse(self, transaction: ServerTransaction, error: SipError) -> None:
        headers = error.headers if isinstance(error, Refusal) else []
        response = make_response(transaction.request, error.status or 400, error.reason, headers=headers)
        self._exchange.respond(transaction, response)

    # The life of one

    def _enter(self, subscription: Subscription, resource: Party) -> None:
        watched = self._table.enter(subscription, resource, self._clock.now(), self._clock.wall())
        if len(watched.subscriptions) == 1:
            self._lookout.look_at([watched])

    def _forget(self, subscription: Subscription) -> None:
        """Nothing of it is left, here and in the store."""
        subscription.over = True
        if subscription in self._table:
            self._table.leave(subscription)
            if subscription.reserved:
                self._book.removed(subscription.tag)

    def _end(self, subscription: Subscription, reason: str) -> None:
        self._forget(subscription)
        subscription.over = False
        self._notifier.finish(subscription, reason)

    def _lost(self, subscription: Subscription, status: int) -> None:
        if subscription in self._table:
            what = f"{subscription.package.name} of {subscription.resource}"
            self._exchange.log.info(f"Subscription of {subscription.subscriber} to {what} ended: {status}")
        self._forget(subscription)

    def _move(self, subscription: Subscription, flow: Flow) -> None:
        subscription.asleep = False
        if flow != subscription.flow:
            self._table.move(subscription, flow)

    def _write(self, subscription: Subscription) -> None:
        expires_at = self._clock.wall() + subscription.ends - self._clock.now()
        self._book.changed(subscription.row(self._settings.node, self._settings.worker, expires_at))

    # News

    @property
    def watching(self) -> bool:
        """Whether anybody watches anything at all."""
        return len(self._table.watched) > 0

    def calls_changed(self, numbers: Iterable[str]) -> None:
        """A call of these extensions has begun, gone on or ended."""
        self._lookout.calls_changed(numbers)

    def registered(self, number: str, bindings: Iterable[Binding]) -> None:
        """A phone of this extension has registered, refreshed its registration or signed off; these are all that are
        registered now. Cheap when nobody watches it."""
        self._lookout.registered(number, bindings)

    def registrations_changed(self, numbers: Iterable[str]) -> None:
        """Whether these extensions can be reached may have changed, in a way that only the store knows."""
        self._lookout.registrations_changed(numbers)

    def accounts_changed(self, account_ids: Iterable[int]) -> None:
        """The same, by the extensions' ids."""
        self._lookout.accounts_changed(account_ids)

    def moved(self, binding: Binding, before: tuple[str, int]) -> None:
        """A phone registered from a new address: its NOTIFYs go there."""
        flow = binding.flow
        for subscription in self._table.of_subscriber(binding.account_id):
            if subscription.flow.remote == before:
                self._move(subscription, flow)
                self._write(subscription)
                if subscription.must or subscription.wanted:
                    self._notifier.wish(subscription)

    # Time

    def every_second(self) -> None:
        """What has expired, and whoever's turn it is to be looked up."""
        now = self._clock.now()
        for _ in range(ENDED_AT_ONCE):
            if not self._ends or self._ends[0][0] > now:
                break
            ends, _, subscription = heapq.heappop(self._ends)
            if subscription.ends == ends and subscription in self._table:
                self._end(subscription, "timeout")
        if len(self._ends) > 4 * len(self) + 1000:  # refreshed ones leave their old ends behind
            self._ends = [entry for entry in self._ends if entry[2].ends == entry[0] and entry[2] in self._table]
            heapq.heapify(self._ends)
        self._lookout.every_second()

    def clock_set(self, seconds: float) -> None:
        """The machine's clock was set by so much."""
        self._store.call(lambda: self._rows.shift_subscriptions(self._settings.node, seconds))

    def stop(self) -> None:
        """Nothing is sent any more; the rows stay for the next start."""
        self._stopped = True
        self._lookout.stop()
        self._notifier.stop()

    # After a start

    def load(self) -> None:
        """Take up the subscriptions of before; each phone is told the state of now, all within some seconds."""
        self._exchange.run(self._load())

    async def _load(self) -> None:
        settings = self._settings

        def read() -> list[SubscriptionRow]:
            return self._rows.living_subscriptions(settings.node, settings.worker, self._clock.wall())

        try:
            rows = await self._store.ask(read, STORE_SECONDS)
            numbers = list({row.resource for row in rows})
            parties: dict[str, Party] = {}
            for start in range(0, len(numbers), LOADED_AT_ONCE):
                parties |= await self._exchange.parties(numbers[start : start + LOADED_AT_ONCE])
        except StoreUnavailable:
            if not self._stopped:
                self._later(LOAD_RETRY_SECONDS, self.load)
            return
        taken: list[Subscription] = []
        for index, row in enumerate(rows):
            subscription = self._take_up(row, parties.get(row.resource))
            if subscription is not None:
                taken.append(subscription)
            if index % LOADED_AT_ONCE == 0:
                await asyncio.sleep(0)  # the calls go on meanwhile
        if taken:
            self._exchange.log.info(f"{len(taken)} subscriptions taken up")
        now = self._clock.now()
        for index, subscription in enumerate(taken):
            self._notifier.wish(subscription, now + LOAD_SPREAD_SECONDS * index / len(taken))

    def _take_up(self, row: SubscriptionRow, resource: Party | None) -> Subscription | None:
        """This row as a living subscription; None when it is one no more, then it goes."""
        ends = self._clock.now() + row.expires_at - self._clock.wall()
        subscription = from_row(row, ends)
        if (
            subscription is None
            or resource is None
            or resource.account_id != row.resource_id
            or self._table.like(subscription) is not None  # a newer one
            or self._is_full(row.subscriber_id)
        ):
            self._book.removed(row.local_tag)
            return None
        self._enter(subscription, resource)
        heapq.heappush(self._ends, (ends, next(self._serial), subscription))
        return subscription
