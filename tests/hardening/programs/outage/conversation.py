"""A call in progress: whether the two still reach each other while the database is away; and calls that begin then."""

from __future__ import annotations

import contextlib
import threading

from tests.support.caller import Caller, Fault, UdpWire
from tests.support.pbx import RunningPbx

PAUSE = 0.3
NEW_CALL_PATIENCE = 20.0


class Conversation:
    """A context manager around the fault; the call stands before. ``said``: exchanges within the call that worked;
    ``faults``: what did not; ``new_calls``: what calls that began meanwhile were told."""

    def __init__(self, pbx: RunningPbx, numbers: tuple[str, str, str], password: str) -> None:
        self._caller, self._called, self._third = (
            Caller(UdpWire(), pbx.server, number, password, pbx.domain) for number in numbers
        )
        self.said = 0
        self.faults: list[str] = []
        self.new_calls: list[int] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._talk, self._try_new_calls)
        ]
        for phone in (self._caller, self._called, self._third):
            phone.register()
        call = self._caller.invite(self._called.number)
        self._theirs = self._called.answer(self._called.expect("INVITE"), ack=False)
        self._ours = call.connected()
        self._called.expect("ACK", call_id=self._theirs.call_id)

    def __enter__(self) -> Conversation:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(NEW_CALL_PATIENCE + 10)
        try:
            bye = self._caller.request(self._ours, "BYE")
            self._called.take_bye(self._theirs)
            self._caller.final(bye)
        except Fault as fault:
            self.faults.append(f"BYE: {_first(fault)}")
        for phone in (self._caller, self._called, self._third):
            with contextlib.suppress(Fault):
                phone.register(expires=0)  # the same numbers come again with other phones
            phone.close()

    def _talk(self) -> None:
        while not self._over.is_set():
            try:
                asked = self._caller.request(
                    self._ours, "INFO", body=b"Signal=5\r\nDuration=160\r\n", kind="application/dtmf-relay"
                )
                got = self._called.expect("INFO", 3.0, call_id=self._theirs.call_id)
                self._called.respond(got, 200)
                answer = self._caller.final(asked, 3.0)
                if answer.status == 200:
                    self.said += 1
                else:
                    self.faults.append(f"INFO got {answer.status}")
            except Fault as fault:
                self.faults.append(_first(fault))
            self._over.wait(PAUSE)

    def _try_new_calls(self) -> None:
        """To a number that nobody registers: it is told 480 when the store is there, 503 with Retry-After if not."""
        while not self._over.is_set():
            try:
                answer = self._third.invite(self._third.number + "0").final(NEW_CALL_PATIENCE)
                self.new_calls.append(answer.status)
                if answer.status == 503 and not answer.get("Retry-After"):
                    self.faults.append("a new call got 503 without Retry-After")
                elif answer.status not in (404, 503):
                    self.faults.append(f"a new call to nobody got {answer.status}")
            except Fault as fault:
                self.faults.append(f"a new call: {_first(fault)}")
            self._over.wait(1.0)


def _first(fault: Fault) -> str:
    return str(fault).partition("\n")[0]
