import os
import sys

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils.translation import gettext as _

from pbx.startup.ports import check_web_port
from pbx.startup.refusal import Refusal
from pbx.web_server import command


class Command(BaseCommand):
    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Runs the web pages (gunicorn) on WEB_HOST and WEB_PORT.")

    def handle(self, *args, **options):
        try:
            check_web_port(settings.WEB_HOST, settings.WEB_PORT)
        except Refusal as refusal:  # gunicorn would try for seconds and then not say who has the port
            sys.exit(str(refusal))
        sys.stdout.flush()
        os.chdir(settings.BASE_DIR)
        # The same process goes on: a service manager sees one, and signals reach it.
        os.execv(sys.executable, command())
