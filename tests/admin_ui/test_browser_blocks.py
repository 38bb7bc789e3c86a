"""Blocked addresses in a real browser: wide, and on a telephone's screen; Unblock is one press."""

from __future__ import annotations

import os
from datetime import timedelta

from django.contrib.auth.models import User
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.test import override_settings
from django.utils import timezone

from pbx.diagnosis.models import Block
from tests.admin_ui.chromium import OFFICE, Browser
from tests.admin_ui.test_blocked_addresses import BLOCKS, make_block

TELEPHONE = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}


@override_settings(ALLOWED_HOSTS=[OFFICE])
class BlocksInTheBrowser(StaticLiveServerTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.stop)

    def setUp(self) -> None:
        User.objects.create_superuser("root", "root@pbx.test", "a-Long-enough-1")
        numbers = [str(number) for number in range(2001, 2015)]
        make_block(numbers=numbers, tries=1207, last_try_at=timezone.now(), spared=["1001", "1002", "1003"])
        make_block("2001:db8:1:2::/64", "front-desk", reason="wrong_password", failures=104,
                   until=timezone.now() + timedelta(days=1))
        make_block("192.0.2.5", reason="administrator", by="nodira", numbers=[])
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

    def picture(self, name: str) -> None:
        """Kept where ``PBX_SCREENSHOTS`` says, for people to look at."""
        directory = os.environ.get("PBX_SCREENSHOTS")
        if directory:
            self.browser.driver.save_screenshot(f"{directory}/blocks-{name}.png")

    def test_unblock_is_one_press(self):
        self.go(BLOCKS)
        self.picture("wide")
        shown = self.browser.find("#result_list button").rect
        self.assertLessEqual(shown["x"] + shown["width"], self.browser.find("#result_list").rect["x"] + 650)
        self.browser.driver.execute_script("document.documentElement.dataset.theme = 'dark'")
        self.picture("dark")
        self.browser.press("Unblock")  # the newest stands first
        self.browser.wait(
            lambda: self.browser.texts(".messagelist li") == ["192.0.2.5 is not blocked any more."], "it is said"
        )
        self.assertEqual(Block.objects.count(), 2)

    def test_a_telephones_screen_holds_it(self):
        self.browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", TELEPHONE)
        self.addCleanup(self.browser.driver.execute_cdp_cmd, "Emulation.clearDeviceMetricsOverride", {})
        self.go(BLOCKS)
        self.picture("narrow")
        width = self.browser.driver.execute_script("return document.documentElement.scrollWidth")
        self.assertLessEqual(width, TELEPHONE["width"])
        shown = self.browser.find("#result_list button").rect
        self.assertLessEqual(shown["x"] + shown["width"], TELEPHONE["width"])
