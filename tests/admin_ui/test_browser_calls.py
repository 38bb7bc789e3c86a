"""Active Calls in a real browser: calls come, count and go without reloading the page."""

from __future__ import annotations

import time

from django.contrib.auth.models import User
from django.contrib.staticfiles.testing import StaticLiveServerTestCase

from pbx.calls.models import CallAction, CallRecord
from tests.admin_ui.chromium import Browser
from tests.admin_ui.test_active_calls import ACTIVE, alive
from tests.calls.rows import ended, leg, row, write
from tests.extensions.rows import make_binding, make_extension


class CallsBrowserTests(StaticLiveServerTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.stop)

    def setUp(self) -> None:
        self.client.force_login(User.objects.create_superuser("root", "root@pbx.test", "a-Long-enough-1"))
        self.browser.driver.delete_all_cookies()
        self.browser.complaints()
        self.go("/admin/login/")
        self.browser.driver.add_cookie({"name": "sessionid", "value": self.client.cookies["sessionid"].value})

    def tearDown(self) -> None:
        complaints = self.browser.complaints()
        self.go("/admin/login/")  # away from the pages that ask the server every few seconds
        self.assertEqual(complaints, [])

    def go(self, path: str) -> None:
        self.browser.go(f"{self.live_server_url}{path}")

    def main(self) -> str:
        return self.browser.find("main").text

    def test_a_call_comes_counts_is_hung_up_and_goes(self):
        alive()
        self.go(ACTIVE)
        self.assertIn("Nobody is on the phone.", self.main())
        self.browser.driver.execute_script("window.sameDocument = true")
        start = time.time() - 61
        write(row(start=start, answer=start, legs=[leg(state="answered")]))
        self.browser.wait(lambda: "talking" in self.main(), "the new call")
        first = self.browser.find("[data-since]").text
        self.assertRegex(first, r"\A1:\d\d\Z")
        self.browser.wait(lambda: self.browser.find("[data-since]").text > first, "the time counts")
        self.assertTrue(self.browser.driver.execute_script("return window.sameDocument"))

        self.browser.press("Hang up")
        self.browser.wait(lambda: "is being hung up" in self.main(), "the answer to the button")
        self.assertEqual(CallAction.objects.get().by, "root")
        self.browser.wait(lambda: "hanging up" in self.main(), "the state")
        write(ended())
        self.browser.wait(lambda: "Nobody is on the phone." in self.main(), "the end")

    def test_the_keyboard_stays_on_the_button_when_the_list_changes(self):
        alive()
        write(row("pbx1-1.1"), row("pbx1-1.2", dst="1003"))
        self.go(ACTIVE)
        driver = self.browser.driver
        driver.execute_script("document.querySelector('button[value=\"pbx1-1.1\"]').focus()")
        write(row("pbx1-1.3", dst="1004"))
        self.browser.wait(lambda: "1004" in self.main(), "the third call")
        self.assertEqual(driver.execute_script("return document.activeElement.value"), "pbx1-1.1")

    def test_the_page_of_a_living_call_shows_its_end(self):
        call = write(row(legs=[leg(ringing_at=time.time())]))
        self.go(f"/admin/calls/callrecord/{call.pk}/change/")
        self.assertIn("1002 rings", self.main())
        write(ended())
        self.browser.wait(lambda: "1001 hung up." in self.main(), "the end")
        self.assertFalse(CallRecord.objects.living().exists())

    def test_a_registration_appears_by_itself(self):
        self.go("/admin/extensions/binding/")
        self.assertIn("No phone is registered.", self.main())
        make_binding(make_extension("1001"))
        self.browser.wait(lambda: "203.0.113.9:5062" in self.main(), "the phone")
