"""The whole way, with nothing faked: the web process, ``runsip``, a browser and real phones beside each other. A person
creates an extension, types its card into a phone, and sees the phone turn online; another scans the QR code."""

from __future__ import annotations

import sys

from tests.admin_ui.chromium import OFFICE, Browser
from tests.support.baresip import Baresip
from tests.support.cases import OnPostgres, OnSqlite, PbxCase
from tests.support.pbx import ROOT, manage
from tests.support.processes import PATIENCE, Program, free_port, scratch_directory, wait_until
from tests.support.programs import require_program

# As Linphone's own "Scan a QR code" leaves it behind before it starts anew.
SCANNED = "[misc]\nconfig-uri={url}\n[sip]\nsip_port={port}\nsip_tcp_port=0\nsip_tls_port=0\n[net]\ndns_srv_enabled=0\n"


class BrowserWithPhoneTests(PbxCase):
    settings = {"SIP_DOMAIN": "127.0.0.1", "ALLOWED_HOSTS": f"127.0.0.1,{OFFICE}"}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.stop)
        manage(
            "createsuperuser", "--noinput", "--username", "root", "--email", "root@pbx.test",
            env={**cls.pbx.env, "DJANGO_SUPERUSER_PASSWORD": "a-Long-enough-1"},
        )
        port = free_port()
        cls.site = f"http://{OFFICE}:{port}"
        web = Program(
            [sys.executable, "-m", "gunicorn", "pbx.wsgi:application", "--bind", f"127.0.0.1:{port}", "--threads", "4"],
            log_path=cls.pbx.directory / "web.log", env={**cls.pbx.env, "WEB_PORT": str(port)}, cwd=ROOT,
            name="gunicorn",
        )
        cls.addClassCleanup(web.stop)
        web.wait_for(r"Listening at", PATIENCE)
        cls.browser.go(f"{cls.site}/")
        cls.browser.fill("username", "root")
        cls.browser.fill("password", "a-Long-enough-1")
        cls.browser.press("Log in")
        cls.browser.wait(lambda: "Overview" in cls.browser.find("h1").text, "signed in")

    def tearDown(self) -> None:
        self.browser.go("about:blank")  # no page asks the server every few seconds any more

    def create(self, number: str) -> str:
        """Create an extension as a person does, and read the password off the card."""
        self.browser.go(f"{self.site}/admin/extensions/extension/add/")
        self.browser.fill("number", number)
        self.browser.press("Save")
        self.browser.wait(lambda: f"Extension {number} is ready" in self.browser.find("main").text, "the card")
        return self.browser.texts("#sheet-all dd code")[1]

    def test_a_phone_with_the_settings_of_the_card_turns_online_and_offline(self):
        number = str(next(self._numbers))
        password = self.create(number)
        server, port = self.browser.texts("#sheet-all dd code")[2:4]
        self.assertEqual((server, int(port)), self.pbx.server)
        self.assertIn("offline", self.browser.find(".pbx-status").text)

        phone = Baresip((server, int(port)), number, password, domain=server)
        self.addCleanup(phone.stop)
        phone.wait_registered()
        self.browser.wait(lambda: "1 device" in self.browser.find(".pbx-status").text, "online on the card")
        self.browser.go(f"{self.site}/admin/extensions/extension/?q={number}")
        self.assertIn("1 device", self.browser.find("#result_list").text)

        self.browser.find("#result_list .field-number a").click()
        self.assertIn("baresip", self.browser.find(".pbx-panel [data-live-panel]").text)
        self.assertIn(f"127.0.0.1:{phone.sip_port}", self.browser.find(".pbx-panel [data-live-panel]").text)
        self.browser.find(".pbx-head a.pbx-button").click()
        self.browser.press("Save the password")
        self.browser.wait(lambda: "old password, will fail at" in self.browser.find("main").text, "the mark")
        self.browser.press("Forget devices")
        self.browser.press("Forget devices")
        self.browser.wait(lambda: "1 device is forgotten" in self.browser.find("body").text, "the answer")
        self.assertEqual(self.pbx.bindings(number), [])

    def test_linphone_signs_in_by_the_qr_code_once(self):
        linphonec = require_program("linphonec", "linphone-cli")
        number = str(next(self._numbers))
        self.create(number)
        self.browser.press("QR code for Linphone")
        self.browser.turn_to_new_tab()
        self.browser.press("Make the QR code")
        self.browser.wait(lambda: self.browser.find(".pbx-qr svg"), "the picture")
        url = self.browser.find(".pbx-url").get_attribute("value").replace(OFFICE, "127.0.0.1")  # this phone is here

        directory = scratch_directory("linphone")
        (directory / ".local" / "share" / "linphone").mkdir(parents=True)
        (directory / "rc").write_text(SCANNED.format(url=url, port=free_port()))
        phone = Program(
            [linphonec, "-c", "rc", "-d", "6", "-l", "wire"], log_path=directory / "log", cwd=directory,
            name="linphonec", env={"HOME": str(directory), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        )
        self.addCleanup(phone.stop)
        self.pbx.wait_for_bindings(number, 1)
        self.browser.wait(lambda: "127.0.0.1" in self.browser.find("[data-link-state]").text, "that it was used")
        phone.say("quit")
        phone.wait(PATIENCE)
        configuration = (directory / "rc").read_text()
        self.assertIn("ha1=", configuration)
        self.assertNotIn("passwd=", configuration)
        self.assertNotIn(url, configuration)  # or it would ask again at each start, in vain
        wait_until(lambda: not self.pbx.bindings(number), "linphonec to sign out")


class BrowserWithPhoneOnSqlite(BrowserWithPhoneTests, OnSqlite): ...


class BrowserWithPhoneOnPostgres(BrowserWithPhoneTests, OnPostgres): ...
