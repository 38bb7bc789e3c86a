"""One phone on an idle server: how long its registration takes, beside one commit of the same database.

Both a hundred times, with a pause of about 20 ms before each, so that both find the machine asleep. The commit is an
UPDATE of one row of the registrations and its COMMIT, by psycopg and sqlite3, as durable as runsip's."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from statistics import median

from tests.bench.phones import HOW, SlowPhones, make_phones
from tests.bench.registrars import Running
from tests.bench.rows import Found, Goal, Missing, Row, Rows, ratio
from tests.support.pbx import CROWD, CROWD_PASSWORD, PostgresStore, SqliteStore

TIMES, A_SECOND = 100, 50
SINGLE, COMMIT = "one alone", "one commit"
STATEMENT = "UPDATE extensions_binding SET cseq = cseq + 1 WHERE id = {}"


def measure(title: str, running: Running) -> Rows:
    assert running.store is not None
    with make_phones(
        server=running.server, domain=running.domain, first=CROWD.start, count=20, password=CROWD_PASSWORD
    ) as load:
        if isinstance(load, SlowPhones):
            yield Missing(f"{title}, {SINGLE}", HOW)
            return
        load.run("register")
        report = load.run("register", rate=A_SECOND, requests=TIMES)
    yield Row(
        title, SINGLE, p50=report.percentile(50) * 1000, p99=report.percentile(99) * 1000,
        failed=sum(report.failures.values()),
    )
    yield _commits(title, running.store)


def _commits(title: str, store: SqliteStore | PostgresStore) -> Row:
    dice, took = random.Random(1), []
    with _committing(store) as commit:
        for _ in range(TIMES):
            time.sleep(dice.expovariate(A_SECOND))
            begin = time.perf_counter()
            commit()
            took.append((time.perf_counter() - begin) * 1000)
    return Row(title, COMMIT, p50=median(took), p99=sorted(took)[TIMES * 99 // 100])


@contextlib.contextmanager
def _committing(store: SqliteStore | PostgresStore) -> Iterator[Callable[[], object]]:
    statement = STATEMENT.format(store.rows("SELECT min(id) AS id FROM extensions_binding")[0]["id"])
    if isinstance(store, PostgresStore):
        import psycopg

        with psycopg.connect(store.url) as connection:
            yield lambda: (connection.execute(statement), connection.commit())
    else:
        with contextlib.closing(sqlite3.connect(store.path, timeout=20)) as file:
            file.execute("PRAGMA synchronous=FULL")
            yield lambda: (file.execute(statement), file.commit())


def goals(found: Found) -> Iterator[Goal]:
    for title in ("runsip, PostgreSQL", "runsip, SQLite"):
        value = ratio(found, (title, SINGLE), (title, COMMIT), "p50")
        yield Goal(f"one registration on an idle server to one commit ({title})", value, 3, False)
