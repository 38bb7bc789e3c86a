"""The one statement that writes many call records: an upsert through Django's own connection.

``bulk_create(update_conflicts=True)`` does the same at three times the cost, in a thread that the engine's loop shares
its processor with. The columns are those of the model: a test writes and reads back every field."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import chain
from typing import Any

from django.db import connection

from pbx.calls.models import CallRecord

COLUMNS = tuple(field.column for field in CallRecord._meta.concrete_fields if not field.primary_key)
TIMES = ("start", "answer", "end")
_TIME_PLACES = tuple(COLUMNS.index(name) for name in TIMES)
ROWS_AT_ONCE = 999 // len(COLUMNS)
"""An older SQLite takes no more than 999 parameters."""

_ARRAYS = {"DateTimeField": "float8[]", "PositiveIntegerField": "int4[]"}


def upsert(rows: Sequence[Sequence[Any]]) -> None:
    """Insert these rows, or renew those of the same ``uniqueid``; each holds the values of ``COLUMNS``, times as
    seconds since 1970 and JSON as text. Each ``uniqueid`` at most once.

    :raises django.db.Error: as the database says.
    :raises ValueError, OverflowError: for a time outside the calendar."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # One array a column: the statement has as many parameters for a thousand rows as for one.
            cursor.execute(_postgresql(), [list(column) for column in zip(*rows, strict=True)])
        else:
            # Not executemany(): after each row the thread would wait until the others let it go on.
            for start in range(0, len(rows), ROWS_AT_ONCE):
                part = rows[start : start + ROWS_AT_ONCE]
                cursor.execute(_sqlite(len(part)), [*chain.from_iterable(map(_with_text_times, part))])


@cache
def _postgresql() -> str:
    values = ", ".join(_value(name) for name in COLUMNS)
    arrays = ", ".join("%s::" + _ARRAYS.get(_kind(name), "text[]") for name in COLUMNS)
    return f"{_insert()} SELECT {values} FROM unnest({arrays}) AS given({_quoted(COLUMNS)}) {_on_conflict()}"


def _value(name: str) -> str:
    quoted = connection.ops.quote_name(name)
    if name in TIMES:
        return f"to_timestamp({quoted})"
    return f"{quoted}::jsonb" if _kind(name) == "JSONField" else quoted


def _kind(name: str) -> str:
    return CallRecord._meta.get_field(name).get_internal_type()


@cache
def _sqlite(rows: int) -> str:
    row = f"({', '.join(['%s'] * len(COLUMNS))})"
    return f"{_insert()} VALUES {', '.join([row] * rows)} {_on_conflict()}"


def _insert() -> str:
    return f"INSERT INTO {_quoted([CallRecord._meta.db_table])} ({_quoted(COLUMNS)})"


def _on_conflict() -> str:
    quote = connection.ops.quote_name
    changed = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in COLUMNS if name != "uniqueid")
    return f"ON CONFLICT ({quote('uniqueid')}) DO UPDATE SET {changed}"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(connection.ops.quote_name, names))


def _with_text_times(row: Sequence[Any]) -> list[Any]:
    """Times as Django keeps them in SQLite."""
    values = list(row)
    for place in _TIME_PLACES:
        if values[place] is not None:
            values[place] = str(datetime.fromtimestamp(values[place], UTC).replace(tzinfo=None))
    return values
