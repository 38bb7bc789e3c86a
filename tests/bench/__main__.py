"""All benchmarks in one table: ours, each peer that is here, the floors, and the goals beside what was found:

    python -m tests.bench [--quick] [--only NAME,...] [--runs N]

It installs nothing and says what is missing and how to get it. Each round measures everything once, so that a noisy
minute of the machine hits all alike; the table has the medians of the rounds, and a goal is a ratio of such medians.
Run it on a machine that does nothing else: others' work costs everybody rate, not processor time.

``--quick``: one short round in less than two minutes, without what takes long. ``--only``: parts of it, as ``--help``
lists them. The whole takes a quarter of an hour. The exit code is 0 unless something did not work: figures do not
decide it."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from unittest import SkipTest

from pbx.compiled import is_made
from tests.bench import bench_crowd, calling, registering, relaying, scaling
from tests.bench.compiled import compiled
from tests.bench.phones import HOW, SOURCE
from tests.bench.registrars import registrars
from tests.bench.rows import LEFT_OUT, Found, Goal, Missing, Row, Rows, Scale, middle
from tests.support.postgres import PostgresCluster

COLUMNS = (
    f"{'':34} {'':18} {'a second':>9} {'server us':>9} {'database us':>11} {'p50 ms':>8} {'p99 ms':>8} {'load':>5}"
)


LONG = 60
"""Characters; a longer note has a line of its own."""


@dataclass(frozen=True)
class Part:
    name: str
    """For ``--only``, as are ``names``, which are parts of it."""
    measure: Callable[[Scale], Rows]
    goals: Callable[[Found], Iterator[Goal]]
    names: tuple[str, ...] = ()
    quick: bool = True
    once: bool = False
    """It takes long, and does itself again what hangs on the moment: once, not once a round."""


def parts(cluster: PostgresCluster | None) -> list[Part]:
    register = partial(registering.measure, cluster=cluster)
    names = ("single", *(one.name for one in registrars(cluster)))
    return [
        Part("register", register, registering.goals, names),
        Part("calls", calling.measure, calling.goals),
        Part("relay", relaying.measure, relaying.goals),
        Part("scaling", partial(scaling.measure, cluster=cluster), scaling.goals, quick=False),
        Part(
            "crowd", bench_crowd.measure, bench_crowd.goals, ("crowd-sqlite", "crowd-postgresql"), quick=False,
            once=True,
        ),
    ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = [name for part in parts(None) for name in (part.name, *part.names)]
    parser.add_argument("--quick", action="store_true", help="one short round, under two minutes in all")
    parser.add_argument("--only", default="", metavar="NAME,...", help=f"of {', '.join(known)}")
    parser.add_argument("--runs", type=int, default=0, help="rounds of which the medians are told (3; quick: 1)")
    options = parser.parse_args(arguments)
    only = frozenset(filter(None, options.only.split(",")))
    if unknown := only.difference(known):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    scale = Scale(options.quick, only)
    rounds = options.runs or (1 if scale.quick else 3)
    print(
        f"{rounds} round{'s' * (rounds > 1)}{', quick' * scale.quick}, {os.cpu_count()} cores, load average "
        f"{os.getloadavg()[0]:.1f} at the start, Python {sys.version.split()[0]} ({_speed()})", flush=True,
    )
    print("runsip is compiled" if is_made() else "runsip is not compiled: python3 manage.py compile", flush=True)
    if compiled(SOURCE) is None:
        print(f"{HOW}: the phones are played in Python, slower, and nothing is asked at a given rate")
    begin = time.monotonic()
    cluster = None
    try:
        cluster = PostgresCluster()
        print(_durability(cluster))
    except SkipTest as missing:
        print(missing)
    try:
        return run(parts(cluster), scale, rounds)
    finally:
        if cluster is not None:
            cluster.stop()
        print(f"{time.monotonic() - begin:.0f} s in all")


def _durability(cluster: PostgresCluster) -> str:
    import psycopg

    with psycopg.connect(cluster.url) as connection:
        told = {name: connection.execute(f"SHOW {name}").fetchone() for name in
                ("server_version", "fsync", "synchronous_commit", "full_page_writes")}
    version, *others = (f"{name} {value[0]}" for name, value in told.items() if value)
    return f"PostgreSQL, {version}: {', '.join(others)}, over TCP on 127.0.0.1 for everybody"


def _speed() -> str:
    """How fast this Python is on this machine. One that was built without ``--enable-optimizations`` (many a pyenv) is
    half as fast as those that distributions ship, and does not tell."""
    took = []
    for _ in range(5):
        begin, total = time.process_time(), 0
        for number in range(200_000):
            total += number & 7
        took.append((time.process_time() - begin) * 1000)
    return f"a loop of 200,000 additions takes {min(took):.1f} ms"


def run(chosen: list[Part], scale: Scale, rounds: int) -> int:
    """Measures, prints the table and the goals, and returns the exit code."""
    several: dict[tuple[str, str], list[Row]] = {}
    missing: dict[str, str] = {}
    broken = 0
    for number in range(rounds):
        for part in chosen:
            if not scale.wants(part.name, *part.names) or (part.once and number):
                continue
            if scale.quick and not part.quick and not scale.only:
                missing[part.name] = LEFT_OUT
                continue
            try:
                for one in part.measure(scale):
                    if isinstance(one, Missing):
                        missing[one.subject] = one.sentence
                        broken += one.broken
                    else:
                        several.setdefault((one.subject, one.what), []).append(one)
                        print(_line(one), file=sys.stderr, flush=True)
            except SkipTest as reason:
                missing[part.name] = str(reason)
            except Exception as error:
                broken += 1
                traceback.print_exc()
                missing[part.name] = f"it did not work: {type(error).__name__}"
    found = {key: middle(rows) for key, rows in several.items()}
    print(f"\n{COLUMNS}")
    for row in found.values():
        print(_line(row))
    for subject, sentence in missing.items():
        print(f"without {subject}: {sentence}")
    print("\ngoals (ratios of the medians above)")
    for part in chosen:
        for goal in part.goals(found):
            if goal.value is not None or not scale.only:
                print(f"  {goal}")
    failed = [row for row in found.values() if row.failed]
    for row in failed:
        print(f"FAILED: {row.subject}, {row.what}: {row.failed:.0f} ({row.note})")
    return 1 if broken or failed else 0


def _line(row: Row) -> str:
    def number(value: float, width: int, digits: int = 0) -> str:
        return f"{value:{width}.{digits}f}" if value else " " * width

    note = f"  {row.note}" if row.note else ""
    if len(note) > LONG:
        note = f"\n    {row.note}"
    if row.load > 0.9:
        note += "  (the generator was the limit)"
    if row.unit:
        note = f"  {row.value:g} {row.unit}{note}"
    load = f"{row.load:5.0%}" if row.load else " " * 5
    return (
        f"{row.subject:34} {row.what:18} {number(row.rate, 9)} {number(row.server, 9, 1)} "
        f"{number(row.database, 11, 1)} {number(row.p50, 8, 2)} {number(row.p99, 8, 2)} {load}{note}"
    ).rstrip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
