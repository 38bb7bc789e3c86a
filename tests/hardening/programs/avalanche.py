"""The power comes back: 10,000 phones without a nonce register at the same moment, each from a port of its own, while
an honest one that was registered refreshes. Then the process is killed and the database alone is asked who is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from unittest import SkipTest

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.honest import HonestPhone
from tests.support.loadgen import LoadGenerator, LoadReport
from tests.support.pbx import CROWD, CROWD_PASSWORD, PostgresStore, RunningPbx, SqliteStore, Store

HONEST = "19999"
PASSWORD = "correct-horse-7"
EXPIRES = 3600
"""Seconds that the phones ask for."""

PROCESSES = 2


def measure(scale: Scale) -> Iterator[Figure]:
    phones = scale.of(len(CROWD), 1_000)
    for make in (SqliteStore, PostgresStore):
        try:
            store = make()
        except SkipTest as missing:
            yield Figure(f"avalanche, {make.name}", f"not run: {missing}", "PostgreSQL too", False)
            continue
        yield from _avalanche(store, phones)


def _avalanche(store: Store, phones: int) -> Iterator[Figure]:
    with RunningPbx(store) as pbx:
        numbers = range(CROWD.start, CROWD.start + phones)
        accounts = {str(number): CROWD_PASSWORD.format(number=number) for number in numbers}
        pbx.create_extensions({HONEST: PASSWORD, **accounts})
        with (
            LoadGenerator(
                server=pbx.server, domain=pbx.domain, first=CROWD.start, count=phones, password=CROWD_PASSWORD,
                processes=PROCESSES, window=phones, sockets=phones // PROCESSES,
            ) as crowd,
            HonestPhone(pbx, HONEST, PASSWORD) as honest,
        ):
            report = crowd.run("register", 150)
        shed = pbx.log_lines("Overload:")
        pbx.kill9()
        where = store.name
        yield _registered(report, phones, where)
        yield _durable(report, pbx, where)
        yield Figure(
            f"{where}: an honest phone that refreshes meanwhile", f"{honest}, {len(honest.faults)} failed",
            "p99 at most 1 s", honest.share(99) <= 1.0 and not honest.faults, timed=True,
        )
        yield _spread(pbx, where)
        if shed:
            yield Figure(f"{where}: what was shed was said in the log", shed[-1].partition("[SIP] ")[2], "", True)


def _registered(report: LoadReport, phones: int, where: str) -> Figure:
    confirmed = len(set(report.confirmed))
    return Figure(
        f"{where}: {phones} phones at once",
        f"{confirmed} registered within {report.seconds:.1f} s, {report.answers['503']} times told to come back later, "
        f"{report.retransmissions} repetitions, the generator {report.own_load:.0%} busy",
        f"{phones} registered within 60 s", confirmed == phones and report.seconds <= 60, timed=True,
    )


def _durable(report: LoadReport, pbx: RunningPbx, where: str) -> Figure:
    stored = pbx.registered_numbers()
    lost = [number for number in set(report.confirmed) if str(number) not in stored]
    return Figure(
        f"{where}: durable", f"{len(lost)} of {len(report.confirmed)} acknowledged are missing after kill -9",
        "none", not lost and bool(report.confirmed),
    )


def _spread(pbx: RunningPbx, where: str) -> Figure:
    """That they will not come back together: no twentieth of the time between may hold many of them."""
    rows = pbx.store.rows("SELECT refreshed_at, expires_at FROM extensions_binding WHERE expires_at > refreshed_at")
    granted = sorted((row["expires_at"] - row["refreshed_at"]).total_seconds() for row in rows)
    least, width = EXPIRES * 0.8, EXPIRES * 0.2 / 20
    most = max(Counter(min(19, int((seconds - least) / width)) for seconds in granted).values())
    within = granted[0] >= least and granted[-1] <= EXPIRES
    return Figure(
        f"{where}: granted for {EXPIRES} s asked",
        f"{granted[0]:.0f} to {granted[-1]:.0f} s, at most {most / len(granted):.0%} in any {width:.0f} s",
        "0-20 % less, evenly: at most 10 % in any 36 s", within and most <= 0.1 * len(granted),
    )
