"""Where all calls are known: takes each request that is not a REGISTER, proves who sent it, and gives it to its call.

Outside of dialogs every request is challenged. Within one (Call-ID and both tags) a request from the leg's known
address is taken, whatever its port; from elsewhere it is challenged as that extension, and once proven it moves the
leg: a phone that goes from Wi-Fi to mobile data keeps its call."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sipcore.authentication import Authenticator, Challenge, is_from_here, prove
from sipcore.calls import bridge, transfer
from sipcore.calls.book import RecordBook
from sipcore.calls.call import TOO_MANY_CALLS, Call
from sipcore.calls.confirming import AckLost
from sipcore.calls.engaged import Engaged
from sipcore.calls.leg import ALLOW, SDP, Leg, LegState, sdp_of
from sipcore.calls.lookups import Lookups
from sipcore.calls.messages import deliver_message
from sipcore.calls.passing import passed_words
from sipcore.calls.ports import Media, MediaRefused, MediaUnavailable, Party, PartyDirectory
from sipcore.calls.records import CallRow
from sipcore.calls.requests import Outgoing, Requests
from sipcore.calls.tracing import CallRecorder, NoRecorder, Traces
from sipcore.clock import Clock
from sipcore.later import retry_after
from sipcore.log import Log
from sipcore.ports import Account, Binding, BindingId, Directory, StoreUnavailable
from sipcore.protocol import events
from sipcore.protocol.digest import Credentials
from sipcore.protocol.endpoint import Endpoint
from sipcore.protocol.errors import SipError
from sipcore.protocol.flow import Flow
from sipcore.protocol.headers import Star
from sipcore.protocol.message import CSeq, Request, Response, make_response
from sipcore.protocol.transaction import ServerTransaction, State
from sipcore.punctual import AFTER, Punctual
from sipcore.registrar import Cause, Refused
from sipcore.store import Queue

if TYPE_CHECKING:
    from sipcore.subscriptions.subscription import Subscription
    from sipcore.subscriptions.subscriptions import Subscriptions

ECHO = "*43"
SUPPORTED = frozenset({"timer", "100rel"})
STORE_SECONDS = 8.0

RINGING_NAME = re.compile(r"<urn:alert:[a-z0-9:.@-]{1,100}>", re.IGNORECASE)
"""RFC 7462 section 7: how to ring, by a name and not by an address."""

MAX_BEGINNING = 1000
"""Requests whose sender is being looked up at the same time; beyond that 503."""

EMERGENCY_RESERVE, EMERGENCY_OF_ONE = 50, 2
"""Calls to emergency numbers above the limits that hold for all others, in all and for one extension."""

MANY_TRANSACTIONS = 2000
"""Open transactions above which a refused request is answered without being remembered."""
MORTAL_SECONDS = 32.0
"""How long (64*T1) a dialog that has ended is still known: the phone's BYE may have crossed ours (RFC 5407 3.3.1)."""

TOKENS = 100
"""Tags and Call-IDs that the system is asked randomness for at once."""

MAX_MORTAL = 10_000
"""So many ended dialogs are known at most; the oldest go first."""


@dataclass(frozen=True, slots=True)
class CallSettings:
    """Limits, and how we are reached. ``advertise`` gives the address of ours that a phone on this flow is told."""

    domain: str
    node: str
    prefix: str
    """Node and worker, in front of every tag and Call-ID of ours."""
    advertise: Callable[[Flow], str]
    is_ours: Callable[[str, Flow], bool]
    max_calls: int = 500
    max_calls_per_extension: int = 10
    max_ringing: int = 200
    emergency: frozenset[str] = frozenset()
    """Numbers that may be called above these limits too, up to a reserve."""
    decline_stops_all: bool = False
    session_seconds: int = 1800
    """Session-Expires (RFC 4028), for both legs: a phone that is gone ends the call within so long."""
    media_seconds: float = 60.0
    """After so much silence, without hold, the phone is asked whether it is still there."""


class Denied(Exception):
    """The credentials were refused; the cause is for the log alone."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal.status)
        self.refusal = refusal


class Switchboard:
    """Runs in the loop's thread. ``pump`` makes what was queued leave soon; not asked for what is queued within
    :meth:`on_request` or for a response, since whoever brings these sends afterwards."""

    def __init__(
        self,
        settings: CallSettings,
        endpoint: Endpoint,
        authenticator: Authenticator,
        directory: Directory,
        parties: PartyDirectory,
        store: Queue,
        media: Media,
        records: RecordBook,
        decoy_ha1: dict[str, str],
        clock: Clock,
        log: Log,
        pump: Callable[[], None],
        refused: Callable[[Request, Flow, Cause], None],
        slow_down: Callable[[Request, Flow], bool] = lambda request, flow: False,
        proven: Callable[[Request, Flow], None] = lambda request, flow: None,
        recorder: CallRecorder | None = None,
        unanswered: Callable[[BindingId, float], None] = lambda binding, since: None,
    ) -> None:
        self.settings = settings
        self.domain = settings.domain
        self.session_seconds = settings.session_seconds
        self.media, self.records, self.log = media, records, log
        self.calls: dict[str, Call] = {}
        self.traces = Traces(recorder or NoRecorder())
        self.call_of = Engaged()
        self.draining = False
        self.unanswered = unanswered
        self.subscriptions: Subscriptions | None = None
        self.punctual: Punctual | None = None
        self._endpoint, self._authenticator = endpoint, authenticator
        self._lookups = Lookups(
            store, directory.accounts, lambda numbers: parties.parties(numbers, clock.wall()), STORE_SECONDS
        )
        self._decoy_ha1, self._clock, self._send_soon, self._refused = decoy_ha1, clock, pump, refused
        self._brought = False
        self._slow_down, self._tell_proven = slow_down, proven
        self._requests = Requests(endpoint, clock.now, self._pump)
        self._legs: dict[tuple[str, str], Leg] = {}
        self._mortal: OrderedDict[tuple[str, str], tuple[str, str, float]] = OrderedDict()
        """Dialogs that have ended: the phone's tag and address, and until when they are known."""
        self._inviting: dict[ServerTransaction, Call] = {}
        self._twins: set[tuple[str, CSeq, str | None]] = set()
        """Of these INVITEs what makes the same request on two ways one (RFC 3261 section 8.2.2.2)."""
        self._beginning: dict[ServerTransaction, bool] = {}
        """INVITEs whose sender is being looked up, and whether they were cancelled meanwhile."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._serial = 0
        self._random: list[str] = []

    # For legs and calls

    def token(self) -> str:
        """A tag or Call-ID that nobody can guess; it begins with the node, so that a datagram can be handed over."""
        if not self._random:  # from the system for many at once: each time it is asked, other threads have their turn
            unguessed = secrets.token_hex(10 * TOKENS)
            self._random = [unguessed[place : place + 20] for place in range(0, len(unguessed), 20)]
        return f"{self.settings.prefix}-{self._random.pop()}"

    def wall(self) -> float:
        return self._clock.wall()

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock.now()

    def contact_host(self, flow: Flow) -> str:
        return self.settings.advertise(flow)

    def is_ours(self, host: str, flow: Flow) -> bool:
        return self.settings.is_ours(host, flow)

    def send(self, request: Request, flow: Flow) -> Outgoing:
        self.log.info(f"Sending {request.method} to {flow.remote[0]}:{flow.remote[1]}")
        return self._requests.send(request, flow)

    def send_ack(self, ack: Request, flow: Flow) -> None:
        self._requests.send_ack(ack, flow)

    def respond(self, transaction: ServerTransaction, response: Response) -> None:
        self._endpoint.respond(transaction, response, self._clock.now())
        self._pump()

    def enter(self, leg: Leg) -> None:
        self._legs[leg.call_id, leg.tag] = leg

    def leave(self, leg: Leg) -> None:
        key = leg.call_id, leg.tag
        if self._legs.pop(key, None) is not None and leg.dialog is not None:
            self._mortal[key] = leg.remote_tag, leg.flow.remote[0], self._clock.now() + MORTAL_SECONDS
            self._forget_mortal(MAX_MORTAL)

    def _forget_mortal(self, most: int) -> None:
        now = self._clock.now()
        while self._mortal and (len(self._mortal) > most or next(iter(self._mortal.values()))[2] <= now):
            self._mortal.popitem(last=False)

    def _has_ended(self, request: Request, flow: Flow) -> bool:
        """Whether this belongs to a dialog that ended a moment ago, and comes from its phone."""
        self._forget_mortal(MAX_MORTAL)
        tag, host, _ = self._mortal.get((request.call_id, request.to.tag or ""), ("", "", 0.0))
        return (tag, host) == (request.from_.tag or "", flow.remote[0])

    def find(self, call_id: str, tag: str) -> Leg | None:
        return self._legs.get((call_id, tag))

    def in_dialog(self, call_id: str, tag: str) -> bool:
        """Whether a call or a lamp has this Call-ID and this tag of ours."""
        if (call_id, tag) in self._legs:
            return True
        return self.subscriptions is not None and self.subscriptions.in_dialog(call_id, tag)

    def forwarded(self, caller: Leg) -> list[tuple[str, str]]:
        """What of the caller's INVITE the callee may see; identity is built from the account, the rest is dropped. An
        Alert-Info that is an address would make the callee's phone fetch it (RFC 3261 section 20.4): only the names of
        RFC 7462 go through."""
        if caller.invite is None:
            return []
        shown = []
        for name, value in caller.invite.request.headers:
            if name in ("Subject", "Priority") or (name == "Alert-Info" and RINGING_NAME.fullmatch(value)):
                shown.append((name, passed_words(value)))
        return shown

    async def parties(self, numbers: list[str], hidden: bool = False) -> dict[str, Party]:
        """Those that exist, by the number asked for, which finds them ignoring case. ``hidden``: the hidden account
        of the doctor too."""
        return _shown((await self._lookups.get(numbers=numbers)).parties, numbers, hidden)

    def is_full(self, account_id: int, more: int = 0) -> bool:
        """Whether this extension has as many calls as it may have, and ``more``."""
        return self.call_of.of_account[account_id] >= self.settings.max_calls_per_extension + more

    def _rings(self, most: int) -> bool:
        """Whether so many calls are not answered yet."""
        calls = self.calls
        return len(calls) >= most and sum(call.row.answer is None for call in calls.values()) >= most

    def _is_emergency(self, request: Request) -> bool:
        return request.method == "INVITE" and request.request_uri.canonical_user in self.settings.emergency

    def redirected_to(self, response: Response) -> str | None:
        """The number of this PBX that a 3xx names, if any (RFC 3261 section 8.1.3.4)."""
        contacts = response.contacts
        if isinstance(contacts, Star):
            return None
        ours = [self.domain, *self._own_hosts(response)]
        for contact in contacts:
            if contact.uri.host and contact.uri.host in ours:
                return contact.uri.canonical_user or None
        return None

    def _own_hosts(self, response: Response) -> list[str]:
        return [response.via.host]

    def new_row(self, leg: Leg, number: str) -> CallRow:
        self._serial += 1
        wall = self.wall()
        return CallRow(
            uniqueid=f"{self.settings.node}-{wall:.3f}.{self._serial}",
            node=self.settings.node,
            src=leg.number,
            dst=number[:80],
            clid=f'"{leg.party.display_name}" <{leg.number}>' if leg.party.display_name else leg.number,
            start=wall,
            sip_call_id=leg.call_id[:255],
        )

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.run(work)

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self.say_failed(task)

    def say_failed(self, task: asyncio.Task[Any]) -> None:
        """A task that has ended with a bug of ours."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.log.error(f"A call's work ended with {type(error).__name__}")
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a call's work failed", "exception": error, "task": task}
            )

    # From the network

    def take(self, event: events.Event) -> None:
        """A response, a time-out or a broken flow."""
        self._brought = isinstance(event, events.ResponseReceived)
        try:
            self._requests.take(event)
        finally:
            self._brought = False

    def on_request(self, request: Request, flow: Flow, now: float) -> None:
        """Any request but REGISTER, and OPTIONS outside of a dialog. Raises SipError for what is wrong in itself."""
        self._brought = True
        try:
            if request.method == "CANCEL":
                self._on_cancel(request, flow, now)
            elif request.to.tag:
                self._on_in_dialog(request, flow, now)
            elif request.method != "ACK":
                self._on_out_of_dialog(request, flow, now)
        finally:
            self._brought = False

    def _pump(self) -> None:
        """What the network has brought is followed by sending anyway, when all of it was looked at."""
        if not self._brought:
            self._send_soon()

    def _on_cancel(self, cancel: Request, flow: Flow, now: float) -> None:
        """Only from where the INVITE came, and never challenged (RFC 3261 sections 9.2 and 22.1)."""
        invite = self._endpoint.invite_of(cancel, flow)
        call = self._inviting.get(invite) if invite is not None else None
        if call is None and invite in self._beginning:
            self._beginning[invite] = True  # its sender is still being looked up
        if call is None or call.caller.invite is not invite:
            self._reply(cancel, flow, 481 if invite is None else 200)
            return
        # The same To-tag as in the 487 (section 9.2).
        self._endpoint.reply_statelessly(cancel, make_response(cancel, 200, to_tag=call.caller.tag), flow)
        self._pump()
        call.hang_up("cancelled", "caller")

    def _on_in_dialog(self, request: Request, flow: Flow, now: float) -> None:
        leg = self._legs.get((request.call_id, request.to.tag or ""))
        known = leg is not None and leg.remote_tag == (request.from_.tag or "")
        if request.method == "ACK":
            # Nobody can be asked for a password by it, so from elsewhere it is nobody's.
            if leg is not None and known and self._comes_from(leg, request, flow):
                leg.acknowledged(request)
            return
        if leg is None or not known:
            watching = self.subscriptions.find(request) if self.subscriptions is not None else None
            if watching is not None and request.method == "SUBSCRIBE":
                self._on_subscription(watching, request, flow, now)
            else:
                self._reply(request, flow, 200 if request.method == "BYE" and self._has_ended(request, flow) else 481)
            return
        if self._comes_from(leg, request, flow):
            if flow != leg.flow:
                leg.flow = flow  # its NAT gave it another port
            self._deliver(leg, request, flow, now)
            return
        judged = self._judge(request, flow)
        if judged is not None:
            transaction = self._endpoint.accept(request, flow, now)
            self.run(self._prove_move(leg, request, flow, transaction, judged))

    def _comes_from(self, leg: Leg, request: Request, flow: Flow) -> bool:
        """Whether a request within its dialog comes from where this phone is, from any port; behind a trusted proxy
        also from the phone's own address, where that is known."""
        if flow.remote[0] != leg.flow.remote[0]:
            return False
        return not leg.host or leg.host == self._authenticator.source(request, flow)

    def _on_subscription(self, watching: Subscription, request: Request, flow: Flow, now: float) -> None:
        """A SUBSCRIBE within its dialog; from elsewhere its sender has to prove who it is, as for a call."""
        if flow.remote[0] == watching.flow.remote[0]:
            self._resubscribe(request, flow, self._endpoint.accept(request, flow, now))
            return
        judged = self._judge(request, flow)
        if judged is not None:
            transaction = self._endpoint.accept(request, flow, now)
            self.run(self._prove_subscription(watching, request, flow, transaction, judged))

    async def _prove_subscription(
        self,
        watching: Subscription,
        request: Request,
        flow: Flow,
        transaction: ServerTransaction,
        credentials: Credentials,
    ) -> None:
        account, _ = await self._proven(request, flow, transaction, credentials)
        if account is not None and account.id == watching.subscriber_id:
            self._resubscribe(request, flow, transaction)
        elif account is not None:
            self.respond(transaction, make_response(request, 403))

    def _resubscribe(self, request: Request, flow: Flow, transaction: ServerTransaction) -> None:
        if self.subscriptions is None or not self.subscriptions.on_in_dialog(request, flow, transaction):
            self.respond(transaction, make_response(request, 481))

    async def _prove_move(
        self, leg: Leg, request: Request, flow: Flow, transaction: ServerTransaction, credentials: Credentials
    ) -> None:
        account, _ = await self._proven(request, flow, transaction, credentials)
        if account is None:
            return
        if account.id != leg.party.account_id:
            self.respond(transaction, make_response(request, 403))
            return
        leg.flow, leg.host = flow, self._authenticator.source(request, flow)
        self._deliver(leg, request, flow, self._clock.now(), transaction)

    def _deliver(
        self, leg: Leg, request: Request, flow: Flow, now: float, transaction: ServerTransaction | None = None
    ) -> None:
        """A request within a dialog, from the phone it belongs to."""
        assert leg.dialog is not None
        transaction = transaction or self._endpoint.accept(request, flow, now)
        try:
            leg.dialog.receive_request(request)
        except SipError as error:
            self.respond(transaction, make_response(request, error.status, error.reason))
            return
        if unsupported := sorted(request.require - SUPPORTED):
            leg.answer(transaction, 420, [("Unsupported", ", ".join(unsupported))])
            return
        call = self.call_of.get(leg)
        method = request.method
        if call is None:
            leg.answer(transaction, 200 if method == "BYE" else 481)
            leg.end()
        elif method == "BYE":
            leg.answer(transaction, 200)
            leg.end()
            call.left(leg)
        elif method == "PRACK":
            leg.answer(transaction, 200 if call.reliable.acknowledged(call, request) else 481)
        elif method == "OPTIONS":
            leg.answer(transaction, 200, [("Allow", ALLOW), ("Accept", "application/sdp")])
        elif method == "NOTIFY":
            leg.answer(transaction, 200)
        elif leg.state is LegState.EARLY and method != "UPDATE":
            leg.answer(transaction, 491)
        elif method == "INVITE":
            bridge.begin(call, leg, transaction, bridge.on_invite(call, leg, transaction))
        elif method == "UPDATE":
            bridge.begin(call, leg, transaction, bridge.on_update(call, leg, transaction))
        elif method in ("INFO", "MESSAGE"):
            bridge.begin(call, leg, transaction, bridge.on_message(call, leg, transaction))
        elif method == "REFER":
            self.run(transfer.on_refer(call, leg, transaction))
        else:
            leg.answer(transaction, 405, [("Allow", ALLOW)])

    def _on_out_of_dialog(self, request: Request, flow: Flow, now: float) -> None:
        if request.method not in ("INVITE", "MESSAGE", "SUBSCRIBE", "REFER", "INFO", "NOTIFY", "PUBLISH"):
            self._reply(request, flow, 481)
            return
        if not self.is_ours(request.request_uri.host, flow) and request.request_uri.host:
            self._reply(request, flow, 404)
            return
        if self._endpoint.went_in_a_circle(request):
            self._reply(request, flow, 482)
            return
        judged = self._judge(request, flow)
        if judged is None:
            return
        reserve = EMERGENCY_RESERVE if self._is_emergency(request) else 0
        if self.draining or len(self._beginning) >= MAX_BEGINNING + reserve:
            self._reply(request, flow, 503, [retry_after(5, 25)])
            return
        transaction = self._endpoint.accept(request, flow, now)
        self._beginning[transaction] = False
        if request.method == "INVITE":
            self.respond(transaction, make_response(request, 100))
        self.run(self._begin(request, flow, transaction, judged))

    def _judge(self, request: Request, flow: Flow) -> Credentials | None:
        """The credentials if they may be looked up; else the challenge or refusal has been sent."""
        judged = self._authenticator.judge(request, flow)
        if isinstance(judged, Challenge):
            self._challenge(request, flow, judged.stale)
            return None
        if isinstance(judged, Refused):
            self._refused(request, flow, judged.cause)
            self._reply(request, flow, judged.status)
            return None
        return None if self._slow_down(request, flow) else judged

    def _challenge(self, request: Request, flow: Flow, stale: bool) -> None:
        self._endpoint.reply(request, 401, self._authenticator.challenges(request, flow, stale=stale), flow)

    async def _proven(
        self,
        request: Request,
        flow: Flow,
        transaction: ServerTransaction,
        credentials: Credentials,
        numbers: Iterable[str] = (),
    ) -> tuple[Account | None, dict[str, Party]]:
        """The account behind the credentials, or None: then the request has been answered. With it the parties of
        these numbers, which are looked up on the same visit to the store."""
        begin = self._clock.now()
        try:
            found = await self._lookups.get([credentials.username], numbers)
        except StoreUnavailable:
            self.respond(transaction, make_response(request, 503, headers=[retry_after(5, 35)]))
            return None, {}
        account = found.accounts.get(credentials.username)
        from_here = is_from_here(flow) and len(request.getall("Via")) == 1
        refusal = prove(credentials, request.method, account, self._decoy_ha1, from_here)
        if refusal is not None:
            self._refused(request, flow, refusal.cause)
            if self.punctual is not None and not self.draining:
                await self.punctual.until(begin + AFTER)
            if self._endpoint.transactions > MANY_TRANSACTIONS:
                # A flood with wrong passwords: nothing is kept of it and nothing repeated.
                self._endpoint.abandon(transaction)
                self._reply(request, flow, refusal.status)
            else:
                self.respond(transaction, make_response(request, refusal.status))
            return None, {}
        if not self._authenticator.count_is_new(credentials):
            self.respond(transaction, self._authenticator.challenge(request, flow, stale=True))
            return None, {}
        self._tell_proven(request, flow)
        return account, found.parties

    async def _begin(
        self, request: Request, flow: Flow, transaction: ServerTransaction, credentials: Credentials
    ) -> None:
        try:
            numbers = [credentials.username, request.request_uri.canonical_user]
            account, parties = await self._proven(request, flow, transaction, credentials, numbers)
            if account is not None:
                await self._serve(request, flow, transaction, account, _shown(parties, numbers, account.hidden))
        except Exception as error:
            # Without an answer the transaction would stay for ever, and the phone would wait for as long.
            self.log.error(f"{request.method} of {flow.remote[0]} could not be served: {type(error).__name__}")
            self.respond(transaction, make_response(request, 503, headers=[retry_after(5, 20)]))
        finally:
            self._beginning.pop(transaction, None)

    async def _serve(
        self,
        request: Request,
        flow: Flow,
        transaction: ServerTransaction,
        account: Account,
        found: Mapping[str, Party],
    ) -> None:
        unsupported = sorted(request.require - SUPPORTED)
        if unsupported:
            headers = [("Unsupported", ", ".join(unsupported))]
            self.respond(transaction, make_response(request, 420, headers=headers))
            return
        try:
            party = found.get(account.number)
            if party is None:
                self.respond(transaction, make_response(request, 403))
            elif request.method == "INVITE":
                await self._call(request, flow, transaction, party, found.get(request.request_uri.canonical_user))
            elif request.method == "MESSAGE":
                await deliver_message(self, request, transaction, party)
            elif request.method == "SUBSCRIBE" and self.subscriptions is not None:
                await self.subscriptions.on_subscribe(request, flow, transaction, party)
            else:
                headers = [("Allow", ALLOW)]
                self.respond(transaction, make_response(request, 405, headers=headers))
        except StoreUnavailable:
            self.respond(transaction, make_response(request, 503, headers=[retry_after(5, 20)]))
        except SipError as error:
            self.respond(transaction, make_response(request, error.status or 400, error.reason))

    async def _call(
        self, request: Request, flow: Flow, transaction: ServerTransaction, party: Party, called: Party | None
    ) -> None:
        """A new INVITE of a proven extension."""
        if self._beginning.pop(transaction, False):
            raise SipError(487, "Request Terminated")
        twin = request.call_id, request.cseq, request.from_.tag
        if twin in self._twins:
            raise SipError(482, "Loop Detected")
        number = request.request_uri.canonical_user
        if (request.max_forwards if request.max_forwards is not None else 70) < 1:
            raise SipError(483, "Too Many Hops")
        reserve = EMERGENCY_RESERVE if self._is_emergency(request) else 0
        limits = self.settings
        if len(self.calls) >= limits.max_calls + reserve or self._rings(limits.max_ringing + reserve):
            self.respond(transaction, make_response(request, 503, headers=[retry_after(2, 12)]))
            return
        leg = Leg(self, party, flow, self._authenticator.source(request, flow), call_id=request.call_id)
        if leg.timer.too_small(request):
            self.respond(transaction, make_response(request, 422, headers=[("Min-SE", "90")]))
            return
        try:
            sdp_of(request)  # a body of another kind is refused before anything begins
        except SipError as error:
            headers = [("Accept", SDP), ("Accept-Encoding", "identity")]
            self.respond(transaction, make_response(request, error.status, headers=headers))
            return
        leg.called_by(transaction)
        full = self.is_full(party.account_id, EMERGENCY_OF_ONE if reserve else 0)
        call = Call(self, self.new_row(leg, number), leg)
        self.call_of[leg] = call
        self._inviting[transaction] = call
        self._twins.add(twin)
        self.log.info(f"Call {call.id}: {leg.number} calls {number[:40]}")
        call.changed()
        try:
            if full:
                await call.refuse(TOO_MANY_CALLS)
            else:
                await (self._echo(call) if number == ECHO else call.run(number, called))
        finally:
            self._inviting.pop(transaction, None)
            self._twins.discard(twin)
            self.log.info(f"Call {call.id} ended: {call.row.disposition} {call.row.cause}")

    async def _echo(self, call: Call) -> None:
        """``*43``: the caller hears itself, so that somebody with one phone can test the sound."""
        leg = call.caller
        try:
            if not leg.sdp_from:
                leg.reject(488, "Offer Needed")
                call.row.cause = "codec_mismatch"
                return
            sdp = await self.media.echo(call.id, leg.tag, leg.sdp_from, sender=leg.side)
            call.row.answer, call.row.disposition = self.wall(), "ANSWERED"
            call.changed()
            await leg.accept(sdp)
            await call.talk()
        except AckLost:
            call.hang_up("ack_lost")
        except MediaRefused:
            leg.reject(488)
            call.row.cause = "codec_mismatch"
        except MediaUnavailable:
            leg.reject(503, headers=[retry_after(5, 20)])
            call.row.cause, call.row.disposition = "failed", "CONGESTION"
        finally:
            await call.wind_up()

    # From elsewhere

    def host_of(self, binding: Binding) -> str:
        """The IP address of a registered phone, also behind a trusted proxy; "" when that does not say."""
        return self._authenticator.registered_from(binding.path, binding.flow)

    def moved(self, binding: Binding, before: tuple[str, int]) -> None:
        """A phone registered from a new address: its calls go on there."""
        flow = binding.flow
        for leg in list(self._legs.values()):
            if leg.party.account_id == binding.account_id and (
                leg.binding == BindingId(binding.account_id, binding.key) or leg.flow.remote == before
            ):
                leg.flow, leg.host = flow, self.host_of(binding)
        if self.subscriptions is not None:
            self.subscriptions.moved(binding, before)

    def registered(self, number: str, bindings: list[Binding]) -> None:
        """A phone of this extension has registered, refreshed its registration or signed off; these are left."""
        if self.subscriptions is not None:
            self.subscriptions.registered(number, bindings)

    def call_changed(self, call: Call) -> None:
        """Those who watch its extensions may have to be told."""
        if self.subscriptions is not None and self.subscriptions.watching:
            numbers = {leg.number for leg in call.legs} | {row.number for row in call.row.legs}
            self.subscriptions.calls_changed(numbers)

    def every_second(self) -> None:
        """What is watched is shown while it goes on."""
        self.traces.show(self.calls.values())

    def clock_set(self, moved: float) -> None:
        """The clock of this machine was set by so many seconds: calls have lasted as long as they have."""
        for call in list(self.calls.values()):
            call.clock_set(moved)

    def hang_up(self, uniqueid: str, cause: str, by: str) -> bool:
        """End one call from outside; False when there is none of this name."""
        call = self.calls.get(uniqueid)
        if call is not None:
            call.hang_up(cause, by)
        return call is not None

    def move_media(self, ids: Iterable[str]) -> None:
        """Their media engine is gone."""
        for id in ids:
            call = self.calls.get(id)
            if call is not None:
                call.spawn(bridge.move_media(call))

    async def stop(self, seconds: float) -> None:
        """End every call, tell the phones, and close the records. What is said may be lost on its way: it is repeated
        until all have confirmed it, or for ``seconds``."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        self.draining = True
        self.records.gather_no_more()
        if self.subscriptions is not None:
            self.subscriptions.stop()
        invites = list(self._inviting)
        for call in list(self.calls.values()):
            call.hang_up("pbx_stopped", "pbx")
        while (left := end - loop.time()) > 0:
            if waiting := [*self._tasks, *self._requests.unanswered]:
                await asyncio.wait(waiting, timeout=left)
            elif any(one.state is State.COMPLETED for one in invites):  # the caller has not acknowledged its refusal
                await asyncio.sleep(min(left, 0.02))
            else:
                break
        self.traces.stop()

    def _reply(self, request: Request, flow: Flow, status: int, headers: Iterable[tuple[str, str]] = ()) -> None:
        self._endpoint.reply_statelessly(request, make_response(request, status, headers=list(headers)), flow)
        self._pump()


def _shown(parties: Mapping[str, Party], numbers: Iterable[str], hidden: bool) -> dict[str, Party]:
    """Of these parties, by their number in lower case, those of these numbers that may be known of."""
    known = {number: parties[number.lower()] for number in numbers if number.lower() in parties}
    return {number: party for number, party in known.items() if hidden or not party.hidden}
