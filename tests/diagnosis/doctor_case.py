"""A PBX in a network namespace of its own, 192.168.77.10, and ``manage.py doctor`` beside it."""

from __future__ import annotations

import json
import sys
from typing import Any, ClassVar

from tests.support.cases import PbxCase
from tests.support.media_engines import rtp_ports
from tests.support.network_namespaces import Networks
from tests.support.pbx import ROOT, PostgresStore, RunningPbx, SqliteStore, Store
from tests.support.processes import run_program, wait_until

ADDRESS = "192.168.77.10"


class SocketPostgresStore(PostgresStore):
    """Over its Unix socket, which is seen in every network namespace."""

    def __init__(self, cluster=None) -> None:
        super().__init__(cluster)
        directory, port = self.cluster.socket_directory, self.cluster.port
        self.tcp_url = self.url
        self.url = f"postgres://pbx:{self.cluster.password}@/{self.database}?host={directory}&port={port}"

    def rows(self, query, *values):
        url, self.url = self.url, self.tcp_url
        try:
            return super().rows(query, *values)
        finally:
            self.url = url


class DoctorCase(PbxCase):
    networks: ClassVar[Networks]
    namespace: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.networks = Networks()
        cls.addClassCleanup(cls.networks.close)
        cls.switch = cls.networks.switch("office")
        cls.namespace = cls.networks.host("pbx", cls.switch, f"{ADDRESS}/24", ADDRESS.rpartition(".")[0] + ".1")
        first, last = rtp_ports()
        cls.settings = {**cls.settings, "SIP_DOMAIN": ADDRESS, "RTP_PORTS": f"{first}-{last}"}
        cls.place = {"namespace": cls.namespace, "host": "0.0.0.0", "start": False}
        super().setUpClass()
        cls.pbx.domain = ADDRESS
        cls.start_pbx()

    @classmethod
    def start_pbx(cls) -> None:
        cls.pbx.start()
        cls.wait_for_beat()

    @classmethod
    def wait_for_beat(cls) -> None:
        pid = cls.pbx.program.pid
        wait_until(
            lambda: cls.rows("SELECT 1 AS one FROM system_sipprocess WHERE pid = %s", pid), "the first heartbeat"
        )

    @classmethod
    def rows(cls, query: str, *values: object) -> list[dict[str, Any]]:
        return cls.pbx.store.rows(query, *values)

    def doctor(self, *arguments: str, **environment: str) -> tuple[int, dict[str, Any]]:
        """Its exit code and what it says to a program."""
        code, said = self.run_doctor("--json", *arguments, **environment)
        return code, json.loads(said)

    def run_doctor(self, *arguments: str, **environment: str) -> tuple[int, str]:
        done = run_program(
            ["ip", "netns", "exec", self.namespace, sys.executable, "manage.py", "doctor", *arguments],
            env={**self.pbx.env, **environment}, cwd=ROOT, seconds=90,
        )
        self.assertNotIn("Traceback", done.stderr, done.stderr)
        return done.returncode, done.stdout

    def codes(self, *arguments: str, **environment: str) -> list[str]:
        code, said = self.doctor(*arguments, **environment)
        found = [verdict["code"] for verdict in said["verdicts"]]
        self.assertEqual(min(len(found), 100), code)
        for verdict in said["verdicts"]:
            for part in ("what", "why", "do"):
                self.assertTrue(verdict[part], verdict)
        return found


class DoctorOnSqlite(DoctorCase):
    @classmethod
    def make_store(cls) -> Store:
        return SqliteStore()


class DoctorOnPostgres(DoctorCase):
    @classmethod
    def make_store(cls) -> Store:
        return SocketPostgresStore()


__all__ = ["ADDRESS", "DoctorCase", "DoctorOnPostgres", "DoctorOnSqlite", "RunningPbx", "SocketPostgresStore"]
