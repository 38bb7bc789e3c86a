"""What the phones of the program ``network`` do, each pair by itself: register, call, refresh, unregister."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.caller import Dialog, Fault, Msg
from tests.support.patient_wire import PatientPhone, PatientWire

KINDS = ("caller hangs up", "callee hangs up", "held", "cancelled", "busy", "both hang up")
OUTCOMES = {"cancelled": ("NO ANSWER", "cancelled"), "busy": ("BUSY", "busy")}
ANSWERED = ("ANSWERED", "normal")
RINGS = (0.2, 1.5)  # seconds
TALKS = (0.5, 2.0)


@dataclass
class Pair:
    """Two phones and one call of a kind. ``faults``: what did not come to its end, in words."""

    caller: PatientPhone
    callee: PatientPhone
    kind: str
    dice: random.Random
    faults: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    """"registered", "refreshed", "unregistered": phones; "called": 0 or 1."""
    retried: int = 0
    """Re-INVITEs that were told to come again later (491, or 500 with Retry-After)."""

    @property
    def phones(self) -> tuple[PatientPhone, PatientPhone]:
        return self.caller, self.callee

    def live(self) -> None:
        """Register and call. Never raises what is the server's doing."""
        self._each("registered", lambda phone: phone.register(600))
        if self.done["registered"] == 2:
            try:
                self._call()
                self.done["called"] += 1
            except (Fault, ValueError) as fault:
                self.faults.append(f"call, {self.kind}: {fault}")

    def refresh(self) -> None:
        self._each("refreshed", lambda phone: phone.register(600))

    def leave(self) -> None:
        self._each("unregistered", lambda phone: phone.register(0))

    def extra_messages(self) -> list[str]:
        """Requests nobody expected: a second call, or one within a call that is over. (Where both hang up the other's
        BYE may come late.)"""
        late = ("BYE",) if self.kind == "both hang up" else ()
        return [m.start for phone in self.phones for m in phone.inbox if not m.status and m.method not in late]

    def close(self) -> None:
        for phone in self.phones:
            phone.close()

    def _each(self, what: str, step: Callable[[PatientPhone], Msg]) -> None:
        for phone in self.phones:
            try:
                step(phone)
                self.done[what] += 1
            except (Fault, ValueError) as fault:
                self.faults.append(f"{phone.number} not {what}: {fault}")

    def _pause(self, between: tuple[float, float]) -> None:
        time.sleep(self.dice.uniform(*between))

    def _call(self) -> None:
        caller, callee = self.caller, self.callee
        call = caller.invite(callee.number)
        invite = callee.expect("INVITE")
        tag = callee.ring(invite)
        self._pause(RINGS)
        if self.kind == "cancelled":
            if call.cancel().status != 200:
                raise Fault("the CANCEL was not taken")
            callee.respond(callee.expect("CANCEL", call_id=invite.call_id), 200, tag=tag)
            callee.respond(invite, 487, tag=tag)
            callee.expect("ACK", call_id=invite.call_id)
            call.refused(487)
            return
        if self.kind == "busy":
            callee.respond(invite, 486, tag=tag)
            callee.expect("ACK", call_id=invite.call_id)
            call.refused(486)
            return
        theirs = callee.answer(invite, tag=tag, ack=False)
        ours = call.connected()
        callee.expect("ACK", call_id=invite.call_id)
        self._pause(TALKS)
        if self.kind == "held":
            for direction in ("sendonly", "sendrecv"):
                self._change(ours, theirs, direction)
                self._pause(TALKS)
        self._end(ours, theirs)

    def _change(self, ours: Dialog, theirs: Dialog, direction: str) -> None:
        """A re-INVITE, again where the server asks for that (RFC 3261 14.1)."""
        answers = {"sendonly": "recvonly", "sendrecv": "sendrecv"}
        end = time.monotonic() + 32
        while True:
            sent = self.caller.reinvite(ours, self.caller.sdp(direction))
            asked = None
            while asked is None:
                asked = self._reinvited(theirs)
                answer = next((m for m in self.caller.inbox if m.branch == sent.branch and m.status >= 300), None)
                if answer is not None and asked is None:
                    break
            if asked is not None:
                self.callee.respond_ok(asked, body=self.callee.sdp(answers[direction]))
            final = self.caller.final(sent)
            if final.status == 200:
                self.caller.ack(ours, final.cseq)
                self.callee.expect("ACK", call_id=theirs.call_id)
                return
            self.caller.ack_failure(sent, final)
            if final.status not in (491, 500) or time.monotonic() > end:
                raise Fault(f"re-INVITE ({direction}) got\n{final}")
            self.retried += 1
            time.sleep(float(final.get("Retry-After") or self.dice.uniform(2.1, 4.0)))

    def _reinvited(self, theirs: Dialog) -> Msg | None:
        self.caller.pump(0.05)
        self.callee.pump(0.05)
        for message in self.callee.inbox:
            if message.method == "INVITE" and not message.status and message.call_id == theirs.call_id:
                self.callee.inbox.remove(message)
                return message
        return None

    def _end(self, ours: Dialog, theirs: Dialog) -> None:
        caller, callee = self.caller, self.callee
        if self.kind == "callee hangs up":
            callee.bye(theirs)
            _take_bye(caller, ours)
        elif self.kind == "both hang up":
            first, second = caller.request(ours, "BYE"), callee.request(theirs, "BYE")
            for phone, sent, dialog in ((caller, first, ours), (callee, second, theirs)):
                status = phone.final(sent).status
                if status not in (200, 481):
                    raise Fault(f"BYE got {status}")
                # The other's own BYE may have come through, and may not have.
                while phone.pump(0.1):
                    pass
                for message in [m for m in phone.inbox if m.method == "BYE" and not m.status]:
                    phone.inbox.remove(message)
                    phone.respond(message, 200 if message.call_id == dialog.call_id else 481)
        else:
            caller.bye(ours)
            _take_bye(callee, theirs)


def _take_bye(phone: PatientPhone, dialog: Dialog) -> None:
    """The one of this very dialog: 481 for another (RFC 3261 12.2.2)."""
    while True:
        bye = phone.expect("BYE", call_id=dialog.call_id)
        ours = bye.from_tag == dialog.remote_tag and bye.to_tag == dialog.local_tag
        phone.respond(bye, 200 if ours else 481)
        if ours:
            return


def wire_of(phone: PatientPhone) -> PatientWire:
    assert isinstance(phone.wire, PatientWire)
    return phone.wire
