"""A port of the SIP server that somebody else has: the sentence says which one, and who."""

from __future__ import annotations

import os
import socket
import unittest

from tests.support.pbx import ROOT, RunningPbx, SqliteStore
from tests.support.processes import run_program


class TakenPortTests(unittest.TestCase):
    def setUp(self) -> None:
        self.pbx = RunningPbx(SqliteStore(), start=False)
        self.addCleanup(self.pbx.stop)

    def refused(self) -> str:
        done = run_program(self.pbx.command(), env=self.pbx.env, cwd=ROOT)
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stderr

    def test_udp(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.bind(self.pbx.server)
            said = self.refused()
        self.assertIn(f"Port {self.pbx.port}/udp is taken by", said)
        self.assertIn(f"process {os.getpid()}", said)

    def test_tcp(self):
        with socket.create_server(self.pbx.server):
            said = self.refused()
        self.assertIn(f"Port {self.pbx.port}/tcp is taken by", said)
        self.assertIn(f"kill {os.getpid()}", said)

    def test_a_restart_is_not_held_up_by_connections_of_before(self):
        self.pbx.start()
        with socket.create_connection(self.pbx.server, 10):
            self.pbx.kill9()
            self.pbx.start()  # raises when the port cannot be had again

    def test_a_second_one_of_the_same_pbx(self):
        self.pbx.start()
        said = self.refused()
        self.assertIn("the SIP server of this PBX", said)
        self.assertNotIn("python", said)
