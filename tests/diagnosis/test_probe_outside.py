"""The test from outside as it is meant: the PBX in the Internet, a telephone behind a router of its own. What the
telephone's browser reaches, and what it is told while its SIP phone registers the same way."""

from __future__ import annotations

import http.client
import re
from typing import ClassVar

from pbx.web_server import command
from tests.support.baresip import Baresip
from tests.support.cases import PASSWORD, OnSqlite, PbxCase
from tests.support.network_namespaces import Networks, inside
from tests.support.pbx import ROOT
from tests.support.processes import PATIENCE, Program, wait_until

SERVER, ROUTER, PHONE, STRANGER = "203.0.113.10", "203.0.113.2", "192.168.77.50", "203.0.113.66"
WEB_PORT = 8000

MAKE_LINK = """
from extensions.models import Extension
from pbx.diagnosis.probe_links import make_link
print("token", make_link(Extension.objects.get(number="{number}"), "root").token)
"""


class OutsideTests(PbxCase):
    settings = {"SIP_DOMAIN": SERVER}
    networks: ClassVar[Networks]

    @classmethod
    def setUpClass(cls) -> None:
        cls.networks = Networks()
        cls.addClassCleanup(cls.networks.close)
        internet, home = cls.networks.switch("internet"), cls.networks.switch("home")
        server = cls.networks.host("server", internet, f"{SERVER}/24")
        cls.networks.router("router", internet, f"{ROUTER}/24", home, "192.168.77.1/24")
        cls.phone_place = cls.networks.host("phone", home, f"{PHONE}/24", "192.168.77.1")
        cls.stranger_place = cls.networks.host("stranger", internet, f"{STRANGER}/24")
        cls.place = {"namespace": server, "host": SERVER, "port": 5060}
        super().setUpClass()
        cls.web = Program(
            ["ip", "netns", "exec", server, *command()], log_path=cls.pbx.directory / "web.log", cwd=ROOT,
            name="gunicorn", env={
                **cls.pbx.env, "WEB_HOST": "0.0.0.0", "WEB_PORT": str(WEB_PORT), "ALLOWED_HOSTS": "",
                "EXTERNAL_IP": SERVER, "DJANGO_SETTINGS_MODULE": "pbx.settings",
                "GUNICORN_CMD_ARGS": "--log-level info",
            },
        )
        cls.addClassCleanup(cls.web.stop)
        cls.web.wait_for("Listening at", PATIENCE)

    def get(self, path: str, place: str = "", host: str = f"{SERVER}:{WEB_PORT}") -> tuple[int, str]:
        with inside(place or self.phone_place):
            link = http.client.HTTPConnection(SERVER, WEB_PORT, timeout=PATIENCE)
            link.connect()
        link.request("GET", path, headers={"Host": host, "Accept-Language": "en"})
        answer = link.getresponse()
        text = answer.read().decode()
        link.close()
        return answer.status, text

    def tone(self, path: str) -> str:
        return re.search(r'class="state (\w+)"', self.get(f"{path}state/")[1])[1]

    def test_a_telephone_behind_its_own_router(self):
        number = self.new_extension()
        told = self.pbx.manage("shell", "--verbosity", "0", "-c", MAKE_LINK.format(number=number))
        path = "/p/{}/".format(re.search(r"token (\S+)", told)[1])

        for address in ("/", "/admin/", "/admin/login/"):
            status, text = self.get(address)
            self.assertEqual(status, 404)
            self.assertIn(f"You come from {ROUTER}", text)
        status, text = self.get(path)
        self.assertEqual(status, 200)
        self.assertIn(f"It sees you as <strong>{ROUTER}</strong>", text)
        self.assertNotIn("inner network", text)
        self.assertEqual(self.get(path, host="somebody.example")[0], 400)
        self.assertEqual(self.tone(path), "waiting")

        # A stranger guesses at the same number from elsewhere: that is nothing to this telephone once it has tried.
        wrong = Baresip((SERVER, 5060), number, "no", domain=SERVER, namespace=self.phone_place, address=PHONE)
        self.addCleanup(wrong.stop)
        guess = Baresip((SERVER, 5060), number, "no", domain=SERVER, namespace=self.stranger_place, address=STRANGER)
        self.addCleanup(guess.stop)
        wrong.wait_refused()
        guess.wait_refused()
        wait_until(lambda: self.tone(path) == "error", "the wrong password is said")
        wrong.stop()

        phone = Baresip((SERVER, 5060), number, PASSWORD, domain=SERVER, namespace=self.phone_place, address=PHONE)
        self.addCleanup(phone.stop)
        phone.wait_registered()
        wait_until(lambda: self.tone(path) == "good", "it turns green")
        text = self.get(f"{path}state/")[1]
        self.assertIn(f"same address as this page: {ROUTER}", text)
        for other in (STRANGER, PHONE):
            self.assertNotIn(other, text)


class OutsideOnSqlite(OutsideTests, OnSqlite): ...
