"""Statements that are run for every batch of REGISTERs: the ORM compiles them once, PostgreSQL plans them once.

Django compiles a queryset anew each time it is evaluated, at 0.3 to 2 ms, and PostgreSQL parses and plans what it is
sent: for a phone that comes alone that is most of what its registration costs. Here the text of a statement is always
the same, because a whole list is one parameter: an array on PostgreSQL, JSON on SQLite."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from django.db import connection
from django.db.models import BigAutoField, CharField, FloatField, ForeignKey, Func, Lookup, QuerySet
from django.db.models.fields.related_lookups import RelatedLookupMixin


class _Later:
    """See :data:`LATER`."""


LATER = _Later()
"""Stands in a queryset for the list that :meth:`PreparedRead.rows` is given."""


@CharField.register_lookup
@BigAutoField.register_lookup
class AnyOf(Lookup):
    """``number__any_of=LATER``: what ``__in`` says, with all values in one parameter."""

    lookup_name = "any_of"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, params = self.process_lhs(compiler, connection)
        if connection.vendor == "postgresql":
            kind = "text" if isinstance(self.lhs.output_field, CharField) else "int8"
            return f"{column} = ANY(%s::{kind}[])", [*params, self.rhs]
        return f"{column} IN (SELECT value FROM json_each(%s))", [*params, self.rhs]


@ForeignKey.register_lookup
class RelatedAnyOf(RelatedLookupMixin, AnyOf):
    """``extension__any_of=LATER``"""

    def get_prep_lookup(self) -> Any:
        return self.rhs


class Seconds(Func):
    """A moment as seconds since 1970, exact to the microsecond: no ``datetime`` is made only to be taken apart."""

    output_field = FloatField()

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, Sequence[Any]]:
        return self.as_sql(compiler, connection, template="EXTRACT(EPOCH FROM %(expressions)s)::float8", **extra)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, Sequence[Any]]:
        # It is kept as text, with six digits after the point or none. Whole microseconds are exact in a float, and
        # their quotient is the nearest one there is.
        column, params = compiler.compile(self.get_source_expressions()[0])
        whole = f"CAST(strftime('%%s', {column}) AS INTEGER) * 1000000"
        return f"(({whole} + CAST(substr({column}, 21, 6) AS INTEGER)) / 1000000.0)", [*params, *params]


class PreparedRead:
    """``rows`` is a queryset of ``values_list`` with one :data:`LATER` in it. What comes back is what the driver makes
    of the columns: conversions of Django's own (decimals, moments, on SQLite booleans) are left out."""

    def __init__(self, rows: QuerySet[Any, Any]) -> None:
        self._rows = rows
        self._compiled: tuple[str, list[Any], int] | None = None

    def rows(self, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """:raises django.db.Error: as the database says."""
        return self.asked(values).fetchall()  # type: ignore[no-any-return]

    def asked(self, values: Sequence[Any]) -> Any:
        """The cursor to fetch the rows from: inside :func:`one_journey`, before the database has answered."""
        if self._compiled is None:
            sql, params = self._rows.query.get_compiler(connection=connection).as_sql()
            self._compiled = sql, list(params), list(params).index(LATER)
        sql, params, place = self._compiled
        params = params.copy()
        params[place] = _one_parameter(values)
        cursor = prepared_cursor()
        cursor.execute(sql, params)
        return cursor


def prepared_cursor() -> Any:
    """A cursor of Django's connection, with its errors and its log of queries, whose statements PostgreSQL plans
    once: Django's usual one writes the values into the text, so that each time it is another statement."""
    if connection.vendor != "postgresql":
        return connection.cursor()
    connection.ensure_connection()
    postgres = connection.connection
    if postgres.prepare_threshold is None and not connection.in_atomic_block:  # else a rollback would undo the SET
        # A plan made while a table was small is kept when it has grown: it must not be to read the whole table.
        with connection.wrap_database_errors:
            postgres.execute("SET enable_seqscan = off; SET jit = off")
        postgres.prepare_threshold = 0
    return connection._prepare_cursor(_preparing_cursor()(postgres))


@contextmanager
def one_journey() -> Iterator[None]:
    """What is executed inside is sent to PostgreSQL together, and waited for once, when the first row is fetched or
    the block ends; an error of any of it may be raised only then. Nothing else on SQLite."""
    if connection.vendor != "postgresql":
        yield
        return
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


@cache
def _preparing_cursor() -> type:
    from django.db.backends.postgresql.base import ServerBindingCursor  # fails where there is no psycopg

    class PreparingCursor(ServerBindingCursor):
        def execute(self, query: Any, params: Any = None) -> Any:
            return super().execute(query, params, prepare=True)

    return PreparingCursor


def _one_parameter(values: Sequence[Any]) -> str:
    if connection.vendor != "postgresql":
        return json.dumps(values, ensure_ascii=False)
    return text_array(values) if values and isinstance(values[0], str) else number_array(values)


def text_array(values: Sequence[str]) -> str:
    """PostgreSQL's spelling of a list of texts. (psycopg's own asks each value for its type, at 20 times the cost.)"""
    joined = '","'.join(values)
    if "\\" in joined or joined.count('"') != 2 * max(0, len(values) - 1):
        joined = '","'.join(value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return f'{{"{joined}"}}' if values else "{}"


def number_array(values: Sequence[float | None]) -> str:
    """The same of numbers."""
    return f"{{{','.join(map(str, values))}}}".replace("None", "NULL")
