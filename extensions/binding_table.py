"""The one statement that writes a batch of bindings: an upsert of many rows through Django's own connection.

``bulk_create(update_conflicts=True)`` does the same at many times the cost (measured on one machine: 190-230 us a row
against 20-40): it builds a model and an expression for each of two dozen values a row. The columns are still those of
the model, so a migration and this file cannot drift apart unseen: a test writes and reads back every field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from django.db import connection

from extensions.models import Binding as BindingRow
from sipcore.ports import Binding

ENGINE_FIELDS = tuple(field.name for field in fields(Binding))
COLUMNS = tuple("extension_id" if name == "account_id" else name for name in ENGINE_FIELDS)
TIMES = ("registered_at", "refreshed_at", "expires_at", "unreachable_since")
_KEY = ("extension_id", "key")

_values_of: Callable[[Binding], tuple[Any, ...]] = attrgetter(*ENGINE_FIELDS)


def upsert(bindings: Sequence[Binding]) -> None:
    """Insert these rows, or renew those of the same extension and key. Each key at most once.

    :raises django.db.Error: as the database says."""
    rows = [_values_of(binding) for binding in bindings]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # One array a column: the statement has as many parameters for a thousand rows as for one.
            cursor.execute(_postgresql(), [list(column) for column in zip(*rows, strict=True)])
        else:
            cursor.executemany(_sqlite(), [_as_text(row) for row in rows])


def _postgresql() -> str:
    values = ", ".join(f"to_timestamp({name})" if name in TIMES else name for name in COLUMNS)
    arrays = ", ".join("%s::" + _array_type(name) for name in COLUMNS)
    return f"{_insert()} SELECT {values} FROM unnest({arrays}) AS given({', '.join(COLUMNS)}) {_on_conflict()}"


def _sqlite() -> str:
    return f"{_insert()} VALUES ({', '.join(['%s'] * len(COLUMNS))}) {_on_conflict()}"


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


_TIME_PLACES = frozenset(ENGINE_FIELDS.index(name) for name in TIMES)
_Q_PLACE = ENGINE_FIELDS.index("q")


def _as_text(row: tuple[Any, ...]) -> list[Any]:
    """Times and decimals as Django keeps them in SQLite."""
    values = list(row)
    for place in _TIME_PLACES:
        if values[place] is not None:
            moment = datetime.fromtimestamp(values[place], UTC).replace(tzinfo=None)
            values[place] = str(moment)
    if values[_Q_PLACE] is not None:
        values[_Q_PLACE] = f"{values[_Q_PLACE]:.3f}"
    return values
