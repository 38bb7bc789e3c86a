"""The whole way of somebody who knows no SIP, with nothing faked: a phone with a wrong password fails, the front page
says so, the page of its extension explains it, Password is pressed, the phone registers, and the page turns green."""

from __future__ import annotations

import sys

from tests.admin_ui.chromium import OFFICE, Browser
from tests.support.baresip import Baresip
from tests.support.cases import PASSWORD, OnPostgres, OnSqlite, PbxCase
from tests.support.pbx import ROOT, manage
from tests.support.processes import PATIENCE, Program, free_port, wait_until


class DiagnosisWithPhoneTests(PbxCase):
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

    def test_from_a_wrong_password_to_green(self):
        number = self.new_extension()
        self.browser.go(f"{self.site}/admin/")
        phone = Baresip(self.pbx.server, number, "not-the-password", domain="127.0.0.1")
        self.addCleanup(phone.stop)
        phone.wait_refused()
        attention = f'//li[@data-verdict="wrong_password"][.//*[starts-with(., "{number}")]]'
        self.browser.wait(lambda: self.browser.driver.find_elements("xpath", attention), "the front page says it")
        self.browser.driver.find_element("xpath", f"{attention}//a[@class='pbx-attention-subject']").click()

        self.browser.wait(lambda: self.browser.find("[data-verdict=wrong_password]"), "the page explains it")
        self.assertEqual(self.browser.find(".pbx-stage-stopped .pbx-stage-name").text, "password")
        self.assertIn("baresip", self.browser.find(".pbx-difference").text)
        captions = " ".join(self.browser.texts(".pbx-arrow-caption"))
        self.assertIn("step 1 of 2", captions.lower())
        self.assertIn("wrong password", captions.lower())
        page = self.browser.driver.current_url

        self.browser.find("[data-verdict=wrong_password] a.pbx-button").click()
        self.browser.press("Save the password")
        self.browser.wait(lambda: "shown only now" in self.browser.find("main").text, "the card")
        password = self.browser.texts("#sheet-all dd code")[1]
        self.browser.go(page)
        phone.switch_off_account()
        mark = len(phone.events)
        phone.type_new_password(password)
        phone.wait_registered(after=mark)
        self.browser.wait(lambda: self.browser.find("[data-verdict=registered]"), "the page turns green")
        self.assertEqual(self.browser.texts(".pbx-stage-stopped"), [])
        self.browser.go(f"{self.site}/admin/")
        self.assertEqual(self.browser.driver.find_elements("xpath", attention), [])

    def test_a_watched_phone_shows_its_arrows_as_they_come(self):
        number = self.new_extension()
        self.browser.go(f"{self.site}/admin/extensions/extension/?q={number}")
        self.browser.find("#result_list .field-number a").click()
        self.browser.press("Watch this phone for 10 minutes")
        self.browser.wait(lambda: "Watched until" in self.browser.find(".pbx-watch").text, "the watch")
        phone = Baresip(self.pbx.server, number, PASSWORD, domain="127.0.0.1")
        self.addCleanup(phone.stop)
        phone.wait_registered()
        wait_until(
            lambda: self.is_kept(number) or self.registers_again(phone), "runsip to know of the watch", pause=1.0
        )
        self.browser.wait(lambda: "200 OK" in self.browser.find(".pbx-ladder").text, "the arrows")
        self.assertIn("401 Unauthorized", self.browser.find(".pbx-ladder").text)
        self.assertNotIn(PASSWORD, self.browser.driver.page_source)


    def is_kept(self, number: str) -> bool:
        query = "SELECT message FROM diagnosis_watchedmessage WHERE number = %s"
        return any("200 OK" in str(row["message"]) for row in self.pbx.store.rows(query, number))

    def registers_again(self, phone: Baresip) -> bool:
        """As somebody does who switches the account off and on."""
        phone.switch_off_account()
        mark = len(phone.events)
        phone.type_new_password(PASSWORD)
        phone.wait_registered(after=mark)
        return False


class DiagnosisWithPhoneOnSqlite(DiagnosisWithPhoneTests, OnSqlite): ...


class DiagnosisWithPhoneOnPostgres(DiagnosisWithPhoneTests, OnPostgres): ...
