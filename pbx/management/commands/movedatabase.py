"""``manage.py movedatabase --to URL``: from SQLite to PostgreSQL, and no phone needs its password again."""

from __future__ import annotations

import getpass
import sys

from django.core.management.base import CommandError
from django.utils.translation import gettext as _

from extensions.management.database_command import DatabaseCommand
from pbx.operations.moving import move_database
from pbx.startup.refusal import Refusal


class Command(DatabaseCommand):
    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Moves everything from SQLite to an empty PostgreSQL database; the PBX must be stopped.")

    def add_arguments(self, parser):
        parser.add_argument(
            "--to", required=True, metavar="URL",
            help=_("postgres://USER:PASSWORD@HOST:5432/NAME, or - to be asked for it: arguments are seen by others"),
        )

    def handle(self, *args, to: str, **options):
        if to == "-":
            to = getpass.getpass("DATABASE_URL=") if sys.stdin.isatty() else sys.stdin.readline()
        try:
            moved = move_database(to.strip())
        except Refusal as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(
            _("Everything was moved and compared. Rows: %(rows)s. Extensions: %(extensions)s.")
            % {"rows": moved.rows, "extensions": moved.extensions}
        )
        self.stdout.write(
            _(
                "Now write this address as DATABASE_URL into .env and start the PBX. The SQLite file stays as it was; "
                "the PBX does not start on it any more."
            )
        )
