"""The Password button: type one twice, or generate one; shown once."""

from __future__ import annotations

import sys
from unittest import mock

from django.contrib.admin.models import LogEntry
from django.core.signals import got_request_exception
from django.views.debug import ExceptionReporter

from extensions.models import CredentialState, Extension
from tests.admin_ui.cases import LIST, AdminCase, page
from tests.admin_ui.test_form import shown_password
from tests.extensions.rows import ha1s, make_binding, make_extension


class PasswordTests(AdminCase):
    def setUp(self):
        super().setUp()
        self.extension = make_extension("1001", password="old-pass-77")
        self.address = page("password", self.extension.pk)

    def send(self, **data):
        once = self.client.get(self.address).context["form"]["once"].value()
        return self.client.post(self.address, {"once": once, **data})

    def test_a_generated_one_is_shown_once_with_the_card(self):
        response = self.send(password_from="generate")
        raw = shown_password(response)
        self.assertTrue(Extension.objects.get().check_password(raw))
        self.assertContains(response, "shown only now")
        self.assertIn("no-store", response["Cache-Control"])
        for address in (self.address, page("card", self.extension.pk), f"{LIST}{self.extension.pk}/change/", LIST,
                        f"{LIST}{self.extension.pk}/history/"):
            self.assertNotContains(self.client.get(address), raw)

    def test_a_typed_one(self):
        response = self.send(password_from="type", password1="new-pass-88", password2="new-pass-88")
        self.assertEqual(shown_password(response), "new-pass-88")
        self.assertTrue(Extension.objects.get().check_password("new-pass-88"))

    def test_a_typing_mistake_changes_nothing_and_is_not_echoed(self):
        before = ha1s(self.extension)
        response = self.send(password_from="type", password1="new-pass-88", password2="new-pass-89")
        self.assertContains(response, "not the same")
        self.assertNotContains(response, "new-pass-8")
        self.assertEqual(ha1s(self.extension), before)

    def test_loading_the_answer_again_sets_no_second_password(self):
        once = self.client.get(self.address).context["form"]["once"].value()
        first = self.client.post(self.address, {"once": once, "password_from": "generate"})
        again = self.client.post(self.address, {"once": once, "password_from": "generate"}, follow=True)
        self.assertTrue(Extension.objects.get().check_password(shown_password(first)))
        self.assertNotContains(again, shown_password(first))
        self.assertRedirects(again, page("card", self.extension.pk))

    def test_the_raw_password_is_in_no_session_and_no_history(self):
        raw = shown_password(self.send(password_from="generate"))
        self.assertNotIn(raw, str(dict(self.client.session)))
        self.assertTrue(LogEntry.objects.exists())
        for entry in LogEntry.objects.all():
            self.assertNotIn(raw, entry.change_message)

    def test_it_repairs_a_missing_and_a_stale_password(self):
        for state in (CredentialState.MISSING, CredentialState.STALE):
            with self.subTest(state):
                if state == CredentialState.MISSING:
                    self.extension.credentials.all().delete()
                else:
                    self.extension.credentials.update(realm="elsewhere")
                self.assertContains(self.client.get(self.address), state.label)
                self.send(password_from="generate")
                self.assertEqual(Extension.objects.get().credential_state, CredentialState.READY)

    def test_a_registered_phone_is_announced_kept_and_marked(self):
        binding = make_binding(self.extension)
        self.assertContains(self.client.get(self.address), "1 phone is registered")
        response = self.send(password_from="generate")
        self.assertContains(response, "old password, will fail at")
        self.assertContains(response, page("forget_all", self.extension.pk))
        self.assertTrue(self.extension.bindings.filter(pk=binding.pk).exists())

    def test_get_changes_nothing(self):
        before = ha1s(self.extension)
        self.client.get(self.address, {"password_from": "generate", "once": "x"})
        self.assertEqual(ha1s(self.extension), before)


class ErrorReportTests(AdminCase):
    def test_typed_passwords_are_hidden_in_error_reports(self):
        reports = []

        def remember(sender, request, **_more):
            reports.append(ExceptionReporter(request, *sys.exc_info()).get_traceback_text())

        got_request_exception.connect(remember)
        self.addCleanup(got_request_exception.disconnect, remember)
        self.client.raise_request_exception = False
        extension = make_extension("1001")
        with (
            mock.patch("extensions.models.Extension.save", side_effect=RuntimeError("broken")),
            self.assertLogs("django.request", "ERROR"),
        ):
            self.client.post(page("password", extension.pk), {
                "once": "a", "password_from": "type", "password1": "very-secret-9", "password2": "very-secret-9",
            })
        self.assertIn("broken", reports[0])
        self.assertNotIn("very-secret-9", reports[0])
