"""Moves everything from SQLite to an empty PostgreSQL: each row as it is, with its key, read back and compared.

Nothing serves meanwhile (``alone``): a registration is confirmed only after it was written, so none can be confirmed
between the reading of its row and the new start, and none is lost. Passwords are not needed: the HA1 rows and the
realm that is inside them go along."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import Error as DatabaseError
from django.db import connection, connections, models, transaction
from django.utils.translation import gettext as _

from extensions.models import Extension
from pbx.databases import database_settings
from pbx.diagnosis.pending_migrations import pending_migrations
from pbx.operations.alone import alone, mark_moved
from pbx.startup.refusal import Refusal

TARGET = "moving"
CHUNK = 500


@dataclass(frozen=True)
class Moved:
    rows: int
    extensions: int


def move_database(url: str) -> Moved:
    """:raises Refusal: with the one sentence; the SQLite file is then still the database.
    :raises django.db.Error: when the SQLite file cannot be read."""
    wanted = _target_settings(url)
    if connection.vendor != "sqlite":
        raise Refusal(_("This PBX does not use SQLite: there is nothing to move."))
    if pending_migrations():
        raise Refusal(_("The database is not up to date yet: run manage.py prepare first."))
    with alone(), _target(wanted):
        _refuse_used_target()
        call_command("migrate", database=TARGET, interactive=False, verbosity=0)
        # The outer transaction lets nobody write to the old file until it is marked.
        with transaction.atomic():
            with transaction.atomic(using=TARGET):
                moved = _copy_everything()
            mark_moved()
    return moved


def _target_settings(url: str) -> dict:
    if url.partition(":")[0].lower() not in ("postgres", "postgresql", "pgsql"):
        raise Refusal(_("The new database must be PostgreSQL: write postgres://USER:PASSWORD@HOST:5432/NAME."))
    try:
        return database_settings(url, settings.VAR_DIR)
    except ImproperlyConfigured as error:
        raise Refusal(str(error)) from None


@contextmanager
def _target(wanted: dict) -> Iterator[None]:
    connections.settings[TARGET] = connections.configure_settings({"default": {}, TARGET: wanted})[TARGET]
    try:
        try:
            connections[TARGET].ensure_connection()
        except DatabaseError:
            raise Refusal(
                _(
                    "The new database does not answer or refuses us, nothing was changed: make it as docs/deploy.md "
                    "says, and check its address and password."
                )
            ) from None
        yield
    finally:
        connections[TARGET].close()
        del connections[TARGET]
        del connections.settings[TARGET]


def _refuse_used_target() -> None:
    """Tables without anybody in them are those of an earlier try."""
    there = set(connections[TARGET].introspection.table_names())
    ours = {model._meta.db_table for model in _models()} | {"django_migrations"}
    used = bool(there - ours) or any(
        model._meta.db_table in there and _rows(model, TARGET).exists() for model in (Extension, get_user_model())
    )
    if used:
        raise Refusal(_("The new database is not empty, nothing was changed: give one that was just made."))


def _models() -> list[type[models.Model]]:
    return [
        model for model in apps.get_models(include_auto_created=True) if model._meta.managed and not model._meta.proxy
    ]


def _rows(model: type[models.Model], using: str) -> models.QuerySet:
    """All rows, whatever the model's own managers show or forbid."""
    return models.QuerySet(model, using=using).order_by("pk")


def _copy_everything() -> Moved:
    target = connections[TARGET]
    copied = _models()
    with target.cursor() as cursor:
        # What the migrations made by themselves (a realm, the kinds of objects) is ours already, with its own keys.
        for statement in target.ops.sql_flush(no_style(), [model._meta.db_table for model in copied]):
            cursor.execute(statement)
    rows = 0
    for model in copied:
        try:
            rows += _copy(model)
        except DatabaseError as error:  # its own words may quote a secret of the row
            raise Refusal(
                _("The table %(table)s does not fit into PostgreSQL (%(kind)s), nothing was changed.")
                % {"table": model._meta.db_table, "kind": type(error).__name__}
            ) from None
    try:
        target.check_constraints()
    except DatabaseError:
        raise Refusal(
            _("A row of the SQLite file belongs to one that is not there any more, nothing was changed.")
        ) from None
    with target.cursor() as cursor:
        for statement in target.ops.sequence_reset_sql(no_style(), copied):
            cursor.execute(statement)
    return Moved(rows, _rows(Extension, TARGET).filter(hidden=False).count())


def _copy(model: type[models.Model]) -> int:
    fields = model._meta.local_concrete_fields
    names = [field.attname for field in fields]
    rows, copied = _rows(model, "default").iterator(chunk_size=CHUNK), 0
    while chunk := list(islice(rows, CHUNK)):
        # raw: times that a model sets at each save stay what they were.
        models.QuerySet(model, using=TARGET)._insert(chunk, fields=fields, using=TARGET, raw=True)
        found = _rows(model, TARGET).filter(pk__in=[row.pk for row in chunk]).values_list("pk", *names)
        back = {key: values for key, *values in found}
        if any(back.get(row.pk) != [getattr(row, name) for name in names] for row in chunk):
            raise Refusal(
                _("A row of the table %(table)s is not the same in PostgreSQL, nothing was changed.")
                % {"table": model._meta.db_table}
            )
        copied += len(chunk)
    if copied != _rows(model, TARGET).count():
        raise Refusal(
            _("A row of the table %(table)s is not the same in PostgreSQL, nothing was changed.")
            % {"table": model._meta.db_table}
        )
    return copied
