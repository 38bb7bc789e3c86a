"""Somebody sees the requests of a phone go by, and sends what proves them with a request of his own: from the phone's
address (another port of the same router), and from elsewhere. Each must be refused, and binds nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.hardening.conformance.peer import But, Peer, Received
from tests.hardening.programs.digesting.phone import LyingPhone, authorization_of
from tests.support.pbx import RunningPbx


@dataclass(frozen=True)
class Replay:
    what: str
    answer: Received | None  # None: there was none


class Elsewhere(Peer):
    address = "127.0.0.2"


Thief = Callable[[str, But | None], Received | None]


def replays(pbx: RunningPbx, phone: LyingPhone, contact: str) -> Iterator[Replay]:
    """``contact``: what the thief wants to be bound. At the end the phone is not registered."""
    with (
        Peer(pbx.server, pbx.domain, phone.number) as near,
        Elsewhere(pbx.server, pbx.domain, phone.number) as far,
    ):
        near.cseq = far.cseq = 1000

        def steal(what: str, data: bytes, but: But | None = None, thief: Peer = near) -> Replay:
            return Replay(what, _sent(thief, authorization_of(data), {"Contact": contact, **(but or {})}))

        def honest(contact: str | None = None, expires: int = 600) -> bytes:
            """A request of the phone that reached the PBX, with a challenge of its own."""
            phone.nonce = ""
            phone.fresh()
            data = phone.signed(contact, expires)
            phone.ask(data)
            return data

        seen = honest()
        yield steal("another Contact", seen)
        yield steal("another Contact, from another address", seen, thief=far)
        phones_own: But = {"Contact": phone.contact, "Call-ID": phone.call_id}
        yield steal("the same Contact and Call-ID, a higher CSeq", seen, phones_own)
        yield steal("all Contacts away", seen, {"Contact": "*", "Expires": "0"})
        yield steal("the phone's Contact away", seen, {"Contact": phone.contact, "Expires": "0"})
        yield steal("asks what is registered", seen, {"Contact": None})
        phone.ask(phone.signed())
        yield steal("after the next refresh with the same nonce", seen)
        yield steal("after the phone has moved on to a new nonce", _and(seen, honest))
        yield steal("from another address after that", seen, thief=far)
        yield steal("of a question (no Contact)", honest(""))
        yield steal("of one refused for its Expires", honest(expires=1))
        registered = honest()
        signed_off = honest(expires=0)
        yield steal("after the phone has signed off", registered)
        yield steal("of the signing off", signed_off)
        phone.register()
        yield steal("the signing off, after the phone is back", signed_off, {"Contact": phone.contact, "Expires": "0"})
        seen = [honest(""), honest(expires=1), honest()]
        phone.nonce = ""
        phone.register()
        newest = phone.signed("")
        phone.ask(newest)
        pbx.restart()
        for what, data in (("question", seen[0]), ("refusal", seen[1]), ("registration", seen[2]), ("newest", newest)):
            yield steal(f"after a restart: the {what}", data)
        phone.register()
        newest = phone.signed("")
        phone.ask(newest)
        pbx.kill9()
        pbx.start()
        yield steal("after a kill -9: the newest", newest)
        yield steal("after a kill -9: a registration of before", seen[2])
        phone.register(expires=0)
        yield steal("after a kill -9 and signing off", newest)
        yield from _of_calls(phone, near, contact)


def _and(data: bytes, then: Callable[[], bytes]) -> bytes:
    then()
    return data


def _of_calls(phone: LyingPhone, thief: Peer, contact: str) -> Iterator[Replay]:
    """What proves a call, a text or a lamp proves no other one, and no registration."""
    uri = f"sip:7777@{phone.domain}"
    for method in ("INVITE", "MESSAGE", "SUBSCRIBE"):
        phone.nonce = ""
        phone.fresh()
        add = [("Authorization", phone.authorization(method, uri)), ("Event", "dialog"), ("Expires", "60")]
        data = phone.request(method, uri, {}, add)
        first = phone.ask(data)
        if first.status in (401, 403):
            yield Replay(f"{method} (its owner was refused: {first.status})", None)
        _acknowledge(phone, method, uri, data, first)
        for what, target in (("once more", uri), ("to another number", f"sip:8888@{phone.domain}")):
            value = authorization_of(data)
            again = thief.request(method, target, {}, [("Authorization", value), *add[1:]])
            answer = thief.ask(again)
            _acknowledge(thief, method, target, again, answer)
            yield Replay(f"{method} {what}", answer)
        for what, to in (("REGISTER", ""), ("REGISTER of that uri", uri)):
            yield Replay(f"{method} as {what}", _sent(thief, authorization_of(data), {"Contact": contact}, to))


def _acknowledge(peer: Peer, method: str, uri: str, data: bytes, answer: Received) -> None:
    if method == "INVITE":
        via = next(line for line in data.decode().split("\r\n") if line.startswith("Via: "))
        lines = {
            "Via": via.removeprefix("Via: "), "To": answer.one("to"), "CSeq": f"{peer.cseq} ACK", "Contact": None,
        }  # fmt: skip
        peer.cseq -= 1
        peer.send(peer.request("ACK", uri, lines))


def _sent(thief: Peer, value: str, but: But, uri: str = "") -> Received:
    data = thief.request("REGISTER", uri, {"Expires": "600", **but}, [("Authorization", value)])
    return thief.ask(data)
