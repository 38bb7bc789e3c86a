"""The admin pages in a real browser: what the scripts do, and that the pages need nothing from elsewhere.

The whole way with a real phone, from the first page to a phone that turns online, is in ``test_browser_with_phone``."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.test import override_settings

from extensions.models import Extension
from tests.admin_ui.cases import LIST, page
from tests.admin_ui.chromium import OFFICE, Browser
from tests.extensions.rows import make_binding, make_extension


@override_settings(ALLOWED_HOSTS=[OFFICE])
class BrowserTests(StaticLiveServerTestCase):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.stop)

    def setUp(self) -> None:
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

    def test_create_an_extension_press_password_see_the_card_and_the_qr(self):
        self.browser.press("Add an extension")
        self.browser.fill("number", "1001")
        self.browser.fill("display_name", "Front desk")
        self.browser.press("Save")
        self.browser.wait(lambda: "Extension 1001 is ready" in self.browser.find("main").text, "the card")
        first = self.browser.texts("#sheet-all dd code")[1]
        self.assertTrue(Extension.objects.get().check_password(first))

        self.go(LIST)
        self.browser.find("#result_list a.pbx-button").click()
        self.browser.press("Save the password")
        self.browser.wait(lambda: "shown only now" in self.browser.find("main").text, "the card again")
        second = self.browser.texts("#sheet-all dd code")[1]
        self.assertNotEqual(first, second)
        self.assertTrue(Extension.objects.get().check_password(second))
        self.assertIn(second, self.browser.texts("#sheet-zoiper dd code"))
        self.assertIn(second, self.browser.texts("#sheet-linphone dd code"))

        self.browser.press("QR code for Linphone")
        self.browser.turn_to_new_tab()
        self.browser.press("Make the QR code")
        self.browser.wait(lambda: self.browser.find(".pbx-qr svg").size["width"] > 150, "the picture")
        self.browser.wait(lambda: "Time left: 14:" in self.browser.find("[data-link-state]").text, "the countdown")
        Extension.objects.get().provisioning_links.update(used_at="2026-01-01T00:00Z", used_from="192.0.2.7")
        self.browser.wait(lambda: "192.0.2.7" in self.browser.find("[data-link-state]").text, "that it was used")

    def test_loading_the_card_again_sets_no_other_password(self):
        extension = make_extension("1001")
        self.go(page("password", extension.pk))
        self.browser.press("Save the password")
        self.browser.wait(lambda: "shown only now" in self.browser.find("main").text, "the card")
        shown = self.browser.texts("#sheet-all dd code")[1]
        self.browser.driver.refresh()
        self.browser.wait(lambda: "shown only once" in self.browser.find("main").text, "the card without it")
        self.assertNotIn(shown, self.browser.driver.page_source)
        self.assertTrue(Extension.objects.get().check_password(shown))

    def test_a_copy_button_copies_without_https_too(self):
        extension = make_extension("1001")
        self.go(page("card", extension.pk))
        self.browser.driver.execute_script("""
            Object.defineProperty(navigator, 'clipboard', {value: undefined});  // as on plain HTTP in an office
            document.addEventListener('copy', () => { window.copied = document.activeElement.value; });
        """)
        self.browser.find("#sheet-linphone .pbx-copy").click()
        self.browser.wait(lambda: self.browser.find("#sheet-linphone .pbx-copy").text == "Copied.", "the answer")
        self.assertEqual(self.browser.driver.execute_script("return window.copied"), "1001")

    def test_the_typed_fields_show_only_when_they_are_wanted(self):
        self.go(f"{LIST}add/")
        field = self.browser.find("[name=password1]")
        self.assertFalse(field.is_displayed())
        self.browser.find("[value=type]").click()
        self.assertTrue(field.is_displayed())
        self.browser.find("[value=generate]").click()
        self.assertFalse(field.is_displayed())

    def test_a_phone_turns_online_in_the_list_without_loading_it_again(self):
        extension = make_extension("1001")
        self.go(LIST)
        self.browser.driver.execute_script("window.samepage = true")
        self.assertIn("offline", self.browser.find("#result_list").text)
        make_binding(extension)
        self.browser.wait(lambda: "1 device" in self.browser.find("#result_list").text, "online")
        extension.bindings.all().delete()
        self.browser.wait(lambda: "offline" in self.browser.find("#result_list").text, "offline again")
        self.assertTrue(self.browser.driver.execute_script("return window.samepage"))

    def test_a_phone_turns_online_on_its_page_and_can_be_forgotten(self):
        extension = make_extension("1001")
        self.go(f"{LIST}{extension.pk}/change/")
        make_binding(extension, user_agent="<b>Zoiper</b>")
        devices = ".pbx-panel [data-live-panel]"
        self.browser.wait(lambda: "<b>Zoiper</b>" in self.browser.find(devices).text, "the phone")
        self.browser.press("Forget this device")
        self.browser.press("Forget this device")
        self.browser.wait(lambda: "1 device is forgotten" in self.browser.find("body").text, "the answer")
        self.assertFalse(extension.bindings.exists())

    def test_renaming_asks_first(self):
        extension = make_extension("1001")
        self.go(f"{LIST}{extension.pk}/change/")
        self.browser.fill("number", "1099")
        self.browser.press("Save")
        self.browser.wait(lambda: "Change the number 1001 to 1099?" in self.browser.find("main").text, "the question")
        self.browser.press("Change the number")
        self.browser.wait(lambda: "Account card of 1099" in self.browser.find("main").text, "the card")

    def test_no_page_is_wider_than_a_telephone(self):
        extension = make_extension("1001", display_name="A" * 80)
        make_binding(extension, user_agent="B" * 128, contact=f"sip:{'c' * 400}@host")
        make_binding(extension, key="2", remote_host="2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff")
        self.browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True,
        })
        self.addCleanup(self.browser.driver.execute_cdp_cmd, "Emulation.clearDeviceMetricsOverride", {})
        pk = extension.pk
        for path in ("/admin/", LIST, f"{LIST}add/", f"{LIST}{pk}/change/", page("password", pk), page("card", pk),
                     page("phone_link", pk), page("forget_all", pk)):
            with self.subTest(path):
                self.go(path)
                width = self.browser.driver.execute_script("return document.documentElement.scrollWidth")
                self.assertLessEqual(width, 390)
