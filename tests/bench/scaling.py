"""What a second worker brings where it has a core of its own.

On a machine of two cores one worker, PostgreSQL and the phones already use more than one, so that a second worker soon
finds none left: that is told by the plain rates. Here each worker gets a third of a core (a cgroup), and all else has
what it needs: what workers wait for of each other, in the database and between themselves, would show.

    python -m tests.bench --only scaling"""

from __future__ import annotations

import contextlib
import os
import unittest
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.bench.phones import Phones
from tests.bench.processor import cpu_seconds
from tests.bench.rows import Found, Goal, Row, Rows, Scale, ratio
from tests.support.pbx import CROWD, CROWD_PASSWORD, PostgresStore, RunningPbx
from tests.support.postgres import PostgresCluster
from tests.support.processes import wait_until

SHARE = 1 / 3
PERIOD = 10_000
"""Microseconds in which each worker has its share."""

WORKERS, WARM = 2, 300
WINDOW = 100
"""Registrations under way at once for each worker: with half as many, two would have batches of half the size."""

ROOTS = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))
"""Of the first and the second version of control groups."""


def measure(scale: Scale, cluster: PostgresCluster | None) -> Rows:
    if cluster is None:
        raise unittest.SkipTest("PostgreSQL is not installed (apt-get install --no-install-recommends postgresql)")
    for workers in (1, WORKERS):
        store = PostgresStore(cluster)
        settings = {"SIP_WORKERS": str(workers)}
        with RunningPbx(store, crowd=True, settings=settings) as pbx, contextlib.ExitStack() as at_end:
            rows = wait_until(partial(_heartbeats, store, workers), "all workers live")
            for row in rows:
                at_end.enter_context(bounded(row["pid"], f"pbx-bench-{os.getpid()}-{row['worker']}"))
            with _phones(pbx, CROWD.stop - WARM, WARM, workers) as warm:
                warm.run("register")
            with _phones(pbx, CROWD.start, 1000 if scale.quick else 3000, workers) as load:
                for phase in ("register", "refresh"):
                    before = cpu_seconds(pbx.program.pid), cpu_seconds(cluster.pid)
                    report = load.run(phase)
                    each = 1e6 / max(1, len(report.confirmed))
                    yield Row(
                        _subject(workers), phase, report.rate, (cpu_seconds(pbx.program.pid) - before[0]) * each,
                        (cpu_seconds(cluster.pid) - before[1]) * each, report.percentile(50) * 1000,
                        report.percentile(99) * 1000, report.own_load, failed=sum(report.failures.values()),
                    )


def goals(found: Found) -> Iterator[Goal]:
    for phase in ("register", "refresh"):
        value = ratio(found, (_subject(WORKERS), phase), (_subject(1), phase), "rate")
        yield Goal(f"{phase}: {WORKERS} workers to 1, each with a third of a core", value, 1.6, True)


def _subject(workers: int) -> str:
    return f"runsip, {workers} x a third of a core"


def _heartbeats(store: PostgresStore, workers: int) -> list[dict[str, int]]:
    rows = store.rows("SELECT worker, pid FROM system_sipprocess")
    return rows if len(rows) == workers else []


def _phones(pbx: RunningPbx, first: int, count: int, workers: int) -> Phones:
    return Phones(
        server=pbx.server, domain=pbx.domain, first=first, count=count, password=CROWD_PASSWORD,
        window=WINDOW * workers,
    )


@contextlib.contextmanager
def bounded(pid: int, name: str) -> Iterator[None]:
    """This process has no more than its share. Raises ``unittest.SkipTest`` where we may not say so."""
    root = next((root for root in ROOTS if root.is_dir()), ROOTS[-1])
    group, before = root / name, root / "cgroup.procs"
    try:
        group.mkdir()
        if (group / "cpu.cfs_quota_us").exists():
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(round(PERIOD * SHARE)))
        else:
            (group / "cpu.max").write_text(f"{round(PERIOD * SHARE)} {PERIOD}")
        (group / "cgroup.procs").write_text(str(pid))
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        raise unittest.SkipTest("it needs root and control groups (cgroup) for processor time") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            before.write_text(str(pid))
            group.rmdir()
