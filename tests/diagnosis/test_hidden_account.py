"""The doctor's account is in no list, no count, no export and no lamp, while it exists."""

from __future__ import annotations

import io
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.test import TestCase
from django.urls import reverse
from django.utils import timezone

from extensions.exporting import write_extensions
from extensions.hidden_account import forget_hidden_accounts, hidden_account
from extensions.models import DigestCredential, Extension
from extensions.overview import overview
from tests.extensions.rows import make_binding


class HiddenAccountTests(TestCase):
    def setUp(self):
        self.admin = get_user_model().objects.create_superuser("admin", password="x" * 20)
        self.client.force_login(self.admin)

    def hidden_row(self, number: str) -> Extension:
        return Extension.everything.get(number=number)

    def test_nothing_shows_it(self):
        with hidden_account() as (number, _password):
            row = self.hidden_row(number)
            make_binding(row)
            self.assertEqual(0, Extension.objects.count())
            request = self.client.get(reverse("admin:index")).wsgi_request
            shown = overview(request)
            self.assertEqual((0, 0), (shown.total, shown.online))
            for page in ("admin:index", "admin:extensions_extension_changelist", "admin:extensions_binding_changelist",
                         "admin:calls_callrecord_changelist"):  # fmt: skip
                response = self.client.get(reverse(page), follow=True)
                self.assertNotIn(number, response.content.decode(), page)
                self.assertNotIn("~doctor", response.content.decode(), page)
            page = reverse("admin:extensions_extension_change", args=[row.pk])
            self.assertNotIn("~doctor", self.client.get(page, follow=True).content.decode())
            table = io.StringIO()
            self.assertEqual(0, write_extensions(table))
            self.assertNotIn(number, table.getvalue())
        self.assertEqual(0, Extension.everything.count())
        self.assertEqual(0, DigestCredential.objects.count())

    def test_it_goes_when_its_run_fails(self):
        with self.assertRaises(RuntimeError), hidden_account():
            raise RuntimeError
        self.assertEqual(0, Extension.everything.count())

    def test_one_of_a_run_that_was_killed_goes_later(self):
        row = Extension(number="~doctor-1", hidden=True)
        row.set_password("a-long-password")
        row.save()
        self.assertEqual(0, forget_hidden_accounts())  # it may be running
        row.created_at = timezone.now() - timedelta(hours=1)
        row.save()
        self.assertEqual(1, forget_hidden_accounts())
        self.assertEqual(0, Extension.everything.count())

    def test_nobody_can_make_one_in_a_form(self):
        page = reverse("admin:extensions_extension_add")
        self.client.post(page, {"number": "~doctor-1", "max_devices": 5, "ring_seconds": 30, "hidden": "on"})
        self.assertEqual(0, Extension.everything.count())
