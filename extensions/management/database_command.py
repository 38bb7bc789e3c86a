"""A command that says in one sentence that the database is away or was never set up."""

from __future__ import annotations

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, OperationalError, ProgrammingError, connection
from django.utils.translation import gettext as _


class DatabaseCommand(BaseCommand):
    def execute(self, *args, **options):
        try:
            return super().execute(*args, **options)
        except (OperationalError, ProgrammingError) as error:
            if _is_set_up() is False:
                raise CommandError(
                    _("The database has not been set up yet: run manage.py migrate, or manage.py start.")
                ) from None
            raise CommandError(
                _("The database does not work at the moment, nothing was changed: %(error)s")
                % {"error": first_line(error)}
            ) from None


def first_line(error: DatabaseError) -> str:
    """What the database says, without the lines in which PostgreSQL repeats the row and its secrets."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _is_set_up() -> bool | None:
    """Whether our tables are there; None when the database cannot be asked."""
    from extensions.models import Extension

    try:
        return Extension._meta.db_table in connection.introspection.table_names()
    except DatabaseError:
        return None
