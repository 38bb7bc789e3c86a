"""Spoiled messages within a call that stands: both phones' own addresses, Call-ID and tags are right at first."""

from __future__ import annotations

import random
import re

from tests.hardening.fuzz.engine import IN_A_CALL
from tests.hardening.programs.fuzzing.mutation import Mutator
from tests.support.caller import Caller, Dialog, Fault, UdpWire, read
from tests.support.pbx import RunningPbx

PLACE = re.compile(rb"127\.0\.0\.1:5062")


class Talk:
    def __init__(self, pbx: RunningPbx, numbers: tuple[str, str], password: str, host: str, chance: random.Random):
        self._pbx, self._chance = pbx, chance
        self._numbers, self._password, self._host = numbers, password, host
        self._mutate = Mutator(chance, IN_A_CALL, (1, 1, 1, 2))
        self._phones: list[Caller] = []
        self._dialogs: list[Dialog] = []
        self._cseq = 500

    def begin(self) -> None:
        """Both register, one calls the other, and it answers. Raises ``Fault`` when that does not work any more."""
        self.end()
        for number in self._numbers:
            phone = Caller(UdpWire(self._host), self._pbx.server, number, self._password, self._pbx.domain)
            self._phones.append(phone)
            phone.register(expires=0, contact="*")
            phone.register()
        caller, called = self._phones
        call = caller.invite(called.number)
        ours = called.answer(called.expect("INVITE"), ack=False)
        self._dialogs = [call.connected(), ours]
        called.expect("ACK", call_id=ours.call_id)
        self._cseq = 500

    def send(self) -> int:
        """One message; its bytes."""
        self._cseq += 1
        side = self._chance.randrange(2)
        phone, dialog = self._phones[side], self._dialogs[side]
        data = self._chance.choice(IN_A_CALL).replace(b"CSeq: 500", b"CSeq: %d" % self._cseq)
        data = PLACE.sub(phone.sent_by.encode(), data).replace(b"z9hG4bKfuzz", b"z9hG4bKtalk%d" % self._cseq)
        data = self._mutate(data)
        for mark, text in ((b"@LOCAL@", dialog.local), (b"@REMOTE@", dialog.remote), (b"@CALL@", dialog.call_id)):
            data = data.replace(mark, text.encode())
        data = data[:65_507]
        phone.wire.send(data, self._pbx.server)
        return len(data)

    def answer(self) -> None:
        """What comes to the phones meanwhile is answered as phones do."""
        for phone in self._phones:
            while (got := phone.wire.receive(0.0)) is not None:
                try:
                    message = read(*got, 0.0)
                except (Fault, ValueError, UnicodeDecodeError):
                    continue  # an answer to what was spoiled bears the spoiled text back
                if not message.status and message.method != "ACK":
                    willing = message.method in ("BYE", "OPTIONS", "CANCEL", "INFO", "NOTIFY")
                    phone.respond(message, 200 if willing else 488)

    def end(self) -> None:
        for phone, dialog in zip(self._phones, self._dialogs, strict=False):
            phone.request(dialog, "BYE", cseq=2**31 - 2)
        for phone in self._phones:
            phone.close()
        self._phones, self._dialogs = [], []
