"""The registrars that the benchmark measures, ours and others, each started with the accounts of the crowd."""

from __future__ import annotations

import shutil
import sys
import unittest
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pbx.compiled import INTERPRETED, is_made
from tests.bench.asterisk_peer import AsteriskPeer
from tests.bench.compiled import compiled
from tests.bench.kamailio_peer import KamailioPeer
from tests.bench.phones import HOW
from tests.bench.processor import cpu_seconds, main_thread_seconds
from tests.bench.sippy_peer import SippyPeer
from tests.support.pbx import CROWD, CROWD_PASSWORD, ROOT, PostgresStore, RunningPbx, SqliteStore, clean_environment
from tests.support.postgres import PostgresCluster
from tests.support.processes import Program, free_port, run_program, scratch_directory

ECHO = Path(__file__).with_name("echo.c")


@dataclass(frozen=True)
class Running:
    """A registrar that takes requests. The functions give processor seconds so far."""

    server: tuple[str, int]
    domain: str
    cpu: Callable[[], float]
    database_cpu: Callable[[], float] = lambda: 0.0
    main_thread_cpu: Callable[[], float] | None = None
    store: SqliteStore | PostgresStore | None = None


@dataclass(frozen=True)
class Registrar:
    name: str
    """For ``--only``."""
    title: str
    start: Callable[[], AbstractContextManager[Running]]
    floor: bool = False
    """It is what the loop or the kernel costs without any work, and shows the load generator's own ceiling."""
    echoes: bool = False
    """It only sends back what it gets."""
    quick: bool = True
    """Measured with ``--quick`` too."""
    workers: int = 1
    """Each is to have as much under way as one that is alone."""


def registrars(cluster: PostgresCluster | None) -> list[Registrar]:
    """All of them; those on PostgreSQL raise ``unittest.SkipTest`` without a cluster, the others where their program is
    not installed."""
    return [
        Registrar("echo", "UDP echo, Python (floor)", python_echo, floor=True, echoes=True),
        Registrar("floor", "fixed 401/200, C (floor)", c_floor, floor=True),
        Registrar("sqlite", "runsip, SQLite", lambda: runsip(SqliteStore())),
        Registrar("postgres", "runsip, PostgreSQL", lambda: runsip(PostgresStore(_needed(cluster)))),
        Registrar("interpreted", "runsip not compiled, PostgreSQL", lambda: interpreted(cluster), quick=False),
        Registrar(
            "workers", "runsip --workers 2, PostgreSQL", lambda: runsip(PostgresStore(_needed(cluster)), 2), workers=2,
        ),
        Registrar("kamailio-4", "Kamailio write-through, 4 children", partial(kamailio, cluster, 4)),
        Registrar("kamailio-16", "Kamailio write-through, 16 children", partial(kamailio, cluster, 16), quick=False),
        Registrar("kamailio-memory", "Kamailio in memory, 4 children", partial(kamailio, None, 4, memory=True)),
        Registrar("asterisk", "Asterisk, chan_pjsip", lambda: peer(AsteriskPeer), quick=False),
        Registrar("sippy", "sippy (Python), in memory", lambda: peer(SippyPeer), quick=False),
    ]


def _needed(cluster: PostgresCluster | None) -> PostgresCluster:
    if cluster is None:
        raise unittest.SkipTest("PostgreSQL is not installed (apt-get install --no-install-recommends postgresql)")
    return cluster


def interpreted(cluster: PostgresCluster | None) -> AbstractContextManager[Running]:
    if not is_made():
        raise unittest.SkipTest("all of ours run so, because nothing is compiled (python3 manage.py compile)")
    return runsip(PostgresStore(_needed(cluster)), settings={INTERPRETED: "1"})


@contextmanager
def runsip(
    store: SqliteStore | PostgresStore, workers: int = 0, settings: Mapping[str, str] | None = None
) -> Iterator[Running]:
    if workers and "--workers" not in _runsip_help():
        raise unittest.SkipTest("this runsip has no --workers")
    more = ["--workers", str(workers)] if workers else []
    with RunningPbx(store, crowd=True, arguments=more, settings=settings) as pbx:
        pid = pbx.program.pid
        yield Running(
            pbx.server, pbx.domain, partial(cpu_seconds, pid),
            lambda: cpu_seconds(store.cluster.pid) if isinstance(store, PostgresStore) else 0.0,
            None if workers else partial(main_thread_seconds, pid), store,
        )


def _runsip_help() -> str:
    return run_program([sys.executable, "manage.py", "runsip", "--help"], env=clean_environment(), cwd=ROOT).stdout


@contextmanager
def kamailio(cluster: PostgresCluster | None, children: int, *, memory: bool = False) -> Iterator[Running]:
    one = KamailioPeer(None if memory else _needed(cluster), children=children)
    try:
        one.add_accounts((str(number), CROWD_PASSWORD.format(number=number)) for number in CROWD)
        yield Running(
            ("127.0.0.1", one.port), one.realm, partial(cpu_seconds, one.pid),
            (lambda: cpu_seconds(cluster.pid)) if cluster is not None else (lambda: 0.0),
        )
    finally:
        one.stop()


@contextmanager
def peer(kind: type[AsteriskPeer | SippyPeer]) -> Iterator[Running]:
    one = kind((str(number), CROWD_PASSWORD.format(number=number)) for number in CROWD)
    try:
        yield Running(("127.0.0.1", one.port), one.realm, partial(cpu_seconds, one.pid))
    finally:
        one.stop()


@contextmanager
def c_floor() -> Iterator[Running]:
    program = compiled(ECHO)
    if program is None:
        raise unittest.SkipTest(HOW)
    with listening([str(program)]) as running:
        yield running


@contextmanager
def python_echo() -> Iterator[Running]:
    with listening([sys.executable, "-m", "tests.bench.echo_server"]) as running:
        yield running


@contextmanager
def listening(command: list[str]) -> Iterator[Running]:
    """A program that is told a port, says "listening", and goes on until SIGTERM."""
    port, directory = free_port(), scratch_directory("floor")
    program = Program([*command, str(port)], cwd=ROOT, log_path=directory / "log", name="floor")
    try:
        program.wait_for("listening")
        yield Running(("127.0.0.1", port), "floor.test", partial(cpu_seconds, program.pid))
    finally:
        program.stop()
        shutil.rmtree(directory, ignore_errors=True)
