"""Somebody with an extension of his own wants another's calls: his password, the other's number."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from tests.hardening.programs.attacker import Attacker
from tests.hardening.programs.hijacking.house import OWN, VICTIM, House, Tally
from tests.support.caller import Fault
from tests.support.phone import authorization, read_challenge
from tests.support.tcp_wire import TcpWire


@dataclass
class Try:
    """What differs from an honest REGISTER of the attacker's own number."""

    name: str
    to: str | None = None
    from_: str | None = None
    uri: str = ""
    contact: str | None = None
    expires: int = 600
    more: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    """Lines that stand in place of To and From."""
    username: str | None = None
    named: str | None = None
    field: str = "Authorization"
    call_id: str = ""
    cseq: int = 0


def attack(house: House) -> Iterator[Tally]:
    others = Tally("registering another's number with one's own password")
    touching = Tally("another's registration ended or moved with one's own password")
    _run(house, others, house.mallory, house.some(_names(house), 40))
    if not house.scale.quick:
        with contextlib.closing(_over_tcp(house)) as attacker:
            _run(house, others, attacker, list(_names(house)), " over TCP")
    yield others
    _run(house, touching, house.mallory, list(_bindings(house)))
    yield touching
    strangers = Tally("a stranger's REGISTER, with nothing or with what he overheard")
    _run(house, strangers, house.stranger, house.some(_names(house), 10), " by a stranger")
    _overheard(house, strangers)
    yield strangers


def _over_tcp(house: House) -> Attacker:
    wire = TcpWire(house.pbx.server, "127.0.0.12")
    return Attacker(house.pbx.server, "", OWN, house.mallory.password, house.pbx.domain, wire)


def _names(house: House) -> Iterator[Try]:
    """Ways to say 1001 where 1002 must stand."""
    domain, own, victim = house.pbx.domain, f"<{house.uri(OWN)}>", f"<{house.uri(VICTIM)}>"
    yield Try("To of the victim", to=victim)
    yield Try("From and To of the victim", to=victim, from_=victim)
    yield Try("From of the victim", from_=victim)
    yield Try("the victim's name in the credentials", username=VICTIM)
    yield Try("the victim's name over one's own digest", named=VICTIM)
    yield Try("all of the victim, own digest", to=victim, from_=victim, named=VICTIM)
    for spelling in (
        f"<sip:%31001@{domain}>", f"<sip:%31%30%30%31@{domain}>", f"<sip:1001%20@{domain}>", f"<sip:1001%00@{domain}>",
        f"<sip:1001;x=1002@{domain}>", f"<sip:1001:1002@{domain}>", f"<sip:1002:x@{domain};user=1001>",
        f"<sip:1001@{domain.upper()}>", f"<sip:1001@{domain}.>", f"<SIP:1001@{domain}>", f"<sips:1001@{domain}>",
        f"<sip:1001@{domain}:5060>", f"<sip:1001@127.0.0.1:{house.pbx.port}>", f"<sip:1001@{domain};transport=tcp>",
        f"sip:1001@{domain}", "<tel:1001>", "<tel:+1001;phone-context=pbx.test>", f'"1002" <sip:1001@{domain}>',
        f'"\\"<sip:1002@{domain}>" <sip:1001@{domain}>', f"<sip:1002@{domain}?To=sip:1001@{domain}>",
        f"<sip:1002@{domain}>;x=<sip:1001@{domain}>", f"<sip:1002@1001@{domain}>", f"<sip:１００１@{domain}>",
    ):
        yield Try(f"To {spelling}", to=spelling)
        yield Try(f"From and To {spelling}", to=spelling, from_=spelling)
    yield Try("two To headers, own first", more=(f"To: {victim}",))
    yield Try("two To headers, the victim's first", to=victim, more=(f"To: {own}",))
    yield Try("a second, short To", more=(f"t: {victim}",))
    yield Try("a second, short From", more=(f"f: {victim}",))
    yield Try("both short", instead=(f"f: {victim};tag=1", f"t: {victim}"))
    yield Try("To and From as a list", to=f"{own}, {victim}", from_=f"{own}, {victim}")
    yield Try("a control character in the name", instead=(f"From: {own};tag=1", f"To: {own}", f"To\x01: {victim}"))
    yield Try("white space before the colon", instead=(f"From: {own};tag=1", f"To : {victim}"))
    yield Try("a folded line", instead=(f"From: {own};tag=1", f"To:\r\n {victim}"))
    yield Try("a line within a line", instead=(f"From: {own};tag=1", f"To: {own}\nTo: {victim}"))
    yield Try("the Request-URI of the victim", uri=house.uri(VICTIM))
    yield Try("Request-URI and To of the victim", uri=house.uri(VICTIM), to=victim)
    yield Try("credentials of a proxy's header", to=victim, field="Proxy-Authorization")
    yield Try("a second Authorization", to=victim, from_=victim, more=(f'Authorization: Digest username="{VICTIM}"',))
    yield Try("two names in the credentials", to=victim, from_=victim, named=f'username="{OWN}", username="{VICTIM}"')
    yield Try("another name behind it", to=victim, from_=victim, named=f'username="{VICTIM}", username="{OWN}"')
    yield Try("an extended name", to=victim, named=f"username=\"{OWN}\", username*=UTF-8''{VICTIM}")
    yield Try("an escaped name", to=victim, from_=victim, named=f'username="\\{VICTIM}"')
    for name in ("P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID", "Reply-To", "Route", "Path"):
        yield Try(f"{name} of the victim", to=victim, more=(f"{name}: {victim}",))


def _bindings(house: House) -> Iterator[Try]:
    """The victim's own registration, spoken of in a REGISTER of the attacker's number."""
    victim = f"<{house.uri(VICTIM)}>"
    row = house.pbx.bindings(VICTIM)[0]
    contact, call_id = row["contact"], row["call_id"]
    yield Try("the victim's Contact, to its end", contact=f"<{contact}>", expires=0)
    yield Try("the victim's Contact", contact=f"<{contact}>")
    yield Try("every Contact of one's own", contact="*", expires=0)
    yield Try("every Contact of the victim", contact="*", expires=0, to=victim)
    yield Try("every Contact of the victim, all names", contact="*", expires=0, to=victim, from_=victim)
    yield Try("the victim's Call-ID, a higher CSeq", contact=f"<{contact}>", call_id=call_id, cseq=2**31 - 2)
    yield Try("the victim's Call-ID and To", contact=f"<{contact}>", call_id=call_id, cseq=2**31 - 2, to=victim)
    for instance in (row["instance"] or "urn:uuid:00000000-0000-1000-8000-000000000001",):
        own = f'<sip:{OWN}@127.0.0.12:5060>;+sip.instance="<{instance}>"'
        yield Try("the victim's instance", contact=own)
        yield Try("the victim's instance and reg-id", contact=f"{own};reg-id=1", more=("Supported: path, outbound",))
        yield Try("the victim's instance under its name", contact=f"{own};reg-id=1", to=victim)
    yield Try("the victim's address in Path", more=(f"Path: <{contact};lr>", "Supported: path"))


def _run(house: House, tally: Tally, attacker: Attacker, tries: list[Try], how: str = "") -> None:
    for one in tries:
        before = house.bound(VICTIM)
        own = f"<{house.uri(OWN)}>"
        uri = one.uri or f"sip:{house.pbx.domain}"
        names = one.instead or (f"From: {one.from_ or own};tag={secrets.token_hex(4)}", f"To: {one.to or own}")
        contact = one.contact if one.contact is not None else f"<sip:{VICTIM}@{attacker.sent_by}>"
        lines = [
            "Max-Forwards: 70", *names, f"Call-ID: {one.call_id or secrets.token_hex(8)}", f"Contact: {contact}",
            f"Expires: {one.expires}", *one.more,
        ]
        if one.cseq:
            lines.append(f"CSeq: {one.cseq} REGISTER")
        said = ""
        try:
            answer = attacker.ask(
                "REGISTER", uri, lines, username=one.username, named=one.named, field=one.field, cseq=not one.cseq
            )
            if answer is not None and answer.status == 200:
                said = str(answer)
        except ConnectionError:  # what breaks a stream ends it
            attacker.wire.connect()  # type: ignore[attr-defined]
        took = house.bound(VICTIM) != before
        # A Contact of the victim's that he has registered himself, under his own number, tells nothing.
        shown = house.ann.sent_by in said and not any(house.ann.sent_by in str(row) for row in house.bound(OWN))
        tally.count(one.name + how, took or shown)
    own = f"<{house.uri(OWN)}>"
    house.mallory.ask("REGISTER", f"sip:{house.pbx.domain}", [
        "Max-Forwards: 70", f"From: {own};tag=end", f"To: {own}", f"Call-ID: {secrets.token_hex(8)}", "Contact: *",
        "Expires: 0",
    ])
    house.settle()


def _overheard(house: House, tally: Tally) -> None:
    """The victim's own REGISTER, as somebody on its way would have seen it, sent again with other words."""
    ann = house.ann
    wire, sent = ann.wire, []

    class Overheard:
        address = wire.address
        receive, now, close = wire.receive, wire.now, wire.close

        def send(self, data: bytes, to: tuple[str, int]) -> None:
            sent.append(data)
            wire.send(data, to)

    ann.wire = Overheard()
    try:
        ann.register()
        call = ann.invite("1009")
        call.refused(404)
    finally:
        ann.wire = wire
    with_password = [data.decode() for data in sent if b"Authorization:" in data]
    register = next(text for text in with_password if text.startswith("REGISTER"))
    invite = next(text for text in with_password if text.startswith("INVITE"))
    neighbour = house.attacker("127.0.0.11")
    for attacker, where in ((house.stranger, "elsewhere"), (neighbour, "the same address")):
        contact = f"<sip:{VICTIM}@{attacker.sent_by}>"
        moved = re.sub(r"(?m)^Contact: .*?\r$", f"Contact: {contact}\r", register)
        branched = moved.replace("branch=z9hG4bK", "branch=z9hG4bKx")
        higher = re.sub(r"CSeq: \d+", "CSeq: 9999", branched)
        for name, text in {
            "byte for byte": register,
            "with another Contact": moved,
            "as a new request": branched,
            "with a higher CSeq": higher,
            "with a higher count": re.sub(r"nc=0*\d+", "nc=000000ff", higher),
            "without qop": re.sub(r", cnonce=\"\w+\", qop=auth, nc=\d+", "", higher),
            "with every Contact's end": re.sub(r"(?m)^Contact: .*?\r$", "Contact: *\r", re.sub(
                r"Expires: \d+", "Expires: 0", higher)),
            "with the credentials of a call": re.sub(
                r"(?m)^Authorization: .*?\r$", re.search(r"(?m)^Authorization: .*?\r$", invite)[0], higher,  # type: ignore[index]
            ),
            "with its Via": re.sub(r"Via: [^;]+", f"Via: SIP/2.0/UDP {ann.sent_by}", higher),
        }.items():
            before = house.bound(VICTIM)
            attacker.wire.send(text.encode(), house.pbx.server)
            while got := attacker.wire.receive(0.15):
                if got[0].startswith(b"SIP/2.0"):
                    break
            tally.count(f"the victim's REGISTER {name} from {where}", house.bound(VICTIM) != before)
    tally.count("a nonce made for the victim, answered by somebody elsewhere", _with_anothers_nonce(house))
    ann.inbox.clear()
    house.settle()


def _with_anothers_nonce(house: House) -> bool:
    """Even with the right password: a nonce is bound to who asked for it."""
    ann, stranger = house.ann, house.stranger
    before = house.bound(VICTIM)
    uri = f"sip:{ann.domain}"
    refusal = ann.ask(
        "REGISTER", uri, [("To", f"<{ann.aor}>"), ("Contact", ann.contact)], authenticate=False
    )
    challenge = read_challenge(refusal.one("WWW-Authenticate"))
    value = authorization(
        challenge, username=VICTIM, password=ann.password or "", method="REGISTER", uri=uri, nc=1
    )
    try:
        answer = stranger.ask("REGISTER", uri, [
            f"From: <{ann.aor}>;tag=1", f"To: <{ann.aor}>", f"Call-ID: {secrets.token_hex(6)}",
            f"Contact: <sip:{VICTIM}@{stranger.sent_by}>",
        ], more=[f"Authorization: {value}"])
    except Fault:
        return True
    return answer is None or answer.status == 200 or house.bound(VICTIM) != before
