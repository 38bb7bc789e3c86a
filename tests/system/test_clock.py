"""Whether the clock was set while nobody ran: told from the heartbeat and the time since the machine was started."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

from django.test import TestCase, TransactionTestCase

from extensions.models import Binding
from pbx.calls.models import CallRecord
from pbx.diagnosis.guard_store import DjangoGuardStore
from pbx.system.heartbeat import beat, clock_was_set
from pbx.system.models import SipProcess
from sipcore.guard.blocks import Block
from sipcore.log import SipLog
from sipcore.management.commands.runsip import SipServerProcess
from tests.calls.rows import row, write
from tests.extensions.rows import make_binding, make_extension

HOURS = timedelta(hours=2)


class Beats:
    def setUp(self):
        self.now = datetime.now(UTC)

    def beat(self, at: datetime | None = None) -> None:
        beat("test", 0, 1, "udp", self.now, at or self.now)


class ClockTests(Beats, TestCase):
    def test_set_either_way(self):
        self.beat()
        self.assertAlmostEqual(clock_was_set("test", 0, self.now + HOURS), 7200, delta=1)
        self.assertAlmostEqual(clock_was_set("test", 0, self.now - HOURS), -7200, delta=1)

    def test_not_set(self):
        self.beat()
        self.assertEqual(clock_was_set("test", 0), 0.0)
        SipProcess.objects.update(beat_at=self.now - HOURS, up_seconds=SipProcess.objects.get().up_seconds - 7200)
        self.assertEqual(clock_was_set("test", 0), 0.0, "nobody ran for two hours, that is all")

    def test_nobody_can_know(self):
        self.assertEqual(clock_was_set("test", 0), 0.0)
        self.beat(self.now - HOURS)
        for boot in ("", "another start of this machine"):
            SipProcess.objects.update(boot=boot)
            self.assertEqual(clock_was_set("test", 0), 0.0)


class StartTests(Beats, TransactionTestCase):
    def test_a_start_after_it_moves_what_is_stored_once(self):
        binding = make_binding(make_extension("1001"), seconds_left=300)
        # The clock says two hours more than when these were written.
        Binding.objects.update(expires_at=binding.expires_at - HOURS)
        call = write(row(start=self.now.timestamp() - 7260, node="test"))
        block = Block("192.0.2.1", "", "guessing", since=time.time() - 7260, until=time.time() - 6900)
        DjangoGuardStore().save([block])
        self.beat(self.now - HOURS)
        for _start in range(2):
            log = SipLog(os.open(os.devnull, os.O_WRONLY))
            self.addCleanup(log.close)
            with self.settings(SIP_NODE="test"):
                process = SipServerProcess("pbx.test", "pbx.test", log)
                process.take_up()
            ends = Binding.objects.get().expires_at
            self.assertAlmostEqual(ends.timestamp(), binding.expires_at.timestamp(), delta=2)
            (block,) = process._chores.guard._guard.blocks
            self.assertAlmostEqual(block.until, self.now.timestamp() + 300, delta=2)
            last = SipProcess.objects.get().beat_at
            self.assertAlmostEqual(last.timestamp(), self.now.timestamp(), delta=2, msg="calls ended there, not later")
            start = CallRecord.objects.get(pk=call.pk).start
            self.assertAlmostEqual(start.timestamp(), self.now.timestamp() - 60, delta=2)
