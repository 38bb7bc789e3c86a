"""The QR code for Linphone: a link that works once, for 15 minutes, over a safe way, and carries no password."""

from __future__ import annotations

import re
from datetime import timedelta
from unittest import mock
from xml.etree import ElementTree

from django.contrib.admin.models import LogEntry
from django.db import close_old_connections, connection
from django.test import Client, RequestFactory, TransactionTestCase, override_settings
from django.utils import timezone

from extensions import provisioning
from extensions.models import Extension, ProvisioningLink
from extensions.views import is_linphone
from tests.admin_ui.cases import LIST, AdminCase, page
from tests.extensions.rows import ha1s, make_extension

LINPHONE = {"user-agent": "LinphoneAndroid/5.2.5", "x-linphone-provisioning": "1"}
NAMESPACE = "{http://www.linphone.org/xsds/lpconfig.xsd}"


def settings_in(document: bytes) -> dict[str, dict[str, str]]:
    """The sections of a provisioning document, as Linphone reads them."""
    root = ElementTree.fromstring(document)
    assert root.tag == f"{NAMESPACE}config"
    return {
        section.get("name", ""): {entry.get("name", ""): entry.text or "" for entry in section}
        for section in root
    }


@override_settings(SIP_DOMAIN="pbx.example.uz", SIP_PORT=5060, ALLOWED_HOSTS=["*"])
class PhoneLinkCase(AdminCase):
    def setUp(self):
        super().setUp()
        self.extension = make_extension("1001", display_name="Front desk")
        self.address = page("phone_link", self.extension.pk)
        self.phone = Client(headers=LINPHONE)

    def make_link(self) -> str:
        """Press the button; the path of the link that the QR code holds."""
        response = self.client.post(self.address, headers={"host": "192.168.1.5:8000"})
        self.assertContains(response, 'class="qr"')
        url = response.context["url"]
        self.assertTrue(url.startswith("http://192.168.1.5:8000/phone/"))
        return url.removeprefix("http://192.168.1.5:8000")

    def fetch(self, path: str, **more):
        return self.phone.get(path, headers={"host": "192.168.1.5:8000"}, **more)


class MakingTests(PhoneLinkCase):
    def test_looking_at_the_page_makes_no_link(self):
        self.assertNotContains(self.client.get(self.address), 'class="qr"')
        self.assertFalse(ProvisioningLink.objects.exists())

    def test_the_page_says_how_long_it_is_good_for(self):
        response = self.client.post(self.address, headers={"host": "192.168.1.5:8000"})
        self.assertContains(response, "Good until")
        self.assertIn("no-store", response["Cache-Control"])
        link = ProvisioningLink.objects.get()
        self.assertEqual(link.expires_at - link.created_at, timedelta(minutes=15))
        state = self.client.get(page("phone_link_state", self.extension.pk, link.pk)).json()
        self.assertEqual(state["state"], "waiting")
        self.assertTrue(880 <= state["seconds_left"] <= 900)

    def test_the_token_is_stored_only_hashed(self):
        token = self.make_link().strip("/").split("/")[-1]
        row = ProvisioningLink.objects.values().get()
        self.assertNotIn(token, str(row))
        self.assertEqual(len(row["token_hash"]), 64)
        self.assertNotIn(token, "".join(LogEntry.objects.values_list("change_message", flat=True)))

    def test_a_new_code_ends_the_one_before(self):
        old, new = self.make_link(), self.make_link()
        self.assertEqual(self.fetch(old).status_code, 410)
        self.assertEqual(self.fetch(new).status_code, 200)

    def test_an_address_out_of_a_phones_reach_is_said_before_the_click_and_makes_no_code(self):
        card, form = page("card", self.extension.pk), f"{LIST}{self.extension.pk}/change/"
        sentence = "no phone can follow a QR code"
        for host in ("127.0.0.1:8000", "localhost:8000", "[::1]:8000", "pbx.localhost"):
            with self.subTest(host):
                for address in (card, form):
                    response = self.client.get(address, headers={"host": host})
                    self.assertContains(response, sentence)
                    self.assertContains(response, "WEB_HOST=")
                response = self.client.post(self.address, headers={"host": host})
                self.assertContains(response, sentence)
                self.assertNotContains(response, 'class="qr"')
                self.assertFalse(ProvisioningLink.objects.exists())
        for address in (card, form, self.address):
            self.assertNotContains(self.client.get(address, headers={"host": "192.168.1.5:8000"}), sentence)

    def test_the_button_leaves_the_page_with_the_password_open(self):
        for address in (page("card", self.extension.pk), f"{LIST}{self.extension.pk}/change/"):
            self.assertContains(self.client.get(address), f'href="{self.address}" target="_blank" rel="noopener"')

    def test_no_link_without_a_fitting_password_or_while_disabled(self):
        for make, sentence in (
            (lambda: make_extension("1002", password=None), "no password that fits"),
            (lambda: make_extension("1003", enabled=False), "Enable it first"),
        ):
            with self.subTest(sentence):
                extension = make()
                response = self.client.post(page("phone_link", extension.pk), headers={"host": "192.168.1.5"})
                self.assertContains(response, sentence)
                self.assertFalse(extension.provisioning_links.exists())

    @override_settings(ADMIN_NETS=["0.0.0.0/0"])
    def test_an_unprotected_way_is_refused_with_its_remedy(self):
        for host, address in (
            ("pbx.example.com", "203.0.113.9"), ("192.168.1.5", "203.0.113.9"), ("203.0.113.1", "192.168.1.9"),
        ):
            with self.subTest((host, address)):
                response = self.client.post(self.address, headers={"host": host}, REMOTE_ADDR=address)
                self.assertContains(response, "https://")
                self.assertFalse(ProvisioningLink.objects.exists())


class UsingTests(PhoneLinkCase):
    def test_linphone_gets_its_settings_with_the_ha1_and_no_password(self):
        response = self.fetch(self.make_link())
        self.assertEqual(response["Content-Type"], "application/xml; charset=utf-8")
        self.assertEqual(response["Cache-Control"], "no-store")
        self.assertEqual(response["Referrer-Policy"], "no-referrer")
        sections = settings_in(response.content)
        self.assertEqual(sections["proxy_0"]["reg_proxy"], "<sip:pbx.example.uz;transport=udp>")
        self.assertEqual(sections["proxy_0"]["reg_identity"], '"Front desk" <sip:1001@pbx.example.uz>')
        credential = self.extension.credentials.get(algorithm="MD5")
        self.assertEqual(sections["auth_info_0"], {
            "username": "1001", "ha1": credential.ha1, "realm": credential.realm, "domain": "pbx.example.uz",
            "algorithm": "MD5",
        })
        self.assertEqual(sections["misc"]["transient_provisioning"], "1")
        self.assertNotIn(b"passw", response.content)
        self.assertNotIn(b"test123456", response.content)
        self.assertNotIn(ha1s(self.extension)["SHA-256"].encode(), response.content)

    @override_settings(SIP_PORT=5070)
    def test_another_port(self):
        sections = settings_in(self.fetch(self.make_link()).content)
        self.assertEqual(sections["proxy_0"]["reg_proxy"], "<sip:pbx.example.uz:5070;transport=udp>")

    @override_settings(SIP_DIGEST_ALGORITHMS=["SHA-256", "MD5"])
    def test_one_credential_for_each_algorithm_offered(self):
        sections = settings_in(self.fetch(self.make_link()).content)
        found = {sections[name]["algorithm"]: sections[name]["ha1"] for name in ("auth_info_0", "auth_info_1")}
        self.assertEqual(found, ha1s(self.extension))

    def test_a_hostile_name_stays_a_name(self):
        self.extension.display_name = '"><sip:evil@example.net> </entry>\\'
        self.extension.save()
        sections = settings_in(self.fetch(self.make_link()).content)
        identity = sections["proxy_0"]["reg_identity"]
        self.assertEqual(identity.count('"'), 2)
        self.assertTrue(identity.endswith('" <sip:1001@pbx.example.uz>'))

    def test_it_works_once_and_the_page_says_so(self):
        path = self.make_link()
        self.assertEqual(self.fetch(path).status_code, 200)
        again = self.fetch(path)
        self.assertEqual(again.status_code, 410)
        self.assertContains(again, "used or has expired", status_code=410)
        link = ProvisioningLink.objects.get()
        state = self.client.get(page("phone_link_state", self.extension.pk, link.pk)).json()
        self.assertEqual((state["state"], state["used_from"]), ("used", "127.0.0.1"))

    def test_it_expires(self):
        path = self.make_link()
        ProvisioningLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        self.assertEqual(self.fetch(path).status_code, 410)

    def test_dead_and_unknown_links_are_told_apart_by_nobody(self):
        used, unknown = self.make_link(), "/phone/never-made-never-made-never-mad/"
        self.fetch(used)
        self.assertEqual(self.fetch(used).content, self.fetch(unknown).content)

    def test_looking_does_not_use_it_up(self):
        path = self.make_link()
        for name, headers in {
            "Telegram": {"user-agent": "TelegramBot (like TwitterBot)"},
            "WhatsApp": {"user-agent": "WhatsApp/2.23.20.0"},
            "a browser": {"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/120.0", "accept": "text/html"},
            "nobody": {"user-agent": ""},
        }.items():
            with self.subTest(name):
                response = Client().get(path, headers={**headers, "host": "192.168.1.5:8000"})
                self.assertContains(response, "for the Linphone app")
                self.assertNotContains(response, self.extension.credentials.get(algorithm="MD5").ha1)
        response = self.phone.head(path, headers={"host": "192.168.1.5:8000"})
        self.assertEqual(response.content, b"")
        self.assertEqual(self.fetch(path).status_code, 200)
        self.assertEqual(self.phone.post(path).status_code, 405)

    def test_what_counts_as_linphone(self):
        for headers, expected in (
            ({"user-agent": "Unknown"}, True), ({"user-agent": "LinphoneiOS/5.2"}, True),
            ({"user-agent": "belle-sip/5.1"}, True), ({"x-linphone-provisioning": "1"}, True),
            ({"user-agent": "curl/8"}, False), ({}, False),
        ):
            with self.subTest(headers):
                self.assertEqual(is_linphone(RequestFactory().get("/", headers=headers)), expected)

    def test_a_password_changed_meanwhile_ends_it(self):
        path = self.make_link()
        self.extension.set_password("another-pass-3")
        self.extension.save()
        self.assertEqual(self.fetch(path).status_code, 410)

    def test_a_disabled_or_renamed_or_deleted_extension_gives_nothing(self):
        for change in ("disable", "rename", "delete"):
            with self.subTest(change):
                Extension.objects.all().delete()
                self.extension = make_extension("1001")
                self.address = page("phone_link", self.extension.pk)
                path = self.make_link()
                if change == "delete":
                    self.extension.delete()
                else:
                    if change == "disable":
                        self.extension.enabled = False
                    else:
                        self.extension.number = "1099"
                    self.extension.save()
                self.assertEqual(self.fetch(path).status_code, 410)


class SafeWayTests(PhoneLinkCase):
    def test_https_is_safe_from_everywhere(self):
        path = self.make_link()
        response = self.phone.get(path, secure=True, headers={"host": "pbx.example.com"}, REMOTE_ADDR="203.0.113.9")
        self.assertEqual(response.status_code, 200)

    def test_an_unprotected_request_gets_nothing_and_ends_the_link(self):
        path = self.make_link()
        response = self.phone.get(path, headers={"host": "pbx.example.com"}, REMOTE_ADDR="203.0.113.9")
        self.assertContains(response, "https://", status_code=403)
        self.assertEqual(self.fetch(path).status_code, 410)

    def test_the_way_counts_from_end_to_end(self):
        def safe(host: str, address: str, forwarded: str = "") -> bool:
            headers = {"host": host, **({"x-forwarded-for": forwarded} if forwarded else {})}
            return provisioning.is_safe_way(RequestFactory().get("/", headers=headers, REMOTE_ADDR=address))

        for expected, way in (
            (True, ("127.0.0.1", "127.0.0.1")), (True, ("10.1.2.3", "10.9.9.9")), (True, ("[::1]:8000", "::1")),
            (True, ("[fd00::5]", "fd00::9")), (True, ("192.168.1.5", "::ffff:192.168.1.9")),
            (True, ("localhost", "127.0.0.1")), (True, ("192.168.1.5", "127.0.0.1", "192.168.1.9")),
            (False, ("192.168.1.5", "203.0.113.9")), (False, ("203.0.113.5", "192.168.1.9")),
            (False, ("192.168.1.5", "127.0.0.1", "203.0.113.9")),
            (False, ("192.168.1.5", "192.168.1.1", "203.0.113.9, 192.168.1.2")),
            (False, ("192.168.1.5", "100.64.1.1")), (False, ("192.168.1.5", "")), (False, ("192.168.1.5", "junk")),
        ):
            with self.subTest(way):
                self.assertEqual(safe(*way), expected)

    def test_a_name_is_private_when_all_its_addresses_are(self):
        for addresses, expected in ((["192.168.1.5"], True), (["192.168.1.5", "203.0.113.5"], False), ([], False)):
            found = [(2, 1, 6, "", (address, 0)) for address in addresses]
            with self.subTest(addresses), mock.patch("socket.getaddrinfo", return_value=found):
                request = RequestFactory().get("/", headers={"host": "pbx.office"}, REMOTE_ADDR="192.168.1.9")
                self.assertEqual(provisioning.is_safe_way(request), expected)

    @override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"), ADMIN_NETS=["203.0.113.0/24"])
    def test_behind_a_proxy_that_speaks_https(self):
        response = self.client.post(
            self.address, REMOTE_ADDR="127.0.0.1",
            headers={"host": "pbx.example.com", "x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9"},
        )
        self.assertTrue(response.context["url"].startswith("https://pbx.example.com/phone/"))


class QrTests(PhoneLinkCase):
    def test_the_picture_is_inline_and_the_page_runs_nothing_inline(self):
        text = self.client.post(self.address, headers={"host": "192.168.1.5"}).content.decode()
        self.assertIn('class="qr"', text)
        self.assertFalse(re.findall(r"<script(?![^>]*\bsrc=)", text))
        self.assertFalse(re.findall(r'\son\w+="', text))


class OnlyOnceTests(TransactionTestCase):
    def test_of_two_phones_at_once_one_gets_it(self):
        extension = make_extension("1001")
        link, token = provisioning.make_link(extension)
        found = [provisioning.find_link(token), provisioning.find_link(token)]
        self.assertEqual([provisioning.use_link(one, "192.0.2.1") for one in found if one], [True, False])
        self.assertTrue(connection.is_usable())
        close_old_connections()
        link.refresh_from_db()
        self.assertIsNotNone(link.used_at)
