"""``manage.py supportbundle``: one file for whoever helps, without secrets and without names."""

from __future__ import annotations

from pathlib import Path

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.translation import gettext as _

from pbx.diagnosis.bundle import make_bundle
from pbx.management.language_option import InLanguage
from pbx.startup.preparation import write_private_bytes
from pbx.system_errors import reason_in_words


class Command(InLanguage):
    requires_system_checks: list[str] = []  # a wrong setting is no reason to get no help

    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Writes a support bundle: verdicts, settings, versions and failures, everything personal masked.")

    def add_arguments(self, parser):
        parser.add_argument("--output", default="", metavar="FILE", help=_("the zip file to write"))

    def handle(self, *args, output: str, **options):
        path = Path(output or f"pbx-support-{timezone.localtime():%Y%m%d-%H%M%S}.zip")
        try:
            write_private_bytes(path, make_bundle())
        except OSError as error:
            raise CommandError(_("%(file)s cannot be written: %(reason)s.") % {
                "file": path, "reason": reason_in_words(error),
            }) from None
        self.stdout.write(_("Written: %(file)s") % {"file": path})
