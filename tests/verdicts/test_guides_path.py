"""The path that the guide describes, walked in Uzbek by somebody who knows no SIP: a phone fails, the front page says
so, the extension's page explains it and has the button, and turns green by itself when the phone has its password."""

from __future__ import annotations

import json
import sys

from tests.admin_ui.chromium import Browser
from tests.support.baresip import Baresip
from tests.support.cases import OnPostgres, OnSqlite, PbxCase
from tests.support.linphone import Linphone
from tests.support.pbx import ROOT, manage
from tests.support.processes import Program, free_port, run_program
from tests.verdicts.screenshots import Camera

SECRET = "a-Long-enough-1"
NEW_PASSWORD = "Yangi-parol-2026"


class GuidesPath(PbxCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.browser = Browser(language="uz")
        cls.addClassCleanup(cls.browser.stop)
        cls.camera = Camera(cls.browser)
        manage("createsuperuser", "--noinput", "--username", "root", "--email", "root@pbx.test",
               env={**cls.pbx.env, "DJANGO_SUPERUSER_PASSWORD": SECRET})
        port = free_port()
        web = Program(
            [sys.executable, "-m", "gunicorn", "pbx.wsgi:application", "--bind", f"127.0.0.1:{port}", "--threads", "4"],
            log_path=cls.pbx.directory / "web.log", env={**cls.pbx.env, "WEB_PORT": str(port)}, cwd=ROOT,
            name="gunicorn",
        )
        cls.addClassCleanup(web.stop)
        web.wait_for(r"Listening at")
        cls.site = f"http://127.0.0.1:{port}"
        cls.browser.go(f"{cls.site}/")
        cls.browser.fill("username", "root")
        cls.browser.fill("password", SECRET)
        cls.browser.find("[type=submit]").click()
        cls.browser.wait(lambda: cls.browser.find("#diagnosis-front"), "signed in")

    def verdict(self, number: str) -> dict[str, str]:
        """The first one of ``why``, in Uzbek."""
        done = run_program([sys.executable, "manage.py", "why", number, "--json", "--language", "uz"],
                           env=self.pbx.env, cwd=ROOT)
        told = json.loads(done.stdout)
        self.assertEqual(told["language"], "uz")
        return told["verdicts"][0]

    def walk(self, number: str, fail, give_password) -> None:
        browser = self.browser
        browser.go(f"{self.site}/")
        self.assertEqual(browser.find("html").get_attribute("lang"), "uz")
        self.stay()
        fail()
        # The front page says so by itself.
        item = f'//*[@id="diagnosis-front"]//li[@data-verdict="wrong_password"][.//*[contains(., "{number}")]]'
        browser.wait(lambda: browser.driver.find_elements("xpath", item), "the front page to say it", 40)
        self.assert_stayed()
        wrong = self.verdict(number)
        self.assertEqual(wrong["code"], "wrong_password")
        self.assertIn(wrong["what"], browser.driver.find_element("xpath", item).text)
        self.camera.take(f"{self.name}-1-front")

        # The extension's page explains it.
        browser.driver.find_element("xpath", f"{item}//a").click()
        first = "#diagnosis-panel .pbx-verdict-first"
        browser.wait(lambda: browser.find(first), "the page of the extension")
        self.assertIn("/extensions/extension/", browser.driver.current_url)
        address = browser.driver.current_url
        self.assertEqual(browser.find(first).get_attribute("data-verdict"), "wrong_password")
        for sentence in (wrong["what"], wrong["why"], wrong["do"]):
            self.assertIn(sentence, browser.find(first).text)
        self.assertEqual(len(browser.texts("#diagnosis-panel .pbx-stage-stopped")), 1)
        self.camera.take(f"{self.name}-2-extension")

        # Its button leads to where the password is set.
        browser.wait(lambda: browser.find(f"{first} .pbx-button").click() is None, "its button")
        browser.wait(lambda: browser.find("[name=password1]"), "the page of the password")
        self.camera.take(f"{self.name}-3-password")
        radio = browser.find("[name=password_from][value=type]")
        if not radio.is_selected():
            radio.click()
        browser.fill("password1", NEW_PASSWORD)
        browser.fill("password2", NEW_PASSWORD)
        browser.find("[name=password2]").submit()
        browser.wait(lambda: NEW_PASSWORD in browser.driver.page_source and not
                     browser.driver.find_elements("css selector", "[name=password2]"), "the password to be set")

        # The page turns green by itself.
        browser.go(address)
        self.stay()
        self.assertNotIn("pbx-tone-ok", browser.driver.page_source)
        give_password()
        self.pbx.wait_for_bindings(number, 1)
        browser.wait(lambda: browser.find("#diagnosis-panel .pbx-diagnosis.pbx-tone-ok"), "the page to turn green", 40)
        self.assertEqual(browser.find(first).get_attribute("data-verdict"), "registered")
        self.assertEqual(browser.texts("#diagnosis-panel .pbx-stage-stopped"), [])
        self.assert_stayed()
        self.camera.take(f"{self.name}-4-green")
        browser.go(f"{self.site}/")
        browser.wait(lambda: not browser.driver.find_elements("xpath", item), "the front page to be calm again")
        self.camera.take(f"{self.name}-5-front")
        self.assertEqual(browser.complaints(), [])
        self.assertEqual(self.camera.too_wide, [])

    @property
    def name(self) -> str:
        return self._testMethodName.removeprefix("test_")

    def stay(self) -> None:
        """A reload would lose this mark."""
        self.browser.driver.execute_script("window.sameVisit = true")

    def assert_stayed(self) -> None:
        self.assertTrue(self.browser.driver.execute_script("return window.sameVisit"), "the page was loaded anew")

    def test_baresip(self):
        number = self.new_extension()
        phones = []

        def fail() -> None:
            phones.append(Baresip(self.pbx.server, number, "notogri", domain=self.pbx.domain))
            self.addCleanup(phones[0].stop)
            phones[0].wait_refused()

        def give_password() -> None:
            seen = len(phones[0].events)
            phones[0].switch_off_account()
            phones[0].type_new_password(NEW_PASSWORD)
            phones[0].wait_registered(after=seen)

        self.walk(number, fail, give_password)

    def test_linphone(self):
        number = self.new_extension()
        phones = []

        def fail() -> None:
            phones.append(Linphone(self.pbx.server, number, "notogri", domain=self.pbx.domain))
            self.addCleanup(phones[0].stop)
            phones[0].wait_password_asked()

        def give_password() -> None:
            phones[0].stop()  # it would take the password from a terminal only
            phones.append(Linphone(self.pbx.server, number, NEW_PASSWORD, domain=self.pbx.domain))
            self.addCleanup(phones[1].stop)
            phones[1].wait_registered()

        self.walk(number, fail, give_password)


class GuidesPathOnSqlite(GuidesPath, OnSqlite):
    pass


class GuidesPathOnPostgres(GuidesPath, OnPostgres):
    pass


del GuidesPath  # the loader would take it for a case of its own
