"""No page ever holds an HA1 or a hash; the one exception is the document behind a one-time link."""

from __future__ import annotations

from django_otp.plugins.otp_totp.models import TOTPDevice

from extensions.models import Extension
from tests.admin_ui.cases import LIST, AdminCase, page
from tests.extensions.rows import ha1s, make_binding, make_extension


class SecretTests(AdminCase):
    def test_every_page_and_every_answer(self):
        extension = make_extension("1001", password="some-pass-55", display_name="Front desk")
        binding = make_binding(extension)
        pk, form = extension.pk, f"{LIST}{extension.pk}/change/"
        answers = [self.client.get(address) for address in (
            "/admin/", "/admin/extensions/", LIST, f"{LIST}?q=1001", f"{LIST}add/", form, f"{LIST}{pk}/history/",
            f"{LIST}{pk}/delete/", page("card", pk), page("password", pk), page("phone_link", pk),
            page("devices", pk), page("forget_all", pk), page("forget_one", pk, binding.pk), f"{page('live')}?ids={pk}",
        )]
        answers += [self.client.post(address, data) for address, data in (
            (page("phone_link", pk), {}),
            (page("password", pk), {"once": "a", "password_from": "type", "password1": "x", "password2": "y"}),
            (page("password", pk), {"once": "b", "password_from": "type", "password1": "some-pass-66",
                                    "password2": "some-pass-66"}),
            (form, self.fields(extension, number="1099")),
            (form, self.fields(extension, number="")),
            (LIST, {"action": "disable", "_selected_action": pk}),
            (LIST, {"action": "delete_selected", "_selected_action": pk}),
        )]
        stored = Extension.objects.get(pk=pk)
        secrets = {*ha1s(extension).values(), *ha1s(stored).values(), extension.password, stored.password}
        self.assertGreaterEqual(len(secrets), 4)
        for answer in answers:
            address = answer.request["PATH_INFO"]
            self.assertEqual(answer.status_code, 200, address)
            text = answer.content.decode()
            for secret in secrets:
                self.assertNotIn(secret, text, address)
                self.assertNotIn(secret.rpartition("$")[2], text, address)


class QuestionTests(AdminCase):
    """A list that filters by a secret tells it, a character a question."""

    def test_no_list_answers_questions_about_a_secret(self):
        extension = make_extension("1001", password="some-pass-55")
        device = TOTPDevice.objects.create(user=self.admin, name="phone")
        for address, field, secret in (
            (LIST, "password", extension.password), (LIST, "credentials__ha1", next(iter(ha1s(extension)))),
            ("/admin/otp_totp/totpdevice/", "key", device.key), ("/admin/auth/user/", "password", self.admin.password),
        ):
            for lookup in ("startswith", "regex", "gt", "exact"):
                for value in (str(secret), "~"):
                    with (self.subTest(address=address, lookup=lookup, value=value),
                          self.assertLogs("django.security", "ERROR")):
                        answer = self.client.get(address, {f"{field}__{lookup}": value})
                        self.assertEqual(400, answer.status_code)
