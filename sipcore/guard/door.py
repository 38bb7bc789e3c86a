"""Where the guard stands in the way of a request: from messages and flows to the guard's own words.

Never raises: what cannot be read has no number."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from sipcore.authentication import Authenticator
from sipcore.clock import Clock
from sipcore.evidence.recorder import Recorder
from sipcore.guard.blocks import NUMBER_LIMIT
from sipcore.guard.failures import Sender
from sipcore.guard.guard import PUT_OFF, Guard
from sipcore.protocol.errors import SipError
from sipcore.protocol.flow import Flow
from sipcore.protocol.headers import clean_text
from sipcore.protocol.message import Message, Request, has_to_tag, parse_message
from sipcore.registrar import Cause


class Door:
    """What is kept out is evidence: ``recorder``."""

    def __init__(self, guard: Guard, authenticator: Authenticator, clock: Clock, recorder: Recorder) -> None:
        self.guard = guard
        self._authenticator, self._clock, self._recorder = authenticator, clock, recorder
        self.tell: Callable[[Sender, str], None] = lambda sender, cause: None
        """Tells other workers who has failed or was put off, or with cause "" succeeded: they count together."""

    def shuts_out(self, data: bytes, flow: Flow) -> bool:
        """Whether these bytes come from an address from which nothing is answered."""
        host = flow.remote[0]
        if not len(self.guard.blocks) or not self.guard.has_blocks(host):
            return False
        now = self._clock.wall()
        block = self.guard.shuts_out(host, now)
        if block is None:
            return False
        if not data.strip(b"\r\n\0"):
            return True  # a keep-alive tries nothing
        request = _read(data) if self.guard.may_read(now) else None
        if request is None:
            self.guard.tried(block, "", "", now)
        else:
            sender = self._sender(request, flow)
            self.guard.tried(block, sender.number, sender.user_agent, now)
            # The endpoint has not seen it: what is the same transaction is told by these.
            request.transaction_key = f"{host} {request.get('CSeq')} {request.get('Call-ID')}"[:300]
            self._recorder.received(data, flow)
            self._recorder.refused(request, flow, Cause.BLOCKED)
        return True

    def bars(self, request: Request, flow: Flow) -> bool:
        """Whether this request must not be answered."""
        if not len(self.guard.blocks) or not self.guard.has_blocks(self._source(request, flow)):
            return False
        now, sender = self._clock.wall(), self._sender(request, flow)
        block = self.guard.bars(sender, now)
        if block is None:
            return False
        if has_to_tag(request) and (block.number or block.spared):
            return False  # of a call of a device that goes on, or of none at all
        self.guard.tried(block, sender.number, sender.user_agent, now)
        if self.guard.may_read(now):
            self._recorder.refused(request, flow, Cause.BLOCKED)
        return True

    def delay(self, request: Request, flow: Flow) -> float:
        """Seconds after which its credentials will be looked at; 0: now."""
        if not len(self.guard.failures) or not self.guard.has_failures(self._source(request, flow)):
            return 0.0
        sender, now = self._sender(request, flow), self._clock.wall()
        seconds = self.guard.delay(sender, now)
        if seconds and self.guard.hammers(sender, now):
            self.tell(sender, PUT_OFF)
        return seconds

    def failed(self, request: Request, flow: Flow, cause: Cause) -> None:
        """Its credentials were refused."""
        sender = self._sender(request, flow)
        self.guard.failed(sender, cause.value, self._clock.wall())
        self.tell(sender, cause.value)

    def succeeded(self, request: Request, flow: Flow) -> None:
        """It showed the right password."""
        source = self._source(request, flow)
        if source != flow.remote[0] or self.guard.has_failures(source) or self.guard.has_blocks(source):
            sender = self._sender(request, flow)
            self.guard.succeeded(sender, self._clock.wall())
            self.tell(sender, "")

    def _sender(self, request: Request, flow: Flow) -> Sender:
        host, port = flow.remote
        source = self._source(request, flow)
        number = call_id = ""
        with suppress(SipError):
            number = clean_text(request.from_.uri.canonical_user.lower(), NUMBER_LIMIT)
            call_id = request.call_id
        # A proxy of ours may stand between: all phones behind it have its port.
        return Sender(source, number, call_id, port if source == host else 0, request.user_agent)

    def _source(self, request: Request, flow: Flow) -> str:
        try:
            return self._authenticator.source(request, flow)
        except SipError:
            return flow.remote[0]


def _read(data: bytes) -> Request | None:
    message: Message | None
    try:
        message = parse_message(data)
    except SipError as error:
        message = error.message
    return message if isinstance(message, Request) else None
