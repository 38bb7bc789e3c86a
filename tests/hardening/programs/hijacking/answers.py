"""Answers from somebody who was never asked, with everything right that he could have read on the way."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hardening.programs.attacker import Attacker
from tests.hardening.programs.hijacking.house import NAMED, OTHER, OWN, House, Tally
from tests.support.caller import Caller, Msg, make_sdp

STATUSES = (100, 180, 183, 200, 202, 302, 380, 401, 407, 408, 422, 481, 486, 491, 503, 603)


def attack(house: House) -> Iterator[Tally]:
    yield _to_invite(house)
    yield _within_a_call(house)
    if not house.scale.quick:  # the first one comes after 20 seconds
        yield _to_pings(house)


def _answer(house: House, attacker: Attacker, request: Msg, status: int, *, more_vias: bool = False) -> None:
    """As the phone itself would have answered, but for its address."""
    lines = [f"Via: {value}" for value in request.all("Via")]
    if more_vias:
        lines.append(f"Via: SIP/2.0/UDP {NAMED}:{house.listener.port};branch=z9hG4bKx")
    lines += [
        f"From: {request.one('From')}", f"To: {request.one('To')}" + ("" if request.to_tag else ";tag=q"),
        f"Call-ID: {request.call_id}", f"CSeq: {request.one('CSeq')}", f"Contact: <sip:{OWN}@{attacker.sent_by}>",
    ]
    body = b""
    if status in (183, 200) and request.method in ("INVITE", "UPDATE"):
        lines.append("Content-Type: application/sdp")
        body = make_sdp(attacker.wire.address[0], 47002)
    if status == 401:
        lines.append('WWW-Authenticate: Digest realm="q", nonce="q", qop="auth"')
    if status == 302:
        lines[-1] = f"Contact: <{house.uri(OWN)}>"
    attacker.write(f"SIP/2.0 {status} Forged", lines, body)


def _attackers(house: House) -> Iterator[tuple[str, Attacker]]:
    yield "a stranger", house.stranger
    yield "another extension", house.mallory


def _to_invite(house: House) -> Tally:
    ann, ben = house.ann, house.ben
    tally = Tally("answers to an INVITE from somebody who was not asked")
    call = ann.invite(OTHER)
    invite = ben.expect("INVITE")
    for who, attacker in _attackers(house):
        for status in house.some(STATUSES, 5):
            _answer(house, attacker, invite, status)
            tally.count(f"{status} of {who}", bool(house.disturbed(ann, ben, seconds=0.04)))
        _answer(house, attacker, invite, 200, more_vias=True)
        tally.count(f"200 of {who} with a second Via", bool(house.disturbed(ann, ben, seconds=0.04)))
    theirs = ben.answer(invite, ack=False)
    ours = call.connected()
    ben.expect("ACK", call_id=theirs.call_id)
    body = call.answer.body if call.answer is not None else b""
    tally.count("afterwards the call was not the called phone's", b"47002" in body)
    tally.count("afterwards it could not be ended", not house.hang_up(ann, ours, ben, theirs))
    tally.count("somebody named in a Via got a packet", house.listener.visitors() > 0)
    return tally


def _within_a_call(house: House) -> Tally:
    """To a re-INVITE, an INFO and a BYE of the PBX."""
    ann, ben = house.ann, house.ben
    tally = Tally("answers within a call from somebody who was not asked")
    ours, theirs = house.connect(ann, ben)
    for method, body, kind in (
        ("INFO", b"Signal=1\r\n", "application/dtmf-relay"), ("INVITE", ann.sdp("sendonly"), "application/sdp"),
    ):
        sent = ann.request(ours, method, body=body, kind=kind)
        asked = ben.expect(method)
        for who, attacker in _attackers(house):
            for status in house.some(STATUSES, 5):
                _answer(house, attacker, asked, status)
                came = house.disturbed(ann, ben, seconds=0.03)
                tally.count(f"{status} to {method} of {who}", any("SIP/2.0" in line for line in came))
        if method == "INVITE":
            ben.respond(asked, 200, "OK", [("Contact", ben.contact)], ben.sdp("recvonly"))
            answer = ann.final(sent)
            ann.ack(ours, answer.cseq)
            ben.expect("ACK", call_id=theirs.call_id)
        else:
            ben.respond(asked, 200)
            answer = ann.final(sent)
        tally.count(f"afterwards the answer to {method} was another's", answer.status != 200 or b"47002" in answer.body)
    tally.count("afterwards it could not be ended", not house.hang_up(ann, ours, ben, theirs))
    return tally


def _to_pings(house: House) -> Tally:
    """The keep-alive: a dead phone must not be kept alive, nor a living one declared dead, by somebody else."""
    ann = house.ann
    tally = Tally("answers to a keep-alive from somebody who was not asked")
    pings: list[Msg] = []

    def taken(ping: Msg) -> bool:
        pings.append(ping)
        return not forging

    forging = True
    before = house.bound(ann.number)
    ann.on_ping = taken
    _wait_ping(ann, pings, 70.0)
    for ping in pings[:1]:
        for who, attacker in _attackers(house):
            for status in (200, 404, 481, 503):
                _answer(house, attacker, ping, status)
                tally.count(f"{status} of {who}", house.bound(ann.number) != before)
    forging = False
    ann.on_ping = lambda ping: True
    ann.inbox.clear()
    return tally


def _wait_ping(phone: Caller, pings: list[Msg], seconds: float) -> None:
    end = phone.wire.now() + seconds
    while not pings and phone.wire.now() < end:
        phone.pump(0.5)
