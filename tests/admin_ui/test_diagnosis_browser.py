"""The diagnosis in a real browser: the page turns green by itself, what a person opened stays open, a telephone's
screen holds it, and nothing on it needs a script or a style of its own."""

from __future__ import annotations

from unittest.mock import patch

from django.contrib.auth.models import User
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.test import override_settings

from pbx.diagnosis.models import Attempt, Watch
from tests.admin_ui.cases import LIST
from tests.admin_ui.chromium import OFFICE, Browser
from tests.admin_ui.evidence_rows import (
    HOSTILE,
    make_attempt,
    make_block,
    make_old_extension,
    make_period,
    make_server_run,
    make_watched,
    register,
)
from tests.extensions.rows import make_binding

TELEPHONE = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}


@override_settings(ALLOWED_HOSTS=[OFFICE])
class DiagnosisBrowserTests(StaticLiveServerTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.stop)

    def setUp(self) -> None:
        for place in ("explain", "attention"):  # not what this machine lacks
            quiet = patch(f"pbx.diagnosis.{place}.server_verdicts", return_value=[])
            quiet.start()
            self.addCleanup(quiet.stop)
        make_server_run()
        User.objects.create_superuser("root", "root@pbx.test", "a-Long-enough-1")
        self.browser.driver.delete_all_cookies()
        self.browser.complaints()
        self.go("/")
        self.browser.fill("username", "root")
        self.browser.fill("password", "a-Long-enough-1")
        self.browser.press("Log in")
        self.browser.wait(lambda: "Overview" in self.browser.find("h1").text, "signed in")

    def tearDown(self) -> None:
        complaints = self.browser.complaints()
        self.go("/admin/login/")  # away from the pages that ask the server every few seconds
        self.assertEqual(complaints, [])

    def go(self, path: str) -> None:
        self.browser.go(f"http://{OFFICE}:{self.server_thread.port}{path}")

    def script(self, text: str):
        return self.browser.driver.execute_script(text)

    def page_of(self, extension) -> str:
        return f"{LIST}{extension.pk}/change/"

    def test_the_page_turns_green_when_the_phone_registers(self):
        extension = make_old_extension()
        make_attempt("1001", "wrong_password", extension)
        self.go(self.page_of(extension))
        self.assertIn("wrong password", self.browser.find("[data-verdict=wrong_password]").text)
        self.assertIn("stopped here", self.browser.find(".pbx-stage-stopped").text)
        self.script("window.samepage = true")
        make_binding(extension)
        self.browser.wait(lambda: self.browser.find("[data-verdict=registered]"), "the registration")
        self.assertEqual(self.browser.driver.find_elements("css selector", ".pbx-stage-stopped"), [])
        self.assertTrue(self.script("return window.samepage"))
        self.assertIn("registered", self.script("return document.querySelector('[data-announce]').textContent"))

    def test_a_message_opens_by_key_and_stays_open_while_the_page_renews_itself(self):
        extension = make_old_extension()
        make_attempt("1001", "wrong_password", extension)
        self.go(self.page_of(extension))
        summary = self.browser.driver.find_elements("css selector", ".pbx-arrow-row summary")[0]
        self.script("document.querySelector('.pbx-arrow-row summary').focus()")
        summary.send_keys("\n")
        self.browser.wait(lambda: "REGISTER sip:pbx.test" in self.browser.find(".pbx-message").text, "the message")
        make_period(extension, 5, 1)  # something else changes
        self.browser.wait(lambda: "online 4 h" in self.browser.find(".pbx-legend").text, "the strip")
        self.assertTrue(self.browser.find(".pbx-message").is_displayed())
        self.assertEqual(self.script("return document.activeElement.tagName"), "SUMMARY")

    def test_watching_shows_new_messages_by_themselves(self):
        extension = make_old_extension()
        self.go(self.page_of(extension))
        self.browser.press("Watch this phone for 10 minutes")
        self.browser.wait(lambda: "Watched until" in self.browser.find(".pbx-watch").text, "the watch")
        self.assertEqual(Watch.objects.get().number, "1001")
        make_watched("1001", register("1001", phone=HOSTILE.replace("\0", "")))
        self.browser.wait(lambda: "REGISTER" in self.browser.find(".pbx-ladder").text, "the arrow")
        self.browser.press("Stop watching")
        self.browser.wait(lambda: "not watched any more" in self.browser.find("body").text, "the end")
        self.assertFalse(Watch.objects.exists())

    def test_the_front_page_says_it_and_its_button_mends_it(self):
        extension = make_old_extension(enabled=False, display_name="Front desk")
        make_attempt("1001", "disabled", extension)
        self.go("/admin/")
        self.assertIn("1001 Front desk", self.browser.find(".pbx-attention").text)
        self.browser.press("Enable")
        self.browser.wait(lambda: "Extension 1001 is enabled now." in self.browser.find("body").text, "the answer")
        Attempt.objects.all().delete()
        make_binding(extension)
        self.browser.wait(lambda: "All is well" in self.browser.find(".pbx-attention").text, "that all is well")

    def test_no_page_is_wider_than_a_telephone(self):
        extension = make_old_extension("1001", display_name="A" * 80)
        make_attempt("1001", "wrong_password", extension, phone="B" * 128, call_id="c" * 200)
        make_attempt("7" * 60, "unknown_extension", source="2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", phone=HOSTILE)
        make_attempt("1009", "unknown_extension", source="192.168.1.9")
        make_binding(extension, user_agent="B" * 128, contact=f"sip:{'c' * 400}@host")
        make_binding(make_old_extension("1002"), seconds_left=-60)
        make_block("1001")
        make_period(extension, 5, 1)
        self.browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", TELEPHONE)
        self.addCleanup(self.browser.driver.execute_cdp_cmd, "Emulation.clearDeviceMetricsOverride", {})
        for path in ("/admin/", self.page_of(extension), "/admin/diagnosis/attempt/", "/admin/diagnosis/number/1009/",
                     f"/admin/diagnosis/number/{'7' * 60}/"):
            with self.subTest(path):
                self.go(path)
                self.script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
                self.assertLessEqual(self.script("return document.documentElement.scrollWidth"), 360)
