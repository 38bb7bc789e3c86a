"""A caller who says that he is somebody else: what the called phone receives is read, header by header."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from tests.hardening.programs.hijacking.house import NAMED, OTHER, OWN, House, Tally
from tests.support.caller import Caller, Dialog, Fault, Header, Msg

MARK = "Zqdirector"
"""In every forged name."""


def attack(house: House) -> Iterator[Tally]:
    mallory = house.phone(OWN, "127.0.0.22")
    calls = Tally("a forged identity in a call, as the called phone sees it")
    for name, from_, headers in house.some(_forgeries(house), 25):
        calls.count(name, _rings_as_forged(house, mallory, from_, headers))
    yield calls
    within = Tally("a forged identity within a call, and of the called phone")
    _within(house, mallory, within)
    yield within
    mallory.register(expires=0)
    house.settle()


def _forgeries(house: House) -> Iterator[tuple[str, str, list[Header]]]:
    domain, own = house.pbx.domain, f"<{house.uri(OWN)}>"
    forged = f'"{MARK}" <{house.uri(OTHER)}>'
    yield "From of another extension", f"<{house.uri(OTHER)}>", []
    yield "From of a number outside", f"<sip:+998711234567@{domain}>", []
    yield "From of nobody", f"<sip:anonymous@anonymous.invalid;x={MARK}>", []
    yield "From of another host", f"<sip:{OWN}@{MARK}.test>", []
    yield "another's display name", f'"{MARK}" {own}', []
    yield "a display name with a number and brackets", f'"{OTHER} <{house.uri(OTHER)}> {MARK}" {own}', []
    yield "From with URI parameters", f"<sip:{OWN}@{domain};cpc=operator;{MARK}=1>", []
    yield "From as tel", f"<tel:{OTHER}>", []
    yield "From with an escaped user", f"<sip:%31003@{domain}>", []
    yield "a second, short From", own, [("f", f"{forged};tag=2")]
    for name in (
        "P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Diversion", "History-Info", "Referred-By",
        "Reply-To", "Contact", "P-Called-Party-ID", "P-Charging-Vector", "Call-Info", "Alert-Info", "Error-Info",
        "Organization", "Identity", "Identity-Info", "Geolocation", "P-Access-Network-Info", "X-Caller-Name", "Privacy",
        "User-Agent", "Server", "In-Reply-To", "Route", "Record-Route", "Path", "Service-Route", "Via", "Warning",
        "Reason", "Answer-Mode", "Priv-Answer-Mode", "Replaces", "Join", "Target-Dialog", "Proxy-Require", "Session-ID",
    ):
        value = {
            "Identity": f'"{MARK}";info=<http://{NAMED}/{MARK}>', "Identity-Info": f"<http://{NAMED}/{MARK}>",
            "Privacy": f"id;{MARK}", "Call-Info": f"<http://{NAMED}/{MARK}>;purpose=icon",
            "Alert-Info": f"<http://{NAMED}/{MARK}>;info=alert-autoanswer", "Answer-Mode": f"Auto;{MARK}",
            "Priv-Answer-Mode": f"Auto;{MARK}", "Replaces": f"{MARK};to-tag=1;from-tag=2",
            "Join": f"{MARK};to-tag=1;from-tag=2", "Via": f"SIP/2.0/UDP {MARK}.test;branch=z9hG4bKq",
            "Warning": f'399 {NAMED} "{MARK}"', "Reason": f'SIP;cause=200;text="{MARK}"', "In-Reply-To": f"{MARK}@x",
        }.get(name, f"{forged};x={MARK}")
        yield name, own, [(name, value)]
    yield "P-Asserted-Identity twice, by its tel too", own, [
        ("P-Asserted-Identity", forged), ("P-Asserted-Identity", f"<tel:+998711234567;x={MARK}>")
    ]
    yield "P-Asserted-Identity behind a control character", own, [("P-Asserted-Identity\t", forged)]
    yield "P-Asserted-Identity in strange capitals", own, [("p-asserted-IDENTITY", forged)]
    yield "P-Asserted-Identity within another header", own, [("Subject", f"x\nP-Asserted-Identity: {forged}")]
    yield "P-Asserted-Identity folded into another", own, [("X-A", f"x\r\n P-Asserted-Identity: {forged}")]


def is_forged(message: Msg) -> bool:
    """Whether it says, anywhere outside of the description of the sound, what the attacker wanted to be believed."""
    head = message.raw.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    return MARK in head or f"sip:{OTHER}@" in head.replace(f"To: <sip:{OTHER}@", "")


def _rings_as_forged(house: House, mallory: Caller, from_: str, headers: list[Header]) -> bool:
    ann = house.ann
    mallory.inbox.clear()
    uri = house.uri(ann.number)
    lines: list[Header] = [
        ("From", f"{from_};tag={secrets.token_hex(4)}"), ("To", f"<{uri}>"), ("Call-ID", secrets.token_hex(8)),
        ("CSeq", "1 INVITE"), *headers,
    ]
    if not any(name == "Contact" for name, _ in headers):
        lines.append(("Contact", mallory.contact))
    try:
        sent = mallory.send("INVITE", uri, lines, mallory.sdp())
        answer = _first(mallory, 401, 400, 403, 404, 420, 482, 0)
        if answer is None or answer.status != 401:
            return _came(ann) is not None  # refused before any password
        mallory.ack_failure(sent, answer)
        sent = mallory.with_credentials(sent, answer, cseq=2)
        answer = _first(mallory, 180, 486, 400, 403, 404, 420, 480, 481, 482, 0, ring=ann)
    except Fault:  # the 400 to what is so broken that its copy is no strict message either
        came = _came(ann)
        return came is not None and is_forged(came)
    invite = next((message for message in ann.inbox if message.method == "INVITE" and not message.status), None)
    ann.inbox.clear()
    if invite is None:
        if answer is not None and answer.status >= 300:
            mallory.ack_failure(sent, answer)
        return False
    ann.respond(invite, 486)
    ann.expect("ACK", call_id=invite.call_id)
    mallory.ack_failure(sent, mallory.final(sent))
    return is_forged(invite)


def _first(phone: Caller, *statuses: int, ring: Caller | None = None, seconds: float = 0.6) -> Msg | None:
    """The first answer of these; or None, also as soon as the called phone rings."""
    end = phone.wire.now() + seconds
    while phone.wire.now() < end:
        phone.pump(0.03)
        for message in phone.inbox:
            if message.status in statuses:
                phone.inbox.remove(message)
                return message
        if ring is not None and ring.pump(0.02) and any(not message.status for message in ring.inbox):
            return None
    return None


def _came(phone: Caller, seconds: float = 0.15) -> Msg | None:
    phone.pump(seconds)
    came = next((message for message in phone.inbox if not message.status), None)
    phone.inbox.clear()
    return came


def _within(house: House, mallory: Caller, tally: Tally) -> None:
    ann = house.ann
    forged = f'"{MARK}" <{house.uri(OTHER)}>'
    names: list[Header] = [
        (name, forged) for name in ("P-Asserted-Identity", "Remote-Party-ID", "Diversion", "Referred-By", "X-Caller")
    ]
    ours, theirs = house.connect(mallory, ann)
    for method, body, kind in (
        ("INFO", b"Signal=1\r\n", "application/dtmf-relay"), ("MESSAGE", b"hello", "text/plain"),
        ("INVITE", mallory.sdp(), "application/sdp"), ("UPDATE", mallory.sdp("sendonly"), "application/sdp"),
    ):
        tally.count(f"in {method}", _passed(mallory, ann, ours, theirs, method, names, body, kind))
    another = f'"{MARK}" {ours.local.replace(OWN, OTHER)}'
    renamed = Dialog(ours.call_id, another, ours.remote, ours.target, [], ours.cseq)
    tally.count("another From within the dialog", _passed(
        mallory, ann, renamed, theirs, "INFO", [], b"Signal=1\r\n", "application/dtmf-relay"))
    ours.cseq = renamed.cseq
    sent = mallory.request(ours, "BYE", names)
    bye = ann.take_bye(theirs)
    mallory.final(sent)
    tally.count("in BYE", is_forged(bye))
    for status in (180, 200, 302, 486):
        tally.count(f"in a {status} of the called phone", _answered_as_forged(house, mallory, status, names))
    for what, from_ in (("in a MESSAGE", f'"{MARK}" <{mallory.aor}>'), ("From of another", f"<{house.uri(OTHER)}>")):
        tally.count(f"{what}, outside of calls", _text_is_forged(house, mallory, from_, names))


def _text_is_forged(house: House, mallory: Caller, from_: str, names: list[Header]) -> bool:
    ann = house.ann
    uri = house.uri(ann.number)
    lines: list[Header] = [
        ("From", f"{from_};tag=7"), ("To", f"<{uri}>"), ("Call-ID", secrets.token_hex(8)), ("CSeq", "1 MESSAGE"),
        ("Contact", mallory.contact), *names,
    ]
    sent = mallory.send("MESSAGE", uri, lines, b"hello", kind="text/plain")
    refusal = mallory.final(sent)
    if refusal.status != 401:
        return _came(ann) is not None
    sent = mallory.with_credentials(sent, refusal, cseq=2)
    came = _came(ann, 0.6)
    if came is not None:
        ann.respond(came, 200)
    mallory.final(sent)
    return came is not None and is_forged(came)


def _passed(
    mallory: Caller, ann: Caller, ours: Dialog, theirs: Dialog, method: str, names: list[Header], body: bytes, kind: str
) -> bool:
    sent = mallory.request(ours, method, names, body, kind=kind)
    if _first(mallory, 200, 400, 403, 405, 480, 481, 488, 491, 500, ring=ann) is not None:
        return False
    came = next(message for message in ann.inbox if not message.status)
    ann.inbox.remove(came)
    if came.method in ("INVITE", "UPDATE"):
        ann.respond(came, 200, "OK", [("Contact", ann.contact)], ann.sdp())
    else:
        ann.respond(came, 200)
    answer = mallory.final(sent)
    if method == "INVITE" and answer.status == 200:
        mallory.ack(ours, answer.cseq)
    if came.method == "INVITE":
        ann.expect("ACK", call_id=theirs.call_id)
    return is_forged(came)


def _answered_as_forged(house: House, mallory: Caller, status: int, names: list[Header]) -> bool:
    """Mallory is called, and says in his answer who he is."""
    ann = house.ann
    call = ann.invite(mallory.number)
    invite = mallory.expect("INVITE")
    if status == 200:
        theirs = mallory.answer(invite, headers=names, ack=False)
        answer = call.final()
        ann.ack(call.dialog, answer.cseq)
        mallory.expect("ACK", call_id=theirs.call_id)
        house.hang_up(ann, call.dialog, mallory, theirs)
    elif status == 180:
        tag = mallory.ring(invite, headers=names)
        answer = call.provisional(180)
        mallory.respond(invite, 486, tag=tag)
        mallory.expect("ACK")
        call.refused(486)
    else:
        contact = [("Contact", f"<sip:{MARK}@{NAMED}>")] if status == 302 else []
        mallory.respond(invite, status, MARK if status == 302 else "", [*names, *contact])
        mallory.expect("ACK")
        answer = call.final()
        ann.ack_failure(call.sent, answer)
    return is_forged(answer)
