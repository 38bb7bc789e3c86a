import os
import sys

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils.translation import gettext as _

from pbx.operations.alone import announce_running
from pbx.startup.greeting import admin_address, next_steps
from pbx.startup.instance import take_instance_lock
from pbx.startup.ports import check_ports
from pbx.startup.preparation import make_first_login, prepare_database
from pbx.startup.refusal import Refusal
from pbx.startup.supervisor import Child, Supervisor
from pbx.system.port_owner import udp_port_owner
from pbx.web_server import answers, command


class Command(BaseCommand):
    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Prepares everything on the first run and runs the whole PBX until Ctrl-C.")

    def handle(self, *args, **options):
        try:
            lock = take_instance_lock(settings.VAR_DIR / "start.lock", admin_address())
            announce_running()
            check_ports(settings.SIP_HOST, settings.SIP_PORT, settings.WEB_HOST, settings.WEB_PORT)
            prepare_database()
            login = make_first_login()
        except Refusal as refusal:
            sys.exit(str(refusal))
        text = next_steps(login, self.stdout.isatty())
        os.chdir(settings.BASE_DIR)
        manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
        supervisor = Supervisor(
            [Child("sip", [*manage, "runsip"]), Child("web", command())],
            ready=lambda: udp_port_owner(settings.SIP_PORT) is not None and answers(1.0),
            on_ready=lambda: self.tell(text),
        )
        with lock:
            status = supervisor.run()
        sys.exit(status)

    def tell(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()  # into a journal or a file it would wait for more
