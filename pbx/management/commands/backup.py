"""``manage.py backup [FILE]``: everything in one file, while the PBX runs."""

from __future__ import annotations

from pathlib import Path

from django.core.management.base import CommandError
from django.utils.translation import gettext as _

from extensions.management.database_command import DatabaseCommand
from pbx.operations.archive import DOTENV, SECRET_KEY
from pbx.operations.backing_up import beside_the_database, default_path, make_backup
from pbx.startup.refusal import Refusal


class Command(DatabaseCommand):
    requires_system_checks: list[str] = []  # a wrong setting is no reason to have no backup

    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Writes the database, the secret key and .env into one file. The PBX may run meanwhile.")

    def add_arguments(self, parser):
        parser.add_argument(
            "file", nargs="?", default="", metavar="FILE",
            help=_("the file to write; default: a new one in var/backups"),
        )

    def handle(self, *args, file: str, **options):
        try:
            path = Path(file) if file else default_path()
            make_backup(path)
        except Refusal as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(_("Written: %(file)s") % {"file": path})
        self.stdout.write(_("Keep it secret, and on another machine: whoever has it can use every phone's account."))
        with_it = beside_the_database()
        if SECRET_KEY not in with_it and DOTENV not in with_it:
            self.stdout.write(_("The secret key is not in it: it comes from the setting SECRET_KEY. Keep that too."))
