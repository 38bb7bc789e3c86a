"""The test from outside with nothing faked: an administrator makes the link, a browser as narrow as a telephone opens
it, a real phone first has the wrong password and then the right one, and the page turns green by itself."""

from __future__ import annotations

import os
from pathlib import Path

from pbx.web_server import command
from tests.admin_ui.chromium import OFFICE, Browser
from tests.support.baresip import Baresip
from tests.support.cases import OnPostgres, OnSqlite, PbxCase
from tests.support.pbx import ROOT, manage
from tests.support.processes import PATIENCE, Program, free_port, wait_until

PICTURES = os.environ.get("PBX_SCREENSHOTS", "")


class ProbeBrowserTests(PbxCase):
    settings = {"SIP_DOMAIN": "127.0.0.1", "ALLOWED_HOSTS": f"127.0.0.1,{OFFICE}"}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.browser = Browser(language="uz")
        cls.addClassCleanup(cls.browser.stop)
        manage(
            "createsuperuser", "--noinput", "--username", "root", "--email", "root@pbx.test",
            env={**cls.pbx.env, "DJANGO_SUPERUSER_PASSWORD": "a-Long-enough-1"},
        )
        port = free_port()
        cls.site = f"http://{OFFICE}:{port}"
        cls.web = Program(
            command(), log_path=cls.pbx.directory / "web.log", cwd=ROOT, name="gunicorn",
            env={
                **cls.pbx.env, "WEB_PORT": str(port), "DJANGO_SETTINGS_MODULE": "pbx.settings",
                "GUNICORN_CMD_ARGS": "--access-logfile - --log-level info",
            },
        )
        cls.addClassCleanup(cls.web.stop)
        cls.web.wait_for(r"Listening at", PATIENCE)

    def tearDown(self) -> None:
        self.browser.go("about:blank")

    def picture(self, name: str) -> None:
        """Into the directory of PBX_SCREENSHOTS, for a person to look at: light and dark."""
        if not PICTURES:
            return
        for scheme in ("light", "dark"):
            self.browser.driver.execute_cdp_cmd(
                "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            )
            self.browser.driver.save_screenshot(str(Path(PICTURES) / f"{name}-{scheme}.png"))

    def narrow(self, height: int = 1500) -> None:
        self.browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": 360, "height": height, "deviceScaleFactor": 2, "mobile": True,
        })
        self.addCleanup(self.browser.driver.execute_cdp_cmd, "Emulation.clearDeviceMetricsOverride", {})

    def headline(self) -> str:
        # In one step: the page replaces it every few seconds.
        return self.browser.driver.execute_script("return document.querySelector('.headline').innerText")

    def tone(self) -> str:
        return self.browser.find(".state").get_attribute("class").removeprefix("state ")

    def test_from_the_button_to_the_green_page(self):
        number = self.new_extension()
        browser = self.browser
        browser.go(f"{self.site}/admin/")
        browser.fill("username", "root")
        browser.fill("password", "a-Long-enough-1")
        browser.find("[type=submit]").click()
        browser.wait(lambda: browser.find("#content"), "signed in")
        browser.go(f"{self.site}/admin/extensions/extension/?q={number}")
        pk = browser.find("#result_list .field-number a").get_attribute("href").split("/extension/")[1].split("/")[0]
        browser.go(f"{self.site}/admin/diagnosis/probe/{pk}/")
        browser.press("Havola yaratish")
        browser.wait(lambda: browser.find(".pbx-qr svg"), "the picture")
        self.picture("probe-admin-wide")
        url = browser.find(".pbx-url").get_attribute("value")
        self.assertTrue(url.startswith(f"{self.site}/p/"), url)
        admin_page = browser.driver.current_window_handle

        browser.driver.switch_to.new_window("window")
        self.narrow()
        browser.go(url)
        browser.wait(lambda: self.tone() == "waiting", "the page waits")
        self.assertIn(f"{number} telefoni kutilmoqda", self.headline())
        self.assertFalse(self.overflows(), "it is wider than the telephone")
        self.picture("probe-waiting")

        phone = Baresip(self.pbx.server, number, "not-the-password", domain="127.0.0.1")
        self.addCleanup(phone.stop)
        phone.wait_refused()
        browser.wait(lambda: self.tone() == "error", "the wrong password is said")
        self.assertIn("parol", browser.find(".state").text.lower())
        self.picture("probe-wrong-password")
        phone.stop()

        phone = Baresip(self.pbx.server, number, "s3cret-pass", domain="127.0.0.1")
        self.addCleanup(phone.stop)
        phone.wait_registered()
        browser.wait(lambda: self.tone() == "good", "it turns green")
        self.assertIn("127.0.0.1", browser.find(".state .note").text)
        self.assertEqual(len(browser.texts(".steps .done")), 6)
        self.picture("probe-green")
        for language, words in (("Русский", "зарегистрирован"), ("English", "is registered")):
            next(a for a in browser.driver.find_elements("css selector", "nav a") if a.text == language).click()
            browser.wait(lambda words=words: words in self.headline(), f"the page in {language}")
        self.assertEqual(browser.complaints(), [])
        browser.driver.close()
        browser.driver.switch_to.window(admin_page)
        browser.wait(lambda: browser.find(".pbx-note-good"), "the administrator sees it too")
        self.picture("probe-admin-green")
        wait_until(lambda: "/p/…/state/" in self.web.log, "lines in the access log")
        self.assertNotIn(url.split("/")[-2], self.web.log)

    def overflows(self) -> bool:
        return self.browser.driver.execute_script("return document.documentElement.scrollWidth > window.innerWidth")


class ProbeBrowserOnSqlite(ProbeBrowserTests, OnSqlite): ...


class ProbeBrowserOnPostgres(ProbeBrowserTests, OnPostgres): ...
