"""sippy, the SIP stack in Python, as a peer. It has no registrar (its B2BUA hands REGISTER on, as a proxy), so a small
one of ours stands on its transaction manager and its digest: ``sippy_registrar.py``. It keeps everything in memory.

``SIPPY_PYTHON`` names a Python that has sippy; without it, the one that runs the benchmark is asked."""

from __future__ import annotations

import os
import shutil
import sys
import unittest
from collections.abc import Iterable
from pathlib import Path

from tests.support.processes import Program, free_port, run_program, scratch_directory

HOW = (
    "no sippy: python3 -m venv sippy && sippy/bin/pip install sippy, then SIPPY_PYTHON=sippy/bin/python "
    "(it stays out of the product's own environment)"
)


class SippyPeer:
    """A running registrar. Raises ``unittest.SkipTest`` where no Python has sippy."""

    realm = "sippy.test"

    def __init__(self, accounts: Iterable[tuple[str, str]]) -> None:
        """(user name, password) pairs."""
        python = os.environ.get("SIPPY_PYTHON", sys.executable)
        if run_program([python, "-c", "import sippy.SipTransactionManager"]).returncode:
            raise unittest.SkipTest(HOW)
        self.port = free_port()
        self.directory = scratch_directory("sippy")
        passwords = self.directory / "passwords"
        passwords.write_text("".join(f"{user} {password}\n" for user, password in accounts))
        self._program = Program(
            [python, str(Path(__file__).with_name("sippy_registrar.py")), str(self.port), self.realm, str(passwords)],
            log_path=self.directory / "log", env={"PATH": os.environ["PATH"], "SIPLOG_LVL": "ERR"},
            cwd=self.directory, name="sippy",
        )
        self._program.wait_for("listening")

    @property
    def pid(self) -> int:
        return self._program.pid

    def stop(self) -> None:
        self._program.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
