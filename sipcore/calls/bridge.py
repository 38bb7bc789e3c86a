"""What the phones of a connected call ask of each other: new offers, updates, digits, texts. Each goes through to the
other leg, with the media engine in between, and the other's answer comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from sipcore.calls.confirming import AckLost
from sipcore.calls.leg import Leg, LegState, sdp_of
from sipcore.calls.passing import passed_body, passed_headers, passed_words
from sipcore.calls.ports import Media, MediaRefused, MediaUnavailable
from sipcore.later import retry_after
from sipcore.protocol.errors import SipError
from sipcore.protocol.message import Response
from sipcore.protocol.transaction import ServerTransaction, State

if TYPE_CHECKING:
    from sipcore.calls.call import Call

MOVE_SECONDS = 10.0
"""How long a call whose media engine died waits for another one, or for the same to be back."""

PASSED_ON = ("Content-Type", "Content-Disposition", "Info-Package", "Recv-Info")
"""Headers of an INFO or MESSAGE that go through; everything else is ours to say."""


def begin(call: Call, leg: Leg, transaction: ServerTransaction, work: Coroutine[Any, Any, None]) -> None:
    """Do the work of a request within the dialog; when the call ends under it, the request gets its answer still."""

    def ended(task: asyncio.Task[Any]) -> None:
        if transaction.state in (State.TRYING, State.PROCEEDING):
            leg.answer(transaction, 487 if transaction.request.method == "INVITE" else 481)

    call.spawn(work).add_done_callback(ended)


async def on_invite(call: Call, leg: Leg, invite: ServerTransaction) -> None:
    """A re-INVITE: with an offer, or asking for one (RFC 3261 section 14.2)."""
    other = call.other(leg)
    if leg.offering or other is None or other.invite is not None or other.offering:
        leg.reject(491, invite=invite)  # both at once (glare)
        return
    if leg.invite is not None:
        leg.reject(500, headers=[retry_after(1, 10)], invite=invite)
        return
    leg.invite = invite
    try:
        offer = sdp_of(invite.request)
        leg.learn(invite.request)
        if leg.timer.too_small(invite.request):
            leg.reject(422, headers=[("Min-SE", "90")], invite=invite)
        elif offer:
            await _offer_through(call, leg, other, invite, offer)
        else:
            await _ask_through(call, leg, other, invite)
    except AckLost:
        call.hang_up("ack_lost")
    except MediaRefused:
        leg.reject(488, invite=invite)
    except MediaUnavailable:
        leg.reject(503, headers=[retry_after(5, 20)], invite=invite)
    except SipError as error:
        leg.reject(error.status or 400, error.reason, invite=invite)
    finally:
        leg.done_with(invite)


async def _offer_through(call: Call, leg: Leg, other: Leg, invite: ServerTransaction, offer: bytes) -> None:
    answer = await _exchange(call, leg, other, offer)
    if isinstance(answer, Response):
        _refuse(call, leg, other, invite, answer)
        return
    leg.sdp_from = offer
    await leg.accept(answer, invite=invite)


async def _ask_through(call: Call, leg: Leg, other: Leg, invite: ServerTransaction) -> None:
    """A re-INVITE without an offer: the other phone makes one, the ACK brings the answer."""
    answer = other.sdp_to  # when it comes to nothing, everything stays as it was
    response, outgoing = await other.reinvite(b"")
    if response.status >= 300:
        _refuse(call, leg, other, invite, response)
        return
    media = call.board.media
    try:
        offer = await media.offer(
            call.id, other.tag, sdp_of(response), sender=other.side, receiver=leg.side, to_tag=leg.tag
        )
        ack = await leg.accept(offer, invite=invite)
        leg.sdp_from = sdp_of(ack)
        answer = await media.answer(call.id, other.tag, leg.tag, leg.sdp_from, sender=leg.side, receiver=other.side)
    finally:
        other.ack(outgoing, answer)


async def _exchange(call: Call, leg: Leg, other: Leg, offer: bytes) -> bytes | Response:
    """Bring an offer to the other phone by re-INVITE; its answer as the offerer is to see it, or its refusal."""
    media = call.board.media
    sdp = await media.offer(call.id, leg.tag, offer, sender=leg.side, receiver=other.side, to_tag=other.tag)
    response, _ = await other.reinvite(sdp)
    if response.status >= 300:
        return response
    return await media.answer(call.id, leg.tag, other.tag, sdp_of(response), sender=other.side, receiver=leg.side)


def _refuse(call: Call, leg: Leg, other: Leg, invite: ServerTransaction, response: Response) -> None:
    if response.status in (408, 481, 503):
        leg.reject(response.status if response.status != 503 else 480, invite=invite)
        if response.status == 481:
            other.end()
        call.hang_up("session_expired")
        return
    headers = passed_headers(response, ("Retry-After", "Warning"))
    status = response.status if response.status not in (401, 407) else 480  # a password that is asked of us
    leg.reject(status, passed_words(response.reason) if status == response.status else None, headers, invite=invite)


async def on_update(call: Call, leg: Leg, transaction: ServerTransaction) -> None:
    """UPDATE (RFC 3311): with an offer it goes through, as a re-INVITE where the other phone knows no UPDATE; without
    one it only refreshes the session."""
    request = transaction.request
    leg.learn(request)
    try:
        offer = sdp_of(request)
    except SipError as error:
        leg.answer(transaction, error.status)
        return
    if leg.timer.too_small(request):
        leg.answer(transaction, 422, [("Min-SE", "90")])
        return
    if not offer:
        leg.answer(transaction, 200, leg.timer.answer(request, leg.supported))
        return
    other = call.other(leg)
    if other is None or LegState.EARLY in (leg.state, other.state):
        leg.answer(transaction, 500, [retry_after(1, 10)])  # the offer of the INVITE waits for its answer (5.2)
        return
    if leg.offering or other.offering or other.invite is not None:
        leg.answer(transaction, 491)
        return
    try:
        answer = await _exchange(call, leg, other, offer)
    except MediaRefused:
        leg.answer(transaction, 488)
        return
    except (MediaUnavailable, SipError):
        leg.answer(transaction, 500, [retry_after(1, 10)])
        return
    if isinstance(answer, Response):
        # Of those the other phone's would end the whole call (RFC 5057 5.1), or ask for a password that nobody has; 488
        # leaves everything as it was, and is no fault of ours.
        leg.answer(transaction, answer.status if answer.status not in (401, 407, 408, 481) else 488)
        return
    leg.sdp_from = offer
    leg.answer(transaction, 200, leg.timer.answer(request, leg.supported), answer)


async def on_message(call: Call, leg: Leg, transaction: ServerTransaction) -> None:
    """INFO (digits, video refresh) and MESSAGE within the call: to the other phone and its answer back."""
    request = transaction.request
    other = call.other(leg)
    if other is None or other.state is not LegState.CONFIRMED:
        leg.answer(transaction, 480)
        return
    response = await other.request(request.method, passed_headers(request, PASSED_ON), passed_body(request))
    status = response.status if response.status not in (401, 407, 408, 481, 503) else 480
    leg.answer(transaction, status)


async def join(media: Media, id: str, first: Leg, second: Leg) -> Response | None:
    """Bring two parties of running dialogs together anew: one is asked for an offer by a re-INVITE without one, the
    other gets it. For attended transfers, and when the media engine of a call was lost. None: done; a Response: the
    refusal."""
    answer = first.sdp_to  # when it comes to nothing, everything stays as it was
    response, outgoing = await first.reinvite(b"")
    if response.status >= 300:
        return response
    try:
        offer = await media.offer(id, first.tag, sdp_of(response), sender=first.side, receiver=second.side)
        accepted, _ = await second.reinvite(offer)
        if accepted.status >= 300:
            return accepted
        answer = await media.answer(
            id, first.tag, second.tag, sdp_of(accepted), sender=second.side, receiver=first.side
        )
    finally:
        first.ack(outgoing, answer)
    return None


async def move_media(call: Call) -> None:
    """The media engine of this call is gone: both phones are given new ports, from an engine that lives."""
    caller, callee, media = call.caller, call.callee, call.board.media
    moved = False
    if callee is not None and {callee.state, caller.state} == {LegState.CONFIRMED}:
        moved = await media.available(MOVE_SECONDS) and await _joined(media, call.id, caller, callee)
    if not moved:
        call.hang_up("media_timeout")


async def _joined(media: Media, id: str, first: Leg, second: Leg) -> bool:
    try:
        return await join(media, id, first, second) is None
    except (MediaRefused, MediaUnavailable, SipError):
        return False
