"""``manage.py setpassword 1001``: the password never stands on the command line, where every user of the machine and
the shell's history could read it."""

from __future__ import annotations

import getpass
import sys

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import DatabaseError, IntegrityError, OperationalError, transaction
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from extensions.audit import log_from_terminal
from extensions.management.database_command import DatabaseCommand, first_line
from extensions.models import CredentialState, Extension
from extensions.passwords import generate_password, password_warning, validate_password

TRIES = 3


class Command(DatabaseCommand):
    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Sets the password of an extension. Asks for it twice, unless --generate or --stdin is given.")

    def add_arguments(self, parser):
        parser.add_argument("number", help=_("the extension, for example 1001"))
        source = parser.add_mutually_exclusive_group()
        source.add_argument(
            "--generate", action="store_true",
            help=_("make a strong password and print it once; into a pipe or a file alone on its line"),
        )
        source.add_argument(
            "--stdin", action="store_true", help=_("read the password from the first line of standard input")
        )
        parser.add_argument("--create", action="store_true", help=_("make the extension if there is none yet"))
        parser.add_argument("--name", default="", help=_("display name of the extension made by --create"))

    def handle(self, *, number, generate, stdin, create, name, **_options):
        # With --generate a script reads the password from stdout; what is said about it goes to stderr.
        self.report = self.stderr if generate else self.stdout
        extension = self._extension(number, create, name)
        made = extension.pk is None
        before = None if made else extension.credential_state
        raw = generate_password() if generate else self._typed(extension.number, stdin)
        same = not made and extension.check_password(raw)
        try:
            extension.set_password(raw)
            with transaction.atomic():
                extension.save(update_fields=None if made else ["password"])
                log_from_terminal(
                    "setpassword", [extension] if made else [], [] if made else [extension], ["password"]
                )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        except IntegrityError:
            raise CommandError(
                _("Extension %(number)s was made by somebody else at this moment: run the command again.")
                % {"number": extension.number}
            ) from None
        except OperationalError:
            raise
        except DatabaseError as error:
            if made or Extension.objects.filter(pk=extension.pk).exists():
                raise CommandError(_("The database refused: %(error)s") % {"error": first_line(error)}) from None
            raise CommandError(
                _("Extension %(number)s was deleted meanwhile.") % {"number": extension.number}
            ) from None
        if generate:
            # A script reads the bare password from a pipe.
            self.stdout.write(_("Password: %(password)s") % {"password": raw} if self.stdout.isatty() else raw)
        self._tell(extension, made=made, before=before, same=same)
        if not generate and (warning := password_warning(raw)):
            self._say(warning)

    def _extension(self, number: str, create: bool, name: str) -> Extension:
        extension = Extension.objects.by_number(number).first()
        if extension is not None:
            return extension
        if not create:
            raise CommandError(
                _("There is no extension %(number)s. To make it: manage.py setpassword %(number)s --create")
                % {"number": _printable(number)}
            )
        extension = Extension(number=number, display_name=name.strip())
        try:
            extension.full_clean()
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        return extension

    def _typed(self, number: str, stdin: bool) -> str:
        if stdin:
            return self._checked(self._first_line(), number)
        if not sys.stdin.isatty():
            raise CommandError(
                _("There is no terminal to ask on. Use --stdin to read the password from a pipe, or --generate.")
            )
        for _try in range(TRIES):
            try:
                raw = getpass.getpass(_("Password for %(number)s: ") % {"number": number})
                again = getpass.getpass(_("The same password again: "))
            except (KeyboardInterrupt, EOFError):
                self._say("")
                raise CommandError(_("Cancelled: nothing was changed.")) from None
            if raw != again:
                self._say(_("The two are not the same. Try again."))
                continue
            try:
                return self._checked(raw, number)
            except CommandError as error:
                self._say(str(error))
        raise CommandError(_("Given up after %(tries)d tries: nothing was changed.") % {"tries": TRIES})

    def _first_line(self) -> str:
        data = getattr(sys.stdin, "buffer", sys.stdin).readline()
        if isinstance(data, bytes):
            try:
                data = data.decode("utf-8-sig")
            except UnicodeDecodeError:
                raise CommandError(_("The password on stdin is not UTF-8: nothing was changed.")) from None
        return data.removesuffix("\n").removesuffix("\r")

    def _checked(self, raw: str, number: str) -> str:
        try:
            validate_password(raw, number)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        return raw

    def _tell(self, extension: Extension, *, made: bool, before: CredentialState | None, same: bool) -> None:
        """What was done, and what the person has to do next."""
        values = {"number": extension.number}
        if made:
            self._say(_("Extension %(number)s was made, with its password.") % values)
        elif same:
            self._say(_("That is the password that %(number)s had already.") % values)
        else:
            self._say(_("The password of %(number)s was changed.") % values)
        if before == CredentialState.MISSING:
            self._say(_("It had no credential, so that no phone could sign in; now it has one."))
        elif before == CredentialState.STALE:
            self._say(_("Its credential was made for another realm or number, so that no phone could sign in; "
                        "now it is right again."))
        if not extension.enabled:
            self._say(_("Extension %(number)s is disabled: no phone can register until it is enabled.") % values)
        for binding in extension.bindings.online().with_password_age().order_by("expires_at"):
            if binding.has_old_password:
                self._say(
                    _("%(phone)s at %(address)s is registered with the old password: it will fail at %(time)s "
                      "unless the new one is entered there.")
                    % {
                        "phone": _printable(binding.user_agent) or _("A phone"),
                        "address": f"{binding.remote_host}:{binding.remote_port}",
                        "time": date_format(timezone.localtime(binding.expires_at), "H:i"),
                    }
                )
        account = extension.sip_account
        self._say(
            _("In the phone: user %(user)s, server %(server)s, port %(port)d, transport %(transport)s.")
            % {"user": account.username, "server": account.server, "port": account.port,
               "transport": account.transport}
        )

    def _say(self, text: str) -> None:
        self.report.write(str(text), style_func=lambda plain: plain)


def _printable(text: str) -> str:
    """No control code from a phone or an argument reaches the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
