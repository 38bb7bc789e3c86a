"""A PostgreSQL server of the tests' own: made with initdb in a temporary directory, durable (fsync on), gone
at the end.

    cluster = PostgresCluster()        # SkipTest naming the Debian package where PostgreSQL is not installed
    cluster.url                        # postgres://... for DATABASE_URL
    cluster.restart("immediate")       # the address stays the same
    cluster.stop()
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import threading
from pathlib import Path
from urllib.parse import quote

from tests.support.leaving import Finalize, when_leaving
from tests.support.processes import (
    PATIENCE,
    DeadlinePassed,
    Program,
    cpu_seconds,
    free_port,
    run_program,
    scratch_directory,
    wait_until,
)
from tests.support.programs import find_program, require_program

PACKAGE = "postgresql"
OWNER = "pbx"
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class PostgresCluster:
    """One temporary PostgreSQL server on a Unix socket and a free port of 127.0.0.1.

    Raises ``unittest.SkipTest`` (``ProgramMissing`` in CI) where PostgreSQL is not installed."""

    def __init__(self, *, keep_durable: bool = True, place: Path | None = None) -> None:
        """``keep_durable=False`` turns fsync off: for suites that only want the SQL dialect and no proof of
        durability. ``place``: an empty directory for its files, a small disk for example."""
        self._postgres = require_program("postgres", PACKAGE)
        initdb = require_program("initdb", PACKAGE)
        # PostgreSQL refuses to run as root.
        self._run_as = "postgres" if os.geteuid() == 0 else None
        self.directory = place or scratch_directory("postgres")
        self._data = self.directory / "data"
        self.port = free_port()
        self.password = secrets.token_hex(8)
        password_file = self.directory / "password"
        password_file.write_text(self.password)
        self.directory.chmod(0o700)
        if self._run_as:
            for path in (self.directory, password_file):
                shutil.chown(path, self._run_as, self._run_as)
        prefix = []
        if self._run_as:
            setpriv = require_program("setpriv", "util-linux")
            prefix = [setpriv, "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
        made = run_program(
            [
                *prefix, initdb, "-D", str(self._data), "-U", OWNER, "-A", "scram-sha-256", "--pwfile",
                str(password_file), "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions",
                *(["--wal-segsize=1"] if place else []),
            ],
            seconds=120, cwd="/",
        )
        if made.returncode:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise AssertionError(f"initdb failed: {made.stdout}{made.stderr}")
        durable = "on" if keep_durable else "off"
        self._options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "fsync": durable,
            "synchronous_commit": durable,
            "full_page_writes": durable,
            "max_connections": "60",
            "shared_buffers": "64MB",
            "log_min_messages": "warning",
        }
        if place:
            # Nothing of the journal is used again before the disk is full.
            self._options |= {"min_wal_size": "2MB", "max_wal_size": "1GB", "shared_buffers": "8MB"}
        self._program: Program | None = None
        self._at_the_end: Finalize | None = None
        self.start()
        self.create_database(OWNER)

    # --- running -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it and wait until it takes connections. Safe to call on a running one."""
        if self._program and self._program.running:
            return
        arguments = [self._postgres, "-D", str(self._data)]
        for name, value in self._options.items():
            arguments += ["-c", f"{name}={value}"]

        # After a kill the old backends need a moment to notice; until then the new one refuses the data directory.
        def up() -> bool:
            if self._program is None or not self._program.running:
                self._program = Program(
                    arguments, log_path=self.directory / "log", cwd="/", death_signal="INT",
                    run_as=self._run_as, name="postgres",
                )
                # Last registered is first run: an orderly end before the process's own SIGKILL.
                self._leave()
                self._at_the_end = when_leaving(self.stop)
            return self._takes_connections()

        try:
            wait_until(up, "PostgreSQL takes connections", PATIENCE * 2, pause=0.1)
        except DeadlinePassed as late:
            raise DeadlinePassed(f"{late}\n{self.log[-3000:]}") from None

    def _leave(self) -> None:
        if self._at_the_end is not None:
            self._at_the_end.cancel()
            self._at_the_end = None

    def _takes_connections(self) -> bool:
        import psycopg

        try:
            with psycopg.connect(self._conninfo("postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def halt(self, mode: str = "fast") -> None:
        """Stop the server and keep its data. ``mode`` as in pg_ctl: smart, fast or immediate."""
        if self._program:
            self._program.signal(STOP_SIGNALS[mode])
            self._program.wait(PATIENCE * 2)
            self._program.stop()

    def restart(self, mode: str = "fast") -> None:
        self.halt(mode)
        self.start()

    def kill(self) -> None:
        """SIGKILL to the server's main process, as the out-of-memory killer does. ``start()`` brings it back."""
        if self._program:
            self._program.kill()
            self._program.stop()

    def stop(self) -> None:
        """End it for good and remove its files. Safe to call twice."""
        self._leave()
        try:
            self.halt("immediate")
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def log(self) -> str:
        with contextlib.suppress(OSError):
            return (self.directory / "log").read_text(errors="replace")
        return ""

    @property
    def pid(self) -> int:
        """Of the main process."""
        assert self._program is not None, "it was not started"
        return self._program.pid

    @property
    def running(self) -> bool:
        return self._program is not None and self._program.running

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all its processes so far, ended ones too."""
        return cpu_seconds(self._program.pid, with_children=True) if self._program else 0.0

    # --- databases ---------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """For DATABASE_URL: the database ``pbx``, over TCP."""
        return self.url_of(OWNER)

    def url_of(self, database: str) -> str:
        return f"postgres://{OWNER}:{self.password}@127.0.0.1:{self.port}/{quote(database)}"

    @property
    def socket_directory(self) -> Path:
        return self.directory

    def _conninfo(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user={OWNER} password={self.password} dbname={database}"

    def create_database(self, name: str, template: str = "template0") -> str:
        """Make a database (a copy of ``template``, which nobody may be using) and return its URL."""
        self.execute(f"CREATE DATABASE {_quoted(name)} TEMPLATE {_quoted(template)}")
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    def has_database(self, name: str) -> bool:
        import psycopg

        with psycopg.connect(self._conninfo("postgres")) as connection:
            return bool(connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone())

    def execute(self, statement: str, database: str = "postgres") -> None:
        import psycopg

        with psycopg.connect(self._conninfo(database), autocommit=True) as connection:
            connection.execute(statement)


def _quoted(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise ValueError(f"not a plain database name: {name!r}")
    return f'"{name}"'


_shared: PostgresCluster | None = None
_shared_lock = threading.Lock()


def shared_cluster() -> PostgresCluster:
    """One cluster for the whole test run: starting one takes seconds, a database in it a tenth of one. A test that
    stops or kills its server makes a ``PostgresCluster`` of its own."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = PostgresCluster()
        return _shared


def have_postgres() -> bool:
    return find_program("postgres") is not None and find_program("initdb") is not None
