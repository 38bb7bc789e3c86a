"""The process that carries the sound is killed in the middle of calls: the calls go on, on ports of its successor."""

from __future__ import annotations

import os
import signal
import subprocess

from tests.support.calling import HIGH, LOW, MIDDLE, CallCase
from tests.support.cases import OnSqlite
from tests.support.media_engines import OnOurRelay


class RelayDies(CallCase, OnOurRelay, OnSqlite):
    def test_who_was_talking_talks_on_and_new_calls_work(self):
        ann, ben, carl = self.baresip(LOW), self.baresip(MIDDLE), self.baresip(HIGH)
        ann.dial(ben.number)
        ben.answer_next()
        self.expect_talk(ann, LOW, ben, MIDDLE)
        found = subprocess.run(
            ["pgrep", "-f", "-P", str(self.pbx.program.pid), "sipcore.media.relay"], capture_output=True, text=True
        )
        (relay,) = found.stdout.split()
        os.kill(int(relay), signal.SIGKILL)
        self.pbx.program.wait_for(r"lost 1 calls; they are moved")
        self.expect_talk(ann, LOW, ben, MIDDLE)
        carl.dial("*43")
        carl.wait_event("CALL_ESTABLISHED")
        ann.command("hangup")
        self.assertEqual(self.record(ann.number, ben.number).outcome, ("ANSWERED", "normal"))
