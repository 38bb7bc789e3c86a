"""Statements that are run for every batch of REGISTERs: the ORM compiles them once, PostgreSQL plans them once, and
what belongs together is sent together.

Django compiles a queryset anew each time it is evaluated, at 0.3 to 2 ms, and PostgreSQL parses and plans what it is
sent: for a phone that comes alone that is most of what its registration costs. Here the text of a statement is always
the same, because a whole list is one parameter: an array on PostgreSQL, JSON on SQLite."""

from __future__ import annotations

import json
import re
import select
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import lru_cache
from itertools import count
from json.encoder import encode_basestring
from types import TracebackType
from typing import Any
from weakref import WeakSet

from django.db import Error, InternalError, connection, transaction
from django.db.models import BigAutoField, CharField, ForeignKey, Lookup, QuerySet
from django.db.models.fields.related_lookups import RelatedLookupMixin

from pbx.store_access import own_connection

FAILED = 3  # psycopg.pq.TransactionStatus.INERROR; that module takes long where there is only SQLite
EMPTY_QUERY, COMMAND_OK, TUPLES_OK = 0, 1, 2  # psycopg.pq.ExecStatus


_scan = json.JSONDecoder().scan_once  # what json.loads() does in the end, after forty steps


class _Later:
    """See :data:`LATER`."""


LATER = _Later()
"""Stands in a queryset for the list that :class:`PreparedRead` is given."""


AMONG, ALONE = "IN (SELECT value FROM json_each(%s))", "= %s"
"""On SQLite: one of many, and the one that a phone which comes alone asks about, at half the time."""


@CharField.register_lookup
@BigAutoField.register_lookup
class AnyOf(Lookup):
    """``number__any_of=LATER``: what ``__in`` says, with all values in one parameter."""

    lookup_name = "any_of"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, params = self.process_lhs(compiler, connection)
        if connection.vendor == "postgresql":
            return f"{column} = ANY($1)", list(params)
        return f"{column} {AMONG}", [*params, self.rhs]


@ForeignKey.register_lookup
class RelatedAnyOf(RelatedLookupMixin, AnyOf):
    """``extension__any_of=LATER``"""

    def get_prep_lookup(self) -> Any:
        return self.rhs


_numbers = count(1)

SETTINGS = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off"
"""A plan is kept when the tables have grown: none is to read the whole of a table because that was small once."""


class Prepared:
    """One statement, known to PostgreSQL by its ``name`` and a number; ``kinds``: its types for $1, $2 and so on.
    ``text`` is asked for what stands there, and the values of the %s in it, once a connection."""

    def __init__(self, name: str, kinds: Sequence[str], text: Callable[[], tuple[str, Sequence[Any]]]) -> None:
        # With a number: another one of the same name may have another text, and be known to the same connection.
        self._name, self._kinds, self._text = f"{name}_{next(_numbers)}", ", ".join(kinds), text
        self._known_to: WeakSet[Any] = WeakSet()

    def run(self, values: Iterable[str], before: str = "", after: str = "") -> list[tuple[Any, ...]]:
        """``values``: one for each kind, as PostgreSQL spells it. ``before``, ``after``: a statement (BEGIN, COMMIT)
        sent along with it. With the latter there are no rows.

        :raises django.db.Error: as the database says."""
        database = own_connection()
        if database.connection is None:
            database.ensure_connection()
        return _on_postgresql(database, f"{before}; {self.call(database, values)}; {after}".encode())

    def call(self, database: Any, values: Iterable[str]) -> str:
        """The statement that runs it with these values; on this connection it is known afterwards."""
        if database.connection not in self._known_to:
            self._prepare()
        values = list(values)
        literals = "','".join(values)
        if "\\" in literals or literals.count("'") != 2 * len(values) - 2:
            from psycopg.pq import Escaping  # here, because it takes long where there is only SQLite

            quote = Escaping(database.connection.pgconn).escape_literal
            return f"EXECUTE {self._name}({', '.join([quote(value.encode()).decode() for value in values])})"
        return f"EXECUTE {self._name}('{literals}')"  # there is nothing in them that would have to be escaped

    def _prepare(self) -> None:
        text, params = self._text()
        text = f"PREPARE {self._name}({self._kinds}) AS {text}"
        with connection.cursor() as cursor:
            # Within a transaction of Django's a rollback would undo the settings.
            cursor.execute(text if connection.in_atomic_block else f"{SETTINGS}; {text}", params or None)
        self._known_to.add(connection.connection)


class PreparedRead:
    """``rows`` is a queryset of ``values_list`` with one :data:`LATER` in it, for values of PostgreSQL's ``kind``.
    What comes back is what the driver makes of the columns: conversions of Django's own (decimals, moments, on SQLite
    booleans) are left out."""

    def __init__(self, name: str, kind: str, rows: QuerySet[Any, Any]) -> None:
        self._rows = rows
        self._spell = text_array if kind == "text" else number_array
        self._prepared = Prepared(name, [f"{kind}[]"], self._compile_for_postgresql)
        self._compiled: tuple[str, str, list[Any], int] | None = None

    def rows(self, values: Sequence[Any], before: str = "") -> list[Sequence[Any]]:
        """``before``: as in :meth:`Prepared.run`.

        :raises django.db.Error: as the database says."""
        if own_connection().vendor == "postgresql":
            return self._prepared.run([self._spell(values)], before)
        if self._compiled is None:
            self._compiled = self._compile_for_sqlite()
        many, one, params, place = self._compiled
        params = params.copy()
        if len(values) == 1:
            (params[place],) = values
            return on_sqlite(one, params, before)
        params[place] = _json_array(values)
        ((text,),) = on_sqlite(many, params, before)
        rows, _end = _scan(text, 0)
        return rows  # type: ignore[no-any-return]

    def _compile_for_postgresql(self) -> tuple[str, list[Any]]:
        # Outside of what it takes for a transaction Django compiles no FOR UPDATE; nothing is sent.
        with transaction.atomic() if self._rows.query.select_for_update else nullcontext():
            return self._compile()

    def _compile(self) -> tuple[str, list[Any]]:
        sql, params = self._rows.query.get_compiler(connection=connection).as_sql()
        return sql, list(params)

    def _compile_for_sqlite(self) -> tuple[str, str, list[Any], int]:
        """For many values, for one, the parameters, and which of these is :data:`LATER`. The rows of many come as one
        text of JSON: at each row that it reads the driver lets the loop's thread go on, and then waits for it."""
        compiler = self._rows.query.get_compiler(connection=connection)
        sql, params = compiler.as_sql()
        names = ", ".join(f"c{number}" for number in range(len(compiler.select)))
        many = f"WITH found({names}) AS ({sql}) SELECT json_group_array(json_array({names})) FROM found"
        return many, sql.replace(AMONG, ALONE), list(params), params.index(LATER)


def rows_together(
    reads: Sequence[PreparedRead], values: Sequence[Any], before: str = ""
) -> list[list[Sequence[Any]]]:
    """The rows of each of these reads, all of the same values. On PostgreSQL one journey, and each sees what was
    committed while one before it waited for its locks (READ COMMITTED: each statement looks anew). ``before``: as in
    :meth:`Prepared.run`.

    :raises django.db.Error: as the database says."""
    database = own_connection()
    if database.vendor != "postgresql" or database.force_debug_cursor:
        return [read.rows(values, "" if place else before) for place, read in enumerate(reads)]
    if database.connection is None:
        database.ensure_connection()
    calls = [read._prepared.call(database, [read._spell(values)]) for read in reads]
    return _all_on_postgresql(database, f"{before}; {'; '.join(calls)}".encode())


def on_sqlite(sql: str, params: Sequence[Any], before: str = "", after: str = "") -> list[tuple[Any, ...]]:
    """What ``connection.cursor()`` would give, without what that does around it; the text, which may have a thousand
    %s, is made one of SQLite's only once. ``before``, ``after``: statements that are run with it, or nothing.

    :raises django.db.Error: as the database says."""
    database = own_connection()
    if database.force_debug_cursor:
        with database.cursor() as cursor:  # the log wants them as they were
            if before:
                cursor.execute(before)
            rows = cursor.execute(sql, params).fetchall()
            if after:
                cursor.execute(after)
            return rows  # type: ignore[no-any-return]
    if database.connection is None:
        database.ensure_connection()
    execute = database.connection.execute
    with database.wrap_database_errors:
        if before:
            execute(before)
        rows = execute(_with_question_marks(sql), params).fetchall()
        if after:
            execute(after)
        return rows  # type: ignore[no-any-return]


@lru_cache(maxsize=200)
def _with_question_marks(sql: str) -> str:
    return re.sub("(?<!%)%s", "?", sql).replace("%%", "%")


def _on_postgresql(database: Any, statements: bytes) -> list[tuple[Any, ...]]:
    """The rows of the last of these statements. In one call of libpq's, that other threads can run beside: what a
    cursor does around it takes four times the processor time, and waits up to three times for the others to let this
    thread go on (measured: 95 us against 24, and half of the time until the answer is there)."""
    if database.force_debug_cursor:
        with database.cursor() as cursor:
            cursor.execute(statements.decode().strip("; "))
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []
    with database.wrap_database_errors:
        return _rows_of(database.connection, database.connection.pgconn.exec_(statements)) or []


def _all_on_postgresql(database: Any, statements: bytes) -> list[list[Sequence[Any]]]:
    """The rows of all these statements that have some to tell, in their order. libpq's call for one result of several
    would keep the other threads waiting, so it is asked only when the result is there."""
    with database.wrap_database_errors:
        postgres = database.connection
        pgconn = postgres.pgconn
        pgconn.send_query(statements)
        arrived = select.poll()
        arrived.register(pgconn.socket, select.POLLIN)
        results = []
        while True:
            while pgconn.is_busy():
                arrived.poll()
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                break
            results.append(result)
        return [rows for result in results if (rows := _rows_of(postgres, result)) is not None]


def _rows_of(postgres: Any, result: Any) -> list[tuple[Any, ...]] | None:
    """None for a statement that has no rows to tell."""
    status = result.status
    if status == TUPLES_OK:
        return _read(postgres, result) if result.ntuples else []
    if status in (EMPTY_QUERY, COMMAND_OK):
        return None
    import psycopg

    if postgres.pgconn.status != psycopg.pq.ConnStatus.OK:
        raise psycopg.OperationalError("the connection is lost")
    error = psycopg.errors.error_from_result(result)
    # A migration has changed a column since PREPARE; or somebody between us and the server knows no statement.
    if isinstance(error, psycopg.errors.FeatureNotSupported | psycopg.errors.InvalidSqlStatementName):
        postgres.close()
        raise psycopg.OperationalError("the prepared statement is of no use any more")
    raise error


_reading = threading.local()


def _read(postgres: Any, result: Any) -> list[tuple[Any, ...]]:
    """``_reading.transformer`` has learnt how the types are read on ``_reading.connection``."""
    if getattr(_reading, "connection", None) is not postgres:
        import psycopg

        _reading.connection, _reading.transformer = postgres, psycopg.adapt.Transformer(postgres)
    _reading.transformer.set_pgresult(result)
    return _reading.transformer.load_rows(0, result.ntuples, tuple)  # type: ignore[no-any-return]


class BriefTransaction:
    """A transaction that has no journeys of its own: BEGIN goes along with its first statement, and COMMIT with its
    last. Durable when it is left without an exception, else undone. Inside, no ORM may write: to Django there is no
    transaction. Within a transaction of Django's it is as ``atomic()``.

    ``begin`` and ``commit``: what to run before the first statement of it, and after its last one, or nothing."""

    def __enter__(self) -> BriefTransaction:
        self._database = database = own_connection()
        self._atomic = transaction.atomic() if database.in_atomic_block else None
        if self._atomic is not None:
            self.begin = self.commit = ""
            self._atomic.__enter__()
        else:
            self.begin, self.commit = "BEGIN" if database.vendor == "postgresql" else "BEGIN IMMEDIATE", "COMMIT"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._atomic is not None:
            self._atomic.__exit__(kind, error, trace)
            return
        database = self._database
        try:
            if error is None and database.connection is not None:
                if database.vendor != "postgresql":
                    status = database.connection.in_transaction
                else:
                    status = database.connection.pgconn.transaction_status
                    if status == FAILED:  # to COMMIT it would say ROLLBACK, and that is no error to PostgreSQL
                        raise InternalError("a statement of this transaction has failed")
                if status:  # nothing had to be written, or COMMIT was not sent along
                    with database.wrap_database_errors:
                        database.connection.commit()
        except BaseException:
            self._undo()
            raise
        if error is not None:
            self._undo()

    def _undo(self) -> None:
        database = self._database
        if database.connection is None:
            return
        try:
            with database.wrap_database_errors:
                database.connection.rollback()
        except Error:
            database.close()


def text_array(values: Sequence[str]) -> str:
    """PostgreSQL's spelling of a list of texts. (psycopg's own asks each value for its type, at 20 times the cost.)
    Raises ValueError for a NUL in one."""
    joined = '","'.join(values)
    if "\0" in joined:
        raise ValueError("PostgreSQL keeps no NUL")
    if "\\" in joined or joined.count('"') != 2 * len(values) - 2:
        if not values:
            return "{}"
        joined = '","'.join(value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return f'{{"{joined}"}}'


def number_array(values: Sequence[float | None]) -> str:
    """The same of numbers."""
    return f"{{{','.join(map(str, values))}}}".replace("None", "NULL")


def _json_array(values: Sequence[Any]) -> str:
    """The same for SQLite: texts or numbers."""
    return f"[{','.join([encode_basestring(value) if isinstance(value, str) else str(value) for value in values])}]"
