"""Where the SIP engine writes its evidence down (``sipcore.evidence.facts.EvidenceStore``): plain synchronous
functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeVar

from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.functions import Lower
from django.utils import timezone

from extensions.binding_table import as_text
from extensions.models import Extension
from pbx.diagnosis.evidence_rows import (
    LARGEST,
    LATEST,
    MOST_BYTES_OF_A_CALL,
    MOST_OF_A_CALL,
    attempt_values,
    message_json,
    messages_json,
    moment,
)
from pbx.diagnosis.models import Attempt as AttemptRow
from pbx.diagnosis.models import CallTrace as TraceRow
from pbx.diagnosis.models import OnlinePeriod, Watch, WatchedMessage
from pbx.diagnosis.quotas import (
    OF_AN_EXTENSION,
    OF_UNKNOWN_NUMBERS,
    delete,
    good_sources,
    keep_attempts,
    keep_periods,
    keep_traces,
    keep_watched,
    slices,
)
from pbx.prepared import Prepared, number_array, on_sqlite, text_array
from pbx.store_access import unit_of_work
from sipcore.evidence.facts import ENDINGS, Attempt, CallTrace, Period, Watched
from sipcore.protocol.headers import clean_text

ANEW = timedelta(hours=24)
"""A failure after so long without one is not the same any more: it is counted from one again."""

WATCHED_TIME = timedelta(hours=1)
"""How long the messages of a watched phone stay."""

CHUNK = 2000
"""Rows written in one transaction."""

MICROSECOND = 1e-6
"""Databases know nothing shorter."""

PERIOD = "extension_id", "started_at", "ended_at", "ending", "source", "user_agent"

R = TypeVar("R")
Key = tuple[str, str, str]  # number in lower case, source, cause


class DjangoEvidenceStore:
    @unit_of_work
    def write_attempts(self, attempts: Sequence[Attempt]) -> None:
        # Sorted: two writers cannot deadlock.
        _write(_write_attempts, sorted(attempts, key=lambda one: (one.number.lower(), one.source, one.cause)))

    @unit_of_work
    def write_periods(self, periods: Sequence[Period]) -> None:
        _write_periods(sorted(periods, key=lambda one: (one.account_id, one.started_at)))

    @unit_of_work
    def write_traces(self, traces: Sequence[CallTrace]) -> None:
        newest = {trace.uniqueid: trace for trace in traces}
        _write(_write_traces, [newest[uniqueid] for uniqueid in sorted(newest)])

    @unit_of_work
    def write_watched(self, messages: Sequence[Watched]) -> None:
        _write(_write_watched, list(messages))

    @unit_of_work
    def watched_numbers(self, now: float) -> frozenset[str]:
        rows = Watch.objects.filter(until__gt=moment(now)).order_by()
        return frozenset(number.lower() for number in rows.values_list("number", flat=True))

    @unit_of_work
    def sweep(self, before: float, limit: int) -> int:
        long_ago = moment(before)
        watched = max(long_ago, timezone.now() - WATCHED_TIME)
        old = (
            AttemptRow.objects.filter(last_at__lt=long_ago).order_by("last_at"),
            OnlinePeriod.objects.filter(ended_at__lt=long_ago).order_by("ended_at"),
            TraceRow.objects.filter(updated_at__lt=long_ago).order_by("updated_at"),
            WatchedMessage.objects.filter(at__lt=watched).order_by("at"),
            Watch.objects.filter(until__lt=watched).order_by("until"),
        )
        swept = 0
        for rows in old:
            ids = list(rows.values_list("pk", flat=True)[: max(0, limit - swept)])
            delete(rows.model, ids)
            swept += len(ids)
        return swept


def _write(write: Callable[[list[R]], None], rows: list[R]) -> None:
    """In transactions of some rows each. One row that the database refuses (its extension was deleted at this very
    moment) does not take its neighbours with it: they are halved, and only the guilty one is left out."""
    for first in range(0, len(rows), CHUNK):
        _write_chunk(write, rows[first : first + CHUNK])


def _write_chunk(write: Callable[[list[R]], None], rows: list[R], again: bool = True) -> None:
    try:
        with transaction.atomic():
            write(rows)
    except (IntegrityError, DataError, ValueError, OverflowError):
        if len(rows) > 1:
            _write_chunk(write, rows[: len(rows) // 2])
            _write_chunk(write, rows[len(rows) // 2 :])
        elif again:
            _write_chunk(write, rows, again=False)  # what it stumbled over may be gone


# Attempts


def _write_attempts(attempts: list[Attempt]) -> None:
    new: dict[Key, dict[str, Any]] = {}
    for attempt in attempts:
        values = attempt_values(attempt)
        key = (values["number"].lower(), values["source"], values["cause"])
        new[key] = values if key not in new else _together(new[key], values)
    extensions = _extensions({number for number, _source, _cause in new if number})
    at_rest = _at_rest(extensions.values())
    for key, values in new.items():
        extension = extensions.get(key[0])
        values["extension_id"] = extension if extension in at_rest else None
    for key, pk, last_at in _on_record(new):
        _renew(pk, last_at, new.pop(key))
    rows = _worth_keeping(list(new.values()))
    AttemptRow.objects.bulk_create([AttemptRow(**values) for values in rows])
    touched = {values["extension_id"] for values in rows}
    keep_attempts(touched - {None}, None in touched)


def _together(first: dict[str, Any], then: dict[str, Any]) -> dict[str, Any]:
    latest = max(first, then, key=lambda values: values["last_at"])
    return {
        **latest, "first_at": min(first["first_at"], then["first_at"]), "proven": first["proven"] or then["proven"],
        **{name: min(first[name] + then[name], LARGEST) for name in ("count", "repeats")},
    }


def _extensions(numbers: set[str]) -> dict[str, int]:
    """Those that exist, by number in lower case."""
    found: dict[str, int] = {}
    for part in slices(numbers):
        rows = Extension.everything.annotate(lower_number=Lower("number")).filter(lower_number__in=part)
        found.update(rows.order_by().values_list("lower_number", "pk"))
    return found


def _on_record(new: dict[Key, dict[str, Any]]) -> list[tuple[Key, int, datetime]]:
    found: list[tuple[Key, int, datetime]] = []
    for sources in slices({source for _number, source, _cause in new}):
        rows = AttemptRow.objects.select_for_update().filter(source__in=sources).order_by("pk")
        for pk, number, source, cause, last_at in rows.values_list("pk", "number", "source", "cause", "last_at"):
            if (key := (number.lower(), source, cause)) in new:
                found.append((key, pk, last_at))
    return list({key: (key, pk, last_at) for key, pk, last_at in found}.values())


def _at_rest(extension_ids: Collection[int]) -> set[int]:
    """Those that exist and that nobody is writing at this moment. The others are passed over: a row that points to one
    would wait until that is committed, and all registrations with it, for they need the same thread. They stay as
    they are until the end of this transaction. SQLite has one writer, which is us by now."""
    found: set[int] = set()
    for ids in slices(extension_ids):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:  # the lock that a foreign key takes
                table = connection.ops.quote_name(Extension._meta.db_table)
                cursor.execute(f"SELECT id FROM {table} WHERE id = ANY(%s) FOR KEY SHARE SKIP LOCKED", [ids])
                found.update(row[0] for row in cursor.fetchall())
        else:
            found.update(Extension.everything.filter(pk__in=ids).order_by().values_list("pk", flat=True))
    return found


def _renew(pk: int, last_at: datetime, values: dict[str, Any]) -> None:
    changed: dict[str, Any] = dict(values)
    if values["extension_id"] is None:  # not known now; it may be written there already
        del changed["extension_id"]
    if values["first_at"] - last_at < ANEW:
        del changed["first_at"]
        changed["count"] = F("count") + min(values["count"], 1_000_000)
        changed["repeats"] = F("repeats") + min(values["repeats"], 1_000_000)
        if not values["proven"]:
            del changed["proven"]
        if not values["messages"]:
            del changed["messages"]
    AttemptRow.objects.filter(pk=pk).update(**changed)


def _worth_keeping(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without those that the quotas would drop again at once."""
    of_extension: dict[int | None, list[dict[str, Any]]] = {}
    for values in rows:
        of_extension.setdefault(values["extension_id"], []).append(values)
    crowded = {id for id, group in of_extension.items() if id is not None and len(group) > OF_AN_EXTENSION}
    good = good_sources(crowded)
    kept: list[dict[str, Any]] = []
    for id, group in of_extension.items():
        most = OF_UNKNOWN_NUMBERS if id is None else OF_AN_EXTENSION
        if len(group) > most:
            group.sort(key=lambda values: (values["proven"] or (id, values["source"]) in good, values["last_at"]))
        kept += group[-most:]
    return kept


# All else


def _write_periods(periods: list[Period]) -> None:
    """All by one statement, which is a transaction of its own: when a whole office comes again there is a period of
    each phone, and each that registers meanwhile waits for this."""
    rows = dict.fromkeys(
        (
            period.account_id, period.started_at, period.ended_at, period.ending, clean_text(period.source, 64),
            clean_text(period.user_agent, 128),
        )
        for period in periods
        if 0 <= period.started_at < period.ended_at - MICROSECOND < LATEST and period.ending in ENDINGS
    )
    if not rows:
        return
    try:
        if connection.vendor == "postgresql":
            spelt = (number_array, number_array, number_array, text_array, text_array, text_array)
            columns = zip(*rows, strict=True)
            _new_periods().run([spell(column) for spell, column in zip(spelt, columns, strict=True)])
        else:
            values = [(id, as_text(started), as_text(ended), *texts) for id, started, ended, *texts in rows]
            on_sqlite(_new_periods_on_sqlite(), [json.dumps(values)])
    except (IntegrityError, DataError):
        if len(periods) > 1:
            _write_periods(periods[: len(periods) // 2])
            _write_periods(periods[len(periods) // 2 :])
        return
    keep_periods({row[0] for row in rows})


@cache
def _new_periods() -> Prepared:
    """For one array a column. What is told twice, because the store went away after the commit, is there already."""
    table, owners = OnlinePeriod._meta.db_table, Extension._meta.db_table
    arrays = ", ".join(f"${place}" for place in range(1, len(PERIOD) + 1))
    columns = ", ".join(PERIOD)
    text = (
        f"WITH given AS (SELECT extension_id, to_timestamp(started_at) AS started_at, "
        f"to_timestamp(ended_at) AS ended_at, ending, source, user_agent FROM unnest({arrays}) AS told({columns})) "
        f"INSERT INTO {table} ({columns}) SELECT {columns} FROM given "
        # Two numbers, and not EXISTS: that would be planned as a join with all rows.
        f"WHERE (SELECT count(*) FROM {owners} AS owner WHERE owner.id = given.extension_id) = 1 "
        f"AND (SELECT count(*) FROM {table} AS there WHERE {_SAME}) = 0"
    )
    return Prepared("sip_periods", ["int8[]", "float8[]", "float8[]", "text[]", "text[]", "text[]"], lambda: (text, ()))


@cache
def _new_periods_on_sqlite() -> str:
    table, owners, columns = OnlinePeriod._meta.db_table, Extension._meta.db_table, ", ".join(PERIOD)
    told = ", ".join(f"json_extract(value, '$[{place}]') AS {name}" for place, name in enumerate(PERIOD))
    return (
        f"INSERT INTO {table} ({columns}) SELECT {columns} FROM (SELECT {told} FROM json_each(%s)) AS given "
        f"WHERE EXISTS (SELECT 1 FROM {owners} WHERE id = extension_id) "
        f"AND NOT EXISTS (SELECT 1 FROM {table} AS there WHERE {_SAME})"
    )


_SAME = " AND ".join(f"there.{name} = given.{name}" for name in ("extension_id", "ended_at", "started_at", "ending"))


def _write_traces(traces: list[CallTrace]) -> None:
    rows = []
    for trace in traces:
        if not trace.uniqueid or clean_text(trace.uniqueid, 64) != trace.uniqueid:
            raise ValueError("uniqueid")
        messages = messages_json(trace.messages, MOST_OF_A_CALL, MOST_BYTES_OF_A_CALL)
        latest = max((message.at for message in trace.messages), default=None)
        updated = {} if latest is None else {"updated_at": moment(latest)}
        rows.append(TraceRow(uniqueid=trace.uniqueid, messages=messages, **updated))
    TraceRow.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["uniqueid"], update_fields=["updated_at", "messages"]
    )
    keep_traces()


def _write_watched(messages: list[Watched]) -> None:
    rows = [
        WatchedMessage(
            number=clean_text(one.number.lower(), 64), call_id=clean_text(one.call_id, 255),
            at=moment(one.message.at), message=message_json(one.message),
        )
        for one in messages
    ]
    WatchedMessage.objects.bulk_create(rows)
    keep_watched({row.number for row in rows})
