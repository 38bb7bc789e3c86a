"""``manage.py importextensions FILE.csv``: all or nothing, each bad line named."""

from __future__ import annotations

import contextlib
import csv
import os
import sys
from pathlib import Path

from django.core.management.base import CommandError
from django.db import IntegrityError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from extensions.bulk import ChangedMeanwhile
from extensions.csv_tables import UnreadableTable, decode, read_table
from extensions.importing import COLUMNS, REQUIRED, BadLines, Plan, carry_out, plan_import
from extensions.management.database_command import DatabaseCommand
from pbx.system.identity import current_realm
from pbx.system_errors import reason_in_words

SHOWN_LINES = 50
SHOWN_NUMBERS = 10
MAX_BYTES = 64 * 1024 * 1024


class Command(DatabaseCommand):
    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _(
            "Imports extensions from a CSV file whose first line names the columns: number, and if wanted name, "
            "password, ha1 and ha1_sha256 (of this server's realm), enabled, max_devices, ring_seconds, "
            "media_from_anywhere, language. All lines are imported or none."
        )

    def add_arguments(self, parser):
        parser.add_argument("file", help=_("the CSV file (comma, semicolon or tab), or - for standard input"))
        parser.add_argument("--dry-run", action="store_true", help=_("check everything, change nothing"))
        parser.add_argument(
            "--update", action="store_true",
            help=_("change extensions that are there already; what the file has no column for stays as it is"),
        )
        parser.add_argument(
            "--generate-passwords", metavar="OUT.csv",
            help=_("make a password for each extension that would be without one, and write them to this new file"),
        )
        parser.add_argument(
            "--encoding", default="", help=_("of the file if it is not UTF-8, for example cp1251")
        )

    def handle(self, *, file, dry_run, update, generate_passwords, encoding, **_options):
        output = Path(generate_passwords) if generate_passwords else None
        if output is not None and output.exists():
            raise CommandError(_("%(file)s is there already: name a new file for the passwords.") % {"file": output})
        try:
            columns, rows = read_table(decode(self._read(file), encoding), COLUMNS, REQUIRED)
            plan = plan_import(columns, rows, update=update, generate=output is not None)
        except UnreadableTable as error:
            raise CommandError(_("%(reason)s Nothing was imported.") % {"reason": error}) from None
        except BadLines as error:
            raise CommandError(self._bad_lines(error)) from None
        if not dry_run:
            self._carry_out(plan, output)
        self._tell(plan, columns, output, dry_run=dry_run)

    def _read(self, file: str) -> bytes:
        try:
            if file == "-":
                data = sys.stdin.buffer.read(MAX_BYTES + 1)
            else:
                with open(file, "rb") as opened:
                    data = opened.read(MAX_BYTES + 1)
        except OSError as error:
            raise CommandError(
                _("%(file)s cannot be read: %(reason)s.") % {"file": file, "reason": reason_in_words(error)}
            ) from None
        if len(data) > MAX_BYTES:
            raise CommandError(_("The file is larger than 64 MB: split it."))
        return data

    def _bad_lines(self, error: BadLines) -> str:
        lines = [
            _("Line %(line)d: %(reason)s") % {"line": bad.line, "reason": bad.reason}
            for bad in error.lines[:SHOWN_LINES]
        ]
        left_off = len(error.lines) - len(lines)
        if left_off:
            lines.append(ngettext("and %(count)d more.", "and %(count)d more.", left_off) % {"count": left_off})
        lines.append(_("Nothing was imported."))
        return "\n".join(lines)

    def _carry_out(self, plan: Plan, output: Path | None) -> None:
        written = False

        def write_passwords() -> None:
            nonlocal written
            if output is not None and plan.generated:
                # Before the commit: a password that no one has seen must not be in the database.
                _write_passwords(plan, output)
                written = True

        try:
            carry_out(plan, write_passwords)
        except BaseException as error:
            if written:
                with contextlib.suppress(OSError):
                    output.unlink()
            if isinstance(error, (ChangedMeanwhile, IntegrityError)):
                raise CommandError(
                    _("The extensions were changed by somebody else at this moment. Nothing was imported: run the "
                      "command again.")
                ) from None
            if isinstance(error, OSError):
                raise CommandError(
                    _("%(file)s cannot be written: %(reason)s. Nothing was imported.")
                    % {"file": output, "reason": reason_in_words(error)}
                ) from None
            raise

    def _tell(self, plan: Plan, columns: list[str], output: Path | None, *, dry_run: bool) -> None:
        counts = {"created": plan.created, "updated": plan.updated}
        if dry_run:
            self.stdout.write(
                _("The file is good: %(created)d would be made, %(updated)d changed. Nothing was written.") % counts
            )
        else:
            self.stdout.write(_("Extensions made: %(created)d, changed: %(updated)d.") % counts)
        if {"ha1", "ha1_sha256"} & set(columns):
            self.stdout.write(
                _("Every HA1 is taken as made for the realm %(realm)s; one of another realm is refused like a wrong "
                  "password.") % {"realm": current_realm()}
            )
        if plan.without_credential:
            self.stdout.write(
                _("Without a password, no phone can sign in to: %(numbers)s. Use setpassword, or import with "
                  "--generate-passwords.") % {"numbers": _some(plan.without_credential)}
            )
        if plan.weak:
            self.stdout.write(_("Weak or risky passwords: %(numbers)s.") % {"numbers": _some(plan.weak)})
        if plan.generated and dry_run:
            self.stdout.write(
                _("Passwords would be generated for: %(numbers)s.") % {"numbers": _some(plan.generated)}
            )
        elif plan.generated:
            self.stdout.write(
                _("Generated passwords (%(count)d) are in %(file)s: hand them out and delete the file.")
                % {"count": len(plan.generated), "file": output}
            )
        if "password" in columns and not dry_run:
            self.stdout.write(_("The imported file has passwords in it: delete it when it is no longer needed."))


def _write_passwords(plan: Plan, output: Path) -> None:
    """A new file that only its owner can read. Raises OSError."""
    generated = set(plan.generated)
    with open(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(("number", "password"))
        writer.writerows(
            (change.extension.number, change.raw) for change in plan.changes if change.extension.number in generated
        )
        file.flush()
        os.fsync(file.fileno())


def _some(numbers: list[str]) -> str:
    """At most ten of them by name."""
    text = ", ".join(numbers[:SHOWN_NUMBERS])
    left_off = len(numbers) - SHOWN_NUMBERS
    if left_off <= 0:
        return text
    return ngettext("%(numbers)s and %(count)d more", "%(numbers)s and %(count)d more", left_off) % {
        "numbers": text, "count": left_off
    }
