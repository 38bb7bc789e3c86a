"""The database is locked, stopped, killed, or its disk is full, while phones register and a call goes on."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest import SkipTest

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.honest import broken_lines, some
from tests.hardening.programs.outage import faults
from tests.hardening.programs.outage.conversation import Conversation
from tests.hardening.programs.outage.phones import Phones
from tests.hardening.programs.outage.small_disk import SmallDisk
from tests.support.caller import Fault
from tests.support.pbx import PostgresStore, RunningPbx, SqliteStore
from tests.support.postgres import PostgresCluster, have_postgres

PASSWORD = "s3cret-pass"
TALKING = ("1001", "1002", "1003")
BACK = 1.0  # seconds
LINES = 4
"""Of the log, at warning or above, for one fault: it goes and it comes back, and each may be told in two."""

PROBLEM = re.compile(r" (?:WARNING|ERROR) ")

Break = Callable[[], AbstractContextManager[None]]


@dataclass
class Trial:
    """Of one database: what its faults have shown together."""

    name: str
    said: int = 0
    faults: list[str] = field(default_factory=list)
    new_calls: Counter[int] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    confirmed: int = 0
    lines: dict[str, int] = field(default_factory=dict)
    waits: list[int] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class PbxOnDisk(RunningPbx):
    """Its own files are on a disk of the test's choice, too."""

    def __init__(self, store: SqliteStore, disk: Path, **more: Mapping[str, str]) -> None:
        self.var = disk / "var"
        super().__init__(store, **more)  # type: ignore[arg-type]

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "VAR_DIR": str(self.var)}


def measure(scale: Scale) -> Iterator[Figure]:
    yield from _on_sqlite(scale)
    if not have_postgres():
        raise SkipTest("PostgreSQL is not installed: apt-get install postgresql")
    yield from _on_postgres(scale)


def _settings(scale: Scale) -> dict[str, str]:
    # In small the store is waited for less long, so that a fault of three seconds shows the 503 too.
    return {"SIP_STORE_WAIT": "1"} if scale.quick else {}


def _seconds(scale: Scale) -> float:
    return 2.0 if scale.quick else 10.0


def _on_sqlite(scale: Scale) -> Iterator[Figure]:
    with SmallDisk(12) as disk:
        store = disk.sqlite()
        with PbxOnDisk(store, disk.path, settings=_settings(scale)) as pbx:
            trial = Trial("SQLite")
            breaks: dict[str, Break] = {
                "locked by another process": partial(faults.locked_file, store), "disk full": disk.filled,
            }  # fmt: skip
            yield from _try(scale, pbx, trial, breaks)
            whole = faults.is_whole(store)
            yield Figure("SQLite, the file afterwards", "whole" if whole else "damaged", "whole", whole)


def _on_postgres(scale: Scale) -> Iterator[Figure]:
    with contextlib.ExitStack() as stack:
        disk = SmallDisk(160)
        stack.callback(disk.remove)
        place = disk.path / "cluster"
        place.mkdir()
        os.chmod(disk.path, 0o755)
        cluster = PostgresCluster(place=place)
        stack.callback(cluster.stop)
        store = PostgresStore(cluster)
        pbx = stack.enter_context(RunningPbx(store, settings=_settings(scale)))
        breaks: dict[str, Break] = {"immediate shutdown and start": partial(faults.shut_down, store)}
        if not scale.quick:
            breaks |= {
                "table locked": partial(faults.locked_table, store),
                "rows of two extensions locked": partial(faults.locked_rows, store, ["2000", "2001"]),
                "stopped (SIGSTOP)": partial(faults.stopped, store),
                "every connection killed at once": partial(faults.killed_connections, store),
                "no connection left": partial(faults.no_connection_left, store),
                "disk full": partial(faults.full_disk, store, disk),
            }
        yield from _try(scale, pbx, Trial("PostgreSQL"), breaks)


def _try(scale: Scale, pbx: RunningPbx, trial: Trial, breaks: Mapping[str, Break]) -> Iterator[Figure]:
    numbers = [str(2000 + place) for place in range(scale.of(12, 6))]
    pbx.create_extensions(dict.fromkeys((*TALKING, *numbers), PASSWORD))
    for what, fault in breaks.items():
        yield from _one(scale, pbx, trial, numbers, what, fault)
    yield Figure(
        f"{trial.name}, confirmed registrations that are not stored", f"{some(trial.lost)} of {trial.confirmed}",
        "none", not trial.lost,
    )
    new = ", ".join(f"{count} x {status}" for status, count in sorted(trial.new_calls.items()))
    yield Figure(
        f"{trial.name}, the call in progress",
        f"{trial.said} exchanges in it, new calls to nobody: {new}; faults: {some(trial.faults)}",
        "goes on; new ones 404, or 503 with Retry-After", not trial.faults and trial.said > 0,
    )
    spread = len(set(trial.waits))
    if trial.waits:
        yield Figure(
            f"{trial.name}, Retry-After of {len(trial.waits)} answers 503",
            f"{min(trial.waits)} to {max(trial.waits)} s, {spread} different", "spread", spread > 1,
        )
    most = max(trial.lines, key=lambda what: trial.lines[what])
    yield Figure(
        f"{trial.name}, warnings in the log for one fault", f"at most {trial.lines[most]} ({most})",
        f"{LINES} at most", trial.lines[most] <= LINES,
    )
    yield Figure(f"{trial.name}, exceptions in the log", some(trial.broken), "none", not trial.broken)


def _one(
    scale: Scale, pbx: RunningPbx, trial: Trial, numbers: list[str], what: str, fault: Break
) -> Iterator[Figure]:  # fmt: skip
    mark = pbx.program.mark()
    try:
        talk = Conversation(pbx, TALKING, PASSWORD)
    except Fault as error:
        yield Figure(f"{trial.name} {what}", f"not tried, no call before it: {error}", "a call", False)
        return
    with Phones(pbx, numbers, PASSWORD) as phones, talk:
        time.sleep(0.5)
        begin = time.monotonic()
        with fault():
            time.sleep(_seconds(scale) * 2 / 3)
            phones.fall_silent()
            time.sleep(_seconds(scale) / 3)
        end = time.monotonic()
        time.sleep(BACK + 0.5)
        meanwhile = phones.between(begin)
        back = phones.all_served_since(end)
    counts = Counter(told.fault or str(told.status) for told in meanwhile)
    bad = {told: count for told, count in counts.items() if told not in ("200", "503")}
    shown = ", ".join(f"{count} x {told}" for told, count in sorted(counts.items()))
    yield Figure(
        f"{trial.name} {what}, answers", shown or "none", "only 200, or 503 with Retry-After",
        bool(meanwhile) and not bad,
    )  # fmt: skip
    yield Figure(
        f"{trial.name} {what}, all phones served", f"{back:.2f} s after it" if back else "not any more",
        f"within {BACK:.0f} s", back is not None and back <= BACK, timed=back is not None,
    )
    trial.said += talk.said
    trial.faults += [f"{what}: {one}" for one in talk.faults]
    trial.new_calls.update(talk.new_calls)
    trial.waits += [told.retry_after for told in meanwhile if told.status == 503]
    trial.confirmed += sum(told.status == 200 for told in phones.told)
    trial.lost += phones.lost
    log = pbx.log[mark:]
    trial.lines[what] = sum(1 for line in log.splitlines() if PROBLEM.search(line))
    trial.broken += broken_lines(log)
