"""A call of two others: strangers, and an extension that has no part in it, speak into it with what only its phones
and the PBX know (the worst case: they read along), and with what can be guessed."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from tests.hardening.programs.attacker import Attacker
from tests.hardening.programs.hijacking.house import OTHER, OWN, VICTIM, House, Tally
from tests.support.caller import Caller, Dialog, Fault, make_sdp

METHODS = (
    "BYE", "INVITE", "UPDATE", "INFO", "REFER", "ACK", "PRACK", "NOTIFY", "MESSAGE", "OPTIONS", "SUBSCRIBE", "CANCEL"
)
HIGH = 2_000_000_000
"""A CSeq above all honest ones: had it been taken, the phone's own would be out of order."""


@dataclass(frozen=True)
class Names:
    """What a request must name to be within a dialog."""

    what: str
    call_id: str
    ours: str
    theirs: str


def attack(house: House) -> Iterator[Tally]:
    ann, ben = house.ann, house.ben
    tally = Tally("requests of others into a running call")
    ours, theirs = house.connect(ann, ben)
    for phone, dialog in ((ann, ours), (ben, theirs)):
        for names in _names(phone, dialog):
            for attacker in (house.stranger, house.mallory):
                who = "a stranger" if attacker is house.stranger else "another extension"
                for method in house.some(METHODS, 6):
                    if method == "OPTIONS" and names.what == "no tag of ours":
                        continue  # that is the question whether the PBX is there, which everybody may ask
                    status = _inject(house, attacker, method, phone, names)
                    tally.count(f"{method} of {who} with {names.what}", 200 <= status < 300)
    for what in house.disturbed(ann, ben):
        tally.count(f"{what} came", True)
    tally.count("the call ended, or out of step", not _still_talks(house, ours, theirs))
    yield tally
    yield _ringing(house)
    yield _acknowledging(house)
    yield _moved_port(house)


def _names(phone: Caller, dialog: Dialog) -> Iterator[Names]:
    local, remote = dialog.local, dialog.remote
    yield Names("everything right", dialog.call_id, local, remote)
    yield Names("the own tag guessed", dialog.call_id, local.replace(dialog.local_tag, "guessed"), remote)
    yield Names("the other tag guessed", dialog.call_id, local, remote.replace(dialog.remote_tag, "guessed"))
    yield Names("the tags exchanged", dialog.call_id, remote, local)
    yield Names("no tag of ours", dialog.call_id, local, remote.partition(";tag=")[0])
    yield Names("another Call-ID", secrets.token_hex(8), local, remote)


def _inject(house: House, attacker: Attacker, method: str, phone: Caller, names: Names) -> int:
    """The status of the answer; 0 for none."""
    more = [f"From: {names.ours}", f"To: {names.theirs}", f"Call-ID: {names.call_id}", "Max-Forwards: 70"]
    body = b""
    if method in ("INVITE", "UPDATE", "REFER", "SUBSCRIBE", "NOTIFY"):
        more.append(f"Contact: <sip:{phone.number}@{attacker.sent_by}>")
    if method in ("INVITE", "UPDATE"):
        more.append("Content-Type: application/sdp")
        body = make_sdp(attacker.wire.address[0], 47000)
    more += {
        "INFO": ["Content-Type: application/dtmf-relay"], "MESSAGE": ["Content-Type: text/plain"],
        "REFER": [f"Refer-To: <{house.uri(OWN)}>"], "PRACK": ["RAck: 1 1 INVITE"],
        "NOTIFY": ["Event: refer", "Subscription-State: active"], "SUBSCRIBE": ["Event: dialog", "Expires: 600"],
    }.get(method, [])
    if method in ("INFO", "MESSAGE"):
        body = b"Signal=5\r\n"
    uri = f"sip:{phone.number}@{house.pbx.host}:{house.pbx.port}"
    if method in ("ACK", "CANCEL"):
        branch = attacker.write(f"{method} {uri} SIP/2.0", [*more, f"CSeq: {HIGH} {method}"], body)
        answer = attacker.final(branch, 0.05) if method == "ACK" else attacker.final(branch)
        # A CANCEL that means no INVITE of the sender gets 481; a 200 would be the promise to end something.
        return answer.status if answer is not None else 0
    lines = [*more, f"CSeq: {HIGH} {method}"]
    answer = attacker.ask(method, uri, lines, body, cseq=False)
    return answer.status if answer is not None else 0


def _still_talks(house: House, ours: Dialog, theirs: Dialog) -> bool:
    """Both phones can still speak in it with their own, low, CSeq numbers, and end it."""
    ann, ben = house.ann, house.ben
    try:
        for phone, dialog, other in ((ann, ours, ben), (ben, theirs, ann)):
            sent = phone.request(dialog, "INFO", body=b"Signal=1\r\n", kind="application/dtmf-relay")
            other.respond(other.expect("INFO"), 200)
            if phone.final(sent).status != 200:
                return False
        return house.hang_up(ann, ours, ben, theirs)
    except Fault:
        return False


def _ringing(house: House) -> Tally:
    """A call that rings: CANCEL with the right branch and all names, and whatever else could end or answer it."""
    ann, ben = house.ann, house.ben
    tally = Tally("a ringing call ended by others")
    call = ann.invite(OTHER)
    invite = ben.expect("INVITE")
    tag = ben.ring(invite)
    call.provisional(180)
    for attacker in (house.stranger, house.mallory):
        who = "a stranger" if attacker is house.stranger else "another extension"
        for what, source in (
            ("the caller's own lines", call.sent.data.decode()), ("the PBX's own lines", invite.raw.decode()),
        ):
            keep = {
                name: value for name, _, value in (line.partition(": ") for line in source.split("\r\n")[1:])
                if name in ("From", "To", "Call-ID", "CSeq", "Via")
            }
            for own_via in (False, True):
                lines = [f"{name}: {keep[name]}" for name in ("From", "To", "Call-ID")]
                if not own_via:
                    lines.append(f"Via: {keep['Via']}")
                branch = keep["Via"].partition("branch=")[2].partition(";")[0]
                number = keep["CSeq"].split()[0]
                for method in house.some(("CANCEL", "ACK", "BYE", "PRACK"), 2):
                    attacker.write(
                        f"{method} {call.sent.uri} SIP/2.0", [*lines, "Max-Forwards: 70", f"CSeq: {number} {method}"],
                        branch=branch,
                    )
                    came = house.disturbed(ann, ben, seconds=0.06)
                    tally.count(f"{method} of {who} with {what}{'' if own_via else ' and its Via'}", bool(came))
        for method in ("BYE", "UPDATE", "INVITE", "PRACK"):
            names = Names("", call.dialog.call_id, call.dialog.local, call.dialog.remote)
            _inject(house, attacker, method, ann, names)
            tally.count(f"{method} of {who} in the early dialog", bool(house.disturbed(ann, ben, seconds=0.06)))
    theirs = ben.answer(invite, tag=tag, ack=False)
    ours = call.connected()
    ben.expect("ACK", call_id=theirs.call_id)
    tally.count("afterwards the phones could not talk", not _still_talks(house, ours, theirs))
    return tally


def _acknowledging(house: House) -> Tally:
    """The ACK is the one request that nobody can be challenged for."""
    ann, ben = house.ann, house.ben
    tally = Tally("an ACK of others")
    for what, body in (("without an offer, with an answer in the ACK", b""), ("with an offer", None)):
        for attacker in house.some((house.stranger, house.mallory), 1):
            who = "a stranger" if attacker is house.stranger else "another extension"
            call = ann.invite(OTHER, body)
            theirs = ben.answer(ben.expect("INVITE"), ack=False)
            answer = call.final()
            ann.repeated.clear()
            attacker.write(f"ACK sip:{VICTIM}@{house.pbx.host} SIP/2.0", [
                f"From: {call.dialog.local}", f"To: {call.dialog.remote}", f"Call-ID: {call.dialog.call_id}",
                f"CSeq: {answer.cseq} ACK", "Max-Forwards: 70", "Content-Type: application/sdp",
            ], make_sdp(attacker.wire.address[0], 47000))
            heard = body is not None and len(ben.inbox) > 0
            end = ann.wire.now() + 1.3  # two repetitions of the 200 are due in this time
            while ann.wire.now() < end and not ann.times_repeated("SIP/2.0 200"):
                ann.pump(0.05)
            tally.count(f"{what}, of {who}", not ann.times_repeated("SIP/2.0 200") or heard)
            ann.ack(call.dialog, answer.cseq, b"" if body is None else ann.sdp())
            acknowledged = ben.expect("ACK", call_id=theirs.call_id)
            if body is not None:
                tally.count(f"the description of {who} came through", b"47000" in acknowledged.body)
            house.hang_up(ann, call.dialog, ben, theirs)
            house.disturbed(ann, ben, seconds=0.05)
    return tally


def _moved_port(house: House) -> Tally:
    """No attack: what rule 8 allows. A NAT gave the phone another port, and it must not lose its call."""
    ann, ben = house.ann, house.ben
    tally = Tally("ways to lose a call because a router gave the phone another port (rule 8)")
    ours, theirs = house.connect(ann, ben)
    neighbour = house.attacker("127.0.0.11")
    ours.cseq += 1
    answer = neighbour.ask("INFO", ours.target, [
        f"From: {ours.local}", f"To: {ours.remote}", f"Call-ID: {ours.call_id}", f"CSeq: {ours.cseq} INFO",
        "Max-Forwards: 70", "Content-Type: application/dtmf-relay",
    ], b"Signal=1\r\n", cseq=False) if not ben.inbox else None
    info = ben.expect("INFO")
    ben.respond(info, 200)
    tally.count("INFO from another port", answer is not None and answer.status >= 300)
    house.disturbed(ann, ben, seconds=0.05)
    ours.cseq += 1
    tally.count("its call is lost", not house.hang_up(ann, ours, ben, theirs))
    return tally
