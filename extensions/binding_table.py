"""The one statement that writes a batch of bindings: an upsert of many rows through Django's own connection.

``bulk_create(update_conflicts=True)`` does the same at many times the cost (measured on one machine: 190-230 us a row
against 20-40): it builds a model and an expression for each of two dozen values a row. The columns are still those of
the model, so a migration and this file cannot drift apart unseen: a test writes and reads back every field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from functools import cache
from operator import attrgetter
from typing import Any

from django.db import connection
from django.db.models import FloatField, Func
from django.db.models.functions import Cast

from extensions.models import Binding as BindingRow
from pbx.prepared import Prepared, number_array, on_sqlite, text_array
from pbx.store_access import own_connection
from sipcore.ports import Binding, BindingId

ENGINE_FIELDS = tuple(field.name for field in fields(Binding))
COLUMNS = tuple("extension_id" if name == "account_id" else name for name in ENGINE_FIELDS)
TIMES = ("registered_at", "refreshed_at", "expires_at", "unreachable_since")
_KEY = ("extension_id", "key")

ROWS_AT_ONCE = 999 // len(COLUMNS)
"""An older SQLite takes no more than 999 parameters."""


class Seconds(Func):
    """A moment as seconds since 1970, exact to the microsecond. SQLite would take longer for that than Python does:
    there it is the text still, and :func:`as_bindings` makes the number of it."""

    output_field = FloatField()

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, Sequence[Any]]:
        return self.as_sql(compiler, connection, template="EXTRACT(EPOCH FROM %(expressions)s)::float8", **extra)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, Sequence[Any]]:
        column, params = compiler.compile(self.get_source_expressions()[0])
        return f"{column} || ''", params  # as an expression: of a column the driver makes a datetime, slowly

    def get_db_converters(self, connection: Any) -> list[Any]:
        return []


AS_THE_ENGINE_HAS_THEM = tuple(
    Seconds(name) if name in TIMES else Cast(name, FloatField()) if name == "q" else name for name in COLUMNS
)
"""For ``values_list``, of whose rows :func:`as_bindings` makes bindings."""

_EPOCH = datetime(1970, 1, 1)  # UTC, as SQLite has it

_values_of: Callable[[Binding], tuple[Any, ...]] = attrgetter(*ENGINE_FIELDS)


def as_bindings(rows: Iterable[Sequence[Any]]) -> list[Binding]:
    if own_connection().vendor == "sqlite":
        rows = map(_with_seconds, rows)
    return [Binding(*row) for row in rows]


def _with_seconds(row: Sequence[Any]) -> Sequence[Any]:
    values = list(row)
    for place in _TIME_PLACES:
        if values[place] is not None:
            values[place] = _seconds(values[place])
    return values


def _seconds(text: Any) -> float:
    return (datetime.fromisoformat(text) - _EPOCH).total_seconds()


def as_stored(moment: float) -> Any:
    """This moment as :class:`Seconds` reads one, to be compared with it."""
    return as_text(moment) if own_connection().vendor == "sqlite" else moment


def as_text(moment: float) -> str:
    """As SQLite has it."""
    return str(_EPOCH + timedelta(microseconds=round(moment * 1_000_000)))


def upsert(bindings: Sequence[Binding], afterwards: str = "") -> None:
    """Insert these rows, or renew those of the same extension and key. Each key at most once. ``afterwards``: a
    statement that is run with it (COMMIT), or nothing.

    :raises django.db.Error: as the database says."""
    rows = [_values_of(binding) for binding in bindings]
    if own_connection().vendor == "postgresql":
        # One array a column: the statement is the same for a thousand rows as for one.
        columns = [spell(column) for spell, column in zip(_spellings(), zip(*rows, strict=True), strict=True)]
        _upsert().run(columns, after=afterwards)
        return
    # Not executemany(): after each row the thread would wait until the others let it go on.
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part, rest = rows[start : start + ROWS_AT_ONCE], len(rows) - start - ROWS_AT_ONCE
        on_sqlite(_sqlite(len(part)), _as_texts(part), after=afterwards if rest <= 0 else "")


def delete(ids: Sequence[BindingId]) -> None:
    """:raises django.db.Error: as the database says."""
    with connection.cursor() as cursor:
        cursor.executemany(f"DELETE FROM {BindingRow._meta.db_table} WHERE extension_id = %s AND key = %s", ids)


@cache
def _upsert() -> Prepared:
    return Prepared("sip_upsert", [_array_type(name) for name in COLUMNS], lambda: (_postgresql(), ()))


def _postgresql() -> str:
    values = ", ".join(f"to_timestamp({name})" if name in TIMES else name for name in COLUMNS)
    arrays = ", ".join(f"${place}" for place in range(1, len(COLUMNS) + 1))
    return f"{_insert()} SELECT {values} FROM unnest({arrays}) AS given({', '.join(COLUMNS)}) {_on_conflict()}"


@cache
def _spellings() -> list[Callable[[Sequence[Any]], str]]:
    return [text_array if _array_type(name) == "text[]" else number_array for name in COLUMNS]


@cache
def _sqlite(rows: int) -> str:
    row = f"({', '.join(['%s'] * len(COLUMNS))})"
    return f"{_insert()} VALUES {', '.join([row] * rows)} {_on_conflict()}"


def _insert() -> str:
    return f"INSERT INTO {BindingRow._meta.db_table} ({', '.join(COLUMNS)})"


def _on_conflict() -> str:
    changed = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in _KEY)
    return f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {changed}"


def _array_type(name: str) -> str:
    if name in TIMES:
        return "float8[]"
    kind = BindingRow._meta.get_field(name.removesuffix("_id") if name == "extension_id" else name)
    internal = kind.target_field.get_internal_type() if kind.is_relation else kind.get_internal_type()
    return {
        "BigAutoField": "int8[]", "BigIntegerField": "int8[]", "PositiveIntegerField": "int4[]",
        "PositiveSmallIntegerField": "int4[]", "DecimalField": "numeric[]",
    }.get(internal, "text[]")  # fmt: skip


_TIME_PLACES = tuple(ENGINE_FIELDS.index(name) for name in TIMES)
_Q_PLACE = ENGINE_FIELDS.index("q")


def _as_texts(rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The values of all rows, one after the other; times and decimals as Django keeps them in SQLite."""
    texts: dict[float | None, str | None] = {None: None}  # many are the moment of now
    all_values: list[Any] = []
    for row in rows:
        values = list(row)
        for place in _TIME_PLACES:
            moment = values[place]
            if moment not in texts:
                texts[moment] = as_text(moment)
            values[place] = texts[moment]
        if values[_Q_PLACE] is not None:
            values[_Q_PLACE] = f"{values[_Q_PLACE]:.3f}"
        all_values += values
    return all_values
