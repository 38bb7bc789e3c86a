"""``manage.py doctor``: what is wrong with the server, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from textwrap import indent

from django.core.management.base import CommandError
from django.db import Error
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pbx.diagnosis.doctor import CHANGEABLE, Check, examine, examine_change
from pbx.diagnosis.terminal import one_line, verdicts_as_text
from pbx.management.language_option import InLanguage

MOST = 100
"""The exit code is the number of problems, at most this."""


class Command(InLanguage):
    requires_system_checks: list[str] = []  # it tells of them itself

    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Checks the whole server, registers and calls itself as a phone, and says what to do. The exit code "
                 "is the number of problems.")

    def add_arguments(self, parser):
        parser.add_argument("--json", action="store_true", help=_("for programs: one JSON object"))
        parser.add_argument("--if", action="append", default=[], dest="changes", metavar="NAME=VALUE",
                            help=_("what would happen to the phones with this setting: SIP_REALM, SIP_DOMAIN or "
                                   "SIP_ALIASES; nothing is changed"))

    def handle(self, *args, changes: list[str], **options):
        values = dict(self._change(text) for text in changes)
        checks: Iterable[Check] = examine_change(values) if values else examine()
        try:
            problems = self._as_json(checks) if options["json"] else self._as_text(checks, bool(values))
        except Error as error:
            raise CommandError(_("The database does not answer (%(kind)s).") % {"kind": type(error).__name__}) from None
        if problems:
            raise SystemExit(min(problems, MOST))

    def _change(self, text: str) -> tuple[str, str]:
        name, equals, value = text.partition("=")
        if name not in CHANGEABLE or not equals or not value.strip():
            raise CommandError(
                _("--if takes one of %(names)s with its value, for example --if SIP_DOMAIN=pbx.example.com.")
                % {"names": ", ".join(CHANGEABLE)}
            )
        return name, value.strip()

    def _as_json(self, checks: Iterable[Check]) -> int:
        found = list(checks)
        verdicts = [verdict.as_json() for check in found for verdict in check.verdicts]
        self.stdout.write(json.dumps({
            "language": (translation.get_language() or "en").partition("-")[0],
            "checks": [
                {"name": check.name, "ok": check.ok, "tested": check.tested,
                 "verdicts": [verdict.as_json() for verdict in check.verdicts], "notes": list(check.notes)}
                for check in found
            ],
            "verdicts": verdicts,
        }, ensure_ascii=False, indent=2))
        return len(verdicts)

    def _as_text(self, checks: Iterable[Check], change: bool) -> int:
        problems = 0
        for check in checks:
            problems += len(check.verdicts)
            if not check.ok:
                mark = self.style.ERROR(_("PROBLEM"))
            else:
                mark = self.style.SUCCESS(_("OK")) if check.tested else self.style.WARNING(_("NOT SEEN"))
            self.stdout.write(f"{mark}  {check.title}")
            for note in check.notes:
                self.stdout.write(f"    {one_line(note)}")
            if check.verdicts:
                self.stdout.write(indent(verdicts_as_text(check.verdicts), "    "))
            self.stdout.flush()
        if problems:
            self.stdout.write(
                ngettext("%(count)d problem.", "%(count)d problems.", problems) % {"count": problems}
            )
        else:
            self.stdout.write(_("The phones would notice nothing.") if change else _("No problem found."))
        return problems
