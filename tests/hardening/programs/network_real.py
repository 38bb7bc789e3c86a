"""A real baresip and a real linphonec in the bad network, calling each other."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from unittest import SkipTest

from tests.hardening.programs import Figure
from tests.support.baresip import Baresip
from tests.support.cases import PASSWORD
from tests.support.linphone import Linphone
from tests.support.pbx import RunningPbx
from tests.support.processes import DeadlinePassed, wait_until

ROUNDS = 3
WORDS = "15 % lost, 10 % doubled, 15 % reordered"
SECONDS = 70.0
"""For each step: 64*T1 and a pause before the phone tries again."""


def real_phones(pbx: RunningPbx, front: tuple[str, int], one: str, two: str) -> Iterator[Figure]:
    done: list[str] = []
    fault = ""
    with ExitStack() as stack:
        try:
            baresip = Baresip(front, one, PASSWORD, domain=pbx.domain)
            stack.callback(baresip.stop)
            linphone = Linphone(front, two, PASSWORD, domain=pbx.domain, route=True)
            stack.callback(linphone.stop)
            baresip.wait_registered(SECONDS)
            linphone.wait_registered(SECONDS)
            done.append("both registered")
            for _ in range(ROUNDS):
                other, mark = linphone.program.mark(), baresip.dial(two)
                linphone.program.wait_for(r"is contacting you|Receiving new incoming call", SECONDS, other)
                linphone.say("answer")
                baresip.wait_event("CALL_ESTABLISHED", SECONDS, mark)
                baresip.command("hangup")
                linphone.program.wait_for(r"Call \d+ with .* (?:ended|error)", SECONDS, other)
                done.append("baresip called and hung up")

                mark = len(baresip.events)
                linphone.dial(one)
                baresip.answer_next(mark, SECONDS)
                baresip.wait_event("CALL_ESTABLISHED", SECONDS, mark)
                linphone.say("terminate")
                baresip.wait_event("CALL_CLOSED", SECONDS, mark)
                done.append("linphone called and hung up")
        except SkipTest as reason:
            print(f"  baresip and linphone left out: {reason}")
            return
        except DeadlinePassed as late:
            fault = str(late)[:300]
        wanted = [(one, two), (two, one)] * ROUNDS

        def records() -> list[tuple[str, str]]:
            rows = pbx.store.rows('SELECT src, dst, "end" FROM calls_callrecord')
            return sorted((row["src"], row["dst"]) for row in rows if row["src"] in (one, two) and row["end"])

        with contextlib.suppress(DeadlinePassed):  # the figure says it
            wait_until(lambda: len(records()) >= len(wanted), "all records", 40)
        told = ", ".join(f"{count} times {what}" for what, count in Counter(done).items())
        yield Figure(
            f"a real baresip and a real linphone ({WORDS})", f"{told}; {len(records())} records of {len(wanted)} calls",
            "every registration and call, one record each", records() == sorted(wanted), cause=fault,
        )  # fmt: skip
