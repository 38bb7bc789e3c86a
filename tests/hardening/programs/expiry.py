"""100,000 registrations end in the same second, while an honest phone registers. They are written into the database
before the start; then the PBX takes them up and pings them all, and from that second on no more."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from unittest import SkipTest

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.honest import HonestPhone
from tests.support.many_bindings import store_bindings
from tests.support.pbx import PostgresStore, RunningPbx, SqliteStore, Store
from tests.support.phone import Phone
from tests.support.processes import wait_until

LIKE, HONEST, PASSWORD = "1001", "1002", "correct-horse-7"
BEFORE = 2.0
"""Seconds before that second from which on the honest phone is watched."""

WRITING = 3.0
"""Seconds for writing them down and for the start."""


class Pinged(threading.Thread):
    """Stands in for all of them: hears the pings to every address of 127.0.0.0/8 on one port and answers none. The
    phone they were made like is there too, and stays registered."""

    def __init__(self, port: int) -> None:
        super().__init__(name="pinged", daemon=True)
        self.phones: set[bytes] = set()
        self.pings = 0
        self.last = 0.0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("0.0.0.0", port))

    def __enter__(self) -> Pinged:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self.join(5)
        self._socket.close()

    def run(self) -> None:
        while True:
            try:
                data = self._socket.recv(65_535)
            except OSError:
                return
            if not data:
                return
            uri = data[: data.find(b" SIP/2.0\r\n")]
            if b"@phones.test" in uri:
                self.last = time.time()
                self.pings += 1
                self.phones.add(uri)


def measure(scale: Scale) -> Iterator[Figure]:
    for make in (SqliteStore,) if scale.quick else (SqliteStore, PostgresStore):
        try:
            store = make()
        except SkipTest as missing:
            yield Figure(f"expiry, {make.name}", f"not run: {missing}", "PostgreSQL too", False)
            continue
        yield from _expiry(store, scale.of(100_000, 5_000), scale.of(60, 6), scale.of(10, 4))


def _expiry(store: Store, count: int, seconds: float, after: float) -> Iterator[Figure]:
    """``seconds``: from the start until they end; ``after``: until they must be gone."""
    with RunningPbx(store, settings={"SIP_KEEPALIVE_INTERVAL": str(20 if seconds > 20 else 5)}) as pbx:
        pbx.create_extensions({LIKE: PASSWORD, HONEST: PASSWORD})
        with Phone(pbx.server, LIKE, PASSWORD, pbx.domain) as like:
            like.register()
        (row,) = pbx.bindings(LIKE)
        pbx.terminate()
        with Pinged(row["remote_port"]) as pinged:
            end = time.time() + seconds + WRITING
            store_bindings(store, like=LIKE, count=count, expires=end - time.time())
            if isinstance(store, PostgresStore):
                store.cluster.execute("ANALYZE", store.database)  # as autovacuum does for a table that grew by itself
            pbx.start()
            wait_until(lambda: time.time() >= end - BEFORE, "the time before the end", seconds + 30)
            before = len(pbx.registered_numbers())
            with HonestPhone(pbx, HONEST, PASSWORD) as honest:
                wait_until(lambda: time.time() >= end + after, "the time after the end", 60)
            left = len(pbx.registered_numbers() - {LIKE, HONEST})
            heard = pinged.pings
            wait_until(lambda: time.time() >= end + after + 1.5, "some time without pings", 60)
            more = pinged.pings - heard
        broken = pbx.log_lines("failed|could not be")
        alive = pbx.program.running
    where = store.name
    yield Figure(
        f"{where}: taken up before", f"{before} in the database, {len(pinged.phones)} pinged",
        f"{count} in the database", before >= count and len(pinged.phones) > 0,
    )
    yield Figure(
        f"{where}: an honest phone, from {BEFORE:.0f} s before to {after:.0f} s after",
        f"{honest}, {len(honest.faults)} failed", "p99 at most 100 ms",
        honest.share(99) <= 0.1 and not honest.faults, timed=True,
    )
    yield Figure(
        f"{where}: {count} end in one second",
        f"{left} left after {after:.0f} s; the last ping {pinged.last - end:+.1f} s from the end",
        "all gone within 10 s", left == 0 and more == 0 and pinged.last - end <= after,
    )
    yield Figure(
        f"{where}: the process", "runs" if alive and not broken else f"{broken[:1]}", "runs, no error in its log",
        alive and not broken,
    )


