"""What a worker without calls has in place of the switchboard and the subscriptions: who registers with it is told to
the one that has them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from sipcore.admission import Rank
from sipcore.ports import Binding
from sipcore.protocol.events import Event
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import Request
from sipcore.workers import CALLS
from sipcore.workers.links import Kind, Links

COALESCE_SECONDS = 0.02
"""Registrations within so short a time are told in one message."""

NUMBERS_AT_ONCE = 1000


class CallsElsewhere:
    """``later`` calls a function after some seconds, in the loop."""

    def __init__(self, links: Links, later: Callable[[float, Callable[[], None]], object]) -> None:
        self._links, self._later = links, later
        self._registered: set[str] = set()
        self.calls: dict[str, object] = {}  # none
        self.subscriptions = SubscriptionsElsewhere(links)
        self.stopped = asyncio.Event()

    def registered(self, number: str, bindings: list[Binding]) -> None:
        """A lamp may show whether a phone of this number is there."""
        if not self._registered:
            self._later(COALESCE_SECONDS, self._tell_registered)
        self._registered.add(number)

    def _tell_registered(self) -> None:
        numbers = list(self._registered)
        self._registered.clear()
        for start in range(0, len(numbers), NUMBERS_AT_ONCE):
            self._links.tell(CALLS, Kind.REGISTERED, numbers[start : start + NUMBERS_AT_ONCE])

    def moved(self, binding: Binding, before: tuple[str, int]) -> None:
        """A phone has registered from a new address: all workers are told."""

    def on_request(self, request: Request, flow: Flow, now: float) -> None:
        """What did not look like one from its raw bytes, and could be read all the same."""
        self._links.tell(CALLS, Kind.PACKET, [*flow, int(Rank.NOISE)], request.to_bytes())

    def take(self, event: Event) -> None:
        """Nothing was asked from here."""

    def in_dialog(self, call_id: str, tag: str) -> bool:
        return False

    def every_second(self) -> None:
        """There is nothing to show."""

    def clock_set(self, moved: float) -> None:
        """There is nothing to move."""

    def hang_up(self, uniqueid: str, cause: str, by: str) -> bool:
        return False

    async def stop(self, seconds: float) -> None:
        """What still comes in for the calls that are being ended is handed over meanwhile."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopped.wait(), seconds)


class SubscriptionsElsewhere:
    """What concerns lamps is told to the worker that has them."""

    def __init__(self, links: Links) -> None:
        self._links = links

    def accounts_changed(self, account_ids: Iterable[int]) -> None:
        ids = list(account_ids)
        for start in range(0, len(ids), NUMBERS_AT_ONCE):
            self._links.tell(CALLS, Kind.REACHABLE, ids[start : start + NUMBERS_AT_ONCE])

    def registrations_changed(self, numbers: Iterable[str]) -> None:
        """Others tell the worker with the lamps themselves."""

    def load(self) -> None:
        """The lamps are taken up elsewhere."""

    def every_second(self) -> None:
        """There is nothing to end."""

    def clock_set(self, moved: float) -> None:
        """There is nothing to move."""
