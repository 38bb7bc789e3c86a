"""``manage.py exportextensions [FILE]``: a table without secrets that ``importextensions`` reads again."""

from __future__ import annotations

from django.core.management.base import CommandError
from django.utils.translation import gettext as _

from extensions.exporting import write_extensions
from extensions.management.database_command import DatabaseCommand
from pbx.system_errors import reason_in_words


class Command(DatabaseCommand):
    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Writes all extensions as CSV, without passwords and HA1s, for a spreadsheet or for importextensions.")

    def add_arguments(self, parser):
        parser.add_argument("file", nargs="?", default="-", help=_("a new file; - or nothing for standard output"))
        parser.add_argument("--force", action="store_true", help=_("overwrite a file that is there already"))

    def handle(self, *, file, force, **_options):
        if file == "-":
            self.stdout.ending = ""
            write_extensions(self.stdout)
            return
        try:
            # The mark at the beginning makes Excel read the file as UTF-8.
            with open(file, "w" if force else "x", encoding="utf-8-sig", newline="") as output:
                count = write_extensions(output)
        except FileExistsError:
            raise CommandError(
                _("%(file)s is there already. To overwrite it, add --force.") % {"file": file}
            ) from None
        except OSError as error:
            raise CommandError(
                _("%(file)s cannot be written: %(reason)s.") % {"file": file, "reason": reason_in_words(error)}
            ) from None
        self.stdout.write(_("Extensions written: %(count)d.") % {"count": count})
