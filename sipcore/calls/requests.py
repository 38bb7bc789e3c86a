"""Requests of ours as coroutines: send one, await its final answer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from sipcore.protocol import events
from sipcore.protocol.endpoint import Endpoint
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import Request, Response, make_response
from sipcore.protocol.transaction import ClientTransaction

GIVE_UP_CANCELLED = 32.0
"""Seconds (64*T1) after which a cancelled INVITE without any answer counts as ended (RFC 3261 section 9.1)."""


def _nobody(response: Response) -> None:
    """Is told of it."""


class Outgoing:
    """One request of ours. ``final`` is done when its final response has come; a time-out is a 408 and a broken flow
    a 503 of our own making (RFC 3261 section 8.1.3.1), with ``answered`` False. ``sent_at`` in monotonic seconds."""

    def __init__(self, requests: Requests, transaction: ClientTransaction, sent_at: float) -> None:
        self._requests = requests
        self.sent_at = sent_at
        self.heard = False
        """Whether anything came back, be it a 100."""
        self.transaction = transaction
        self.final: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._waiting: list[asyncio.Future[None]] = []
        self.answered = True
        self.provisional: Callable[[Response], None] = _nobody
        self.repeated: Callable[[Response], None] = _nobody
        self._cancelled: tuple[tuple[str, str], ...] | None = None
        self._cancel_sent = False

    @property
    def request(self) -> Request:
        return self.transaction.request

    async def answer(self) -> Response:
        """Wait for ``final``. Who stops waiting does not stop the request."""
        if not self.final.done():  # each with a future of its own: shield() does the same at three times the price
            mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(mine)
            await mine
        return self.final.result()

    def cancel(self, *headers: tuple[str, str]) -> None:
        """Take an INVITE back: at once, or as soon as a provisional response allows it (section 9.1)."""
        if self._cancelled is None and not self.final.done():
            self._cancelled = headers
            self._cancel_sent = self._requests.cancel(self, headers)
            asyncio.get_running_loop().call_later(GIVE_UP_CANCELLED, self._give_up)

    def take(self, response: Response) -> None:
        self.heard = True
        if response.status < 200:
            if self._cancelled is not None and not self._cancel_sent:
                self._cancel_sent = self._requests.cancel(self, self._cancelled)
            self.provisional(response)
        elif not self.final.done():
            self._finish(response)
        else:
            self.repeated(response)

    def fail(self, status: int) -> None:
        if not self.final.done():
            self.answered = False
            self._finish(make_response(self.request, status))

    def _finish(self, response: Response) -> None:
        self.final.set_result(response)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)
        self.provisional = _nobody  # an answered INVITE is kept for 32 s, and with it whoever listens

    def _give_up(self) -> None:
        """No answer will come any more: a transaction that has had its 1xx has no timer of its own left."""
        if not self.final.done():
            self._requests.abandon(self.transaction)
            self.fail(487)


class Requests:
    """``pump`` makes what was queued leave soon."""

    def __init__(self, endpoint: Endpoint, now: Callable[[], float], pump: Callable[[], None]) -> None:
        self._endpoint, self._now, self._pump = endpoint, now, pump
        self._open: dict[ClientTransaction, Outgoing] = {}
        self._answered: deque[tuple[float, ClientTransaction]] = deque()
        """INVITEs whose 2xx may be repeated, and until when: as long as timer M of their transaction runs."""

    def send(self, request: Request, flow: Flow) -> Outgoing:
        now = self._now()
        outgoing = Outgoing(self, self._endpoint.send_request(request, flow, now), now)
        self._open[outgoing.transaction] = outgoing
        self._pump()
        return outgoing

    @property
    def unanswered(self) -> list[asyncio.Future[Response]]:
        """What is still waited for."""
        return [outgoing.final for outgoing in self._open.values() if not outgoing.final.done()]

    def send_ack(self, ack: Request, flow: Flow) -> None:
        self._endpoint.send_statelessly(ack, flow)
        self._pump()

    def cancel(self, outgoing: Outgoing, headers: tuple[tuple[str, str], ...]) -> bool:
        """Send the CANCEL if the transaction is at a point where it may be sent; its own answer does not matter."""
        sent = self._endpoint.cancel(outgoing.transaction, self._now(), headers) is not None
        self._pump()
        return sent

    def abandon(self, transaction: ClientTransaction) -> None:
        """Forget it; what comes for it after this is stray."""
        self._open.pop(transaction, None)
        self._endpoint.abandon(transaction)

    def _forget(self, transaction: ClientTransaction, response: Response) -> None:
        """At once; but an answered INVITE later, when another one is."""
        now, answered = self._now(), self._answered
        while answered and answered[0][0] <= now:
            self._open.pop(answered.popleft()[1], None)
        if response.status < 300 and transaction.request.method == "INVITE":
            answered.append((now + GIVE_UP_CANCELLED, transaction))
        else:
            self._open.pop(transaction, None)

    def take(self, event: events.Event) -> None:
        """Hand a response, time-out or broken flow to who waits for it."""
        match event:
            case events.ResponseReceived(response, transaction, _):
                outgoing = self._open.get(transaction)
                if outgoing is not None:
                    first = not outgoing.final.done()
                    outgoing.take(response)
                    if first and response.status >= 200:
                        self._forget(transaction, response)
            case events.TransactionTimeout(failed) | events.TransportFailed(failed, _):
                outgoing = self._open.pop(failed, None) if isinstance(failed, ClientTransaction) else None
                if outgoing is not None:
                    outgoing.fail(408 if isinstance(event, events.TransactionTimeout) else 503)
