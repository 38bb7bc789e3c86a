"""The list of extensions stays open in a browser while a phone comes and goes."""

from __future__ import annotations

import sys

from tests.admin_ui.chromium import Browser
from tests.support.baresip import Baresip
from tests.support.cases import PASSWORD, OnPostgres, OnSqlite, PbxCase
from tests.support.pbx import ROOT, manage
from tests.support.processes import Program, free_port


class AdminListTests(PbxCase):
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
        cls.browser.fill("password", "a-Long-enough-1")
        cls.browser.press("Log in")
        cls.browser.wait(lambda: "Overview" in cls.browser.find("h1").text, "signed in")

    def test_the_row_turns_online_and_offline_without_a_reload(self):
        number = self.new_extension()
        self.browser.go(f"{self.site}/admin/extensions/extension/?q={number}")
        # A reload would lose this mark.
        self.browser.driver.execute_script("window.sameVisit = true")

        def row() -> str:
            return self.browser.find("#result_list tbody tr").text

        self.assertIn("offline", row())
        with Baresip(self.pbx.server, number, PASSWORD, domain=self.pbx.domain) as phone:
            phone.wait_registered()
            self.browser.wait(lambda: "online" in row() and "1 device" in row(), "the row to turn online")
            phone.quit()
        self.browser.wait(lambda: "offline" in row(), "the row to turn offline")
        self.assertTrue(self.browser.driver.execute_script("return window.sameVisit"), "the page was loaded anew")
        self.assertEqual(self.browser.complaints(), [])


class AdminListOnSqlite(AdminListTests, OnSqlite):
    pass


class AdminListOnPostgres(AdminListTests, OnPostgres):
    pass


del AdminListTests  # the loader would take it for a case of its own
