"""The story of one call: ring these, join with the first who answers, until somebody hangs up.

A call owns two legs, its name with the media engine (its ``id``) and its record. Everything that happens while it
is talked is in ``bridge.py`` and ``transfer.py``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sipcore.calls.confirming import AckLost
from sipcore.calls.leg import Leg, LegState, sdp_of
from sipcore.calls.passing import passed_words
from sipcore.calls.ports import Heard, MediaRefused, MediaUnavailable, Party
from sipcore.calls.records import CallRow, LegRow, MediaRow
from sipcore.calls.reliable import ReliableProvisional
from sipcore.calls.requests import Outgoing
from sipcore.calls.watch import Watch
from sipcore.later import retry_after
from sipcore.ports import Binding, BindingId, StoreUnavailable
from sipcore.protocol.errors import SipError
from sipcore.protocol.headers import quote
from sipcore.protocol.message import REASONS, Response
from sipcore.protocol.uri import parse_uri

if TYPE_CHECKING:
    from sipcore.calls.switchboard import Switchboard

ELSEWHERE = ("Reason", 'SIP;cause=200;text="Call completed elsewhere"')
"""So that the phones that did not answer show no missed call (RFC 3326, RFC 3261 section 9)."""

SAFE_DATAGRAM = 1300
"""Bytes of a request that every network passes unfragmented (RFC 3261 section 18.1.1)."""

TOLD = frozenset({"ack_lost", "session_expired", "media_timeout", "codec_mismatch"})
"""Causes of an end that a phone's log should know: something went wrong on its way."""

MAX_REDIRECTS = 5

PATIENCE = 5.0
"""Seconds, and four sendings of an INVITE, after which a device from which nothing came is not there."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call was not connected, as the caller's phone is told and as the record says."""

    status: int
    reason: str
    cause: str
    disposition: str = "FAILED"


BUSY = Failure(486, "Busy Here", "busy", "BUSY")
NO_ANSWER = Failure(480, "No Answer", "no_answer", "NO ANSWER")
NOT_REGISTERED = Failure(480, "Not Registered", "not_registered")
UNKNOWN_NUMBER = Failure(404, "No Such Number", "unknown_number")
DISABLED = Failure(480, "Extension Disabled", "disabled")
TOO_MANY_CALLS = Failure(486, "Too Many Calls", "too_many_calls", "BUSY")
CONGESTION = Failure(503, "Service Unavailable", "failed", "CONGESTION")
CODEC_MISMATCH = Failure(488, "Not Acceptable Here", "codec_mismatch")
CANCELLED = Failure(487, "Request Terminated", "cancelled", "NO ANSWER")
ENDED_BY_US = Failure(480, "Call Ended", "failed")
STOPPED = Failure(503, "Service Unavailable", "pbx_stopped")


@dataclass(slots=True, eq=False)
class Attempt:
    """One device that is being called."""

    leg: Leg
    row: LegRow
    outgoing: Outgoing | None = None


class Call:
    """``board`` is where all calls are known."""

    def __init__(self, board: Switchboard, row: CallRow, caller: Leg, callee: Leg | None = None) -> None:
        self.board = board
        self.id = row.uniqueid
        self.row = row
        self.caller = caller
        self.callee = callee
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.reliable = ReliableProvisional()
        self.transferor: Leg | None = None
        """Who has asked for a transfer of the other party, while it is under way."""
        self.joined: Call | None = None
        """The new call that this transfer makes."""
        self.on_ringing: Callable[[], None] | None = None
        self._for_transfer = False
        self._attempts: list[Attempt] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._max_forwards = 70
        self.call_ids: list[str] = []
        """Of all its legs, also of those that did not answer: under these its messages are kept."""
        board.calls[self.id] = self
        for leg in self.legs:
            board.traces.joins(self, leg.call_id, leg.number)

    # The legs

    @property
    def legs(self) -> list[Leg]:
        return [self.caller] if self.callee is None else [self.caller, self.callee]

    def other(self, leg: Leg) -> Leg | None:
        return self.callee if leg is self.caller else self.caller if leg is self.callee else None

    def role(self, leg: Leg | None) -> str:
        return "caller" if leg is self.caller else "callee" if leg is not None else "pbx"

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[Any]:
        """Run beside the story; ended with the call."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self.board.say_failed(task)

    def left(self, leg: Leg) -> None:
        """A phone has hung up. Who has just asked for a transfer may: it goes on without him."""
        if leg is self.transferor:
            self.row.hung_up_by = self.row.hung_up_by or self.role(leg)
        else:
            self.hang_up("normal", self.role(leg))

    def hang_up(self, cause: str, by: str = "pbx") -> None:
        """End it, whatever it is doing. The first reason counts."""
        if not self.over.done():
            self.row.cause = self.row.cause or cause
            self.row.hung_up_by = self.row.hung_up_by or by
            self.over.set_result(None)

    # The story

    async def run(self, number: str, party: Party | None) -> None:
        """From the caller's INVITE to the end. ``party``: whose number it is, if anybody's."""
        invite = self.caller.invite
        assert invite is not None
        self._max_forwards = (invite.request.max_forwards or 70) - 1
        try:
            failure = await self._connect(number, party)
            if failure is None:
                await self.talk()
            else:
                self._fail(failure)
        except StoreUnavailable:
            self._fail(CONGESTION)
        except MediaUnavailable:
            self.board.log.error(f"Call {self.id}: no media engine answers")
            self._fail(CONGESTION)
        except MediaRefused:
            self._fail(CODEC_MISMATCH)
        except SipError as error:
            self._fail(Failure(error.status or 400, error.reason, "failed"))
        finally:
            await self.wind_up()

    async def refuse(self, failure: Failure) -> None:
        """Nothing is tried; the record says why."""
        self._fail(failure)
        await self.wind_up()

    async def story(self) -> None:
        """The life of a call whose legs were joined by a transfer."""
        try:
            await self.talk()
        finally:
            await self.wind_up()

    async def connect_as(self, number: str) -> Failure | None:
        """For a transfer: ring the number for a party that is in a call already. None: ``callee`` has answered and
        has its ACK; the party itself is still to be told."""
        self._for_transfer = True
        return await self._connect(number, (await self.board.parties([number])).get(number))

    async def _connect(self, number: str, party: Party | None) -> Failure | None:
        """Ring the number, following redirections within this PBX. None: connected."""
        seen: list[str] = []
        while not self.over.done():
            seen.append(number.lower())
            outcome = await self._ring_party(party)
            if outcome is None or isinstance(outcome, Failure):
                return outcome
            target = self.board.redirected_to(outcome)
            if target is None or target.lower() in seen or len(seen) > MAX_REDIRECTS:
                return NOT_REGISTERED
            number = target
            party = (await self.board.parties([number])).get(number)
        return CANCELLED

    async def _ring_party(self, party: Party | None) -> Failure | Response | None:
        if party is None:
            return UNKNOWN_NUMBER
        if not party.enabled:
            return DISABLED
        devices = [b for b in party.bindings if not self._is_callers_own(b)]
        if not devices:
            return BUSY if party.bindings else NOT_REGISTERED
        if self.board.is_full(party.account_id):
            return BUSY
        return await self.ring(party, devices, party.ring_seconds)

    def _is_callers_own(self, binding: Binding) -> bool:
        """The phone does not ring itself. (Other extensions may share its address: behind an edge proxy all do.)"""
        if binding.account_id != self.caller.party.account_id:
            return False
        return (binding.remote_host, binding.remote_port) == self.caller.flow.remote

    async def ring(self, party: Party, devices: list[Binding], seconds: float) -> Failure | Response | None:
        """Ring all devices at once; the first who answers gets the call, the others are told that it was answered
        elsewhere. None: connected. A Failure: not. A Response: a redirection to follow."""
        if self.over.done():
            return CANCELLED
        self._attempts = [self._attempt(party, device) for device in devices]
        tasks: dict[asyncio.Future[Any], Attempt] = {
            asyncio.create_task(self._try(attempt, binding)): attempt
            for attempt, binding in zip(self._attempts, devices, strict=True)
        }
        self.changed()
        responses: list[Response] = []
        ended = _Ended(tasks, self.over, seconds)
        try:
            while tasks:
                done = await ended.next()
                if self.over.done():
                    return CANCELLED
                if not done:
                    return NO_ANSWER
                for task in done:
                    attempt = tasks.pop(task)
                    response: Response | None = task.result()
                    if response is None:
                        continue
                    if response.status < 300:
                        await self._join(attempt)
                        return None
                    responses.append(response)
                    if response.status == 603 and self.board.settings.decline_stops_all:
                        return _failure(response)
            best = best_response(responses)
            if best is None:
                return NOT_REGISTERED
            return best if 300 <= best.status < 400 else _failure(best)
        finally:
            ended.stop()
            # Whoever still rings is told that somebody answered, or just that it is over.
            why = [ELSEWHERE] if self.callee is not None else []
            for task, attempt in tasks.items():
                task.cancel()
                self._give_up(attempt)
                self.board.spawn(self._withdraw(attempt, why))

    def _attempt(self, party: Party, binding: Binding) -> Attempt:
        flow = binding.flow
        id = BindingId(binding.account_id, binding.key)
        host = self.board.host_of(binding)
        leg = Leg(self.board, party, flow, host, call_id=self.board.token(), binding=id)
        row = LegRow(
            number=party.number,
            device=binding.user_agent or binding.contact,
            remote=f"{flow.remote[0]}:{flow.remote[1]}",
            user_agent=binding.user_agent,
        )
        self.row.legs.append(row)
        self.board.traces.joins(self, leg.call_id, party.number)
        return Attempt(leg, row)

    async def _try(self, attempt: Attempt, binding: Binding) -> Response | None:
        """Call one device; its final response, or None when it could not even be called."""
        caller, leg = self.caller, attempt.leg
        sdp = b""
        if caller.sdp_from:
            sdp = await self.board.media.offer(
                self.id, caller.tag, caller.sdp_from, sender=caller.side, receiver=leg.side, branch=leg.tag
            )
        try:
            response = await self._invite(attempt, binding, sdp)
            if response.status == 422 and leg.timer.grow(response):
                response = await self._invite(attempt, binding, sdp)
            if response.status < 300 and attempt.outgoing is not None:
                try:
                    leg.established(attempt.outgoing, response)
                except SipError:  # it cannot be talked to: the others go on ringing
                    leg.decline(attempt.outgoing, response)
                    response = Response(502, "Bad Answer", [])
        except SipError as error:  # a Contact that cannot be called is this device's own affair
            response = Response(error.status or 400, error.reason, [])
        attempt.row.code, attempt.row.ended_at = response.status, self.board.wall()
        attempt.row.reason = response.reason
        if response.status >= 300:
            attempt.row.state = "failed"
            outgoing = attempt.outgoing
            if outgoing is not None and not outgoing.answered:
                large = len(outgoing.transaction.sent or b"") > SAFE_DATAGRAM
                if not outgoing.heard:
                    self._silent(attempt, outgoing)
                if large and leg.flow.transport == "UDP":
                    attempt.row.reason = "fragmented"
            leg.end()
            if sdp:
                await self.board.media.delete(self.id, caller.tag, leg.tag)
        return response

    async def _invite(self, attempt: Attempt, binding: Binding, sdp: bytes) -> Response:
        caller = self.caller
        outgoing = attempt.outgoing = attempt.leg.call(
            _request_uri(binding.contact),
            caller.party,
            sdp,
            self._max_forwards,
            self.board.forwarded(caller),
            binding.path,
        )
        outgoing.provisional = lambda response: self._progress(attempt, response)
        return await outgoing.answer()

    def _progress(self, attempt: Attempt, response: Response) -> None:
        """A 1xx of a device. With one device its early media is passed on; with several the caller hears ringing."""
        assert attempt.outgoing is not None
        if response.status == 100 or self.over.done() or not (self.caller.invite or self._for_transfer):
            return
        try:
            attempt.leg.ringing(attempt.outgoing.request, response)
            sdp = sdp_of(response)
        except SipError:
            return
        if attempt.row.ringing_at is None:
            attempt.row.state, attempt.row.ringing_at = "ringing", self.board.wall()
            self.changed()
            if self.on_ringing is not None:
                self.on_ringing()
        if sdp and len(self._attempts) == 1 and self.caller.sdp_from:
            self.spawn(self._early_media(attempt, response.status, sdp))
        else:
            self.reliable.send(self, 180)

    async def _early_media(self, attempt: Attempt, status: int, sdp: bytes) -> None:
        try:
            answer = await self.board.media.answer(
                self.id,
                self.caller.tag,
                attempt.leg.tag,
                sdp,
                sender=attempt.leg.side,
                receiver=self.caller.side,
                branch=attempt.leg.tag,
            )
        except (MediaRefused, MediaUnavailable):
            self.reliable.send(self, 180)
            return
        if self.caller.invite is not None:
            self.reliable.send(self, status, answer)

    async def _join(self, attempt: Attempt) -> None:
        """A device answered: connect it with the caller. Raises what makes the call fail; then the device is told."""
        caller, leg, outgoing = self.caller, attempt.leg, attempt.outgoing
        assert outgoing is not None
        media = self.board.media
        self.callee = leg
        attempt.row.state, attempt.row.answered_at, attempt.row.ended_at = "answered", self.board.wall(), None
        self.board.call_of[leg] = self
        if self._for_transfer:
            leg.ack(outgoing)
            self.row.answer, self.row.disposition = self.board.wall(), "ANSWERED"
            return
        try:
            if caller.sdp_from:
                leg.ack(outgoing)
                sdp = await media.answer(
                    self.id, caller.tag, leg.tag, leg.sdp_from, sender=leg.side, receiver=caller.side, branch=leg.tag
                )
            else:
                sdp = await media.offer(self.id, leg.tag, leg.sdp_from, sender=leg.side, receiver=caller.side)
        except (MediaRefused, MediaUnavailable):
            if not caller.sdp_from:
                leg.ack(outgoing)
            raise
        self.row.answer, self.row.disposition = self.board.wall(), "ANSWERED"
        self.changed()
        await self.reliable.settled(self.over)
        if self.over.done():
            if not caller.sdp_from:
                leg.ack(outgoing)
            return
        if not caller.sdp_from:
            self.spawn(self._confirm_late_offer(sdp, outgoing))
            return
        try:
            caller.confirm(sdp).lost = lambda: self.hang_up("ack_lost")
        except SipError:
            self.hang_up("codec_mismatch")

    async def _confirm_late_offer(self, sdp: bytes, late: Outgoing) -> None:
        """Give the caller its 200 with the callee's offer, and the callee the answer that comes in the ACK."""
        caller, callee = self.caller, self.callee
        assert callee is not None
        try:
            ack = await caller.accept(sdp)
            answer = await self.board.media.answer(
                self.id, callee.tag, caller.tag, sdp_of(ack), sender=caller.side, receiver=callee.side
            )
            caller.sdp_from = sdp_of(ack)
            callee.ack(late, answer)
        except AckLost:
            callee.ack(late)
            self.hang_up("ack_lost")
        except (MediaRefused, MediaUnavailable, SipError):
            callee.ack(late)
            self.hang_up("codec_mismatch")
        except asyncio.CancelledError:
            if callee.dialog is not None:
                callee.ack(late)  # the call is over, and its 200 still wants this
            raise

    def _give_up(self, attempt: Attempt) -> None:
        """This device is called no more; that it confirms it, or does not, comes later."""
        attempt.row.state, attempt.row.ended_at = "failed", self.board.wall()
        outgoing = attempt.outgoing
        if outgoing is not None and not outgoing.heard and self.board.now() - outgoing.sent_at >= PATIENCE:
            self._silent(attempt, outgoing)

    def _silent(self, attempt: Attempt, outgoing: Outgoing) -> None:
        """Nothing at all came from this device: it is not there, as far as anybody can tell."""
        attempt.row.silent, attempt.row.code, attempt.row.reason = True, None, ""
        if attempt.leg.binding is not None and not outgoing.request.getall("Route"):
            self.board.unanswered(attempt.leg.binding, outgoing.sent_at)

    async def _withdraw(self, attempt: Attempt, why: Iterable[tuple[str, str]]) -> None:
        """Take an INVITE back. A phone that answered in the same moment is hung up on."""
        outgoing, leg = attempt.outgoing, attempt.leg
        if outgoing is not None:
            outgoing.cancel(*why)
            response = await outgoing.answer()
            if response.status < 300:
                try:
                    leg.established(outgoing, response)
                    leg.ack(outgoing)
                    leg.bye(why)
                except SipError:
                    leg.decline(outgoing, response)
            if not outgoing.heard:
                self._silent(attempt, outgoing)
            elif outgoing.answered:
                attempt.row.code = attempt.row.code or 487
        if outgoing is None or outgoing.heard:
            attempt.row.silent = False
            attempt.row.reason = attempt.row.reason or ("Answered elsewhere" if why else "Cancelled")
        self.changed()
        leg.end()
        await self.board.media.delete(self.id, self.caller.tag, leg.tag)

    async def talk(self) -> None:
        """Until it is over: phones that vanish and sound that stopped end it too."""
        watch = Watch(self)
        try:
            await self.over
        finally:
            watch.stop()

    def _fail(self, failure: Failure) -> None:
        self.row.cause = self.row.cause or failure.cause
        if self.row.answer is None:
            self.row.disposition = failure.disposition
        if self.caller.invite is None:
            return
        if failure is CANCELLED and self.row.hung_up_by not in ("", "caller"):
            failure = STOPPED if self.row.cause == "pbx_stopped" else ENDED_BY_US
        headers = [("Reason", f"SIP;cause={failure.status};text={quote(failure.reason)}")]
        if failure.status == 503:
            headers.append(retry_after(5, 20))
        self.caller.reject(failure.status, failure.reason, headers)

    async def wind_up(self) -> None:
        """Tell whoever is still there, close the record, forget the call."""
        for task in list(self._tasks):
            task.cancel()
        self.reliable.stop()
        if self.joined is not None:
            self.joined.hang_up("cancelled", "caller")
        for leg in self.legs:
            if leg.invite is not None and self.board.call_of.get(leg) is self:
                # Also a re-INVITE that comes to nothing now (RFC 3261 section 15.1.2).
                over = leg.state is LegState.CONFIRMED or self.row.cause == "cancelled"
                leg.reject(487 if over else 480)
            if leg.state is not LegState.ENDED and self.board.call_of.get(leg) is self:
                leg.bye(self._why())
            if self.board.call_of.get(leg) is self:
                del self.board.call_of[leg]
        self.board.calls.pop(self.id, None)
        self.board.call_changed(self)
        now = self.board.wall()
        self._note_media(await self.board.media.delete(self.id))
        self.row.end = now
        for row in self.row.legs:
            if row.ended_at is None:
                row.ended_at = now
        self.row.cause = self.row.cause or "normal"
        self.changed()
        self.board.traces.ended(self)

    def _why(self) -> list[tuple[str, str]]:
        if self.row.cause not in TOLD:
            return []  # a phone shows an ended call; with a Reason of 480 linphone shows "temporarily unavailable"
        return [("Reason", f'SIP;cause=480;text="{self.row.cause}"')]

    def _note_media(self, figures: list[Heard]) -> None:
        if self.row.answer is None:
            return
        numbers = {leg.tag: leg.number for leg in self.legs}
        others = {leg.tag: (self.other(leg) or leg).number for leg in self.legs}
        for heard in figures:
            if heard.tag in numbers:
                self.row.media.append(
                    MediaRow(
                        numbers[heard.tag],
                        others[heard.tag],
                        heard.packets,
                        heard.bytes,
                        heard.lost,
                        heard.jitter_ms,
                        heard.first_at,
                        heard.last_at,
                        heard.foreign_packets,
                    )
                )

    def clock_set(self, moved: float) -> None:
        """What is on record of it moves with the clock."""
        self.row.clock_set(moved)
        self.changed()

    def changed(self) -> None:
        """The record has news. The doctor's calls leave none."""
        if not self.caller.party.hidden:
            self.board.records.changed(self.row)
        self.board.call_changed(self)


class _Ended:
    """The attempts as they end: asyncio.wait(), which does all of this anew at each turn, for the time of a ring."""

    def __init__(self, tasks: Iterable[asyncio.Future[Any]], over: asyncio.Future[None], seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = over
        self._ended: list[asyncio.Future[Any]] = []
        self._late = False
        self._turn: asyncio.Future[None] | None = None
        self._timer = self._loop.call_later(max(0.0, seconds), self._time_out)
        for task in tasks:
            task.add_done_callback(self._one)
        over.add_done_callback(self._wake)

    async def next(self) -> list[asyncio.Future[Any]]:
        """Those that have ended since the last time: none when the time or the call is over."""
        if not (self._ended or self._late or self._over.done()):
            self._turn = self._loop.create_future()
            await self._turn
        ended, self._ended = self._ended, []
        return ended

    def stop(self) -> None:
        self._timer.cancel()
        self._over.remove_done_callback(self._wake)

    def _one(self, task: asyncio.Future[Any]) -> None:
        self._ended.append(task)
        self._wake(task)

    def _time_out(self) -> None:
        self._late = True
        self._wake()

    def _wake(self, _: asyncio.Future[Any] | None = None) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)


def best_response(responses: list[Response]) -> Response | None:
    """RFC 3261 section 16.7 step 6: a 6xx before all others, else of the lowest class, there those that tell the
    caller something to act on; a device that did not answer at all counts least."""
    if not responses:
        return None
    telling = {401: 0, 407: 0, 415: 1, 420: 1, 484: 1, 486: 2, 488: 3}

    def rank(response: Response) -> tuple[int, int]:
        if response.status >= 600:
            return 0, 0
        if response.status in (408, 503):
            return 9, response.status
        return response.status // 100, telling.get(response.status, 5)

    return min(responses, key=rank)


def _failure(response: Response) -> Failure:
    status = response.status
    if status in (486, 600):
        return BUSY
    if status == 603:
        return Failure(603, "Decline", "declined", "BUSY")
    if status in (408, 503):
        return Failure(480, "Phone Does Not Answer", "no_answer", "NO ANSWER")
    if status in (415, 488, 606):
        return CODEC_MISMATCH
    if status == 480:
        return Failure(480, passed_words(response.reason) or "Temporarily Unavailable", "no_answer", "NO ANSWER")
    if status in (401, 407):
        status = 480  # a phone that asks us for a password: nothing the caller can help
    return Failure(status, passed_words(response.reason) or REASONS.get(status, "Failed"), "failed")


def _request_uri(contact: str) -> str:
    """The stored Contact as a Request-URI: without the parameters that belong to the header (19.1.1)."""
    uri = parse_uri(contact)
    return str(uri) if not uri.headers and "method" not in uri.params else contact.partition("?")[0]
