"""Sends NOTIFYs (RFC 6665 section 4.2.2).

At most one of a subscription is under way, and the newest state wins: what changes meanwhile is told when it is
answered. All leave through one queue in small slices, so that a change which thousands watch does not stall the calls.
Runs in the loop's thread."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Callable
from itertools import count

from sipcore.clock import Clock
from sipcore.log import Level
from sipcore.protocol.errors import SipError
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import Response
from sipcore.subscriptions.exchange import Exchange, SubscriptionSettings
from sipcore.subscriptions.packages import ALLOW_EVENTS
from sipcore.subscriptions.states import ExtensionState, Telling
from sipcore.subscriptions.subscription import MAX_FAILURES, Outcome, Subscription, outcome, retry_after

GAP_SECONDS = 0.3
"""Between two NOTIFYs of one subscription."""

SLICE, SLICE_SECONDS = 40, 0.005
"""NOTIFYs made at once, and the pause before the next ones."""

Later = Callable[[float, Callable[[], None]], object]
"""Runs a function in the loop after so many seconds."""


class Notifier:
    """``written``: the row of this subscription has changed; ``lost``: its phone knows nothing of it
    (the status of its answer)."""

    def __init__(
        self,
        settings: SubscriptionSettings,
        exchange: Exchange,
        clock: Clock,
        later: Later,
        written: Callable[[Subscription], None],
        lost: Callable[[Subscription, int], None],
    ) -> None:
        self._settings, self._exchange, self._clock, self._later = settings, exchange, clock, later
        self._written, self._lost = written, lost
        self._due: list[tuple[float, int, Subscription]] = []
        self._serial = count()
        self._armed: float | None = None
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    def wish(self, subscription: Subscription, at: float | None = None) -> None:
        """There may be something to tell: at this time, or as soon as may be."""
        subscription.wanted = True
        if subscription.under_way or subscription.asleep or subscription.over or subscription.due is not None:
            return
        subscription.due = max(self._clock.now() if at is None else at, subscription.earliest)
        heapq.heappush(self._due, (subscription.due, next(self._serial), subscription))
        self._arm()

    def tell(self, subscription: Subscription) -> None:
        """Tell the state of now, changed or not, without delay."""
        subscription.wanted = subscription.must = True
        self._notify(subscription)

    def finish(self, subscription: Subscription, reason: str) -> None:
        """Tell it once more and never again (section 4.1.3)."""
        if subscription.asleep:
            subscription.over = True
        else:
            subscription.final = reason
            self.tell(subscription)

    def contact(self, subscription: Subscription) -> str:
        """Where this phone finds us."""
        flow = subscription.flow
        host = self._exchange.contact_host(flow)
        host = f"[{host}]" if ":" in host else host
        transport = "" if flow.transport == "UDP" else f";transport={flow.transport.lower()}"
        return f"<sip:{subscription.resource}@{host}:{flow.local[1]}{transport}>"

    def _arm(self) -> None:
        if self._due and not self._stopped:
            at = self._due[0][0]
            if self._armed is None or at < self._armed:
                self._armed = at
                self._later(max(0.0, at - self._clock.now()), self._send_due)

    def _send_due(self) -> None:
        """The next slice of those whose time has come."""
        self._armed = None
        if self._stopped:
            return
        now = self._clock.now()
        for _ in range(SLICE):
            if not self._due or self._due[0][0] > now + 0.001:
                break
            due, _, subscription = heapq.heappop(self._due)
            if subscription.due == due:
                subscription.due = None
                self._notify(subscription)
        if self._due and self._due[0][0] <= now:
            self._armed = now + SLICE_SECONDS
            self._later(SLICE_SECONDS, self._send_due)
        else:
            self._arm()

    def _notify(self, subscription: Subscription) -> None:
        """Send a NOTIFY if there is anything to tell. What goes wrong costs this subscription alone."""
        if subscription.over or subscription.under_way or subscription.asleep or self._stopped:
            return
        try:
            self._send(subscription)
        except Exception as error:
            self._exchange.log.error(f"A NOTIFY to {subscription.subscriber} failed: {type(error).__name__}")
            self._lost(subscription, 500)
            if self._exchange.log.level <= Level.DEBUG:
                raise

    def _send(self, subscription: Subscription) -> None:
        package, dialog = subscription.package, subscription.dialog
        state = subscription.watched.state if subscription.watched is not None else ExtensionState()
        shown = package.seen(state, self._settings.remote_party)
        subscription.wanted = False
        if shown == subscription.told and not subscription.must:
            return
        now = self._clock.now()
        alive = {conversation.id for conversation in state.conversations}
        telling = Telling(
            number=subscription.resource,
            entity=subscription.entity(self._exchange.domain),
            domain=self._exchange.domain,
            version=dialog.local_seq or 0,  # one less than the CSeq of this NOTIFY: it rises with each
            state=state,
            ended=tuple(c for c in subscription.told_conversations if c.id not in alive),
            named=self._settings.remote_party,
            note=self._settings.on_the_phone,
        )
        if subscription.final:
            status = f"terminated;reason={subscription.final}"
        else:
            status = f"active;expires={max(0, round(subscription.ends - now))}"
            if subscription.reserve():
                self._written(subscription)
        dialog.local_contact = self.contact(subscription)
        headers = [
            ("Event", subscription.event),
            ("Subscription-State", status),
            ("Allow-Events", ALLOW_EVENTS),
            ("Content-Type", package.content_type),
        ]
        request = dialog.make_request("NOTIFY", headers, package.document(telling))
        subscription.told, subscription.told_conversations = shown, state.conversations
        subscription.must, subscription.under_way = False, True
        subscription.earliest = now + GAP_SECONDS
        flow = subscription.flow
        outgoing = self._exchange.send(request, flow)

        def answered(future: asyncio.Future[Response]) -> None:
            subscription.under_way = False
            if not (future.cancelled() or subscription.over or self._stopped):
                self._answered(subscription, flow, future.result(), outgoing.answered)

        outgoing.final.add_done_callback(answered)

    def _answered(self, subscription: Subscription, flow: Flow, response: Response, answered: bool) -> None:
        """The final response to a NOTIFY, or that there was none."""
        result = outcome(response, answered, flow.reliable)
        if result is Outcome.DELIVERED:
            subscription.failures = 0
            with contextlib.suppress(SipError):  # a Contact that leads nowhere changes nothing
                subscription.dialog.receive_response(response)
        elif flow != subscription.flow:
            subscription.must = True  # it went to where the phone was before
        elif result is Outcome.ASLEEP and not subscription.final:
            subscription.asleep = subscription.must = True
            return
        elif result is Outcome.LATER and not subscription.final and subscription.failures + 1 < MAX_FAILURES:
            subscription.failures += 1
            subscription.must = True
            subscription.earliest = self._clock.now() + retry_after(response)
        else:
            self._lost(subscription, response.status)
            return
        if subscription.final:
            # The one that was under way when it ended may not have been the last one.
            subscription.over = not subscription.must
            self._notify(subscription)
        elif subscription.must or subscription.wanted:
            self.wish(subscription)
