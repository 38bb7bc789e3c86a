"""A real ``runsip`` with a real media engine, as the scenarios want it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from tests.calls_flow.case import FlowCase
from tests.support.caller import Caller, UdpWire
from tests.support.cases import PASSWORD, OnSqlite
from tests.support.engines import RtpEngine
from tests.support.media_engines import rtp_ports
from tests.support.pbx import RunningPbx, SqliteStore
from tests.support.processes import scratch_directory, wait_until


class RealWorld:
    """The same verbs as ``tests.engine.calls_under_test.CallWorld``; an administrator's are rows in the database."""

    def __init__(self, case: RealCase) -> None:
        self._case = case
        self.pbx: RunningPbx = case.pbx
        self.domain, self.server = self.pbx.domain, self.pbx.server

    def new_number(self) -> str:
        return self._case.new_extension()

    def phone(
        self, number: str = "", host: str = "127.0.0.1", register: bool = True, password: str | None = PASSWORD
    ) -> Caller:
        phone = Caller(UdpWire(host), self.server, number or self.new_number(), password, self.domain)
        if register:
            phone.register()
        return phone

    def execute(self, statement: str, *values: object) -> None:
        store = self.pbx.store
        if isinstance(store, SqliteStore):
            with contextlib.closing(sqlite3.connect(store.path, timeout=20)) as connection, connection:
                connection.execute(statement.replace("%s", "?"), values)
        else:
            import psycopg

            with psycopg.connect(store.url, connect_timeout=5) as connection:
                connection.execute(statement, values)  # type: ignore[call-overload]

    def set_ring_seconds(self, number: str, seconds: int) -> None:
        self.execute("UPDATE extensions_extension SET ring_seconds = %s WHERE number = %s", seconds, number)

    def set_name(self, number: str, name: str) -> None:
        self.execute("UPDATE extensions_extension SET display_name = %s WHERE number = %s", name, number)

    def disable(self, number: str) -> None:
        self.execute("UPDATE extensions_extension SET enabled = %s WHERE number = %s", False, number)
        self.execute(
            "DELETE FROM extensions_binding WHERE extension_id ="
            " (SELECT id FROM extensions_extension WHERE number = %s)",
            number,
        )

    def hang_up(self, uniqueid: str) -> None:
        self.execute(
            'INSERT INTO calls_callaction (uniqueid, node, action, "by", created_at)'
            " VALUES (%s, 'test', 'hangup', 'root', %s)",
            uniqueid,
            datetime.now(UTC).isoformat(sep=" "),
        )

    def rows(self, src: str = "", dst: str = "") -> list[dict[str, Any]]:
        rows = self.pbx.store.rows(
            "SELECT * FROM calls_callrecord WHERE (%s = '' OR src = %s) AND (%s = '' OR dst = %s) ORDER BY start, id",
            src,
            src,
            dst,
            dst,
        )
        for row in rows:
            for name in ("legs", "media"):
                row[name] = json.loads(row[name]) if isinstance(row[name], str) else row[name]
        return rows

    def records(self, src: str = "", dst: str = "") -> list[dict[str, Any]]:
        """As soon as there is one: they are written a little later."""
        return wait_until(lambda: self.rows(src, dst), f"a record of {src} to {dst}")

    def record_that(self, src: str, dst: str, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        return wait_until(lambda: next(filter(fits, self.rows(src, dst)), None), f"such a record of {src} to {dst}")

    def ended_record(self, src: str = "", dst: str = "") -> dict[str, Any]:
        wait_until(lambda: all(row["end"] for row in self.records(src, dst)), f"the end of the call {src} to {dst}", 45)
        [row] = self.rows(src, dst)
        return row


class RealCase(OnSqlite, FlowCase):
    """One ``runsip`` with the relays of its own serves a class."""

    calls: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def setUpClass(cls) -> None:
        first, last = rtp_ports()
        cls.settings = {"RTPENGINE_URLS": "", "RTP_PORTS": f"{first}-{last}", **cls.calls}
        super().setUpClass()

    def setUp(self) -> None:
        super().setUp()
        self.world = RealWorld(self)


class RtpengineCase(RealCase):
    """With a real rtpengine."""

    @classmethod
    def setUpClass(cls) -> None:
        engine = RtpEngine(scratch_directory("rtpengine"), ports=rtp_ports(), addresses=["127.0.0.1"])
        cls.addClassCleanup(engine.stop)
        cls.calls = {**cls.calls, "RTPENGINE_URLS": engine.url}
        super().setUpClass()
