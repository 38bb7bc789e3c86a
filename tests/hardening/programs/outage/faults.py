"""What befalls a database. Each is a context manager: the fault is there within, and over behind it."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.hardening.programs.outage.small_disk import SmallDisk
from tests.support.pbx import PostgresStore, SqliteStore
from tests.support.processes import wait_until

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""
KILL_PAUSE = 0.05
OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"


@contextlib.contextmanager
def locked_file(store: SqliteStore) -> Iterator[None]:
    """Another process has the file for itself."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin and holder.stdout
    try:
        assert holder.stdout.readline() == b"held\n"
        yield
    finally:
        holder.stdin.close()
        holder.wait(20)
        holder.stdout.close()


@contextlib.contextmanager
def locked_table(store: PostgresStore) -> Iterator[None]:
    """Somebody works on the table of registrations and does not finish."""
    with connected(store) as connection:
        connection.execute("BEGIN")
        connection.execute("LOCK TABLE extensions_binding IN ACCESS EXCLUSIVE MODE")
        yield
        connection.execute("ROLLBACK")


@contextlib.contextmanager
def locked_rows(store: PostgresStore, numbers: list[str]) -> Iterator[None]:
    """An administrator's transaction has the rows of these extensions, and does nothing more."""
    with connected(store) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM extensions_extension WHERE number = ANY(%s) FOR UPDATE", (numbers,))
        yield
        connection.execute("ROLLBACK")


@contextlib.contextmanager
def stopped(store: PostgresStore) -> Iterator[None]:
    """All its processes stand still (SIGSTOP): connections stay, and nobody answers on them."""
    # The main process first, so that it begets no more.
    os.kill(store.cluster.pid, signal.SIGSTOP)
    family = [store.cluster.pid, *_children(store.cluster.pid)]
    for pid in family[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def shut_down(store: PostgresStore) -> Iterator[None]:
    """Immediate shutdown, which is a crash; then it starts again and recovers."""
    store.cluster.halt("immediate")
    yield
    store.cluster.start()


@contextlib.contextmanager
def killed_connections(store: PostgresStore) -> Iterator[None]:
    """Every connection to the database is ended as soon as it is seen."""
    over = threading.Event()
    with connected(store, "postgres") as connection:

        def kill() -> None:
            while not over.wait(KILL_PAUSE):
                connection.execute(OTHERS, (store.database,))

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        try:
            yield
        finally:
            over.set()
            killer.join(10)


@contextlib.contextmanager
def no_connection_left(store: PostgresStore) -> Iterator[None]:
    """Others have taken all connections, and the PBX has lost its own."""
    import psycopg

    with contextlib.ExitStack() as held:
        first = held.enter_context(connected(store, "postgres"))
        for _ in range(3):  # what the PBX gives back in between is taken too
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    held.enter_context(connected(store, "postgres"))
            first.execute(OTHERS, (store.database,))
        with contextlib.suppress(psycopg.OperationalError):
            while True:
                held.enter_context(connected(store, "postgres"))
        yield


@contextlib.contextmanager
def connected(store: PostgresStore, database: str = "") -> Iterator[psycopg.Connection]:  # type: ignore[name-defined]  # noqa: F821
    import psycopg

    url = store.cluster.url_of(database) if database else store.url
    with contextlib.closing(psycopg.connect(url, autocommit=True, connect_timeout=5)) as connection:
        yield connection


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_whole(store: SqliteStore) -> bool:
    with contextlib.closing(sqlite3.connect(store.path, timeout=20)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@contextlib.contextmanager
def full_disk(store: PostgresStore, disk: SmallDisk) -> Iterator[None]:
    """Something else uses up what the journal had in reserve. The database may end itself then; with room again it is
    started again, as systemd does."""
    import psycopg

    # Connected before, because on a full disk nobody comes in any more.
    with contextlib.suppress(psycopg.Error), connected(store) as connection, disk.filled():
        with contextlib.suppress(psycopg.Error):
            for _ in range(500):
                connection.execute("SELECT pg_logical_emit_message(false, 'filling', repeat('x', 500000))")
        yield
    restarted(store)


def restarted(store: PostgresStore) -> None:
    """One that went down because its disk was full is started again, as systemd does."""
    import psycopg

    def answers() -> bool:
        if not store.cluster.running:
            store.cluster.start()
        with contextlib.suppress(psycopg.Error):
            return bool(store.rows("SELECT 1 AS one"))
        return False

    wait_until(answers, "PostgreSQL answers again")
