"""Registrations: every phone that is registered now, whatever its extension."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.admin_ui.cases import AdminCase, QuietCase, make_administrator, page
from tests.admin_ui.test_active_calls import PIECE
from tests.extensions.rows import make_binding, make_extension

REGISTRATIONS = "/admin/extensions/binding/"


class ListTests(AdminCase):
    def test_each_phone_with_what_is_known_of_it(self):
        extension = make_extension("1001", display_name="Front desk")
        binding = make_binding(extension, user_agent="Linphone/5.2", remote_host="2001:db8::9", transport="TCP")
        response = self.client.get(REGISTRATIONS)
        for text in ("1001", "Front desk", "Linphone/5.2", "[2001:db8::9]:5062", "TCP", ">online<",
                     f"{timezone.localtime(binding.expires_at):%H:%M}", page("forget_one", extension.pk, binding.pk),
                     f"/admin/extensions/extension/{extension.pk}/change/"):
            self.assertContains(response, text)

    def test_ended_ones_are_not_there(self):
        make_binding(make_extension("1001"), seconds_left=-5)
        self.assertContains(self.client.get(REGISTRATIONS), "No phone is registered.")

    def test_one_that_does_not_answer_and_one_with_an_old_password(self):
        make_binding(make_extension("1001"), unreachable_since=timezone.now())
        old = make_extension("1002")
        make_binding(old, refreshed_at=timezone.now() - timedelta(minutes=1))
        old.set_password("brand-new-pass-1")
        old.save()
        response = self.client.get(REGISTRATIONS)
        self.assertContains(response, "pbx-warn")
        self.assertContains(response, "old password, will fail at")
        self.assertContains(self.client.get(REGISTRATIONS, {"answers": "no"}), "<b>1001</b>")
        self.assertNotContains(self.client.get(REGISTRATIONS, {"answers": "no"}), "<b>1002</b>")
        self.assertNotContains(self.client.get(REGISTRATIONS, {"answers": "yes"}), "<b>1001</b>")

    def test_search(self):
        make_binding(make_extension("1001"), user_agent="Zoiper", remote_host="203.0.113.9")
        make_binding(make_extension("1002", display_name="Accounting"), user_agent="baresip", remote_host="192.0.2.77")
        for text, expected in (("1001", "1001"), ("account", "1002"), ("baresip", "1002"), ("192.0.2", "1002")):
            with self.subTest(text):
                response = self.client.get(REGISTRATIONS, {"q": text})
                self.assertEqual([row.extension.number for row in response.context["cl"].result_list], [expected])
        self.assertContains(self.client.get(REGISTRATIONS, {"q": "nix"}), "No registered phone fits the search.")

    def test_the_script_gets_the_list_alone_with_the_same_filter(self):
        make_binding(make_extension("1001"))
        make_binding(make_extension("1002"))
        address = f"{REGISTRATIONS}?q=1001"
        self.assertContains(self.client.get(address), f'data-live-panel="{address}"')
        piece = self.client.get(address, headers=PIECE)
        self.assertContains(piece, "<b>1001</b>")
        self.assertNotContains(piece, "<html")
        self.assertNotContains(piece, "<b>1002</b>")

    def test_every_column_sorts(self):
        make_binding(make_extension("1001"))
        for column in range(7):
            with self.subTest(column):
                self.assertEqual(self.client.get(REGISTRATIONS, {"o": f"-{column}"}).status_code, 200)

    def test_many_phones_cost_as_many_queries_as_one(self):
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                self.client.get(REGISTRATIONS)
            return len(captured)

        make_binding(make_extension("1001"))
        self.client.get(REGISTRATIONS)
        with_one = queries()
        extension = make_extension("1002")
        for number in range(40):
            make_binding(extension, key=str(number))
        self.assertEqual(queries(), with_one)

    def test_text_from_the_network_is_only_text(self):
        make_binding(make_extension("1001", display_name="<script>alert(1)"), user_agent="<script>alert(2)")
        self.assertNotContains(self.client.get(REGISTRATIONS), "<script>alert")

    def test_the_address_of_one_leads_to_its_extension(self):
        extension = make_extension("1001")
        binding = make_binding(extension)
        response = self.client.get(f"{REGISTRATIONS}{binding.pk}/change/")
        self.assertRedirects(response, f"/admin/extensions/extension/{extension.pk}/change/")
        self.assertEqual(self.client.get(f"{REGISTRATIONS}999/change/").status_code, 404)


class PermissionTests(QuietCase):
    def test_who_may_see_extensions_sees_them_and_who_may_change_them_forgets(self):
        binding = make_binding(make_extension("1001"))
        self.assertEqual(self.client.get(REGISTRATIONS).status_code, 302)
        self.client.force_login(make_administrator("other"))
        self.assertEqual(self.client.get(REGISTRATIONS).status_code, 403)
        self.assertNotContains(self.client.get("/admin/"), "Registrations")
        self.client.force_login(make_administrator("viewer", "view"))
        self.assertNotContains(self.client.get(REGISTRATIONS), "Forget")
        self.client.force_login(make_administrator("changer", "change"))
        self.assertContains(self.client.get(REGISTRATIONS), "Forget this device")
        self.client.force_login(User.objects.create_superuser("root", "r@pbx.test", "a-Long-enough-1"))
        for address in (f"{REGISTRATIONS}add/", f"{REGISTRATIONS}{binding.pk}/delete/"):
            self.assertEqual(self.client.post(address, {"post": "yes"}).status_code, 403)
        binding.refresh_from_db()
