"""As many registrations as a big company has, written straight into the database: registering 100,000 phones one by one
takes longer than what is to be measured.

    store_bindings(pbx.store, like="1001", count=100_000)

Each is of an extension of its own, made like ``like``, which must be registered."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from datetime import UTC, datetime, timedelta

from tests.support.pbx import SqliteStore, Store

FIRST = 500_000
"""The first of the numbers; nobody else uses them."""


def store_bindings(store: Store, *, like: str, count: int, expires: float = 3600.0, first: int = FIRST) -> None:
    """``expires``: seconds from now until they end."""
    ends = (datetime.now(UTC) + timedelta(seconds=expires)).strftime("%Y-%m-%d %H:%M:%S.%f")
    ends = f"'{ends}'" if isinstance(store, SqliteStore) else f"'{ends}+00'::timestamptz"
    numbers = (
        f"WITH RECURSIVE places(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM places WHERE n < {first + count - 1})"
    )
    text = "CAST(n AS text)"
    host = "'127.77.' || CAST(n / 250 % 250 AS text) || '.' || CAST(n % 250 + 1 AS text)"
    extension = _columns(store, "extensions_extension", {"number": text})
    binding = _columns(
        store, "extensions_binding",
        {"extension_id": "e.id", "contact": "'sip:' || e.number || '@phones.test'", "remote_host": "h.host",
         "call_id": "'stored-' || e.number", "expires_at": ends}, "b.",
    )
    execute(
        store,
        f"{numbers} INSERT INTO extensions_extension ({', '.join(extension)}) "
        f"SELECT {', '.join(extension.values())} FROM places, extensions_extension WHERE number = '{like}'",
        f"{numbers}, h(number, host) AS (SELECT {text}, {host} FROM places) "
        f"INSERT INTO extensions_binding ({', '.join(binding)}) SELECT {', '.join(binding.values())} "
        "FROM h JOIN extensions_extension e ON e.number = h.number, extensions_binding b "
        f"JOIN extensions_extension own ON own.id = b.extension_id WHERE own.number = '{like}'",
    )


def store_passwords(store: Store, password: str, count: int, *, realm: str, first: int = FIRST) -> None:
    """Give these extensions one password: with its HA1 they can register."""
    rows = store.rows(
        "SELECT id, number FROM extensions_extension WHERE number >= %s AND number < %s ORDER BY id",
        str(first), str(first + count),
    )
    values = [
        (row["id"], row["number"], hashlib.md5(f"{row['number']}:{realm}:{password}".encode()).hexdigest())
        for row in rows
    ]
    credential = _columns(store, "extensions_digestcredential", {"realm": f"'{realm}'", "algorithm": "'MD5'"})
    names = [name for name in credential if name not in ("extension_id", "username", "ha1")]
    into = (
        f"INSERT INTO extensions_digestcredential (extension_id, username, ha1, {', '.join(names)}) "
        f"SELECT %s, %s, %s, {', '.join(credential[name] for name in names)} FROM extensions_digestcredential LIMIT 1"
    )
    if isinstance(store, SqliteStore):
        with contextlib.closing(sqlite3.connect(store.path, timeout=20)) as connection, connection:
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.executemany(into.replace("%s", "?"), values)
        return
    import psycopg

    with psycopg.connect(store.url, connect_timeout=5) as connection:
        connection.execute(b"CREATE TEMP TABLE given (id bigint, number text, ha1 text) ON COMMIT DROP")
        with connection.cursor().copy("COPY given FROM STDIN") as copy:
            for value in values:
                copy.write_row(value)
        into = into.replace("SELECT %s, %s, %s", "SELECT given.id, given.number, given.ha1")
        into = into.replace("extensions_digestcredential LIMIT 1", "one, given")
        connection.execute(f"WITH one AS (SELECT * FROM extensions_digestcredential LIMIT 1) {into}".encode())


def store_calls(store: Store, count: int) -> None:
    """Call records of a year, of these numbers, in the past; there must be none yet."""
    numbers = f"WITH RECURSIVE places(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM places WHERE n < {count - 1}) "
    if isinstance(store, SqliteStore):
        start = "strftime('%Y-%m-%d %H:%M:%S', 'now', '-' || (60 + n * {}) || ' seconds')"
    else:
        start = "now() - make_interval(secs => 60 + n * {})"
    start = start.format(365 * 86400 // count)
    execute(
        store,
        f"{numbers} INSERT INTO calls_callrecord (uniqueid, node, src, dst, clid, start, answer, \"end\", duration, "
        "billsec, disposition, cause, hung_up_by, sip_call_id, legs, media) "
        f"SELECT 'stored-' || n, 'test', CAST({FIRST} + n % 1000 AS text), CAST({FIRST} + n * 7 % 100000 AS text), '', "
        f"{start}, {start}, {start}, 30, n % 600, CASE n % 4 WHEN 0 THEN 'NO ANSWER' ELSE 'ANSWERED' END, '', '', '', "
        "'[]', '[]' FROM places",
    )


def execute(store: Store, *statements: str) -> None:
    """Run these in one transaction, beside whatever runs."""
    if isinstance(store, SqliteStore):
        with contextlib.closing(sqlite3.connect(store.path, timeout=20)) as connection, connection:
            connection.execute("PRAGMA synchronous=NORMAL")
            for statement in statements:
                # WITH before INSERT: the module itself would not see that it writes.
                if not connection.in_transaction:
                    connection.execute("BEGIN IMMEDIATE")
                connection.execute(statement)
        return
    import psycopg

    with psycopg.connect(store.url, connect_timeout=5) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _columns(store: Store, table: str, changed: dict[str, str], prefix: str = "") -> dict[str, str]:
    """Name to expression, for a copy of a row with something changed."""
    (row,) = store.rows(f"SELECT * FROM {table} LIMIT 1")
    return {name: changed.get(name, f'{prefix}"{name}"') for name in row if name != "id"}
