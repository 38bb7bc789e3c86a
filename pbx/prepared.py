"""Statements that are run for every batch of REGISTERs: the ORM compiles them once, PostgreSQL plans them once, and
what belongs together is sent together.

Django compiles a queryset anew each time it is evaluated, at 0.3 to 2 ms, and PostgreSQL parses and plans what it is
sent: for a phone that comes alone that is most of what its registration costs. Here the text of a statement is always
the same, because a whole list is one parameter: an array on PostgreSQL, JSON on SQLite."""

from __future__ import annotations

import json
import re
import select
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from itertools import count
from typing import Any
from weakref import WeakSet

from django.db import DEFAULT_DB_ALIAS, Error, InternalError, connection, connections, transaction
from django.db.models import BigAutoField, CharField, ForeignKey, Lookup, QuerySet
from django.db.models.fields.related_lookups import RelatedLookupMixin

FAILED = 3  # psycopg.pq.TransactionStatus.INERROR


class _Later:
    """See :data:`LATER`."""


LATER = _Later()
"""Stands in a queryset for the list that :class:`PreparedRead` is given."""


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
        return f"{column} IN (SELECT value FROM json_each(%s))", [*params, self.rhs]


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
        database = connections[DEFAULT_DB_ALIAS]  # looked up once: django.db.connection does so at each dot
        database.ensure_connection()
        call = self.call(database, values)
        return _on_postgresql(database, b"%s; %s; %s" % (before.encode(), call, after.encode()))

    def call(self, database: Any, values: Iterable[str]) -> bytes:
        """The statement that runs it with these values; on this connection it is known afterwards."""
        from psycopg.pq import Escaping  # here, because it takes long where there is only SQLite

        if database.connection not in self._known_to:
            self._prepare()
        quote = Escaping(database.connection.pgconn).escape_literal
        return b"EXECUTE %s(%s)" % (self._name.encode(), b", ".join([quote(value.encode()) for value in values]))

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
        self._compiled: tuple[str, list[Any], int] | None = None

    def rows(self, values: Sequence[Any], before: str = "") -> list[tuple[Any, ...]]:
        """``before``: as in :meth:`Prepared.run`; nothing on SQLite.

        :raises django.db.Error: as the database says."""
        if connection.vendor == "postgresql":
            return self._prepared.run([self._spell(values)], before)
        if self._compiled is None:
            sql, params = self._compile()
            self._compiled = sql, params, params.index(LATER)
        sql, params, place = self._compiled
        params = params.copy()
        params[place] = json.dumps(values, ensure_ascii=False)
        return on_sqlite(sql, params)

    def rows_and_of(
        self, second: PreparedRead, values: Sequence[Any], before: str = ""
    ) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """The rows of this and then those of ``second``, of the same values. On PostgreSQL one journey, and the second
        sees what was committed while the first waited for its locks (READ COMMITTED: each statement looks anew).

        :raises django.db.Error: as the database says."""
        database = connections[DEFAULT_DB_ALIAS]
        if database.vendor != "postgresql" or database.queries_logged:
            return self.rows(values, before), second.rows(values)
        database.ensure_connection()
        calls = [read._prepared.call(database, [read._spell(values)]) for read in (self, second)]
        first_rows, second_rows = _both_on_postgresql(database, b"%s; %s; %s" % (before.encode(), *calls))
        return first_rows, second_rows

    def _compile_for_postgresql(self) -> tuple[str, list[Any]]:
        # Outside of what it takes for a transaction Django compiles no FOR UPDATE; nothing is sent.
        with transaction.atomic() if self._rows.query.select_for_update else nullcontext():
            return self._compile()

    def _compile(self) -> tuple[str, list[Any]]:
        sql, params = self._rows.query.get_compiler(connection=connection).as_sql()
        return sql, list(params)


def on_sqlite(sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """What ``connection.cursor()`` would give; but the text, which may have a thousand %s, is made one of SQLite's
    only once.

    :raises django.db.Error: as the database says."""
    if connection.queries_logged:
        cursor = connection.cursor()  # the log wants them as they were
    else:
        connection.ensure_connection()
        cursor, sql = connection.make_cursor(connection.connection.cursor()), _with_question_marks(sql)
    with cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()  # type: ignore[no-any-return]


@lru_cache(maxsize=200)
def _with_question_marks(sql: str) -> str:
    return re.sub("(?<!%)%s", "?", sql).replace("%%", "%")


def _on_postgresql(database: Any, statements: bytes) -> list[tuple[Any, ...]]:
    """The rows of the last of these statements. In one call of libpq's, that other threads can run beside: what a
    cursor does around it takes four times the processor time, and waits up to three times for the others to let this
    thread go on (measured: 95 us against 24, and half of the time until the answer is there)."""
    if database.queries_logged:
        with database.cursor() as cursor:
            cursor.execute(statements.decode().strip("; "))
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []
    with database.wrap_database_errors:
        return _rows_of(database.connection, database.connection.pgconn.exec_(statements)) or []


def _both_on_postgresql(database: Any, statements: bytes) -> list[list[tuple[Any, ...]]]:
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
    import psycopg
    from psycopg.pq import ConnStatus, ExecStatus

    if result.status in (ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY):
        return None
    if result.status != ExecStatus.TUPLES_OK:
        if postgres.pgconn.status != ConnStatus.OK:
            raise psycopg.OperationalError("the connection is lost")
        error = psycopg.errors.error_from_result(result)
        # A migration has changed a column since PREPARE; or somebody between us and the server knows no statement.
        if isinstance(error, psycopg.errors.FeatureNotSupported | psycopg.errors.InvalidSqlStatementName):
            postgres.close()
            raise psycopg.OperationalError("the prepared statement is of no use any more")
        raise error
    if not result.ntuples:
        return []
    transformer = psycopg.adapt.Transformer(postgres)
    transformer.set_pgresult(result)
    return transformer.load_rows(0, result.ntuples, tuple)


class BriefTransaction:
    """``begin`` and ``commit``: what to send before the first statement of it, and after its last one, or nothing."""

    def __init__(self, begin: str, commit: str) -> None:
        self.begin, self.commit = begin, commit


@contextmanager
def brief_transaction() -> Iterator[BriefTransaction]:
    """A transaction that takes PostgreSQL no journeys of its own: BEGIN goes along with its first statement, and COMMIT
    with its last. Durable when it is left without an exception, else undone. Inside, no ORM may write: to Django there
    is no transaction. On SQLite, and within a transaction of Django's, it is as ``atomic()``."""
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        with transaction.atomic():
            yield BriefTransaction("", "")
        return
    try:
        yield BriefTransaction("BEGIN", "COMMIT")
        status = connection.connection.info.transaction_status
        if status == FAILED:  # to COMMIT it would say ROLLBACK, and that is no error to PostgreSQL
            raise InternalError("a statement of this transaction has failed")
        if status:  # nothing had to be written, or COMMIT was not sent along
            connection.commit()
    except BaseException:
        try:
            connection.rollback()
        except Error:
            connection.close()
        raise


def text_array(values: Sequence[str]) -> str:
    """PostgreSQL's spelling of a list of texts. (psycopg's own asks each value for its type, at 20 times the cost.)
    Raises ValueError for a NUL in one."""
    joined = '","'.join(values)
    if "\0" in joined:
        raise ValueError("PostgreSQL keeps no NUL")
    if "\\" in joined or joined.count('"') != 2 * max(0, len(values) - 1):
        joined = '","'.join(value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return f'{{"{joined}"}}' if values else "{}"


def number_array(values: Sequence[float | None]) -> str:
    """The same of numbers."""
    return f"{{{','.join(map(str, values))}}}".replace("None", "NULL")
