"""MESSAGE outside of calls (RFC 3428): to all devices of the extension, 200 if any took it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sipcore.calls.call import best_response
from sipcore.calls.passing import passed_body, passed_headers
from sipcore.calls.ports import Party
from sipcore.protocol.headers import quote, split_list
from sipcore.protocol.message import Request, Response, make_response
from sipcore.protocol.transaction import ServerTransaction

if TYPE_CHECKING:
    from sipcore.calls.switchboard import Switchboard

MAX_BODY = 1300
"""Bytes of a MESSAGE outside of a session (RFC 3428 section 8)."""


async def deliver_message(board: Switchboard, request: Request, transaction: ServerTransaction, sender: Party) -> None:
    """Carry a text to every device of its addressee. A device that knows no such content does not spoil it for the
    others."""
    if len(request.body) > MAX_BODY:
        board.respond(transaction, make_response(request, 513))
        return
    number = request.request_uri.canonical_user
    party = (await board.parties([number])).get(number)
    if party is None:
        board.respond(transaction, make_response(request, 404))
        return
    if not party.enabled or not party.bindings:
        board.respond(transaction, make_response(request, 480))
        return
    name = f"{quote(sender.display_name)} " if sender.display_name else ""
    us = f"{name}<sip:{sender.number}@{board.domain}>"
    waiting = []
    for binding in party.bindings:
        flow = binding.flow
        lines = [("Route", value) for value in split_list(binding.path)] if binding.path else []
        lines += [
            ("Max-Forwards", str((request.max_forwards or 70) - 1)),  # 0 was refused, whoever asked (16.3)
            ("From", f"{us};tag={board.token()}"),
            ("To", f"<sip:{party.number}@{board.domain}>"),
            ("Call-ID", board.token()),
            ("CSeq", "1 MESSAGE"),
            ("P-Asserted-Identity", us),
        ]
        lines += passed_headers(request, ("Content-Type",))
        waiting.append(board.send(Request("MESSAGE", binding.contact, lines, passed_body(request)), flow).final)
    done, _ = await asyncio.wait(waiting, timeout=30.0)
    responses: list[Response] = [future.result() for future in done]
    if any(response.status < 300 for response in responses):
        board.respond(transaction, make_response(request, 200))
        return
    best = best_response(responses)
    # Never a 408 to something that is no INVITE (RFC 4320 section 4.2).
    status = best.status if best is not None and best.status not in (401, 407, 408, 503) else 480
    board.respond(transaction, make_response(request, status))
