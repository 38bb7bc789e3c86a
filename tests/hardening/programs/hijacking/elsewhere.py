"""Addresses that a message only names: nothing is ever sent there, by UDP or TCP, be it a victim's, the PBX's own, a
port of its machine, or everybody's."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from tests.hardening.programs.hijacking.house import NAMED, OWN, VICTIM, House, Tally
from tests.support.caller import Caller, Fault, Header


def attack(house: House) -> Iterator[Tally]:
    tally = Tally("something sent to an address that a message only names")
    house.settle()
    house.listener.visitors()
    house.reached.clear()
    mallory = house.phone(OWN, "127.0.0.22", register=False)
    for name, place in house.some(_places(house), 8):
        _by_contact(house, mallory, tally, f"Contact at {name}", f"<sip:{OWN}@{place}>")
    place = f"{NAMED}:{house.listener.port}"
    for name, headers in (
        ("Path", [("Path", f"<sip:{place};lr>"), ("Supported", "path")]),
        ("Path over TCP", [("Path", f"<sip:{place};lr;transport=tcp>"), ("Supported", "path, outbound")]),
        ("Route", [("Route", f"<sip:{place};lr>")]),
        ("Record-Route", [("Record-Route", f"<sip:{place};lr>")]),
    ):
        _by_contact(house, mallory, tally, f"{name} of a REGISTER", mallory.contact, headers)
    mallory.register()
    for target in house.some(_targets(place), 1):
        _by_answers(house, mallory, tally, target, f"<sip:x@{target}>")
    _by_request(house, tally, place)
    _by_refer(house, mallory, tally, place)
    mallory.register(expires=0)
    yield tally


def _places(house: House) -> Iterator[tuple[str, str]]:
    listener, port = house.listener, house.pbx.port
    yield "an address that never spoke", f"{NAMED}:{listener.port}"
    yield "an address that never spoke, over TCP", f"{NAMED}:{listener.port};transport=tcp"
    yield "an address that never spoke, over TLS", f"{NAMED}:{listener.port};transport=tls"
    yield "a TCP port of the machine", f"127.0.0.1:{listener.own_tcp_port};transport=tcp"
    yield "a port of the machine", f"127.0.0.1:{listener.own_tcp_port}"
    yield "localhost", f"localhost:{listener.own_tcp_port};transport=tcp"
    yield "the PBX itself", f"127.0.0.1:{port}"
    yield "the PBX by another of its addresses", f"127.0.0.2:{port}"
    yield "the PBX by its domain", f"{house.pbx.domain}:{port}"
    yield "IPv6 loopback", f"[::1]:{port}"
    yield "the loopback in an IPv6 address", f"[::ffff:127.0.0.1]:{port}"
    yield "everybody", "255.255.255.255"
    yield "everybody in this network", "127.255.255.255"
    yield "no address", "0.0.0.0"
    yield "all SIP servers", "224.0.1.75"
    yield "all SIP servers by IPv6", "[ff02::1]"
    yield "a name that leads here", f"localtest.me:{listener.own_tcp_port}"
    yield "maddr", f"127.0.0.22:5060;maddr={NAMED}"
    yield "received", f"127.0.0.22:5060;received={NAMED}:{listener.port}"
    yield "the metadata of a cloud", "169.254.169.254:80;transport=tcp"


def _targets(place: str) -> list[str]:
    return [place, f"{place};transport=tcp", f"127.0.0.22:5060;maddr={NAMED}"]


def _counted(house: House, tally: Tally, name: str) -> None:
    house.settle()
    tally.count(name, bool(house.reached) or house.listener.visitors() > 0)
    house.reached.clear()


def _by_contact(
    house: House, mallory: Caller, tally: Tally, name: str, contact: str, headers: list[Header] | None = None
) -> None:
    """Registered, if that is taken, and then called, written to, and asked for its lamp."""
    ann = house.ann
    uri = f"sip:{mallory.domain}"
    answer = mallory.ask("REGISTER", uri, [
        ("To", f"<{mallory.aor}>"), ("Contact", contact), ("Expires", "600"), *(headers or [])])
    if answer.status == 200:
        call = ann.invite(OWN)
        try:
            invite = mallory.expect("INVITE", 1.0)
            mallory.respond(invite, 486)
            mallory.expect("ACK")
        except Fault:
            pass
        final = call.final()
        ann.ack_failure(call.sent, final)
        mallory.ask("REGISTER", uri, [("To", f"<{mallory.aor}>"), ("Contact", "*"), ("Expires", "0")])
    mallory.inbox.clear()
    ann.inbox.clear()
    _counted(house, tally, name)


def _by_answers(house: House, mallory: Caller, tally: Tally, target: str, value: str) -> None:
    """The called phone names somebody in its answers."""
    ann = house.ann
    for status in (301, 302, 305, 380):
        call = ann.invite(OWN)
        mallory.respond(mallory.expect("INVITE"), status, "Elsewhere", [("Contact", value)])
        mallory.expect("ACK")
        ann.ack_failure(call.sent, call.final())
        _counted(house, tally, f"{status} to {target}")
    for headers in ([("Record-Route", f"<sip:{target};lr>")], [("Record-Route", f"<sip:{target}>")], []):
        call = ann.invite(OWN)
        invite = mallory.expect("INVITE")
        tag = secrets.token_hex(4)
        mallory.respond(invite, 200, "OK", [("Contact", value), *headers], mallory.sdp(), tag=tag)
        theirs = mallory.dialog_of(invite, tag)
        ours = call.connected()
        mallory.expect("ACK", call_id=invite.call_id)
        sent = ann.request(ours, "INFO", body=b"Signal=1\r\n", kind="application/dtmf-relay")
        mallory.respond(mallory.expect("INFO"), 200)
        ann.final(sent)
        house.hang_up(ann, ours, mallory, theirs)
        _counted(house, tally, f"Contact and {len(headers)} Record-Route of a 200, {target}")


def _by_request(house: House, tally: Tally, place: str) -> None:
    """What a stranger, or an extension, can write into Via, Contact, Route, Record-Route and the Request-URI."""
    for who, attacker in (("a stranger", house.stranger), ("another extension", house.mallory)):
        for method in house.some(
            ("OPTIONS", "REGISTER", "INVITE", "SUBSCRIBE", "MESSAGE", "NOTIFY", "BYE", "ACK", "CANCEL"), 4
        ):
            for name, lines in (
                ("Via", [f"Via: SIP/2.0/UDP {place};branch=z9hG4bK{secrets.token_hex(6)}"]),
                ("Via with rport", [f"Via: SIP/2.0/UDP {place};rport;branch=z9hG4bK{secrets.token_hex(6)}"]),
                ("maddr", [
                    f"Via: SIP/2.0/UDP {attacker.sent_by};maddr={NAMED};branch=z9hG4bK{secrets.token_hex(6)}"]),
                ("received", [
                    f"Via: SIP/2.0/UDP {attacker.sent_by};received={NAMED};rport={place.partition(':')[2]};"
                    f"branch=z9hG4bK{secrets.token_hex(6)}"]),
                ("Route", [f"Route: <sip:{house.pbx.host}:{house.pbx.port};lr>, <sip:{place};lr>"]),
                ("Record-Route", [f"Record-Route: <sip:{place};lr>"]),
                ("Contact", [f"Contact: <sip:x@{place};transport=tcp>"]),
            ):
                for uri in (house.uri(VICTIM), f"sip:{VICTIM}@{place}"):
                    number = house.random.randrange(1, 1000)
                    attacker.write(f"{method} {uri} SIP/2.0", [
                        *lines, f"From: <{house.uri(OWN)}>;tag={secrets.token_hex(3)}", f"To: <{house.uri(VICTIM)}>",
                        f"Call-ID: {secrets.token_hex(6)}", f"CSeq: {number} {method}", "Max-Forwards: 70",
                        "Event: dialog", *([] if name == "Contact" else [f"Contact: <sip:x@{place}>"]),
                    ])
            _counted(house, tally, f"Via, Route, Contact, Request-URI in {method} of {who}")
    while house.mallory.wire.receive(0.05) or house.stranger.wire.receive(0.05):
        pass


def _by_refer(house: House, mallory: Caller, tally: Tally, place: str) -> None:
    ann = house.ann
    ours, theirs = house.connect(mallory, ann)
    victim = house.uri(VICTIM)
    for target in (
        f"<sip:1@{place}>", f"<sip:1@{place};transport=tcp>", f"<sips:1@{place}>", f"<http://{place}/>",
        f"<{victim}?Route=%3Csip:{place};lr%3E>", f"<{victim};maddr={NAMED}>", "<file:///etc/passwd>",
        "<tel:+998901234567>", f"<sip:1@127.0.0.1:{house.listener.own_tcp_port};transport=tcp>",
    ):
        sent = mallory.request(ours, "REFER", [("Refer-To", target)])
        mallory.final(sent)
        for phone in (mallory, ann):
            while phone.pump(0.05):
                message = phone.inbox.pop()
                if not message.status and message.method != "ACK":
                    phone.respond(message, 200 if message.method == "NOTIFY" else 486)
        _counted(house, tally, f"Refer-To {target}")
    house.hang_up(mallory, ours, ann, theirs)
    _counted(house, tally, "the end of that call")
