"""Descriptions that name somebody who has nothing to do with the call, in an offer, an answer or a re-INVITE: nothing
is sent there when the other phone speaks and reports."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.media_crowd import Crowd, Talker
from tests.media.phones import Phone
from tests.support.caller import Dialog, Fault, Msg

VICTIM = "127.0.0.77"
PLACES = ("offer", "answer", "re-INVITE")
PACKETS = 20


@dataclass(frozen=True)
class Naming:
    what: str
    victim: str
    describe: Callable[[Phone, int], bytes]
    """By a phone, with the victim's even port."""


NAMINGS = (
    Naming("c= and m=", VICTIM, lambda phone, port: phone.describe(address=VICTIM, port=port)),
    Naming("a=rtcp", VICTIM, lambda phone, port: phone.describe(f"a=rtcp:{port + 1} IN IP4 {VICTIM}")),
    Naming("candidates", VICTIM, lambda phone, port: phone.describe(
        "a=ice-ufrag:evil", "a=ice-pwd:evilevilevilevilevilevil",
        *(f"a=candidate:1 {one} UDP 2130706431 {VICTIM} {port + one - 1} typ host" for one in (1, 2)),
    )),
    Naming("IPv6 in a call over IPv4", "::1", lambda phone, port: phone.describe(address="::1", port=port)),
    Naming("a name", "127.0.0.1", lambda phone, port: phone.describe(address="localhost", port=port)),
    Naming("0.0.0.0 and a=rtcp", VICTIM,
           lambda phone, port: phone.describe(f"a=rtcp:{port} IN IP4 {VICTIM}", address="0.0.0.0")),
)  # fmt: skip


def named_victims(crowd: Crowd, scale: Scale, one: Talker, two: Talker) -> list[Figure]:
    """``one`` names the victims; ``two`` speaks."""
    said = refused = calls = 0
    hit: list[str] = []
    for number, naming in enumerate(NAMINGS):
        name = f"victim of {naming.what}"
        port = crowd.victim(naming.victim, name)
        for place in PLACES if not scale.quick else [PLACES[number % len(PLACES)]]:
            calls += 1
            before = crowd.ears.got[name]
            ended = _call(one, two, naming.describe(one.sound, port), place)
            refused += not ended
            said += PACKETS * ended
            if crowd.ears.got[name] > before:
                hit.append(f"{naming.what} in an {place}: {crowd.ears.got[name] - before}")
    figure = Figure(
        f"{crowd.engine}: packets said to phones whose descriptions name a victim, of which reached it",
        f"{said} in {calls} calls ({refused} of them refused), {len(hit)}", GOAL_NAMED, not hit,
        cause="; ".join(hit),
    )  # fmt: skip
    return [figure]


GOAL_NAMED = "no media before a packet came back from there"


def _call(one: Talker, two: Talker, evil: bytes, place: str) -> bool:
    """A call in which ``two`` speaks and ``one`` never does; False when it was refused."""
    if place == "answer":
        dialogs = _connect(two, one, two.sound.describe(), evil)
        if dialogs is None:
            return False
        _speak(two)
        return _hang_up(two, dialogs[0], one, dialogs[1])
    dialogs = _connect(one, two, evil if place == "offer" else one.sound.describe(), two.sound.describe())
    if dialogs is None:
        return False
    ours, theirs = dialogs
    accepted = True
    if place == "re-INVITE":
        sent = one.sip.reinvite(ours, evil)
        asked = _asked(two, one, sent.branch)
        if asked is not None:
            two.sip.respond(asked, 200, "OK", [("Contact", two.sip.contact)], two.sound.describe())
        answer = one.sip.final(sent)
        accepted = answer.status == 200
        if accepted:
            one.sip.ack(ours, answer.cseq)
        else:
            one.sip.ack_failure(sent, answer)
        if asked is not None:
            two.sip.expect("ACK")
    _speak(two)
    return _hang_up(one, ours, two, theirs) and accepted


def _connect(caller: Talker, callee: Talker, offer: bytes, answer: bytes) -> tuple[Dialog, Dialog] | None:
    """None: refused, before it rang or after it was answered."""
    outgoing = caller.sip.invite(callee.number, offer)
    invite = _asked(callee, caller, outgoing.sent.branch)
    if invite is None:
        caller.sip.ack_failure(outgoing.sent, outgoing.final())
        return None
    callee.sound.told(invite.body)
    theirs = callee.sip.answer(invite, answer)
    final = outgoing.final()
    if final.status != 200:
        caller.sip.ack_failure(outgoing.sent, final)
        callee.sip.take_bye(theirs)
        return None
    ours = outgoing.dialog
    caller.sip.ack(ours, final.cseq)
    caller.sound.told(final.body)
    return ours, theirs


def _asked(asked: Talker, asking: Talker, branch: str) -> Msg | None:
    """The INVITE at the other phone; None when the one who asks was refused instead."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        asked.sip.pump(0.02)
        asking.sip.pump(0.02)
        for message in asked.sip.inbox:
            if message.method == "INVITE" and not message.status:
                asked.sip.inbox.remove(message)
                return message
        if any(message.branch == branch and message.status >= 300 for message in asking.sip.inbox):
            return None
    raise Fault("neither an INVITE nor a refusal came")


def _speak(talker: Talker) -> None:
    for _ in range(PACKETS // 2):
        talker.speak()


def _hang_up(one: Talker, ours: Dialog, two: Talker, theirs: Dialog) -> bool:
    two.crowd.ears.settle()
    one.sip.bye(ours)
    two.sip.take_bye(theirs)
    return True
