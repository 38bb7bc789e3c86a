"""The pages answer only within ADMIN_NETS, but for what phones open from anywhere."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.test import Client, TestCase, override_settings
from django.utils import timezone

from pbx.diagnosis.models import Block
from pbx.startup.greeting import next_steps
from pbx.web_names import host_of, web_names
from tests.admin_ui.cases import LIST, QuietCase

STRANGER = "203.0.113.9"
CLOSED = ("/", "/admin/", "/admin/login/", LIST, "/i18n/setlang/", "/static/admin/css/base.css", "/no/such/page/", "/p",
          "/phone", "/p/../admin/", "/phone/./x/", "/p//admin/", "/static/pbx/../admin/css/base.css", "/Admin/")


class StrangerTests(QuietCase):
    def get(self, path: str, address: str = STRANGER, **headers):
        return Client().get(path, REMOTE_ADDR=address, headers=headers or None)

    def test_a_stranger_gets_one_answer_whether_there_is_a_page_or_not(self):
        answers = {path: self.get(path) for path in CLOSED}
        self.assertEqual({answer.status_code for answer in answers.values()}, {404})
        self.assertEqual(len({answer.content for answer in answers.values()}), 1)
        answer = answers["/admin/"]
        self.assertContains(answer, "only within its own network", status_code=404)
        self.assertContains(answer, STRANGER, status_code=404)
        self.assertNotIn("admin", answer.content.decode().lower())
        self.assertNotIn("Set-Cookie", answer)
        self.assertIn("default-src 'self'", answer["Content-Security-Policy"])

    def test_a_stranger_cannot_sign_in_nor_use_a_session(self):
        User.objects.create_superuser("root", "root@pbx.test", "a-Long-enough-1")
        browser = Client()
        browser.post("/admin/login/", {"username": "root", "password": "a-Long-enough-1"}, REMOTE_ADDR=STRANGER)
        self.assertNotIn("sessionid", browser.cookies)
        browser.force_login(User.objects.get())
        self.assertEqual(browser.get("/admin/", REMOTE_ADDR="192.168.1.9").status_code, 200)
        self.assertEqual(browser.get("/admin/", REMOTE_ADDR=STRANGER).status_code, 404)
        self.assertEqual(browser.post(f"{LIST}add/", {"number": "666"}, REMOTE_ADDR=STRANGER).status_code, 404)

    def test_in_the_strangers_language(self):
        for language, words in (("uz", "faqat o‘z tarmog‘i"), ("ru", "только в своей сети")):
            with self.subTest(language):
                answer = self.get("/admin/", **{"accept-language": language})
                self.assertContains(answer, words, status_code=404)

    def test_what_phones_open_is_open(self):
        for path in ("/phone/no-such-token/", "/p/no-such-token/"):
            with self.subTest(path):
                answer = self.get(path)
                self.assertNotContains(answer, "own network", status_code=answer.status_code)
        for path in ("/static/pbx/sentence.css", "/static/pbx/icon.svg"):
            self.assertEqual(self.get(path).status_code, 200, path)

    def test_what_phones_open_takes_nothing_in(self):
        for path in ("/phone/no-such-token/", "/p/no-such-token/", "/static/pbx/icon.svg"):
            for method in ("post", "put", "delete", "options"):
                answer = getattr(Client(), method)(path, {}, REMOTE_ADDR=STRANGER)
                self.assertEqual((405, "GET, HEAD"), (answer.status_code, answer["Allow"]), (path, method))

    def test_an_unknown_name_gets_a_sentence(self):
        answer = Client().get("/phone/x/", headers={"host": "somebody.example"})
        self.assertContains(answer, "ALLOWED_HOSTS", status_code=400)


class NetworkTests(QuietCase):
    def reaches(self, address: str, **headers) -> bool:
        response = Client().get("/admin/login/", REMOTE_ADDR=address, headers=headers or None)
        self.assertIn(response.status_code, (200, 404))
        return response.status_code == 200

    def test_by_default_this_machine_and_private_networks(self):
        for address, expected in (
            ("127.0.0.1", True), ("::1", True), ("10.1.2.3", True), ("172.31.0.1", True), ("192.168.77.5", True),
            ("169.254.3.4", True), ("fd00::5", True), ("fe80::1%eth0", True), ("::ffff:192.168.1.1", True), ("", True),
            (STRANGER, False), ("172.32.0.1", False), ("100.64.0.1", False), ("2001:db8::1", False),
            ("::ffff:203.0.113.9", False), ("unknown", False),
        ):
            with self.subTest(address):
                self.assertEqual(self.reaches(address), expected)

    @override_settings(ADMIN_NETS=["203.0.113.0/24", "2001:db8::/32"])
    def test_the_setting_names_others(self):
        for address in (STRANGER, "2001:db8::1"):
            self.assertTrue(self.reaches(address), address)
        for address in ("198.51.100.1", "10.0.0.1"):
            self.assertFalse(self.reaches(address), address)

    def test_behind_a_proxy_the_address_of_the_browser_counts(self):
        for forwarded, expected in (
            (STRANGER, False), ("192.168.1.9", True), (f"192.168.1.9, {STRANGER}", False), ("", False),
            ("what?", False),
        ):
            with self.subTest(forwarded):
                self.assertEqual(self.reaches("127.0.0.1", **{"x-forwarded-for": forwarded}), expected)
        self.assertFalse(self.reaches(STRANGER, **{"x-forwarded-for": "127.0.0.1"}))

    def test_a_proxy_that_hides_the_browsers_address_makes_nobody_local(self):
        for header in ("x-forwarded-proto", "x-forwarded-host", "x-real-ip", "forwarded", "via"):
            with self.subTest(header):
                self.assertFalse(self.reaches("127.0.0.1", **{header: "https"}))

    def test_a_proxy_in_the_house_that_is_not_trusted_makes_nobody_local(self):
        from pbx.admin_reach import _name_proxy

        for forwarded in (STRANGER, "192.168.1.9", "127.0.0.1"):
            with self.subTest(forwarded):
                self.assertFalse(self.reaches("172.17.0.1", **{"x-forwarded-for": forwarded}))
                with self.settings(WEB_TRUSTED_PROXIES=["172.17.0.1"]):
                    expected = forwarded != STRANGER
                    self.assertEqual(self.reaches("172.17.0.1", **{"x-forwarded-for": forwarded}), expected)
        _name_proxy.cache_clear()
        with self.assertLogs("pbx.web", "WARNING") as logs:
            self.reaches("172.17.0.1", **{"x-forwarded-for": STRANGER})
            self.reaches("172.17.0.1", **{"x-forwarded-for": STRANGER})
        (record,) = logs.records
        self.assertIn("add 172.17.0.1 to WEB_TRUSTED_PROXIES", record.getMessage())

    def test_a_blocked_phone_locks_no_administrator_out(self):
        Block.objects.create(
            source="192.168.1.9", reason=Block.Reason.GUESSING, since=timezone.now(),
            until=timezone.now() + timedelta(hours=1),
        )
        self.assertTrue(self.reaches("192.168.1.9"))


class TunnelTests(TestCase):
    """What `start` prints under its first lines."""

    def text(self, own: str, host: str) -> str:
        with (mock.patch("pbx.startup.greeting.own_address", return_value=own),
              self.settings(WEB_HOST=host, WEB_PORT=8000)):
            return next_steps(None, on_terminal=True)

    def test_the_line_has_the_real_address_where_a_tunnel_is_needed(self):
        for own, host, expected in (
            ("192.0.2.10", "127.0.0.1", True), ("192.168.1.5", "127.0.0.1", True), ("203.0.113.5", "0.0.0.0", True),
            ("192.168.1.5", "0.0.0.0", False), ("203.0.113.5", "203.0.113.5", False),
        ):
            with self.subTest((own, host)):
                line = f"ssh -L 8000:127.0.0.1:8000 USER@{own}"
                (self.assertIn if expected else self.assertNotIn)(line, self.text(own, host))


class SettingTests(TestCase):
    def found(self, **settings) -> set[str]:
        with self.settings(**settings):
            return {message.id for message in run_checks()}

    def test_wrong_values_are_named(self):
        self.assertIn("pbx.E024", self.found(ADMIN_NETS=["office"]))
        self.assertIn("pbx.E025", self.found(WEB_TRUSTED_PROXIES=["10.0.0.0/99"]))
        self.assertIn("pbx.W023", self.found(ADMIN_NETS=["0.0.0.0/0"]))
        for wrong in ("pbx.example.com", "https://", "ftp://x", "https://pbx.example.com/path", "https://u@x", "https://x:y"):
            self.assertIn("pbx.E026", self.found(WEB_PUBLIC_URL=wrong), wrong)
        for right in ("", "https://pbx.example.com", "http://203.0.113.5:8000", "https://[2001:db8::1]:8443"):
            self.assertFalse(self.found(WEB_PUBLIC_URL=right) & {"pbx.E024", "pbx.E025", "pbx.E026", "pbx.W023"}, right)

    def test_names_as_browsers_write_them(self):
        self.assertEqual(
            web_names("2001:db8::1", "PBX.Example.com.", "", "localhost")[3:], ["[2001:db8::1]", "pbx.example.com"]
        )
        self.assertEqual(host_of("https://[2001:db8::1]:8443"), ["[2001:db8::1]"])
        self.assertEqual(host_of("https://PBX.example.com"), ["pbx.example.com"])
        self.assertEqual(host_of(""), [])
