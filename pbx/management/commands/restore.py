"""``manage.py restore FILE``: puts a backup in the place of the database."""

from __future__ import annotations

from pathlib import Path

from django.core.management.base import CommandError
from django.utils.translation import gettext as _

from extensions.management.database_command import DatabaseCommand
from pbx.operations.restoring import restore
from pbx.startup.refusal import Refusal


class Command(DatabaseCommand):
    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Puts a backup in the place of the database; the PBX must be stopped. What was there is kept.")

    def add_arguments(self, parser):
        parser.add_argument("file", metavar="FILE", help=_("a file that manage.py backup wrote"))

    def handle(self, *args, file: str, **options):
        try:
            restored = restore(Path(file))
        except Refusal as refusal:
            raise CommandError(str(refusal)) from None
        manifest = restored.manifest
        self.stdout.write(
            _("Restored: the backup of %(time)s, made by version %(version)s.")
            % {"time": manifest.made_at[:19].replace("T", " ") + " UTC", "version": manifest.version}
        )
        if restored.kept is not None:
            self.stdout.write(_("What was there before is kept in %(file)s") % {"file": restored.kept})
        if restored.dotenv is not None:
            self.stdout.write(
                _("The settings of the backup are in %(file)s: compare them with .env, then delete the file.")
                % {"file": restored.dotenv}
            )
        self.stdout.write(_("Start the PBX again. Phones that registered since the backup come back by themselves."))
