"""``manage.py resetsecondfactor NAME``: for an administrator who has lost the telephone with the codes."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django_otp.plugins.otp_totp.models import TOTPDevice


class Command(BaseCommand):
    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Forget the authenticator app of an administrator; the next sign-in shows a new QR code.")

    def add_arguments(self, parser):
        parser.add_argument("name", help=_("the name that the administrator signs in with"))

    def handle(self, *args, name: str, **options):
        users = get_user_model()
        try:
            user = users.objects.get_by_natural_key(name)
        except users.DoesNotExist:
            raise CommandError(
                _("There is no administrator with the name %(name)s. Check how it is spelled.") % {"name": name}
            ) from None
        count, _tables = TOTPDevice.objects.filter(user=user).delete()
        self.stdout.write(
            _("Done: the next sign-in of %(name)s shows a new QR code.") % {"name": name} if count else
            _("%(name)s had no authenticator app yet; nothing was changed.") % {"name": name}
        )
