"""Signing in: the way from the root address, the throttle, the second factor, and what every answer carries."""

from __future__ import annotations

import io
import logging
from base64 import b32encode
from unittest import mock

from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import RequestFactory, TestCase, override_settings
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice

from pbx.client_address import client_address
from tests.admin_ui.cases import LIST, AdminCase, QuietCase
from tests.extensions.rows import make_binding, make_extension

PASSWORD = "a-Long-enough-1"


class WayInTests(AdminCase):
    def test_the_root_address_leads_to_the_admin(self):
        self.assertRedirects(self.client.get("/"), "/admin/")

    def test_the_first_page_leads_to_the_extensions_and_counts_them(self):
        make_binding(make_extension("1001"))
        make_extension("1002", password=None)
        make_extension("1003").credentials.update(realm="elsewhere")
        make_extension("1004", enabled=False)
        response = self.client.get("/admin/")
        self.assertContains(response, f'href="{LIST}"')
        overview = response.context["overview"]
        self.assertEqual(
            (overview.total, overview.online, overview.missing, overview.stale, overview.disabled), (4, 1, 1, 1, 1)
        )

    def test_extensions_come_first_in_the_menu(self):
        self.assertEqual(self.client.get("/admin/").context["app_list"][0]["app_label"], "extensions")

    def test_nothing_inline_may_run(self):
        for address in ("/admin/", LIST, "/admin/login/"):
            policy = self.client.get(address)["Content-Security-Policy"]
            self.assertIn("default-src 'self'", policy)
            self.assertNotIn("unsafe", policy)


@override_settings(ADMIN_NETS=["0.0.0.0/0", "::/0"])
class ThrottleTests(QuietCase):
    def setUp(self):
        super().setUp()
        User.objects.create_superuser("root", "root@pbx.test", PASSWORD)

    def sign_in(self, password: str, name: str = "root", address: str = "203.0.113.9", **headers):
        with mock.patch("axes.handlers.database.log"):
            return self.client.post(
                "/admin/login/?next=/admin/", {"username": name, "password": password}, REMOTE_ADDR=address,
                headers=headers or None,
            )

    def test_a_refusal_is_one_line_in_the_log_as_fail2ban_reads_it(self):
        hidden = "n0t-the-Passw0rd"
        logging.getLogger("pbx.web").setLevel(logging.NOTSET)  # QuietCase silenced it
        for name, address, shown in (
            ("root", "203.0.113.9", "user=root source=203.0.113.9"),
            ("nobody", "2001:db8::7", "user=nobody source=2001:db8::7"),
            ("x source=1.2.3.4\nWARNING", "203.0.113.9",
             "user=x%20source%3D1.2.3.4%0AWARNING source=203.0.113.9"),
            ("a" * 200, "203.0.113.9", f"user={'a' * 64} source=203.0.113.9"),
            ("ю", "203.0.113.9", "user=%u044E source=203.0.113.9"),
        ):
            with self.subTest(name), self.assertLogs(level="WARNING") as logs:
                self.client.post(
                    "/admin/login/", {"username": name, "password": hidden}, REMOTE_ADDR=address,
                )
                lines = [f"{record.levelname} {record.getMessage()}" for record in logs.records]
                self.assertEqual(lines, [f"WARNING [WEB] Log-in refused: {shown}"])

    def test_a_locked_out_log_in_stands_in_the_log_too(self):
        self.lock()
        with self.assertLogs("pbx.web", level="WARNING") as logs:
            self.sign_in(PASSWORD)
        self.assertEqual(logs.records[0].getMessage(), "[WEB] Log-in refused: user=root source=203.0.113.9")

    def lock(self, **more) -> None:
        for _guess in range(5):
            response = self.sign_in("wrong", **more)
        self.assertEqual(response.status_code, 429)

    def test_the_fifth_wrong_password_locks_with_a_readable_page(self):
        for _guess in range(4):
            self.assertEqual(self.sign_in("wrong").status_code, 200)
        response = self.sign_in("wrong")
        self.assertContains(response, "Too many wrong passwords", status_code=429)
        self.assertContains(response, "15 minutes", status_code=429)
        self.assertContains(response, "axes_reset", status_code=429)
        self.assertEqual(self.sign_in(PASSWORD).status_code, 429)

    def test_others_and_other_addresses_are_not_affected(self):
        User.objects.create_superuser("second", "s@pbx.test", PASSWORD)
        self.lock()
        self.assertEqual(self.sign_in(PASSWORD, name="second").status_code, 302)
        self.client.logout()
        self.assertEqual(self.sign_in(PASSWORD, address="198.51.100.7").status_code, 302)

    def test_a_right_password_forgets_the_wrong_ones(self):
        for _round in range(2):
            for _guess in range(4):
                self.sign_in("wrong")
            self.assertEqual(self.sign_in(PASSWORD).status_code, 302)
            self.client.logout()

    def test_the_command_ends_the_wait(self):
        self.lock()
        with mock.patch("sys.stdout"):
            call_command("axes_reset")
        self.assertEqual(self.sign_in(PASSWORD).status_code, 302)

    def test_behind_a_proxy_each_person_counts_alone(self):
        self.lock(address="127.0.0.1", **{"x-forwarded-for": "203.0.113.9"})
        response = self.sign_in(PASSWORD, address="127.0.0.1", **{"x-forwarded-for": "198.51.100.7"})
        self.assertEqual(response.status_code, 302)

    def test_an_ipv6_network_is_one_stranger(self):
        for guess in range(5):
            response = self.sign_in("wrong", address=f"fd00::{guess}")
        self.assertEqual(response.status_code, 429)
        self.assertEqual(self.sign_in(PASSWORD, address="fd00:0:0:1::1").status_code, 302)

    def test_a_stranger_cannot_choose_an_address(self):
        """Neither by a header of his own, nor by one that he sends through the proxy: the proxy adds the real one."""
        for guess in range(5):
            self.assertEqual(404, self.sign_in("wrong", **{"x-forwarded-for": f"198.51.100.{guess}"}).status_code)
        for guess in range(5):
            forwarded = f"198.51.100.{guess}, 203.0.113.9"
            response = self.sign_in("wrong", address="127.0.0.1", **{"x-forwarded-for": forwarded})
        self.assertEqual(response.status_code, 429)


class ClientAddressTests(TestCase):
    def test_forwarded_addresses_are_believed_only_from_proxies_and_from_the_right(self):
        for remote, forwarded, expected in (
            ("203.0.113.9", "", "203.0.113.9"), ("203.0.113.9", "1.2.3.4", "203.0.113.9"),
            ("127.0.0.1", "203.0.113.9", "203.0.113.9"), ("127.0.0.1", "1.2.3.4, 203.0.113.9", "203.0.113.9"),
            ("", "203.0.113.9", "203.0.113.9"), ("127.0.0.1", " , ", "127.0.0.1"),
        ):
            with self.subTest((remote, forwarded)):
                request = RequestFactory().get("/", REMOTE_ADDR=remote, headers={"x-forwarded-for": forwarded})
                self.assertEqual(client_address(request), expected)

    @override_settings(WEB_TRUSTED_PROXIES=["10.0.0.0/8"])
    def test_the_setting_names_the_proxies(self):
        forwarded = {"x-forwarded-for": "203.0.113.9, 10.0.0.1"}
        request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.2", headers=forwarded)
        self.assertEqual(client_address(request), "203.0.113.9")


@override_settings(ADMIN_TOTP=True)
class SecondFactorTests(AdminCase):
    def code(self, device: TOTPDevice) -> str:
        return f"{totp(device.bin_key):06d}"

    def enrol(self) -> TOTPDevice:
        self.client.get("/admin/second-factor/")
        device = TOTPDevice.objects.get()
        self.client.post("/admin/second-factor/", {"code": self.code(device)})
        device.refresh_from_db()
        return device

    def test_the_password_alone_opens_nothing(self):
        for address in ("/admin/", LIST, f"{LIST}live/"):
            response = self.client.get(address, follow=True)
            self.assertTrue(response.redirect_chain[-1][0].startswith("/admin/second-factor/"), address)

    def test_enrolling_by_qr_then_the_page_that_was_asked_for(self):
        response = self.client.get(LIST, follow=True)
        self.assertContains(response, 'class="qr"')
        device = TOTPDevice.objects.get()
        self.assertFalse(device.confirmed)
        self.assertContains(response, b32encode(device.bin_key).decode())
        done = self.client.post(response.redirect_chain[-1][0], {"code": self.code(device), "next": LIST})
        self.assertRedirects(done, LIST)
        device.refresh_from_db()
        self.assertTrue(device.confirmed)

    def test_who_is_enrolled_sees_no_key_again_and_needs_a_new_code(self):
        device = self.enrol()
        self.client.logout()
        self.client.force_login(self.admin)
        response = self.client.get("/admin/second-factor/")
        self.assertNotContains(response, 'class="qr"')
        self.assertNotContains(response, b32encode(device.bin_key).decode())
        response = self.client.post("/admin/second-factor/", {"code": self.code(device)})
        self.assertContains(response, "not right")  # the same code twice
        self.assertEqual(self.client.get(LIST).status_code, 302)
        self.assertEqual(TOTPDevice.objects.count(), 1)

    def test_a_wrong_code_opens_nothing(self):
        device = self.enrol()
        self.client.logout()
        self.client.force_login(self.admin)
        wrong = f"{(int(self.code(device)) + 1) % 1000000:06d}"
        self.assertContains(self.client.post("/admin/second-factor/", {"code": wrong}), "not right")
        self.assertContains(self.client.post("/admin/second-factor/", {"code": "abc"}), "six digits")
        self.assertContains(self.client.post("/admin/second-factor/", {"code": wrong}), "Too many wrong codes")
        self.assertEqual(self.client.get(LIST).status_code, 302)

    def test_the_way_back_cannot_lead_to_another_site(self):
        self.client.get("/admin/second-factor/")
        code = self.code(TOTPDevice.objects.get())
        response = self.client.post("/admin/second-factor/", {"code": code, "next": "https://evil.example/"})
        self.assertEqual(response["Location"], "/admin/")

    def test_a_lost_telephone_is_replaced_by_a_command(self):
        self.enrol()
        out = io.StringIO()
        call_command("resetsecondfactor", "root", stdout=out)
        self.assertIn("new QR code", out.getvalue())
        self.client.logout()
        self.client.force_login(self.admin)
        self.assertContains(self.client.get("/admin/second-factor/"), 'class="qr"')
        with self.assertRaisesMessage(CommandError, "no administrator with the name nobody"):
            call_command("resetsecondfactor", "nobody")

    def test_signing_out_from_there(self):
        self.client.post("/admin/second-factor/", {"sign_out": "1"})
        self.assertNotIn("_auth_user_id", self.client.session)

    def test_strangers_get_no_key(self):
        self.client.logout()
        self.assertEqual(self.client.get("/admin/second-factor/").status_code, 302)
        self.assertFalse(TOTPDevice.objects.exists())

    @override_settings(ADMIN_TOTP=False)
    def test_off_by_default_it_asks_nothing(self):
        self.assertEqual(self.client.get(LIST).status_code, 200)
        self.assertRedirects(self.client.get("/admin/second-factor/"), "/admin/")
