"""The parent of the workers, with small programs in their places."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
import unittest
from collections.abc import Awaitable, Callable
from pathlib import Path
from unittest.mock import patch

from sipcore.log import SipLog
from sipcore.workers import crew
from sipcore.workers.crew import Crew
from tests.support.pbx import ROOT
from tests.support.processes import wait_until

READY = "import time\nfrom sipcore.systemd import notify\nnotify('READY=1')\n"


class CrewTests(unittest.TestCase):
    def setUp(self) -> None:
        self.file = self.enterContext(tempfile.NamedTemporaryFile())
        self.log = SipLog(self.file.fileno())
        self.addCleanup(self.log.close)

    @property
    def said(self) -> str:
        self.log.flush()
        return Path(self.file.name).read_text()

    def play(self, program: str, then: Callable[[Crew], Awaitable[None]]) -> bool:
        """Run two workers of this program until ``then`` is done; what :meth:`Crew.run` gives."""

        async def play() -> bool:
            tested = Crew([sys.executable, "-c", program], [("127.0.0.1", 0)], 2, self.log)
            running = asyncio.create_task(tested.run())
            await then(tested)
            if not running.done():
                os.kill(os.getpid(), signal.SIGTERM)
            return await running

        before = Path.cwd()
        os.chdir(ROOT)
        try:
            return asyncio.run(play())
        finally:
            os.chdir(before)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        await asyncio.to_thread(wait_until, condition, what)

    def test_it_is_ready_when_all_are(self):
        async def then(tested: Crew) -> None:
            await self.until(lambda: "Listening on udp and tcp 127.0.0.1" in self.said, "all are ready")

        self.assertTrue(self.play(f"{READY}time.sleep(60)", then))
        self.assertIn("2 workers", self.said)

    def test_a_worker_that_cannot_begin_ends_all(self):
        async def then(tested: Crew) -> None:
            await self.until(lambda: tested._failed, "it has failed")

        self.assertFalse(self.play("raise SystemExit(3)", then))
        self.assertNotIn("Listening", self.said)

    def test_one_that_dies_later_is_started_again(self):
        async def then(tested: Crew) -> None:
            await self.until(lambda: "Listening" in self.said, "all are ready")
            process = tested._workers[1].process
            assert process is not None
            process.kill()
            await self.until(lambda: tested._workers[1].process not in (None, process), "there is another")

        self.assertTrue(self.play(f"{READY}time.sleep(60)", then))
        self.assertIn("Worker 1 has ended with status -9 and is started again", self.said)

    def test_one_whose_loop_hangs_is_killed_and_started_again(self):
        async def then(tested: Crew) -> None:
            await self.until(lambda: "Worker 0 hangs and is killed" in self.said, "it is killed")
            await self.until(lambda: "Worker 0 has ended with status -9" in self.said, "it is started again")

        with patch.object(crew, "HANGING_AFTER", 0.5):
            self.assertTrue(self.play(f"{READY}time.sleep(60)", then))

    def test_one_that_does_not_end_when_it_is_asked_to_is_killed(self):
        program = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{READY}time.sleep(60)"

        async def then(tested: Crew) -> None:
            await self.until(lambda: "Listening" in self.said, "all are ready")

        with patch.object(crew, "KILL_AFTER", 0.2):
            self.assertTrue(self.play(program, then))

    def test_nobody_else_can_say_that_a_worker_is_ready(self):
        async def then(tested: Crew) -> None:
            name = tested._telling.getsockname()
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
                stranger.sendto(b"READY=1", name)
            await asyncio.sleep(0)
            tested._listen()
            self.assertTrue(all(worker.heard is None for worker in tested._workers))

        self.assertTrue(self.play("import time; time.sleep(60)", then))
