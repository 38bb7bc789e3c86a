"""What a notifier is told once, and what it needs of the place where all calls are known."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from sipcore.calls.call import Call
from sipcore.calls.leg import Leg
from sipcore.calls.ports import Party
from sipcore.calls.requests import Outgoing
from sipcore.log import Log
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import Request, Response
from sipcore.protocol.transaction import ServerTransaction
from sipcore.subscriptions.packages import Limits


@dataclass(frozen=True, slots=True)
class SubscriptionSettings:
    """``remote_party``: whether a lamp also tells who the other one is. ``on_the_phone``: the note for people."""

    node: str = ""
    worker: int = 0
    limits: Limits = field(default_factory=Limits)
    remote_party: bool = False
    on_the_phone: str = "On the phone"
    max_per_extension: int = 300
    max_in_all: int = 10_000


class Exchange(Protocol):
    """The switchboard."""

    domain: str
    log: Log
    calls: dict[str, Call]
    call_of: dict[Leg, Call]

    def token(self) -> str: ...
    def contact_host(self, flow: Flow) -> str: ...
    def send(self, request: Request, flow: Flow) -> Outgoing: ...
    def respond(self, transaction: ServerTransaction, response: Response) -> None: ...
    def run(self, work: Coroutine[Any, Any, None]) -> None: ...
    async def parties(self, numbers: list[str]) -> dict[str, Party]: ...
