"""A real ``runsip --workers 2`` on PostgreSQL, and phones of which one knows with which worker they are."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from tests.calls_flow.real import RealCase, RealWorld
from tests.support.caller import Address, Caller, UdpWire, Wire
from tests.support.cases import PASSWORD
from tests.support.pbx import PostgresStore, Store
from tests.support.processes import wait_until

WORKERS = 2
TRIES = 40
"""Sockets opened until the kernel gives one to the worker that is wanted: by its hash, every second or so."""


class WorkersWorld(RealWorld):
    """Its phones are registered with the first worker and the second in turns: of two, each is elsewhere."""

    def __init__(self, case: WorkersCase) -> None:
        super().__init__(case)
        self._turns = itertools.count(1)

    def phone(
        self, number: str = "", host: str = "127.0.0.1", register: bool = True, password: str | None = PASSWORD
    ) -> Caller:
        if not register:
            return super().phone(number, host, register, password)
        return self.phone_at(next(self._turns) % WORKERS, number, host, password)

    def phone_at(
        self, worker: int, number: str = "", host: str = "127.0.0.1", password: str | None = PASSWORD,
        wire: Callable[[], Wire] | None = None,
    ) -> Caller:
        """A phone that is registered with this worker."""
        number = number or self.new_number()
        for _ in range(TRIES):
            phone = Caller(wire() if wire else UdpWire(host), self.server, number, password, self.domain)
            phone.register()
            if self.worker_of(number, phone.wire.address) == worker:
                return phone
            phone.register(expires=0)
            phone.close()
        raise AssertionError(f"{TRIES} sockets, and none belongs to worker {worker}")

    def worker_of(self, number: str, address: Address) -> int:
        """Who has written the binding of this phone."""
        [row] = [row for row in self.pbx.bindings(number) if row["remote_port"] == address[1]]
        return row["worker"]

    def pids(self) -> dict[int, int]:
        """The process of each worker that serves: by its heartbeat, as everybody else knows it."""
        rows = self.pbx.store.rows("SELECT worker, pid FROM system_sipprocess WHERE node = 'test'")
        return {row["worker"]: row["pid"] for row in rows}


class WorkersCase(RealCase):
    calls = {"SIP_WORKERS": str(WORKERS)}
    world: WorkersWorld

    @classmethod
    def make_store(cls) -> Store:
        return PostgresStore()

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.pbx.program.wait_for("media engine .* answers")

    def setUp(self) -> None:
        super().setUp()
        self.world = WorkersWorld(self)
        self.addCleanup(lambda: self.assertEqual([], self.pbx.log_lines(r" ERROR ")))

    def restarted(self, worker: int, before: int) -> int:
        """The process that has taken the place of ``before``."""
        return wait_until(
            lambda: next((pid for number, pid in self.world.pids().items() if number == worker and pid != before), 0),
            f"worker {worker} is there again",
        )

    def row(self, number: str) -> dict[str, Any]:
        [row] = self.pbx.bindings(number)
        return row
