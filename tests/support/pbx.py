"""A real ``manage.py runsip`` on a database of its own, and what an administrator does beside it.

    with RunningPbx(SqliteStore()) as pbx:
        pbx.create_extension("1001", "secret")
        ...
        pbx.bindings("1001")

The database is read directly, not through Django: what is asserted is what is on the disk."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import itertools
import os
import re
import shutil
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pbx.compiled import INTERPRETED
from tests.support.postgres import PostgresCluster, shared_cluster
from tests.support.processes import (
    PATIENCE,
    Program,
    cpu_seconds,
    free_port,
    run_program,
    scratch_directory,
    wait_until,
)

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = "pbx.test"
LISTENING = r"(?i)\blistening\b"
CROWD = range(20000, 30000)
CROWD_PASSWORD = "load-{number}"  # as loadgen's phones expect it
TIMES = {"registered_at", "refreshed_at", "expires_at", "unreachable_since", "changed_at", "created_at"}

_counter = itertools.count(1)
_templates_lock = threading.Lock()


class SqliteStore:
    """A SQLite file copied from a migrated template that is made once a test run."""

    name = "SQLite"
    _templates: dict[bool, Path] = {}

    def __init__(self) -> None:
        self.directory = scratch_directory("sqlite")
        self.path = self.directory / "pbx.sqlite3"
        self.url = f"sqlite:///{self.path}"

    def fill(self, crowd: bool = False) -> None:
        with _templates_lock:
            for wanted in (False, True):
                if wanted > crowd or wanted in self._templates:
                    continue
                directory = scratch_directory("template")
                template = directory / "pbx.sqlite3"
                if wanted:
                    shutil.copy(self._templates[False], template)
                prepare_database(f"sqlite:///{template}", directory, crowd=wanted)
                with contextlib.closing(sqlite3.connect(template)) as connection:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._templates[wanted] = template
        shutil.copy(self._templates[crowd], self.path)

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=20)) as connection:
            cursor = connection.execute(query.replace("%s", "?"), values)
            names = [column[0] for column in cursor.description]
            return [{name: _as_time(name, value) for name, value in zip(names, row, strict=True)} for row in cursor]

    @property
    def cpu_seconds(self) -> float:
        return 0.0  # it works inside runsip

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


class PostgresStore:
    """A database copied from a migrated template, in the cluster of the test run or in one given."""

    name = "PostgreSQL"

    def __init__(self, cluster: PostgresCluster | None = None) -> None:
        self.cluster = cluster or shared_cluster()
        self.database = f"pbx_{os.getpid()}_{next(_counter)}"
        self.url = self.cluster.url_of(self.database)

    def fill(self, crowd: bool = False) -> None:
        with _templates_lock:
            for wanted, name, source in ((False, "pbx_empty", "template0"), (True, "pbx_crowd", "pbx_empty")):
                if wanted > crowd or self.cluster.has_database(name):
                    continue
                url = self.cluster.create_database(name, source)
                directory = scratch_directory("template")
                prepare_database(url, directory, crowd=wanted)
                shutil.rmtree(directory, ignore_errors=True)
                self.cluster.execute("ANALYZE", name)
        self.cluster.create_database(self.database, "pbx_crowd" if crowd else "pbx_empty")

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        import psycopg
        from psycopg.rows import dict_row

        with psycopg.connect(self.url, row_factory=dict_row, connect_timeout=5) as connection:
            return connection.execute(query, values).fetchall()

    @property
    def cpu_seconds(self) -> float:
        return self.cluster.cpu_seconds

    def remove(self) -> None:
        self.cluster.drop_database(self.database)


Store = SqliteStore | PostgresStore


def _as_time(name: str, value: object) -> object:
    if name in TIMES and isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    return value


def clean_environment(**more: str) -> dict[str, str]:
    """The environment of a fresh account: nothing of the developer's shell or of a ``.env`` decides a test."""
    names = ("PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", INTERPRETED)
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {
        **kept, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PBX_NO_VENV": "1", "TIME_ZONE": "UTC",
        "LANGUAGE_CODE": "en", "DEBUG": "no", "SIP_DOMAIN": DOMAIN, "SIP_ALIASES": "", "SIP_REALM": "",
        "SIP_DIGEST_ALGORITHMS": "MD5", "EXTERNAL_IP": "", "LOCAL_NETS": "", "SIP_TRUSTED_PROXIES": "",
        "SIP_NODE": "test", "LOG_FORMAT": "text", "WEB_HOST": "127.0.0.1", "SECRET_KEY": "only-for-tests-" * 4, **more,
    }


def manage(*arguments: str, env: Mapping[str, str], text_in: str | None = None, seconds: float = 120.0) -> str:
    """Run ``manage.py`` to its end and return its output. Raises ``AssertionError`` with the output on failure."""
    done = run_program(
        [sys.executable, "manage.py", *arguments], env=env, cwd=ROOT, text_in=text_in, seconds=seconds
    )
    if done.returncode:
        said = done.stdout + done.stderr
        raise AssertionError(f"manage.py {' '.join(arguments)} ended with {done.returncode}:\n{said}")
    return done.stdout


def prepare_database(url: str, directory: Path, crowd: bool) -> None:
    """Migrate; with ``crowd`` import the extensions of ``CROWD`` as well."""
    env = clean_environment(DATABASE_URL=url, VAR_DIR=str(directory / "var"))
    manage("migrate", "--verbosity", "0", env=env)
    if crowd:
        import_extensions(
            ((str(number), CROWD_PASSWORD.format(number=number)) for number in CROWD), directory, env
        )


def import_extensions(accounts: Iterable[tuple[str, str]], directory: Path, env: Mapping[str, str]) -> None:
    """By ``manage.py importextensions`` with their HA1 (no password is hashed, which would take 3 ms each)."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["number", "name", "ha1"])
    for number, password in accounts:
        ha1 = hashlib.md5(f"{number}:{DOMAIN}:{password}".encode()).hexdigest()
        writer.writerow([number, f"Phone {number}", ha1])
    path = directory / "extensions.csv"
    path.write_text(text.getvalue(), encoding="utf-8")
    manage("importextensions", str(path), env=env, seconds=300)


class RunningPbx:
    """``manage.py runsip`` on 127.0.0.1 and a free port. ``settings`` are environment variables on top."""

    def __init__(
        self, store: Store, *, crowd: bool = False, settings: Mapping[str, str] | None = None, start: bool = True,
        host: str = "127.0.0.1", namespace: str | None = None, port: int | None = None, arguments: Iterable[str] = (),
    ) -> None:
        """``namespace``: the network namespace it runs in, ``host`` then one of the addresses there. ``arguments``:
        of ``runsip``, beside those that it always gets."""
        self.arguments = list(arguments)
        self.namespace = namespace
        self.store = store
        self.domain = DOMAIN
        self.host = host
        self.directory = scratch_directory("pbx")
        self.settings = dict(settings or {})
        self._program: Program | None = None
        try:
            store.fill(crowd)
            self.port = port or free_port()
            if start:
                self.start()
        except BaseException:
            self.stop()
            raise

    @property
    def env(self) -> dict[str, str]:
        return clean_environment(
            DATABASE_URL=self.store.url, VAR_DIR=str(self.directory / "var"), SIP_PORT=str(self.port), **self.settings
        )

    def __enter__(self) -> RunningPbx:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- the process -------------------------------------------------------------------------------------

    @property
    def program(self) -> Program:
        assert self._program is not None, "runsip was not started"
        return self._program

    @property
    def server(self) -> tuple[str, int]:
        return (self.host, self.port)

    def command(self, *more: str) -> list[str]:
        prefix = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        return [
            *prefix, sys.executable, "manage.py", "runsip", "--host", self.host, "--port", str(self.port),
            "--domain", self.domain, *self.arguments, *more,
        ]

    def start(self, *, wait: bool = True) -> None:
        self._program = Program(
            self.command(), log_path=self.directory / "runsip.log", env=self.env, cwd=ROOT, name="runsip"
        )
        if wait:
            self._program.wait_for(LISTENING, PATIENCE)

    def restart(self, **settings: str) -> None:
        """SIGTERM, then start anew on the same port, with other settings where given."""
        self.program.terminate()
        self.settings.update(settings)
        self.start()

    def kill9(self) -> None:
        self.program.kill()

    def terminate(self, seconds: float = PATIENCE) -> int:
        return self.program.terminate(seconds)

    @property
    def log(self) -> str:
        """What the process of now has logged."""
        return self.program.log

    @property
    def cpu_seconds(self) -> float:
        return cpu_seconds(self.program.pid, with_children=True)

    def stop(self) -> None:
        """End the process and remove its database and files. The log is kept with ``PBX_KEEP_LOGS=1``."""
        if self._program is not None:
            self._program.stop()
        self.store.remove()
        if not os.environ.get("PBX_KEEP_LOGS"):
            shutil.rmtree(self.directory, ignore_errors=True)

    # --- what an administrator does ----------------------------------------------------------------------

    def manage(self, *arguments: str, text_in: str | None = None) -> str:
        return manage(*arguments, env=self.env, text_in=text_in)

    def create_extension(self, number: str, password: str) -> None:
        self.manage("setpassword", number, "--create", "--stdin", text_in=f"{password}\n")

    def create_extensions(self, accounts: Mapping[str, str]) -> None:
        import_extensions(accounts.items(), self.directory, self.env)

    def set_password(self, number: str, password: str) -> None:
        self.manage("setpassword", number, "--stdin", text_in=f"{password}\n")

    # --- what is on the disk -----------------------------------------------------------------------------

    def bindings(self, number: str) -> list[dict[str, Any]]:
        """The registrations of now, oldest first."""
        return [row for row in self.all_bindings(number) if row["expires_at"] > datetime.now(UTC)]

    def all_bindings(self, number: str) -> list[dict[str, Any]]:
        """The ended ones too."""
        return self.store.rows(
            "SELECT b.* FROM extensions_binding b JOIN extensions_extension e ON e.id = b.extension_id "
            "WHERE e.number = %s ORDER BY b.id", number,
        )

    def registered_numbers(self) -> set[str]:
        rows = self.store.rows(
            "SELECT e.number, b.expires_at FROM extensions_binding b "
            "JOIN extensions_extension e ON e.id = b.extension_id"
        )
        now = datetime.now(UTC)
        return {row["number"] for row in rows if row["expires_at"] > now}

    def wait_for_bindings(self, number: str, count: int, seconds: float = PATIENCE) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.bindings(number)) == count, f"{number} with {count} registrations", seconds)
        return self.bindings(number)

    def log_lines(self, pattern: str) -> list[str]:
        return [line for line in self.log.splitlines() if re.search(pattern, line)]

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.program.signal(number)
