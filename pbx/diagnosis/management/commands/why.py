"""``manage.py why 1001``: why a phone does not register; ``manage.py why --call ID``: what was wrong with a call."""

from __future__ import annotations

import json
import re

from django.core.management.base import CommandError
from django.db import DatabaseError
from django.utils import translation
from django.utils.translation import gettext as _

from pbx.diagnosis.calls import explain_call, find_call
from pbx.diagnosis.difference import difference_card
from pbx.diagnosis.explain import Explanation, explain_number, without_database
from pbx.diagnosis.gather import LONGEST_NUMBER
from pbx.diagnosis.server import server_verdicts
from pbx.diagnosis.terminal import one_line, verdicts_as_text
from pbx.diagnosis.verdict import Severity, Verdict
from pbx.management.language_option import InLanguage


class Command(InLanguage):
    requires_system_checks = ()  # a wrong setting may be the very thing that is asked about

    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Says why a phone does not register, or what was wrong with a call, and what to do. "
                 "Exit status 0: registered (or: the call was good), 1: not.")

    def add_arguments(self, parser):
        parser.add_argument("number", nargs="?", help=_("the number with which the phone signs in, for example 1001"))
        parser.add_argument("--call", metavar="ID", help=_("the call with this unique ID, instead of a number"))
        parser.add_argument("--json", action="store_true", help=_("for programs: one JSON document"))

    def handle(self, *, number, call, **options):
        if (number is None) == (call is None):
            raise CommandError(_("Give a number, for example `manage.py why 1001`, or a call with --call ID."))
        good = self._call(call, options["json"]) if call else self._number(number, options["json"])
        if not good:
            raise SystemExit(1)

    def _number(self, text: str, as_json: bool) -> bool:
        explanation = explain_number(_number(text))
        if as_json:
            self._write(json.dumps(explanation.as_json(), ensure_ascii=False, indent=1))
        else:
            self._write(verdicts_as_text(explanation.verdicts))
            self._write(self._card(explanation))
        return explanation.registered

    def _card(self, explanation: Explanation) -> str:
        """Fields of the phone that are wrong, beside what has to stand there."""
        card = difference_card(explanation.evidence) if explanation.evidence is not None else None
        if card is None or not card.wrong_rows:
            return ""
        title = _("In the phone (%(app)s):") % {"app": card.app} if card.app else _("In the phone:")
        rows = [
            _("%(field)s: it has “%(sent)s”, it should be “%(expected)s”")
            % {"field": row.field, "sent": row.sent, "expected": row.expected}
            if row.expected else _("%(field)s: it has “%(sent)s”") % {"field": row.field, "sent": row.sent}
            for row in card.wrong_rows
        ]
        return "\n".join(["", title, *(f"    {one_line(row)}" for row in rows)])

    def _call(self, uniqueid: str, as_json: bool) -> bool:
        try:
            record = find_call(uniqueid)
            if record is None:
                raise CommandError(
                    _("There is no call with the ID %(id)s. The IDs are in the list of call records and in its CSV "
                      "export.") % {"id": one_line(uniqueid)}
                )
            verdicts = tuple(explain_call(record))
        except DatabaseError:
            verdicts = without_database(server_verdicts(quick=True))
        if as_json:
            language = (translation.get_language() or "en").partition("-")[0]
            found = [verdict.as_json() for verdict in verdicts]
            self._write(json.dumps(
                {"call": uniqueid, "language": language, "verdicts": found}, ensure_ascii=False, indent=1
            ))
        else:
            self._write(verdicts_as_text(verdicts))
        return all(_harmless(verdict) for verdict in verdicts)

    def _write(self, text: str) -> None:
        if text:
            self.stdout.write(text, style_func=lambda plain: plain)


def _harmless(verdict: Verdict) -> bool:
    return verdict.severity in (Severity.OK, Severity.INFO)


def _number(text: str) -> str:
    """What stands before the @ of an address, too. Raises CommandError with the remedy."""
    number = re.sub(r"^sips?:", "", text.strip()).partition("@")[0]
    if not number or len(number) > LONGEST_NUMBER:
        raise CommandError(
            _("“%(text)s” is no number. Write the one with which the phone signs in, for example "
              "`manage.py why 1001`.")
            % {"text": one_line(text[:LONGEST_NUMBER])}
        )
    return number
