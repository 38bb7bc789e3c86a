"""Calls and lamps of others by features of the PBX: transfers, Replaces, subscriptions."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from urllib.parse import quote

from tests.hardening.programs.attacker import Attacker
from tests.hardening.programs.hijacking.house import OTHER, OWN, VICTIM, House, Tally
from tests.support.caller import Caller, Dialog, Outbound
from tests.support.processes import wait_until
from tests.support.watcher import TYPES, Watch


def attack(house: House) -> Iterator[Tally]:
    mallory = house.phone(OWN, "127.0.0.22")
    yield _replacing(house, mallory)
    yield _transferring(house, mallory)
    yield _watching(house, mallory)
    mallory.register(expires=0)
    house.settle()


def _naming(dialog: Dialog) -> Iterator[tuple[str, str]]:
    """A dialog of others in Replaces, as either of its sides would name it."""
    yield "as its phone", f"{dialog.call_id};to-tag={dialog.remote_tag};from-tag={dialog.local_tag}"
    yield "as the PBX", f"{dialog.call_id};to-tag={dialog.local_tag};from-tag={dialog.remote_tag}"
    yield "early only", f"{dialog.call_id};to-tag={dialog.remote_tag};from-tag={dialog.local_tag};early-only"


def _replacing(house: House, mallory: Caller) -> Tally:
    """INVITE with Replaces or Join (RFC 3891, 3911), and picking up what rings at others."""
    ann, ben = house.ann, house.ben
    tally = Tally("calls of others taken over by Replaces, Join, or picked up")
    ours, theirs = house.connect(ann, ben)
    for side, dialog in (("the caller's", ours), ("the called phone's", theirs)):
        for how, value in _naming(dialog):
            for name in house.some(("Replaces", "Join", "Target-Dialog"), 1):
                for require in (False, True):
                    headers = [(name, value), *([("Require", name.lower())] if require else [])]
                    call = mallory.invite("1009", headers=headers)
                    answer = call.final()
                    mallory.ack_failure(call.sent, answer)
                    tally.count(f"{name}, {side} dialog {how}{', required' * require}", answer.status < 300)
    for what in house.disturbed(ann, ben):
        tally.count(f"{what} came", True)
    tally.count("the call was lost", not house.hang_up(ann, ours, ben, theirs))

    call = ann.invite(OTHER)
    invite = ben.expect("INVITE")
    tag = ben.ring(invite)
    call.provisional(180)
    for number in ("*8", f"*8{OTHER}", f"**{OTHER}", f"*97{OTHER}", "*98", f"*22{OTHER}"):
        picking = mallory.invite(number)
        answer = picking.final()
        mallory.ack_failure(picking.sent, answer)
        tally.count(f"picked up by {number}", answer.status < 300)
    for how, value in _naming(call.dialog):
        picking = mallory.invite(OTHER, headers=[("Replaces", value)])
        # It may ring at the same phone, like any call; it must not end the other one.
        ringing = ben.expect("INVITE")
        ben.respond(ringing, 486)
        picking.refused(486)
        ben.expect("ACK", call_id=ringing.call_id)
        tally.count(f"what rings replaced {how}", bool(house.disturbed(ann, ben, seconds=0.1)))
    theirs = ben.answer(invite, tag=tag, ack=False)
    ours = call.connected()
    ben.expect("ACK", call_id=theirs.call_id)
    tally.count("it could not be answered any more", not house.hang_up(ann, ours, ben, theirs))
    return tally


def _transferring(house: House, mallory: Caller) -> Tally:
    """REFER: of oneself into the calls of others, out of dialogs, and with headers in Refer-To."""
    ann, ben = house.ann, house.ben
    tally = Tally("transfers that reach into calls of others")
    for what, uri, more in (
        ("to a number", house.uri(VICTIM), []), ("with Target-Dialog", house.uri(VICTIM), [("Target-Dialog", "x")])
    ):
        answer = mallory.ask("REFER", uri, [("Refer-To", f"<{house.uri(OTHER)}>"), ("Contact", mallory.contact), *more])
        came = house.disturbed(ann, ben, seconds=0.1)
        tally.count(f"REFER outside of calls {what}", answer.status < 300 or bool(came))
    ours, theirs = house.connect(ann, ben)
    # Mallory talks with himself, over a second phone of his, and wants ann's call.
    second = house.phone(OWN, "127.0.0.24")
    mine = _between(mallory, second)
    for side, dialog in (("the caller's", ours), ("the called phone's", theirs)):
        for how, value in _naming(dialog):
            for number in house.some((VICTIM, OTHER), 1):
                target = f"<{house.uri(number)}?Replaces={quote(value, safe='')}>"
                _refer(mallory, mine, target)
                came = house.disturbed(ann, ben, seconds=0.1)
                tally.count(f"Refer-To {number} with Replaces of {side} dialog {how}", bool(came))
                _quieten(mallory, second)
    tally.count("the call was lost", not house.hang_up(ann, ours, ben, theirs))
    for header in house.some(
        ("From", "P-Asserted-Identity", "Referred-By", "Route", "Call-ID", "Contact", "Authorization"), 2
    ):
        target = f"<{house.uri(VICTIM)}?{header}={quote('<' + house.uri(OTHER) + '>', safe='')}>"
        _refer(mallory, mine, target)
        tally.count(f"{header} in Refer-To", _rings_as(house, ann, OTHER))
        _quieten(mallory, second)
    mallory.request(mine, "BYE")
    second.register(expires=0)
    house.disturbed(mallory, second, ann, seconds=0.3)
    return tally


def _between(mallory: Caller, second: Caller) -> Dialog:
    call: Outbound = mallory.invite(OWN)
    theirs = second.answer(second.expect("INVITE"), ack=False)
    ours = call.connected()
    second.expect("ACK", call_id=theirs.call_id)
    return ours


def _refer(phone: Caller, dialog: Dialog, target: str) -> int:
    return phone.final(phone.request(dialog, "REFER", [("Refer-To", target)])).status


def _rings_as(house: House, phone: Caller, number: str) -> bool:
    """Whether what a transfer made ring says that this number calls."""
    came = False
    end = phone.wire.now() + 0.3
    while phone.wire.now() < end:
        phone.pump(0.05)
        for message in list(phone.inbox):
            if message.method == "INVITE" and not message.status:
                head = message.raw.partition(b"\r\n\r\n")[0]
                came = came or f"sip:{number}@".encode() in head
                phone.respond(message, 486)
            phone.inbox.remove(message)
    return came


def _quieten(*phones: Caller) -> None:
    """The NOTIFYs of a transfer are answered, and what it re-INVITEs is left as it was."""
    for phone in phones:
        while phone.pump(0.03):
            pass
        for message in list(phone.inbox):
            if not message.status and message.method != "ACK":
                phone.respond(message, 200 if message.method == "NOTIFY" else 488)
        phone.inbox.clear()


def _watching(house: House, mallory: Caller) -> Tally:
    ann, ben = house.ann, house.ben
    tally = Tally("subscriptions of others ended, moved, or made in their name")
    for number in (VICTIM, OTHER):
        for event in TYPES:
            uri = house.uri(number)
            lines = [
                f"From: <{house.uri(VICTIM)}>;tag={secrets.token_hex(4)}", f"To: <{uri}>", "Max-Forwards: 70",
                f"Call-ID: {secrets.token_hex(8)}", f"Event: {event}", "Expires: 600",
            ]
            for attacker in (house.stranger, house.mallory):
                who = "a stranger" if attacker is house.stranger else "another extension"
                contact = f"Contact: <sip:{VICTIM}@{attacker.sent_by}>"
                answer = attacker.ask("SUBSCRIBE", uri, [*lines, contact])
                tally.count(f"{event} of {number} in the victim's name by {who}", answer is None or answer.status < 300)
    refused = mallory.ask("SUBSCRIBE", house.uri(VICTIM), [
        ("Event", "message-summary"), ("Expires", "600"), ("Contact", mallory.contact)])
    tally.count("the messages of another's mailbox", refused.status < 300)

    watch = Watch(ann, OTHER, "dialog")
    watch.news()
    wait_until(lambda: _rows(house), "the subscription to be stored")
    before = _rows(house)
    for attacker in (house.stranger, house.mallory):
        who = "a stranger" if attacker is house.stranger else "another extension"
        for expires in (0, 600):
            for what, dialog in _guesses(watch.dialog):
                _resubscribe(house, attacker, dialog, expires)
                tally.count(f"Expires {expires} by {who}, {what}", _rows(house) != before)
        tally.count(f"a NOTIFY of {who}", bool(_forged_notify(house, attacker, watch.dialog)))
    watched = Watch(mallory, VICTIM, "dialog")
    watched.news()
    ours, theirs = house.connect(ann, ben)
    told = [message for message in (_all_news(mallory, 1.2)) if OTHER.encode() in message]
    tally.count("a lamp tells with whom another talks", bool(told))
    house.hang_up(ann, ours, ben, theirs)
    for watch_ in (watch, watched):
        watch_.again(0)
    house.disturbed(ann, ben, mallory, seconds=0.5)
    return tally


def _guesses(dialog: Dialog) -> Iterator[tuple[str, Dialog]]:
    yield "everything right", dialog
    for what, local, remote in (
        ("its own tag guessed", dialog.local.replace(dialog.local_tag, "guessed"), dialog.remote),
        ("our tag guessed", dialog.local, dialog.remote.replace(dialog.remote_tag, "guessed")),
    ):
        yield what, Dialog(dialog.call_id, local, remote, dialog.target)


def _resubscribe(house: House, attacker: Attacker, dialog: Dialog, expires: int) -> None:
    attacker.ask("SUBSCRIBE", dialog.target, [
        f"From: {dialog.local}", f"To: {dialog.remote}", f"Call-ID: {dialog.call_id}", "Max-Forwards: 70",
        "CSeq: 2000000000 SUBSCRIBE", "Event: dialog", f"Expires: {expires}",
        f"Contact: <sip:{VICTIM}@{attacker.sent_by}>",
    ], cseq=False)


def _forged_notify(house: House, attacker: Attacker, dialog: Dialog) -> list[str]:
    attacker.write(f"NOTIFY {house.uri(VICTIM)} SIP/2.0", [
        f"From: {dialog.remote}", f"To: {dialog.local}", f"Call-ID: {dialog.call_id}", "CSeq: 2000000000 NOTIFY",
        "Max-Forwards: 70", "Event: dialog", "Subscription-State: terminated", f"Contact: <sip:x@{attacker.sent_by}>",
    ])
    return house.disturbed(house.ann, seconds=0.1)


def _all_news(phone: Caller, seconds: float) -> list[bytes]:
    found: list[bytes] = []
    end = phone.wire.now() + seconds
    while phone.wire.now() < end:
        phone.pump(0.1)
        for message in list(phone.inbox):
            phone.inbox.remove(message)
            if message.method == "NOTIFY" and not message.status:
                phone.respond(message, 200)
                found.append(message.body)
    return found


def _rows(house: House) -> list[tuple[object, ...]]:
    names = ("local_tag", "remote_seq", "remote_host", "remote_port", "remote_target", "expires_at", "event")
    return [
        tuple(row[name] for name in names)
        for row in house.pbx.store.rows("SELECT * FROM subscriptions_subscription ORDER BY id")
    ]
