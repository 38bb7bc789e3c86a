"""Who has a port: another program by its name, and this PBX as what it is."""

from __future__ import annotations

import subprocess
import sys
import unittest
from pathlib import Path

from pbx.startup.ports import check_web_port
from pbx.startup.refusal import Refusal
from pbx.system.port_owner import Owner, tcp_port_owner
from tests.support.pbx import ROOT
from tests.support.processes import scratch_directory

LISTENS = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


class OwnerTests(unittest.TestCase):
    def listening(self, *words: str, cwd: Path = ROOT) -> tuple[int, Owner | None]:
        """The port of a program with this command line, and who is said to have it."""
        program = subprocess.Popen(
            [sys.executable, "-c", LISTENS, *words], cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(program.communicate)
        port = int(program.stdout.readline())
        owner = tcp_port_owner(port)
        self.assertEqual(program.pid, owner.pid)
        return port, owner

    def test_the_pbx_itself(self):
        elsewhere = scratch_directory("elsewhere")
        for words, cwd in (
            (("manage.py", "runsip"), ROOT), (("./manage.py", "runsip", "--port", "5080"), ROOT),
            ((str(ROOT / "manage.py"), "runsip"), elsewhere),
        ):
            with self.subTest(words=words):
                _port, owner = self.listening(*words, cwd=cwd)
                self.assertEqual((owner.name, owner.ours), ("the SIP server of this PBX", True))

    def test_others(self):
        elsewhere = scratch_directory("elsewhere")
        for words, cwd in (
            ((), ROOT), (("manage.py", "runsip"), elsewhere), (("runsip",), ROOT),
            (("-c", "python:pbx.web_server"), elsewhere),
        ):
            with self.subTest(words=words):
                _port, owner = self.listening(*words, cwd=cwd)
                self.assertFalse(owner.ours)
                self.assertTrue(owner.name.startswith("python"), owner.name)

    def test_no_other_port_is_proposed_where_the_pages_are_served_already(self):
        port, owner = self.listening("-m", "gunicorn", "-c", "python:pbx.web_server")
        with self.assertRaises(Refusal) as refused:
            check_web_port("127.0.0.1", port)
        self.assertEqual(
            str(refused.exception),
            f"This is running already: the web pages of this PBX (process {owner.pid}). "
            "To start it anew, stop it first.",
        )
