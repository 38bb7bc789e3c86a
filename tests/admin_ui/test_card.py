"""The account card: all settings, and in the order and words of Zoiper and Linphone."""

from __future__ import annotations

from django.test import override_settings

from extensions.card import account_sheets
from tests.admin_ui.cases import AdminCase, page
from tests.extensions.rows import make_extension


def sheet(sheets, key: str) -> dict[str, str]:
    found = next(sheet for sheet in sheets if sheet.key == key)
    return {field.label: field.value or field.note for field in found.fields}


@override_settings(SIP_DOMAIN="pbx.example.uz", SIP_HOST="0.0.0.0", SIP_PORT=5060)
class CardTests(AdminCase):
    def test_all_settings_with_the_domain_and_never_the_bind_address(self):
        extension = make_extension("1001", display_name="Front desk")
        self.assertEqual(sheet(account_sheets(extension, "raw-pass-1"), "all"), {
            "User name": "1001", "Password": "raw-pass-1", "Server (domain)": "pbx.example.uz", "Port": "5060",
            "Transport": "UDP", "Register": "on", "STUN": "off", "Outbound proxy": "leave empty",
        })
        self.assertNotContains(self.client.get(page("card", extension.pk)), "0.0.0.0")

    def test_the_apps_own_fields_in_their_own_order(self):
        sheets = account_sheets(make_extension("1001", display_name="Front desk"), "raw-pass-1")
        self.assertEqual(list(sheet(sheets, "zoiper").items())[:3], [
            ("Username / Login", "1001@pbx.example.uz"), ("Password", "raw-pass-1"),
            ("Hostname or provider", "pbx.example.uz"),
        ])
        self.assertEqual(list(sheet(sheets, "linphone").items())[:5], [
            ("Username", "1001"), ("Password", "raw-pass-1"), ("Domain", "pbx.example.uz"),
            ("Display name", "Front desk"), ("Transport", "UDP"),
        ])

    @override_settings(SIP_PORT=5070)
    def test_another_port_goes_where_the_apps_want_it(self):
        sheets = account_sheets(make_extension("1001"))
        self.assertEqual(sheet(sheets, "all")["Port"], "5070")
        self.assertEqual(sheet(sheets, "zoiper")["Hostname or provider"], "pbx.example.uz:5070")
        self.assertEqual(sheet(sheets, "linphone")["Domain"], "pbx.example.uz:5070")

    @override_settings(SIP_DOMAIN="2001:db8::5", SIP_PORT=5070)
    def test_an_ipv6_server_has_brackets_before_a_port(self):
        self.assertEqual(
            sheet(account_sheets(make_extension("1001")), "zoiper")["Hostname or provider"], "[2001:db8::5]:5070"
        )

    def test_each_value_has_a_copy_button(self):
        response = self.client.get(page("card", make_extension("1001").pk))
        self.assertContains(response, 'data-copy="pbx.example.uz"')
        self.assertContains(response, "Copy all")

    def test_without_the_password_it_says_so(self):
        response = self.client.get(page("card", make_extension("1001").pk))
        self.assertContains(response, "shown only once, when it is set")

    def test_what_keeps_the_phone_out_is_said_on_the_card(self):
        self.assertContains(
            self.client.get(page("card", make_extension("1001", password=None).pk)), "No phone can sign in"
        )
        self.assertContains(
            self.client.get(page("card", make_extension("1002", enabled=False).pk)), "This extension is disabled"
        )
