"""The transaction user: authenticates once, then hands each request to the function of its method.

Nothing is kept for a request until its sender has shown a nonce of ours; the first 401 is made of the request and
a key alone. What a REGISTER needs from the database is asked in the store's thread; :meth:`Core.completed`
takes the decisions back."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sipcore.admission import Classifier
from sipcore.authentication import Authenticator, Challenge
from sipcore.calls.leg import ALLOW
from sipcore.clock import Clock
from sipcore.evidence.recorder import Recorder
from sipcore.guard.door import Door
from sipcore.intake import behind_nat, read_registration
from sipcore.keepalive import KeepAlive
from sipcore.later import retry_after
from sipcore.log import Log
from sipcore.naming import place, summary
from sipcore.outage import Outage
from sipcore.ping import ping
from sipcore.ports import Binding, BindingId
from sipcore.protocol import events
from sipcore.protocol.endpoint import MAGIC, Endpoint
from sipcore.protocol.errors import SipError
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import Request, Response, make_response
from sipcore.protocol.uri import parse_uri
from sipcore.punctual import AFTER, Punctual
from sipcore.registered import lines_of, promising_keepalives, wants_keepalives
from sipcore.registering import BEGINNING, ShortWay
from sipcore.registrar import Accepted, Cause, Decision, Refused, Stale
from sipcore.store import Job, Queue

if TYPE_CHECKING:
    from sipcore.calls.switchboard import Switchboard
    from sipcore.workers.calls_elsewhere import CallsElsewhere
from sipcore.streams import Connections

SUPPORTED = frozenset(("path",))
CALL_METHODS = (
    "INVITE",
    "ACK",
    "CANCEL",
    "BYE",
    "PRACK",
    "UPDATE",
    "INFO",
    "REFER",
    "MESSAGE",
    "SUBSCRIBE",
    "NOTIFY",
    "PUBLISH",
)
KNOWN_SOURCES = 100_000

UNHURRIED = 3
"""A phone that needs no way kept open is asked whether it is there at so many times the interval of the others."""

PROVEN = frozenset((Cause.TOO_MANY_DEVICES, Cause.EXPIRES_TOO_SHORT, Cause.MALFORMED))
"""What the store refuses only after the password was right."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the engine must know about this PBX. Times in seconds; ``key`` is secret."""

    realm: str
    domains: frozenset[str]
    algorithms: tuple[str, ...]
    key: bytes
    node: str
    worker: int = 0
    workers: int = 1
    nonce_lifetime: int = 7200
    store_wait: float = 8.0
    keepalive_interval: float = 20.0
    trusted_proxies: Callable[[str], bool] = field(default=lambda host: False)
    is_local: Callable[[str], bool] = field(default=lambda host: True)
    """Whether an address is in a network of our own: no router that forgets lies between."""
    emergency: frozenset[str] = frozenset()
    """Numbers whose calls are the last to be shed."""


class Core:
    """Bytes and flows in through :meth:`receive`, out through :meth:`datagrams_to_send`."""

    def __init__(self, settings: Settings, log: Log, clock: Clock) -> None:
        self.settings = settings
        self._log = log
        self._clock = clock
        self.authenticator = Authenticator(
            settings.realm,
            settings.algorithms,
            settings.key,
            settings.worker,
            settings.nonce_lifetime,
            settings.trusted_proxies,
            clock,
        )
        # Whose it is stands in front of every branch of ours; the time keeps it apart from those before a restart.
        prefix = f"{settings.node}.{settings.worker}.{int(clock.wall()):x}."
        self.endpoint = Endpoint(tag=self.authenticator.tag, branch_prefix=prefix)
        self._ping_branch = f"{MAGIC}{prefix}ping."
        self._ping_mark = f";branch={self._ping_branch}".encode()
        self._outbox: list[tuple[bytes, Flow]] = []
        self.keepalive = KeepAlive()
        self.connections = Connections()
        self.store: Queue | None = None
        self.outage = Outage(log, clock)
        self.draining = False
        self._pending: OrderedDict[int, Job] = OrderedDict()
        self._accepted: list[Job] = []
        self._known: OrderedDict[str, None] = OrderedDict()
        self.recorder = Recorder(clock, self._known, self.authenticator.source)
        self._short_way: Callable[[bytes, Flow, float], bool] = ShortWay(self, log, clock, self._known).take
        self._ping_number = 0
        self._methods: dict[str, Callable[[Request, Flow, float], None]] = {
            "REGISTER": self._on_register,
            "OPTIONS": self._on_options,
            **dict.fromkeys(CALL_METHODS, self._on_call_method),
        }
        self.calls: Switchboard | CallsElsewhere | None = None
        self.moved: Callable[[Binding, tuple[str, int]], None] = lambda binding, before: None
        """Tells other workers of a phone that has registered from a new address."""
        self.door: Door | None = None
        self.punctual: Punctual | None = None
        self.rank = Classifier(
            self.keepalive.lives_at,
            self._known.__contains__,
            self._in_dialog,
            settings.emergency,
            self._goes_on,
            self.endpoint.made,
            clock.now,
        )
        """In which order raw packets are served under overload."""

    # From the network

    def receive(self, data: bytes, flow: Flow) -> None:
        """Take one datagram, or one message of a stream. Never raises: a message that breaks us is that message's
        loss alone."""
        if self.door is not None and self.door.shuts_out(data, flow):
            return
        now = self._clock.now()
        self.keepalive.heard(flow.remote, now)
        if data.startswith(b"SIP/2.0 ") and (mark := data.find(self._ping_mark)) >= 0:
            # Of 100,000 phones behind routers 5,000 answer each second: what is to be known of that stands here.
            self._pinged(data[mark + len(self._ping_mark) :][:24].decode("ascii", "replace"), flow, now)
            return
        try:
            if data.startswith(BEGINNING) and self._short_way(data, flow, now):
                return
            self.recorder.received(data, flow)
            self.endpoint.receive_datagram(data, flow, now)
            self._take_events(now)
        except Exception as error:
            self._failed(flow, error)

    def receive_broken(self, data: bytes, error: SipError, flow: Flow) -> None:
        """Take what could be read of a message after which its stream cannot be read on."""
        if self.door is not None and self.door.shuts_out(data, flow):
            return
        self.recorder.received(data, flow)
        self._guarded(flow, self._clock.now(), lambda: self.endpoint.receive_broken(data, error, flow))

    def flow_failed(self, flow: Flow, why: str = "") -> None:
        """Its connection has ended: the bindings on it end, and what was asked over it gets no answer. ``why`` when
        it was we who closed it."""
        now = self._clock.now()
        peer = self.connections.closed(flow.connection)
        bindings = len(peer.bindings) if peer is not None else 0
        if (bindings or why) and self.may_say(flow):
            text = f", {bindings} registrations with it" if bindings else ""
            self._log.info(f"Connection from {place(flow)} ended{text}" + (f": {why}" if why else ""))
        if peer is None or peer.spoken:
            self._guarded(flow, now, lambda: self.endpoint.transport_failed(flow, now))

    def wrong_transport(self, flow: Flow) -> None:
        """A phone that is set to TLS has come to the port of plain TCP."""
        self.say_refused(None, flow, Cause.WRONG_TRANSPORT)

    def _guarded(self, flow: Flow, now: float, take: Callable[[], None]) -> None:
        try:
            take()
            self._take_events(now)
        except Exception as error:
            self._failed(flow, error)

    def _take_events(self, now: float) -> None:
        next_event = self.endpoint.next_event
        while (event := next_event()) is not None:
            if isinstance(event, events.RequestReceived):  # nearly all are
                self._on_request(event.request, event.flow, now)
            else:
                self._on_event(event, now)

    def _failed(self, flow: Flow, error: Exception) -> None:
        self._log.error(f"Message from {place(flow)} could not be handled: {type(error).__name__}")
        if self._log.level <= 10:
            raise error

    def _on_event(self, event: events.Event, now: float) -> None:
        match event:
            case events.Retransmission(flow, method, request, answered):
                if answered and method == "REGISTER":
                    self.recorder.repeated(request, flow)
                if self.may_say(flow):
                    self._log.info(f"Received message from {place(flow)}: {method} again")
            case events.ResponseReceived() | events.TransactionTimeout() | events.TransportFailed():
                if isinstance(event, events.ResponseReceived) and self.may_say(event.flow):
                    response = event.response
                    self._log.info(
                        f"Received message from {place(event.flow)}: {response.status} to {response.cseq.method}"
                    )
                if self.calls is not None:
                    self.calls.take(event)
            case events.StrayResponse(response, flow):
                self._on_response(response, flow, now)
            case events.Malformed(flow, error, data, broken):
                self.recorder.malformed(broken, flow, error, data)
                if self.may_say(flow):
                    self._log.info(f"Received message from {place(flow)}: not understood ({error.reason})")
            case events.LeftUnanswered(request, flow):
                if self.may_say(flow):
                    size = request.size
                    self._log.info(f"{request.method} from {place(flow)} not answered: {size} bytes are too few")
            case events.KeepAlive(flow):
                self._log.debug(f"Keep-alive from {place(flow)}")

    def _on_request(self, request: Request, flow: Flow, now: float) -> None:
        if self.door is not None and self.door.bars(request, flow):
            return
        if self.may_say(flow):
            self._log.info(f"Received message from {place(flow)}: {summary(request)}")
        if self.recorder.watched:
            self.recorder.about(request)
        if request.body:
            self.recorder.overlong(request, flow)
        try:
            handler = self._methods.get(request.method)
            if handler is None:
                self._answer(request, flow, 501, headers=[("Allow", ALLOW)])
            else:
                handler(request, flow, now)
        except SipError as error:
            if request.method == "REGISTER":
                self.recorder.refused(request, flow, Cause.MALFORMED, fault=error.reason)
            if request.method != "ACK" and error.status:
                self._answer(request, flow, error.status, error.reason)

    def _on_response(self, response: Response, flow: Flow, now: float) -> None:
        branch, prefix = response.via.branch or "", self._ping_branch
        if branch.startswith(prefix):
            self._pinged(branch[len(prefix) :], flow, now)
        elif self.may_say(flow):
            self._log.info(f"Received message from {place(flow)}: an answer to nothing we asked")

    def _pinged(self, number: str, flow: Flow, now: float) -> None:
        """A ping was answered; ``number``: how its branch went on."""
        serial = number.partition(".")[0]
        if serial.isascii() and serial.isdigit() and len(serial) < 12:
            self.keepalive.answered(int(serial), flow.remote[0], now)
        self._log.debug(f"Keep-alive answered by {place(flow)}")

    # The methods

    def _on_register(self, request: Request, flow: Flow, now: float) -> None:
        """RFC 3261 section 10.3, steps 1 to 5; the rest is decided in the store's thread."""
        aor = request.to.uri
        say = self.may_say(flow)
        if say:
            self._log.info(f"Processing REGISTER {aor.user or ''} from {place(flow)}")
        if not self.is_ours(request.request_uri.host, flow) or not self.is_ours(aor.host, flow):
            self._refuse(request, flow, 404, Cause.WRONG_DOMAIN)
            return
        if request.require and (unsupported := sorted(request.require - SUPPORTED)):
            self.recorder.refused(request, flow, Cause.MALFORMED, fault="Unsupported Extension Required")
            self._answer(request, flow, 420, headers=[("Unsupported", ", ".join(unsupported))])
            return
        judged = self.authenticator.judge(request, flow)
        if isinstance(judged, Challenge):
            self._challenge(request, flow, judged.stale)
            return
        if isinstance(judged, Refused):
            self._refuse(request, flow, judged.status, judged.cause)
            return
        if self.slow_down(request, flow):
            return
        self.recorder.authenticated(request)
        asked = read_registration(request, judged, flow)
        is_known = self.keepalive.lives_at(flow.remote) or self.connections.is_registered(flow.connection)
        job = Job(asked, None, request, now, refreshes=is_known)
        if not self.has_room(job):
            self._unavailable(request, flow)
            return
        job.transaction = self.endpoint.accept(request, flow, now)
        self.take_on(job)

    def has_room(self, job: Job) -> bool:
        """Whether this job can be taken on now; if not, it is answered with 503."""
        return self.store is not None and not self.draining and self.store.has_room(job, len(self._accepted))

    def take_on(self, job: Job) -> None:
        """It goes to the store with all that comes at once with it."""
        self._pending[id(job)] = job
        self._accepted.append(job)

    def send(self, data: bytes, flow: Flow) -> None:
        """Send what needs no transaction and is written down already, behind all that was to be sent before."""
        self._take_out()
        self._outbox.append((data, flow))

    def _on_options(self, request: Request, flow: Flow, now: float) -> None:
        """Are you there (RFC 3261 section 11)? The same for every user part: it tells nothing about numbers."""
        if request.to.tag and self.calls is not None:
            self.calls.on_request(request, flow, now)
        elif not self.is_ours(request.request_uri.host, flow):
            self._answer(request, flow, 404)
        elif unsupported := sorted(request.require - SUPPORTED):
            self._answer(request, flow, 420, headers=[("Unsupported", ", ".join(unsupported))])
        elif self.draining:  # as an INVITE would be answered (section 11.2): a proxy in front asks elsewhere
            self._unavailable(request, flow)
        else:
            self._answer(request, flow, 200, headers=[("Allow", ALLOW), ("Accept", "application/sdp")])

    def _on_call_method(self, request: Request, flow: Flow, now: float) -> None:
        """Everything that belongs to calls, texts and lamps."""
        if self.calls is not None:
            self.calls.on_request(request, flow, now)
        elif request.method != "ACK":  # an ACK is never answered
            self._unavailable(request, flow)

    def _in_dialog(self, call_id: str, tag: str) -> bool:
        return self.calls is not None and self.calls.in_dialog(call_id, tag)

    # Back from the store

    def completed(self, jobs: Iterable[Job]) -> None:
        """Answer what has been decided, and is on disk where it had to be written."""
        now = self._clock.now()
        for job in jobs:
            self._pending.pop(id(job), None)
            if job.abandoned or job.decision is None:
                continue
            try:
                self._decided(job, job.decision, now)
            except Exception as error:  # the rest of the batch is on disk too, and waits for its answers
                self._log.error(f"REGISTER {job.asked.number} could not be answered: {type(error).__name__}")

    def _decided(self, job: Job, decision: Decision, now: float) -> None:
        request, flow = job.request, job.asked.flow
        match decision:
            case Accepted():
                self._remember(flow.remote[0])
                self.proven(request, flow)
                self._follow(decision.changed, now)
                if self.calls is not None:
                    for binding, before in decision.moved:
                        self.calls.moved(binding, before)
                        self.moved(binding, before)
                    self.calls.registered(job.asked.number, decision.current)
                conversation = self.recorder.accepted(request, decision.periods)
                wall = self._clock.wall()
                headers = lines_of(request, decision.current, wall)
                if not request.answer_tag and wants_keepalives(request):  # who does goes the general way
                    response = promising_keepalives(request, headers, self.settings.keepalive_interval)
                    self.endpoint.respond(job.transaction, response, now)
                elif answer := self.endpoint.finish(job.transaction, 200, headers, now):
                    if conversation is not None:
                        self.recorder.went(conversation, answer, job.transaction.flow, wall)
                    self.send(answer, job.transaction.flow)
            case Refused(status, cause, min_expires):
                headers = [("Min-Expires", str(min_expires))] if min_expires is not None else []
                self.say_refused(request, flow, cause, proven=cause in PROVEN)

                def refuse() -> None:
                    # Nothing is kept for who has not shown the password; a repetition is decided the same way again.
                    self.endpoint.abandon(job.transaction)
                    self._answer(request, flow, status, headers=headers)

                if self.punctual is None or self.draining or cause in PROVEN:
                    refuse()
                else:
                    self.punctual.at(job.arrived + AFTER, refuse)
            case Stale():
                self.recorder.challenged(request, flow, stale=True)
                response = self.authenticator.challenge(request, flow, stale=True)
                self.endpoint.respond(job.transaction, response, now)

    def _follow(self, changed: Iterable[Binding], now: float) -> None:
        wall = self._clock.wall()
        for binding in changed:
            self.watch(binding, now, wall)

    def watch(self, binding: Binding, now: float, wall: float, share: float = 1.0) -> None:
        """Ask this phone regularly whether it is there, so often that its way stays open if it needs that; for the
        first time after this ``share`` of the interval."""
        id, ends, flow = binding.id, now + binding.expires_at - wall, binding.flow
        if binding.worker % self.settings.workers == self.settings.worker:
            self.connections.follow(id, binding.connection, ends, now)
        self._remember(binding.remote_host)
        if binding.expires_at <= wall or binding.transport != "UDP" or binding.path:
            self.keepalive.forget(id)
            return
        here = share == 1.0 and binding.unreachable_since is None
        if here and self.keepalive.goes_on(id, binding.contact, flow, ends, now):
            return
        interval = self.settings.keepalive_interval
        # Linphone and others take over the address that their router gave them, and are behind it all the same.
        if self.settings.is_local(binding.remote_host) and not behind_nat(parse_uri(binding.contact), flow.remote):
            interval *= UNHURRIED
        self.keepalive.watch(
            id,
            binding.contact,
            flow,
            interval,
            ends,
            now + interval * share,
            dead=binding.unreachable_since is not None,
        )

    def unanswered(self, id: BindingId, since: float) -> None:
        """What was sent to this phone at ``since`` (seconds, monotonic) got no answer at all."""
        self.keepalive.unanswered(id, since, self._clock.now())

    def datagrams_to_send(self) -> list[tuple[bytes, Flow]]:
        """All that waits to be sent, in order; nothing is left afterwards. What is for the store is handed to it."""
        self.hand_over()
        self._take_out()
        waiting, self._outbox = self._outbox, []
        return waiting

    def _take_out(self) -> None:
        for data, flow in self.endpoint.datagrams_to_send():
            self.recorder.sent(data, flow)
            self._outbox.append((data, flow))

    def hand_over(self) -> None:
        """Give the store what has come since the last time."""
        if self._accepted and self.store is not None:
            accepted, self._accepted = self._accepted, []
            self.store.submit(*accepted)

    # Time

    def next_timeout(self) -> float | None:
        """When :meth:`tick` is next worth calling (monotonic seconds)."""
        first = self.endpoint.next_timeout()
        due = self.keepalive.next_due()
        if first is None or (due is not None and due < first):
            first = due
        for job in self._pending.values():  # the oldest
            due = job.arrived + self.settings.store_wait
            return due if first is None or due < first else first
        return first

    def tick(self) -> None:
        """Transaction timers, pings, and requests that the store kept waiting too long."""
        now = self._clock.now()
        self.endpoint.handle_timeout(now)
        self._take_events(now)
        for due in self.keepalive.due(now):
            self._ping_number += 1
            branch = f"{self._ping_branch}{due.serial}.{self._ping_number:x}"
            flow = due.watched.flow
            self._outbox.append((ping(due.watched.contact, flow, branch), flow))
        while self._pending:
            job = next(iter(self._pending.values()))
            if job.arrived + self.settings.store_wait > now:
                break
            self._give_up(job, now)

    def drain(self) -> None:
        """From now on new registrations get 503; those accepted are still answered."""
        self.draining = True

    @property
    def pending(self) -> int:
        return len(self._pending)

    def give_up_all(self) -> None:
        """Answer 503 to all that the store will not decide any more."""
        now = self._clock.now()
        for job in list(self._pending.values()):
            self._give_up(job, now)

    def _give_up(self, job: Job, now: float) -> None:
        del self._pending[id(job)]
        job.abandoned = True
        if self.store is not None and not self.draining:
            self.store.available = False  # its thread may be waiting for an answer itself, and cannot know
            self.outage.look(False)
        if self.may_say(job.asked.flow):
            self._log.info(f"Sending 503 to {place(job.asked.flow)}: REGISTER {job.asked.number} waited in vain")
        self.endpoint.respond(job.transaction, self._unavailable_response(job.request), now)

    # Answers

    def _answer(
        self,
        request: Request,
        flow: Flow,
        status: int,
        reason: str | None = None,
        headers: Collection[tuple[str, str]] = (),
    ) -> None:
        if reason is None:
            self.endpoint.reply(request, status, headers, flow)
        else:
            self.endpoint.reply_statelessly(request, make_response(request, status, reason, headers=headers), flow)

    def _refuse(self, request: Request, flow: Flow, status: int, cause: Cause) -> None:
        self.say_refused(request, flow, cause)
        self._answer(request, flow, status)

    def slow_down(self, request: Request, flow: Flow) -> bool:
        """Send away, unlooked at, whoever has failed too often; he is told when to come back."""
        seconds = self.door.delay(request, flow) if self.door is not None else 0.0
        if not seconds:
            return False
        self.say_refused(request, flow, Cause.RATE_LIMITED)
        self._answer(request, flow, 503, headers=[("Retry-After", str(math.ceil(seconds)))])
        return True

    def proven(self, request: Request, flow: Flow) -> None:
        """It showed the right password."""
        if self.door is not None:
            self.door.succeeded(request, flow)

    def say_refused(self, request: Request | None, flow: Flow, cause: Cause, *, proven: bool = False) -> None:
        """It is evidence, the guard counts it, and it is one line in a fixed form, which deploy/fail2ban reads.
        ``request`` None: it came as no message of SIP; ``proven``: whoever sent it knew the password."""
        self.recorder.refused(request, flow, cause, proven=proven)
        if self.door is not None and request is not None:
            self.door.failed(request, flow, cause)
        if self.may_say(flow):
            user = (request.from_.uri.user or "") if request is not None else ""
            what = "Registration" if request is None or request.method == "REGISTER" else request.method
            source = self.authenticator.source(request, flow) if request is not None else flow.remote[0]
            self._log.info(f"{what} refused: number={user} source={source} cause={cause.value}")

    def _challenge(self, request: Request, flow: Flow, stale: bool = False) -> None:
        self.recorder.challenged(request, flow, stale)
        if self.may_say(flow):
            again = " (the nonce was used up or too old)" if stale else ""
            self._log.info(f"Sending 401 challenge to {place(flow)}{again}")
        self.endpoint.reply(request, 401, self.authenticator.challenges(request, flow, stale=stale), flow)

    def _unavailable(self, request: Request, flow: Flow) -> None:
        if self.may_say(flow):
            self._log.info(f"Sending 503 to {place(flow)}: too much to do, or stopping")
        self.endpoint.reply_statelessly(request, self._unavailable_response(request), flow)

    def _unavailable_response(self, request: Request) -> Response:
        return make_response(request, 503, headers=[retry_after(5, 35)])

    # Who is who

    def _goes_on(self, nonce: str, host: str) -> bool:
        """Whether a stranger goes on with what he has begun: he was given this nonce, and has not failed lately."""
        failed = self.door is not None and self.door.guard.has_failures(host)
        return not failed and self.authenticator.gave(nonce, host)

    def is_ours(self, host: str, flow: Flow) -> bool:
        """Whether a host in a URI means this PBX."""
        return host == flow.local[0] or host in self.settings.domains

    def knows(self, host: str) -> bool:
        """Whether a phone was registered at this address."""
        return host in self._known

    def remember(self, host: str) -> None:
        """Another worker knows it."""
        self._remember(host)

    def _remember(self, host: str) -> None:
        if host in self._known:
            self._known.move_to_end(host)
            return
        self._known[host] = None
        if len(self._known) > KNOWN_SOURCES:
            self._known.popitem(last=False)

    def may_say(self, flow: Flow) -> bool:
        """Whether a line about this sender may be logged now; strangers have a quota together."""
        return flow.remote[0] in self._known or self._log.stranger()
