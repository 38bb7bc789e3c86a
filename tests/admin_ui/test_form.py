"""Creating, renaming, disabling and deleting an extension."""

from __future__ import annotations

import re

from extensions.models import CredentialState, Extension
from tests.admin_ui.cases import LIST, AdminCase, page
from tests.extensions.rows import ha1s, make_binding, make_extension

ADD = f"{LIST}add/"
NEW = {
    "number": "1001", "display_name": "Front desk", "enabled": "on", "max_devices": "5", "ring_seconds": "30",
    "language": "",
}


def shown_password(response) -> str:
    """The password on the card, as a person reads it."""
    return next(field.value for field in response.context["sheets"][0].fields if field.secret)


class CreateTests(AdminCase):
    def test_a_generated_password_is_shown_once_on_the_card(self):
        response = self.client.post(ADD, {**NEW, "password_from": "generate"})
        extension = Extension.objects.get(number="1001")
        raw = shown_password(response)
        self.assertGreaterEqual(len(raw), 12)
        self.assertTrue(extension.check_password(raw))
        self.assertEqual(extension.credential_state, CredentialState.READY)
        self.assertContains(response, raw)
        self.assertIn("no-store", response["Cache-Control"])
        self.assertNotContains(self.client.get(page("card", extension.pk)), raw)

    def test_a_typed_password_works_and_a_weak_one_is_remarked(self):
        response = self.client.post(ADD, {
            **NEW, "number": "test1001", "password_from": "type", "password1": "test123456", "password2": "test123456",
        })
        self.assertTrue(Extension.objects.get(number="test1001").check_password("test123456"))
        self.assertContains(response, "accepted but weak")

    def test_what_is_wrong_is_said_and_nothing_is_made(self):
        make_extension("1002")
        cases = {
            "two different ones": ({"password1": "aaaa-bbbb-1", "password2": "aaaa-bbbb-2"}, "not the same"),
            "none typed": ({"password1": "", "password2": ""}, "Type the new password"),
            "too short": ({"password1": "abc", "password2": "abc"}, "too short"),
            "the number": ({"number": "10011001", "password1": "10011001", "password2": "10011001"}, "number itself"),
            "number taken": ({"number": "1002", "password1": "aaaa-bbbb-1", "password2": "aaaa-bbbb-1"}, "already an"),
            "strange number": ({"number": "10 01", "password1": "aaaa-bbbb-1", "password2": "aaaa-bbbb-1"}, "letters"),
        }
        for name, (more, sentence) in cases.items():
            with self.subTest(name):
                response = self.client.post(ADD, {**NEW, "password_from": "type", **more})
                self.assertContains(response, sentence)
                self.assertEqual(Extension.objects.count(), 1)

    def test_a_typed_password_is_not_sent_back_when_something_is_wrong(self):
        response = self.client.post(ADD, {
            **NEW, "number": "10 01", "password_from": "type", "password1": "aaaa-bbbb-1", "password2": "aaaa-bbbb-1",
        })
        self.assertNotContains(response, "aaaa-bbbb-1")

    def test_the_same_page_sent_again_changes_nothing(self):
        first = self.client.post(ADD, {**NEW, "password_from": "generate"})
        again = self.client.post(ADD, {**NEW, "password_from": "generate"})
        self.assertContains(again, "already an extension with this number")
        self.assertTrue(Extension.objects.get().check_password(shown_password(first)))


class RenameTests(AdminCase):
    def setUp(self):
        super().setUp()
        self.extension = make_extension("1001", password="old-pass-77", display_name="Front desk")
        self.form = f"{LIST}{self.extension.pk}/change/"

    def rename(self, **more):
        return self.client.post(self.form, self.fields(self.extension, number="1099", **more))

    def test_it_first_says_what_it_will_do(self):
        make_binding(self.extension)
        response = self.rename()
        self.assertContains(response, "Change the number 1001 to 1099?")
        self.assertContains(response, "1 phone that is registered now is signed out at once.")
        self.assertContains(response, "The old password does not work with the new number")
        self.assertContains(response, "Generate a strong password")
        self.extension.refresh_from_db()
        self.assertEqual(self.extension.number, "1001")
        self.assertTrue(self.extension.bindings.exists())

    def test_with_a_new_password_in_the_same_step(self):
        make_binding(self.extension)
        response = self.rename(confirmed="on", password_from="generate")
        extension = Extension.objects.get(pk=self.extension.pk)
        self.assertEqual(extension.number, "1099")
        self.assertTrue(extension.check_password(shown_password(response)))
        self.assertEqual(extension.credential_state, CredentialState.READY)
        self.assertFalse(extension.bindings.exists())
        self.assertContains(self.client.get(f"{LIST}{extension.pk}/history/"), "1001 became 1099")

    def test_other_fields_survive_the_question(self):
        response = self.rename(display_name="New name", max_devices="3", enabled=None)
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', response.content.decode()))
        self.client.post(self.form, {**hidden, "password_from": "generate"})
        extension = Extension.objects.get(pk=self.extension.pk)
        self.assertEqual(
            (extension.number, extension.display_name, extension.max_devices, extension.enabled),
            ("1099", "New name", 3, False),
        )

    def test_without_a_password_the_extension_waits_visibly(self):
        self.rename(confirmed="on", password_from="none")
        extension = Extension.objects.get(pk=self.extension.pk)
        self.assertEqual(extension.credential_state, CredentialState.STALE)
        self.assertContains(self.client.get(LIST), "made for another realm or number")

    def test_confirming_needs_a_choice_of_password(self):
        response = self.rename(confirmed="on", password_from="type", password1="aaaa-bbbb-1", password2="bbbb-aaaa-1")
        self.assertContains(response, "not the same")
        self.assertEqual(Extension.objects.get(pk=self.extension.pk).number, "1001")

    def test_a_taken_number_is_refused_before_any_question(self):
        make_extension("1099")
        response = self.rename()
        self.assertContains(response, "already an extension with this number")
        self.assertNotContains(response, "Change the number")

    def test_a_form_with_a_password_but_no_new_number_changes_no_password(self):
        before = ha1s(self.extension)
        self.client.post(self.form, self.fields(self.extension, password_from="generate"))
        self.assertEqual(ha1s(self.extension), before)

    def test_the_hint_stands_at_the_field(self):
        self.assertContains(self.client.get(self.form), "Changing the number ends its registrations")


class DisableTests(AdminCase):
    def setUp(self):
        super().setUp()
        self.extension = make_extension("1001")
        self.form = f"{LIST}{self.extension.pk}/change/"

    def test_it_says_which_phones_it_ends(self):
        make_binding(self.extension, user_agent="Zoiper rv2")
        response = self.client.post(self.form, self.fields(self.extension, enabled=None))
        self.assertContains(response, "Disable 1001?")
        self.assertContains(response, "Zoiper rv2")
        self.extension.refresh_from_db()
        self.assertTrue(self.extension.enabled)
        self.client.post(self.form, self.fields(self.extension, enabled=None, confirmed="on"))
        self.extension.refresh_from_db()
        self.assertFalse(self.extension.enabled)
        self.assertFalse(self.extension.bindings.exists())

    def test_without_a_phone_there_is_nothing_to_ask(self):
        self.client.post(self.form, self.fields(self.extension, enabled=None))
        self.extension.refresh_from_db()
        self.assertFalse(self.extension.enabled)
        self.assertContains(self.client.get(self.form), "disabled")

    def test_other_changes_keep_the_phones_and_the_password(self):
        make_binding(self.extension)
        before = ha1s(self.extension)
        self.client.post(self.form, self.fields(self.extension, display_name="Other", max_devices="2"))
        self.extension.refresh_from_db()
        self.assertEqual((self.extension.display_name, self.extension.max_devices), ("Other", 2))
        self.assertTrue(self.extension.bindings.exists())
        self.assertEqual(ha1s(self.extension), before)


class DeleteTests(AdminCase):
    def test_it_says_what_goes_and_takes_all_of_it(self):
        extension = make_extension("1001")
        make_binding(extension)
        address = f"{LIST}{extension.pk}/delete/"
        self.assertContains(self.client.get(address), "Phones online, whose registration ends: 1")
        self.client.post(address, {"post": "yes"})
        self.assertFalse(Extension.objects.exists())
