"""As many registrations as a big company has, written straight into the database: registering 100,000 phones one by one
takes longer than what is to be measured.

    store_bindings(pbx.store, like="1001", count=100_000)

Each is of an extension of its own, made like ``like``, which must be registered."""

from __future__ import annotations

import contextlib
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
