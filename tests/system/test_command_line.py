"""What a person at a terminal meets whatever the command."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest

from tests.support.pbx import ROOT
from tests.support.processes import PATIENCE

MANAGE = [sys.executable, str(ROOT / "manage.py")]


class NobodyReadsTests(unittest.TestCase):
    """``manage.py doctor | head``"""

    def ended(self, *arguments: str) -> tuple[int, str]:
        """The exit code, and what was written to the error output, when nobody reads the output any more."""
        readable, writable = os.pipe()
        os.close(readable)
        try:
            done = subprocess.run(
                [*MANAGE, *arguments], stdout=writable, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False
            )
        finally:
            os.close(writable)
        return done.returncode, done.stderr

    def test_it_ends_without_a_word(self):
        for arguments in (("help",), ("bans", "--help")):
            with self.subTest(arguments):
                code, said = self.ended(*arguments)
                self.assertIn(code, (0, 141))
                self.assertEqual(said, "")
