"""The registrations on the page of an extension, and forgetting them."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.admin.models import LogEntry
from django.test import override_settings
from django.utils import timezone

from tests.admin_ui.cases import LIST, AdminCase, page
from tests.extensions.rows import make_binding, make_extension


class RegistrationTests(AdminCase):
    def setUp(self):
        super().setUp()
        self.extension = make_extension("1001")
        self.form = f"{LIST}{self.extension.pk}/change/"

    def test_each_device_with_what_is_known_of_it(self):
        make_binding(self.extension, user_agent="Linphone/5.2", transport="TCP", remote_host="2001:db8::9")
        response = self.client.get(self.form)
        for text in ("Linphone/5.2", "[2001:db8::9]:5062", "TCP", "sip:1001@192.168.1.7:5062", "since", "expires",
                     "Forget this device"):
            self.assertContains(response, text)

    def test_no_registration_is_said_in_words(self):
        self.assertContains(self.client.get(self.form), "No phone is registered.")

    def test_a_silent_device(self):
        since = timezone.now() - timedelta(minutes=3)
        make_binding(self.extension, unreachable_since=since)
        response = self.client.get(self.form)
        self.assertContains(response, "does not answer")
        self.assertContains(response, f"since {timezone.localtime(since):%H:%M}")

    @override_settings(TIME_ZONE="Asia/Tashkent")
    def test_an_old_password_names_the_local_time_at_which_it_fails(self):
        binding = make_binding(self.extension, refreshed_at=timezone.now() - timedelta(minutes=1))
        self.extension.set_password("brand-new-pass-1")
        self.extension.save()
        local = timezone.localtime(binding.expires_at).strftime("%H:%M")
        self.assertContains(self.client.get(self.form), f"old password, will fail at {local}")
        self.assertContains(self.client.get(page("devices", self.extension.pk)), "Forget devices")

    def test_the_same_password_again_marks_nobody(self):
        make_binding(self.extension)
        self.extension.set_password("test123456")
        self.extension.save()
        self.assertNotContains(self.client.get(self.form), "old password")

    def test_a_missing_password_marks_the_phones_that_are_still_there(self):
        make_binding(self.extension)
        self.extension.credentials.all().delete()
        self.assertContains(self.client.get(self.form), "no valid password, will fail at")

    def test_ended_ones_are_told_apart_and_few(self):
        for number in range(9):
            make_binding(self.extension, key=str(number), seconds_left=-60)
        response = self.client.get(page("devices", self.extension.pk))
        self.assertContains(response, ">ended<", count=5)
        self.assertNotContains(response, ">online<")

    def test_hostile_text_is_only_text(self):
        make_binding(self.extension, user_agent="<img src=x onerror=alert(1)>\x1b[31m\u202egnp",
                     contact='sip:1001@a;x="><script>alert(2)</script>')
        for address in (self.form, page("devices", self.extension.pk), page("forget_all", self.extension.pk),
                        page("password", self.extension.pk), f"{LIST}{self.extension.pk}/delete/"):
            with self.subTest(address):
                response = self.client.get(address)
                self.assertNotContains(response, "<img src=x")
                self.assertNotContains(response, "<script>alert")

    def test_forgetting_one_asks_first_and_is_noted(self):
        kept = make_binding(self.extension, key="a")
        gone = make_binding(self.extension, key="b", remote_port=5099)
        address = page("forget_one", self.extension.pk, gone.pk)
        self.assertContains(self.client.get(address), "comes back by itself")
        self.assertEqual(self.extension.bindings.count(), 2)
        self.assertRedirects(self.client.post(address), self.form)
        self.assertEqual([row.pk for row in self.extension.bindings.all()], [kept.pk])
        self.assertIn("203.0.113.9:5099", LogEntry.objects.get().change_message)

    def test_forgetting_one_that_is_gone_already(self):
        self.assertEqual(self.client.get(page("forget_one", self.extension.pk, 999)).status_code, 404)
        response = self.client.post(page("forget_one", self.extension.pk, 999), follow=True)
        self.assertContains(response, "There was no device to forget.")
        self.assertFalse(LogEntry.objects.exists())

    def test_another_extensions_device_cannot_be_forgotten_here(self):
        other = make_binding(make_extension("1002"))
        self.client.post(page("forget_one", self.extension.pk, other.pk))
        other.refresh_from_db()

    def test_forgetting_all(self):
        make_binding(self.extension, key="a")
        make_binding(self.extension, key="b")
        response = self.client.post(page("forget_all", self.extension.pk), follow=True)
        self.assertContains(response, "2 devices are forgotten.")
        self.assertFalse(self.extension.bindings.exists())
