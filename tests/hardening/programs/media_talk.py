"""One call under spray, phase by phase: while it rings, when it is answered, in the midst of talk, in silence, on hold,
after it."""

from __future__ import annotations

import json
import time

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.media_crowd import Attacker, Crowd, Talker
from tests.support.caller import Dialog

GOAL = "no stray byte out, none in"
PACE = 0.02  # seconds between two packets of a voice


class Talk:
    """``reached``: by phase, how many datagrams reached an attacker or came from one; the moment until a phone speaks
    (again) is a phase of its own. ``shares``: by phase, the least share of one phone's packets that the other heard."""

    def __init__(self, crowd: Crowd, one: Talker, two: Talker, scale: Scale) -> None:
        self.crowd, self.one, self.two, self.scale = crowd, one, two, scale
        self.reached: dict[str, int] = {}
        self.shares: dict[str, float] = {}
        self._seen = 0

    def through(self, early: list[Attacker], late: list[Attacker]) -> Talk:
        """``early``: who sprays before the phones have spoken; ``late``: who does afterwards. Those who ``know`` speak
        with the phones' own SSRC and sequence numbers."""
        one, two, every = self.one, self.two, self.crowd.ports
        self._seen = self._all_reached(late)
        call = one.sip.invite(two.number, one.sound.describe())
        invite = two.sip.expect("INVITE")
        two.sound.told(invite.body)
        tag = two.sip.ring(invite)
        for attacker in early:
            attacker.spray(every)
        self._note("while it rings", late)

        theirs = two.sip.answer(invite, two.sound.describe(), tag=tag, ack=False)
        ours = call.connected()
        assert call.answer is not None
        one.sound.told(call.answer.body)
        two.sip.expect("ACK")
        for attacker in early:
            attacker.spray(self._ports())
        self._talk("at the first packets", early, 10)
        self._note("at the first packets", late)

        self._talk("in the midst of talk", late, self.scale.of(400, 50))
        self._note("in the midst of talk", late)

        self._quiet(late, self.scale.of(40, 22))
        self._note("in silence", late)
        self._talk("after silence", late, 10)
        self._note("after silence", late)

        self._change(ours, theirs, "sendonly")
        self._quiet(late, 10)
        self._note("on hold", late)
        self._change(ours, theirs, "sendrecv")
        self._talk("after hold", late, 20)
        self._note("after hold", late)

        one.sip.bye(ours)
        two.sip.take_bye(theirs)
        for attacker in late:
            attacker.spray(every)
        self._note("after the call", late)
        return self

    # What came of it

    def told(self, attackers: list[Attacker], where: str, cause: str = "") -> list[Figure]:
        """``where``: the engine, and where the phones are. ``cause``: of a miss that is known."""
        ears = self.crowd.ears
        out = sum(ears.got[attacker.name] for attacker in attackers)
        inward = sum(ears.marked[phone.name] for phone in (self.one, self.two))
        sent = sum(attacker.sent for attacker in attackers)
        poor = "; ".join(f"{phase}: {share:.0%}" for phase, share in self.shares.items() if share < 0.99)
        return [
            Figure(
                f"{where}: packets sprayed, of which reached a phone, sent to a sprayer",
                f"{sent}, {inward}, {out}", GOAL, not (out or inward), of_others=bool(cause),
                cause=" ".join(filter(None, (self._phases(), cause))),
            ),
            Figure(
                f"{where}: of what the phones said meanwhile the other heard",
                f"{min(self.shares.values(), default=0.0):.1%} at least in each of {len(self.shares)} phases; "
                f"{self._counted()} packets of strangers in the call's record", "99 %", not poor, timed=True,
                cause=" ".join(filter(None, (poor, cause))),
            ),
        ]  # fmt: skip

    def told_of_neighbours(self, attackers: list[Attacker]) -> list[Figure]:
        """Of attackers behind the phone's own router who are faster than the phone and know its SSRC: nothing but SRTP
        tells them apart before the phone has spoken."""
        silent = ("(until they speak)", "in silence", "on hold")
        opened = sum(count for phase, count in self.reached.items() if phase.endswith(silent))
        closed = sum(self.reached.values()) - opened
        figure = Figure(
            "our relay, an attacker behind the phone's own router who knows its SSRC: once the phone speaks",
            f"{closed} of {sum(one.sent for one in attackers)} ({opened} before that, or when it was silent for long)",
            GOAL, not closed, cause=self._phases(),
        )  # fmt: skip
        return [figure]

    def _phases(self) -> str:
        return "; ".join(f"{phase}: {count}" for phase, count in self.reached.items() if count)

    def _counted(self) -> int:
        """Strangers' packets in the record of the call."""
        rows = self.crowd.pbx.store.rows(
            "SELECT media FROM calls_callrecord WHERE src = %s AND dst = %s", self.one.number, self.two.number
        )
        media = [json.loads(row["media"]) if isinstance(row["media"], str) else row["media"] for row in rows]
        return sum(direction["foreign_packets"] for one in media for direction in one)

    def _ports(self) -> list[int]:
        """The relay's ports of this call."""
        places = [phone.sound.relay for phone in (self.one, self.two)]
        return [place[1] + step for place in places if place is not None for step in (0, 1)]

    def _talk(self, phase: str, attackers: list[Attacker], count: int) -> None:
        """Both speak at their pace; an attacker, each in turn, is faster, with random voices and with the phones'."""
        one, two = self.one, self.two
        for step in range(1 + count):
            for phone in (one, two):
                attackers[step % len(attackers)].talk(self._ports(), phone.sound.ssrc, phone.sound.sequence + 1)
                phone.speak()
            attackers[step % len(attackers)].spray(self._ports(), one.sound.ssrc, one.sound.sequence + 1)
            time.sleep(PACE)
            if step == 0:  # only now both can be found behind their routers
                before = [one.heard(two), two.heard(one)]
            if step == 2:
                self._note(f"{phase} (until they speak)", attackers)
        self.crowd.ears.settle()
        heard = [one.heard(two) - before[0], two.heard(one) - before[1]]
        self.shares[phase] = min(heard) / count

    def _quiet(self, attackers: list[Attacker], tenths: int) -> None:
        """The phones say nothing for so long; attackers speak with their voices."""
        for _ in range(tenths):
            for attacker in attackers:
                for phone in (self.one, self.two):
                    attacker.spray(self._ports(), phone.sound.ssrc, phone.sound.sequence + 1)
            time.sleep(0.1)

    def _change(self, ours: Dialog, theirs: Dialog, direction: str) -> None:
        one, two = self.one, self.two
        sent = one.sip.reinvite(ours, one.sound.describe(direction=direction))
        asked = two.sip.expect("INVITE")
        two.sound.told(asked.body)
        back = "recvonly" if direction == "sendonly" else "sendrecv"
        two.sip.respond(asked, 200, "OK", [("Contact", two.sip.contact)], two.sound.describe(direction=back))
        answer = one.sip.final(sent)
        assert answer.status == 200, answer
        one.sound.told(answer.body)
        one.sip.ack(ours, answer.cseq)
        two.sip.expect("ACK")

    def _all_reached(self, attackers: list[Attacker]) -> int:
        ears = self.crowd.ears
        return sum(ears.got[one.name] for one in attackers) + sum(ears.marked[one.name] for one in (self.one, self.two))

    def _note(self, phase: str, attackers: list[Attacker]) -> None:
        self.crowd.ears.settle()
        now = self._all_reached(attackers)
        self.reached[phase] = now - self._seen
        self._seen = now
