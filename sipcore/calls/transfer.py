"""REFER (RFC 3515): the PBX carries transfers out itself, so that they work whatever the other phone can do.

Blind: the new number is rung, and the party that is transferred gets a re-INVITE when somebody answers. Attended:
Refer-To names the transferor's other call (Replaces, RFC 3891), whose far party is joined with this one's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import unquote

from sipcore.calls.bridge import join
from sipcore.calls.call import Call, Failure
from sipcore.calls.leg import Leg, LegState, sdp_of
from sipcore.calls.ports import MediaRefused, MediaUnavailable
from sipcore.ports import StoreUnavailable
from sipcore.protocol.errors import SipError
from sipcore.protocol.headers import parse_name_addr, parse_params
from sipcore.protocol.message import REASONS
from sipcore.protocol.transaction import ServerTransaction

if TYPE_CHECKING:
    from sipcore.calls.switchboard import Switchboard

GLARE_PAUSES = (0.5, 1.0, 2.0)
"""Seconds before a re-INVITE that met another one is tried again (RFC 3261 section 14.1)."""


async def on_refer(call: Call, leg: Leg, transaction: ServerTransaction) -> None:
    """Accept a REFER from a phone in a call and tell it by NOTIFY how the transfer goes (RFC 3515 section 2.4.4)."""
    board, request = call.board, transaction.request
    party = call.other(leg)
    if party is None or party.state is not LegState.CONFIRMED or call.transferor is not None:
        leg.answer(transaction, 491 if call.transferor is not None else 481)
        return
    try:
        target = parse_name_addr(request.get("Refer-To") or "").uri
    except SipError:
        leg.answer(transaction, 400)
        return
    if target.scheme not in ("sip", "sips", "tel") or (target.host and not board.is_ours(target.host, leg.flow)):
        leg.answer(transaction, 603)
        return
    call.transferor = leg
    silent = (request.get("Refer-Sub") or "").strip().lower() == "false"
    leg.answer(transaction, 202, [("Refer-Sub", "false")] if silent else [])
    progress = Progress(leg, request.cseq.number, silent)
    progress.tell(100)
    replaces = next((value for name, value in target.headers.items() if name.lower() == "replaces"), None)
    status = 0
    try:
        consultation = _named_leg(board, leg, unquote(replaces)) if replaces is not None else None
        second = board.call_of.get(consultation) if consultation is not None else None
        if replaces is not None and (consultation is None or second is None):
            status = 481
        elif consultation is not None and second is not None and second.callee is not None:
            status = await _attended(call, leg, party, second, consultation, progress)
        else:
            if second is not None:
                second.hang_up("transferred", second.role(consultation))
            status = await _blind(call, leg, party, target.canonical_user, progress)
    except (MediaRefused, MediaUnavailable, SipError):
        status = 488
    except StoreUnavailable:
        status = 503
    finally:
        call.transferor = None
        if leg.state is LegState.ENDED:
            call.hang_up("normal", call.role(leg))  # it came to nothing, and the transferor has left
    if status:
        progress.tell(status)  # as the last thing: it may lead to the next try


class Progress:
    """The implicit subscription of a REFER: NOTIFYs with message/sipfrag, the last one terminates it."""

    def __init__(self, leg: Leg, cseq: int, silent: bool) -> None:
        self._leg, self._id, self._silent = leg, cseq, silent
        self._said = 0

    def tell(self, status: int) -> None:
        if self._silent or self._leg.state is not LegState.CONFIRMED or status == self._said:
            return
        self._said = status
        state = "active;expires=60" if status < 200 else "terminated;reason=noresource"
        body = f"SIP/2.0 {status} {REASONS.get(status, 'Unknown')}\r\n".encode()
        headers = [
            ("Event", f"refer;id={self._id}"),
            ("Subscription-State", state),
            ("Content-Type", "message/sipfrag;version=2.0"),
        ]
        self._leg.notify(headers, body)


async def _blind(call: Call, leg: Leg, party: Leg, number: str, progress: Progress) -> int:
    """Ring the new number on behalf of the party; until somebody answers, the old call stays as it is. Returns the
    status to tell, 0 when it is done."""
    board = call.board
    joined = call.joined = Call(board, board.new_row(party, number), party)
    joined.on_ringing = lambda: progress.tell(180)
    found = False
    try:
        failure = await _ring_for(joined, party, number)
        if failure is None and party.state is LegState.CONFIRMED and joined.callee is not None:
            found = True
            progress.tell(200)
            _hand_over(call, leg, party, joined)
            board.run(joined.story())
            return 0
        if failure is None:
            return 487
        joined.row.cause, joined.row.disposition = failure.cause, failure.disposition
        return failure.status
    finally:
        call.joined = None
        if not found:
            await joined.wind_up()


async def _ring_for(joined: Call, party: Leg, number: str) -> Failure | None:
    """Find the number's phones and ring them with what the party last said it can do; then re-INVITE the party with
    the answer."""
    outcome = await joined.connect_as(number)
    if outcome is not None:
        return outcome
    callee = joined.callee
    assert callee is not None
    media = joined.board.media
    # What the callee answered becomes our offer to the party; the ports on the callee's side stay.
    sdp = await media.answer(
        joined.id, party.tag, callee.tag, callee.sdp_from, sender=callee.side, receiver=party.side, branch=callee.tag
    )
    response, _ = await party.reinvite(sdp)
    for pause in GLARE_PAUSES:
        if response.status != 491:
            break
        await asyncio.sleep(pause)
        response, _ = await party.reinvite(sdp)
    if response.status >= 300:
        callee.bye()
        return Failure(480, "Transferred Party Does Not Answer", "failed")
    await media.offer(
        joined.id, party.tag, sdp_of(response), sender=party.side, receiver=callee.side, to_tag=callee.tag
    )
    await media.answer(joined.id, party.tag, callee.tag, callee.sdp_from, sender=callee.side, receiver=party.side)
    return None


async def _attended(call: Call, leg: Leg, party: Leg, second: Call, consultation: Leg, progress: Progress) -> int:
    """Join the far parties of the transferor's two calls: one is asked for an offer, the other gets it. Returns the
    status to tell, 0 when it is done."""
    board = call.board
    target = second.other(consultation)
    if target is None or target.state is not LegState.CONFIRMED:
        second.hang_up("transferred", second.role(consultation))
        number = target.number if target is not None else second.row.dst
        return await _blind(call, leg, party, number, progress)
    joined = call.joined = Call(board, board.new_row(party, target.number), party, target)
    second.transferor = consultation
    done = False
    try:
        refusal = await join(board.media, joined.id, party, target)
        if refusal is not None or LegState.ENDED in (party.state, target.state):
            return refusal.status if refusal is not None else 480
        done = True
        joined.row.answer, joined.row.disposition = board.wall(), "ANSWERED"
        progress.tell(200)
        board.call_of[target] = joined
        second.hang_up("transferred", second.role(consultation))
        _hand_over(call, leg, party, joined)
        board.run(joined.story())
        return 0
    finally:
        call.joined = second.transferor = None
        if not done:
            await joined.wind_up()
            if consultation.state is LegState.ENDED:
                second.hang_up("normal", second.role(consultation))


def _hand_over(call: Call, leg: Leg, party: Leg, joined: Call) -> None:
    """From now on the party belongs to the new call; the old one ends, for the transferor alone."""
    call.board.call_of[party] = joined
    call.joined = None
    joined.changed()
    call.hang_up("transferred", call.role(leg))


def _named_leg(board: Switchboard, transferor: Leg, replaces: str) -> Leg | None:
    """The leg that a Replaces value names, as the transferor sees it: its from-tag is the transferor's own, its
    to-tag ours. Only a leg of the same extension: nobody takes over the calls of others."""
    call_id, _, rest = replaces.partition(";")
    try:
        tags = parse_params(rest)
    except SipError:
        return None
    for ours, theirs in (("to-tag", "from-tag"), ("from-tag", "to-tag")):
        leg = board.find(call_id.strip(), tags.get(ours) or "")
        if leg is not None and leg.remote_tag == (tags.get(theirs) or ""):
            return leg if leg.party.account_id == transferor.party.account_id else None
    return None
