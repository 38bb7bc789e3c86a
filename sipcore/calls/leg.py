"""One leg of a call: our dialog with one phone (RFC 3261 section 12), with its own offer and answer.

A leg knows nothing of the other one. It has verbs: ring, accept, reject, invite, reinvite, request, bye."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable
from enum import Enum
from typing import Any, Protocol

from sipcore.calls.confirming import AckLost, Confirming
from sipcore.calls.passing import passed_description
from sipcore.calls.ports import Party, Side
from sipcore.calls.requests import Outgoing
from sipcore.calls.session_timer import SessionTimer
from sipcore.ports import BindingId
from sipcore.protocol.dialog import Dialog, written_request
from sipcore.protocol.errors import SipError
from sipcore.protocol.flow import Flow
from sipcore.protocol.headers import quote, split_list
from sipcore.protocol.message import Message, Request, Response, make_response
from sipcore.protocol.transaction import ServerTransaction

REINVITE_SECONDS = 180.0
"""How long a phone may take to answer a re-INVITE, its user perhaps asked about it (timer C, RFC 3261 section 16.6)."""

ALLOW = "INVITE, ACK, CANCEL, BYE, UPDATE, INFO, PRACK, OPTIONS, REFER, MESSAGE, SUBSCRIBE, NOTIFY, REGISTER"
SDP = "application/sdp"

Headers = Iterable[tuple[str, str]]


class LegState(Enum):
    EARLY = "early"
    CONFIRMED = "confirmed"
    ENDED = "ended"


class Exchange(Protocol):
    """What a leg needs of the place where all legs are known."""

    domain: str
    session_seconds: int

    def token(self) -> str: ...
    def contact_host(self, flow: Flow) -> str: ...
    def send(self, request: Request, flow: Flow) -> Outgoing: ...
    def send_ack(self, ack: Request, flow: Flow) -> None: ...
    def respond(self, transaction: ServerTransaction, response: Response) -> None: ...
    def enter(self, leg: Leg) -> None: ...
    def leave(self, leg: Leg) -> None: ...
    def spawn(self, work: Coroutine[Any, Any, None]) -> None: ...


class Leg:
    """``flow``: where the phone is now; it follows the phone. ``host``: its own IP address, behind a trusted proxy what
    that one says it is, "" when it says nothing. ``binding``: the registration it was called through."""

    def __init__(
        self, exchange: Exchange, party: Party, flow: Flow, host: str, *, call_id: str, binding: BindingId | None = None
    ) -> None:
        self.exchange = exchange
        self.party = party
        self.flow = flow
        self.host = host
        self.call_id = call_id
        self.binding = binding
        self.tag = exchange.token()
        self.state = LegState.EARLY
        self.dialog: Dialog | None = None
        self.remote_tag = ""
        self.invite: ServerTransaction | None = None
        """The phone's INVITE that is not answered yet, the first one or a later one."""
        self.offering = False
        """An INVITE or UPDATE of ours with an offer is on its way within the dialog (glare: RFC 3261 14.2)."""
        self.allow: frozenset[str] = frozenset()
        self.supported: frozenset[str] = frozenset()
        self.user_agent = ""
        self.sdp_from = b""
        self.sdp_to = b""
        self.timer = SessionTimer(exchange.session_seconds)
        self._contact: tuple[Flow | None, str, str] = None, "", ""
        """What was told last, and for which flow and address of ours."""
        self._session = int(self.tag[-12:], 16)
        self._origin = 0
        self._first_seq = 0
        self._acks: dict[int, Confirming] = {}
        self._unconfirmed: Confirming | None = None
        """The 2xx to the phone's first INVITE, until its ACK has come."""

    # Where and who

    @property
    def number(self) -> str:
        return self.party.number

    @property
    def side(self) -> Side:
        host = self.host or self.flow.remote[0]
        return Side(self.exchange.contact_host(self.flow), host, self.party.media_from_anywhere)

    @property
    def contact(self) -> str:
        flow, before = self.flow, self._contact
        host = self.exchange.contact_host(flow)
        if before[0] is not flow or before[1] != host:
            written = f"[{host}]" if ":" in host else host
            transport = "" if flow.transport == "UDP" else f";transport={flow.transport.lower()}"
            before = self._contact = flow, host, f"<sip:{self.number}@{written}:{flow.local[1]}{transport}>"
        return before[2]

    def learn(self, message: Message) -> None:
        """What the phone can do, from Allow and Supported."""
        allow = message.getall("Allow")
        if allow:
            self.allow = frozenset(method.strip().upper() for method in ",".join(allow).split(","))
        if message.get("Supported") is not None:
            self.supported = message.supported
        if isinstance(message, Request):
            self.user_agent = message.user_agent or self.user_agent
        else:
            self.user_agent = message.user_agent or message.get("Server") or self.user_agent

    # The phone calls us

    def called_by(self, invite: ServerTransaction) -> None:
        """Begin as the answering side of this INVITE. Raises SipError 400 when it has no usable Contact."""
        request = invite.request
        self.invite = invite
        self.remote_tag = request.from_.tag or ""
        self.dialog = Dialog.as_uas(request, self.tag, self.contact, early=True)
        self.learn(request)
        self.sdp_from = sdp_of(request)
        self.exchange.enter(self)

    def provisional(self, status: int, reason: str | None = None, sdp: bytes = b"", headers: Headers = ()) -> Response:
        """Build and send a 1xx to the INVITE. Returns it, so that a reliable one can be repeated."""
        assert self.invite is not None
        response = self._response(self.invite.request, status, reason, sdp, headers)
        self.exchange.respond(self.invite, response)
        return response

    async def accept(self, sdp: bytes, headers: Headers = (), invite: ServerTransaction | None = None) -> Request:
        """Answer an INVITE with 200 and wait for its ACK, which is returned. Raises :class:`AckLost`."""
        return await self.confirm(sdp, headers, invite).confirmed()

    def confirm(self, sdp: bytes, headers: Headers = (), invite: ServerTransaction | None = None) -> Confirming:
        """Answer an INVITE with 200 and repeat it until the ACK comes."""
        invite = invite or self.invite
        assert invite is not None
        request, exchange = invite.request, self.exchange
        more = [*headers, *self.timer.answer(request, self.supported)]
        response = self._response(request, 200, None, sdp, more)
        if self.dialog is not None:
            self.dialog.early = False
        self.state = LegState.CONFIRMED
        number = request.cseq.number
        self.done_with(invite)
        exchange.respond(invite, response)

        def settled() -> None:
            self._acks.pop(number, None)
            if self._unconfirmed is confirming:
                self._unconfirmed = None

        confirming = self._acks[number] = Confirming(lambda: exchange.respond(invite, response), settled)
        if not request.to.tag:
            self._unconfirmed = confirming
        return confirming

    def reject(
        self, status: int, reason: str | None = None, headers: Headers = (), invite: ServerTransaction | None = None
    ) -> None:
        """Answer an INVITE with 300-699. For the first one that ends the leg."""
        invite = invite or self.invite
        if invite is None:
            return
        self.exchange.respond(invite, self._response(invite.request, status, reason, b"", headers))
        if self.invite is invite:
            self.invite = None
            if self.state is LegState.EARLY:
                self.end()

    def done_with(self, invite: ServerTransaction) -> None:
        if self.invite is invite:
            self.invite = None

    def acknowledged(self, ack: Request) -> None:
        """An ACK within the dialog."""
        waiting = self._acks.get(ack.cseq.number)
        if waiting is not None:
            waiting.acknowledged(ack)

    # We call the phone

    def call(self, uri: str, caller: Party, sdp: bytes, max_forwards: int, headers: Headers, route: str) -> Outgoing:
        """Send the first INVITE of this leg; once more after a 422."""
        self._first_seq += 1
        name = f"{quote(caller.display_name)} " if caller.display_name else ""
        us = f"{name}<sip:{caller.number}@{self.exchange.domain}>"
        lines = [("Route", value) for value in split_list(route)] if route else []
        lines += [
            ("Max-Forwards", str(max_forwards)),
            ("From", f"{us};tag={self.tag}"),
            ("To", f"<sip:{self.number}@{self.exchange.domain}>"),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self._first_seq} INVITE"),
            ("Contact", self.contact),
            ("Allow", ALLOW),
            ("Supported", "timer"),
            ("P-Asserted-Identity", us),
            *self.timer.offer(),
            *headers,
        ]
        body = self.present(sdp) if sdp else b""
        if body:
            lines.append(("Content-Type", SDP))
        self.exchange.enter(self)
        return self.exchange.send(written_request("INVITE", uri, lines, body), self.flow)

    def ringing(self, request: Request, response: Response) -> None:
        """A 101-199 came: an early dialog, if it has a tag."""
        self.learn(response)
        if response.to.tag and self.dialog is None:
            self.dialog = Dialog.as_uac(request, response, self.contact)
            self.remote_tag = response.to.tag

    def established(self, outgoing: Outgoing, response: Response) -> None:
        """A 2xx came. Raises SipError 400 when it cannot make a dialog (no Contact, no To-tag)."""
        self.learn(response)
        if self.dialog is None or response.to.tag != self.remote_tag or not response.contacts:
            self.dialog = Dialog.as_uac(outgoing.request, response, self.contact)
            self.remote_tag = self.dialog.remote_tag
        else:
            self.dialog.receive_response(response)  # what has rung has answered
        self.state = LegState.CONFIRMED
        self.sdp_from = sdp_of(response) or self.sdp_from
        self.timer.answered(response)

    def ack(self, outgoing: Outgoing, sdp: bytes = b"") -> None:
        """Confirm a 2xx, now and whenever it is repeated (RFC 3261 section 13.2.2.4)."""
        assert self.dialog is not None
        body = self.present(sdp) if sdp else b""
        headers = [("Content-Type", SDP)] if body else []
        request = outgoing.request

        def again(response: Response) -> None:
            if self.dialog is None or response.to.tag not in (None, self.dialog.remote_tag):
                self._refuse_other(request, response)
                return
            self.exchange.send_ack(self.dialog.make_ack(request, headers, body), self.flow)

        outgoing.repeated = again
        self.exchange.send_ack(self.dialog.make_ack(request, headers, body), self.flow)

    def decline(self, outgoing: Outgoing, response: Response) -> None:
        """A 2xx came that makes no dialog (no usable Contact): confirm it and hang up where the INVITE went, so that
        the phone does not repeat it and does not believe that it talks."""

        def again(response: Response) -> None:
            response.set("Contact", f"<{outgoing.request.uri}>")
            self._refuse_other(outgoing.request, response)

        outgoing.repeated = again
        again(response)

    def _refuse_other(self, request: Request, response: Response) -> None:
        """Somebody downstream forked, and a second phone answered as well: it is told at once."""
        try:
            other = Dialog.as_uac(request, response, self.contact)
        except SipError:
            return
        self.exchange.send_ack(other.make_ack(request), self.flow)
        self.exchange.send(other.make_request("BYE"), self.flow)

    # Within the dialog

    async def reinvite(self, sdp: bytes, headers: Headers = ()) -> tuple[Response, Outgoing]:
        """A new offer, or a question for one when ``sdp`` is empty; then the caller must :meth:`ack` with the answer.
        With an offer of ours the ACK is sent here."""
        assert self.dialog is not None
        lines = [("Allow", ALLOW), ("Supported", "timer"), *self.timer.refresh(), *headers]
        body = self.present(sdp) if sdp else b""
        if body:
            lines.append(("Content-Type", SDP))
        self.offering = True
        try:
            outgoing = self.exchange.send(self.dialog.make_request("INVITE", lines, body), self.flow)
            try:
                await asyncio.wait([outgoing.final], timeout=REINVITE_SECONDS)
            finally:
                # It said 100, and then nothing: without an end here nobody would miss it ever. Or the call has ended.
                outgoing.cancel()
            response = await outgoing.answer()
        finally:
            self.offering = False
        if response.status < 300:
            with contextlib.suppress(SipError):  # two Contacts: the one it had stays, but it gets its ACK
                self.dialog.receive_response(response)
            self.learn(response)
            self.timer.answered(response)
            self.sdp_from = sdp_of(response) or self.sdp_from
            if body:
                self.ack(outgoing)
        return response, outgoing

    async def request(self, method: str, headers: Headers = (), body: bytes = b"") -> Response:
        """Any other request within the dialog; its final response, made up (408, 503) where none came."""
        assert self.dialog is not None
        response = await self.exchange.send(self.dialog.make_request(method, headers, body), self.flow).answer()
        self.dialog.receive_response(response)
        return response

    def notify(self, headers: Headers, body: bytes) -> None:
        """A NOTIFY whose answer does not matter."""
        assert self.dialog is not None
        self.exchange.send(self.dialog.make_request("NOTIFY", headers, body), self.flow)

    async def alive(self) -> bool:
        """Ask whether the phone still knows this call, and refresh its session timer where it has one."""
        if self.dialog is None or self.state is not LegState.CONFIRMED:
            return False
        if self.offering or self.invite is not None:
            return True  # they are talking to us at this moment
        if "UPDATE" in self.allow:
            response = await self.request("UPDATE", [("Supported", "timer"), *self.timer.refresh()])
        elif self.timer.known and self.sdp_to:
            response, _ = await self.reinvite(self.sdp_to)
        else:
            response = await self.request("OPTIONS")
        return response.status not in (408, 481, 503)

    def bye(self, headers: Headers = ()) -> None:
        """Hang up. Without a dialog there is nobody to tell. Before the ACK to its 2xx has come, a caller gets no BYE
        (RFC 3261 section 15)."""
        if self.state is LegState.CONFIRMED and self.dialog is not None:
            if self._unconfirmed is not None:
                self.state = LegState.ENDED
                self.exchange.spawn(self._bye_when_confirmed(self._unconfirmed, headers))
                return
            self.exchange.send(self.dialog.make_request("BYE", headers), self.flow)
        self.end()

    async def _bye_when_confirmed(self, confirming: Confirming, headers: Headers) -> None:
        try:
            await confirming.confirmed()
        except AckLost:
            pass  # whoever is there is told all the same
        except asyncio.CancelledError:
            if not confirming.dropped:
                raise
        if not confirming.dropped and self.dialog is not None:  # else the phone has hung up itself
            self.exchange.send(self.dialog.make_request("BYE", headers), self.flow)
        self.end()

    def end(self) -> None:
        self.state = LegState.ENDED
        self.exchange.leave(self)
        for waiting in list(self._acks.values()):
            waiting.drop()

    def answer(self, transaction: ServerTransaction, status: int, headers: Headers = (), body: bytes = b"") -> None:
        """Respond to any other request of the phone within the dialog."""
        response = self._response(transaction.request, status, None, body, headers)
        self.exchange.respond(transaction, response)

    def present(self, sdp: bytes) -> bytes:
        """The session description under this leg's own origin: whatever party stands behind it, for the phone it
        is one session with rising versions (RFC 3264 section 8)."""
        sdp = passed_description(sdp)
        head, line, rest = sdp.partition(b"o=")
        if not line or (head and not head.endswith(b"\n")):
            return sdp
        origin, end, tail = rest.partition(b"\n")
        fields = origin.split()
        if len(fields) != 6:
            return sdp
        before = self.sdp_to
        new = self._with_origin(head, fields, end, tail)
        if before and before != new:
            self._origin += 1
            new = self._with_origin(head, fields, end, tail)
        self.sdp_to = new
        return new

    def _with_origin(self, head: bytes, fields: list[bytes], end: bytes, tail: bytes) -> bytes:
        origin = b" ".join((b"-", b"%d" % self._session, b"%d" % self._origin, *fields[3:6]))
        return head + b"o=" + origin + b"\r" + end + tail

    def _response(self, request: Request, status: int, reason: str | None, body: bytes, headers: Headers) -> Response:
        lines = list(headers)
        if request.method in ("INVITE", "UPDATE") and status < 300:
            lines += [("Contact", self.contact), ("Allow", ALLOW), ("Supported", "timer")]
        if body:
            lines.append(("Content-Type", SDP))
            body = self.present(body)
        return make_response(request, status, reason, to_tag=self.tag, headers=lines, body=body)


def sdp_of(message: Message) -> bytes:
    """The session description in a message, b"" if it has none. Raises SipError 415 for another kind of body, or a
    compressed one, on a message that may carry one."""
    if not message.body:
        return b""
    kind, encoding = message.get("Content-Type") or "", message.get("Content-Encoding") or "identity"
    if kind == SDP and encoding == "identity":
        return message.body
    kind, encoding = kind.partition(";")[0].strip().lower(), encoding.strip().lower()
    if kind != SDP or encoding != "identity":
        raise SipError(415, "Unsupported Media Type")
    return message.body
