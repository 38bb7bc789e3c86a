"""Two more ways for sound to go astray: a port that serves the next call, and a phone whose sound may come from
anywhere."""

from __future__ import annotations

import time

from tests.hardening.programs import Figure
from tests.hardening.programs.media_crowd import Attacker, Crowd, Talker
from tests.hardening.programs.media_talk import PACE
from tests.support.caller import Dialog

REST = 10.5
"""Seconds after which our relay uses a pair of ports again."""


def port_reuse(crowd: Crowd, numbers: list[str]) -> list[Figure]:
    """Two phones never learn that their call has ended, and go on speaking into the calls of others."""
    first = [crowd.talker(number, f"127.0.0.{31 + n}", 0x31000 + n) for n, number in enumerate(numbers[:2])]
    ours, theirs = connect(*first)
    for _ in range(10):
        _all_speak(first)
    places = {talker.sound.relay for talker in first}
    first[0].sip.bye(ours)
    first[1].sip.take_bye(theirs)
    ended, heard = time.monotonic(), sum(crowd.ears.got[talker.name] for talker in first)
    leaked = reused = spoken = 0
    for n in range(2, len(numbers), 2):
        later = [crowd.talker(number, f"127.0.0.{31 + n + k}", 0x31000 + n + k)
                 for k, number in enumerate(numbers[n:n + 2])]  # fmt: skip
        ours, theirs = connect(*later)
        reused += len(places & {talker.sound.relay for talker in later})
        # The first of them uses the other ports, until those of the call before have rested.
        until = time.monotonic() + 1.0 if n > 2 else ended + REST
        while time.monotonic() < until:
            _all_speak([*first, *later])
            spoken += 1
        later[0].sip.bye(ours)
        later[1].sip.take_bye(theirs)
        leaked += sum(talker.heard(old) for talker in later for old in first)
        first = [*first, *later]  # none of them ever stops
    back = sum(crowd.ears.got[talker.name] for talker in first[:2]) - heard
    figure = Figure(
        f"{crowd.engine}: packets said into ended calls, heard in the next calls at these ports, sent back",
        f"{4 * spoken} ({reused} ports used again), {leaked}, {back}", "none in, none out",
        not (leaked or back) and reused > 0, cause="" if reused else "no port was used again",
    )  # fmt: skip
    return [figure]


def from_anywhere(crowd: Crowd, talker: Talker, other: Talker, strangers: list[Attacker]) -> list[Figure]:
    """The setting "media may come from another address" of an extension: whose packet is first after a description is
    the phone. That is its documented weakness; from then on nobody else is."""
    before = sum(crowd.ears.got[one.name] for one in strangers), crowd.ears.marked[other.name]
    elsewhere = crowd.attacker("127.0.0.55", "its own media gateway", knows=True)
    ours, theirs = connect(talker, other)
    assert talker.sound.relay is not None and other.sound.relay is not None
    elsewhere.talk([talker.sound.relay[1]], talker.sound.ssrc, 1)
    time.sleep(0.1)
    ports = [place[1] + step for place in (talker.sound.relay, other.sound.relay) for step in (0, 1)]
    taken = crowd.ears.marked[other.name] - before[1]
    for _ in range(20):
        for one in strangers:
            one.spray(ports)
        other.speak()
        time.sleep(PACE)
    crowd.ears.settle()
    out = sum(crowd.ears.got[one.name] for one in strangers) - before[0]
    inward = crowd.ears.marked[other.name] - before[1] - taken
    back = crowd.ears.got[elsewhere.name]
    talker.sip.bye(ours)
    other.sip.take_bye(theirs)
    figure = Figure(
        'our relay, an extension whose "media may come from another address", strangers after its first packet',
        f"{inward} heard, {out} sent to them (of the first source {taken} heard, {back} sent to it)",
        "0, 0, once somebody is first", not (inward or out) and bool(taken and back),
    )  # fmt: skip
    return [figure]


def connect(one: Talker, two: Talker) -> tuple[Dialog, Dialog]:
    call = one.sip.invite(two.number, one.sound.describe())
    invite = two.sip.expect("INVITE")
    two.sound.told(invite.body)
    theirs = two.sip.answer(invite, two.sound.describe(), ack=False)
    ours = call.connected()
    assert call.answer is not None
    one.sound.told(call.answer.body)
    two.sip.expect("ACK")
    return ours, theirs


def _all_speak(talkers: list[Talker]) -> None:
    for talker in talkers:
        talker.speak()
    time.sleep(PACE)
