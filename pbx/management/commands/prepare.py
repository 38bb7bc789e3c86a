import sys

from django.core.management.base import BaseCommand
from django.utils.translation import gettext as _

from pbx.operations.alone import announce_running
from pbx.startup.greeting import next_steps
from pbx.startup.preparation import make_first_login, prepare_database
from pbx.startup.refusal import Refusal


class Command(BaseCommand):
    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Makes the database ready; on the first run also an administrator and the extension 1001.")

    def handle(self, *args, **options):
        try:
            announce_running()
            prepare_database()
            login = make_first_login()
        except Refusal as refusal:
            sys.exit(str(refusal))
        if login is not None:
            self.stdout.write(next_steps(login, self.stdout.isatty()))
