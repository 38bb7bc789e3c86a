"""Who may do what: each page asks, each change needs POST with its CSRF token."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.test import Client

from tests.admin_ui.cases import LIST, QuietCase, make_administrator, page
from tests.extensions.rows import ha1s, make_binding, make_extension

NEEDS_CHANGE = ("password", "phone_link", "forget_all")
NEEDS_VIEW = ("card", "devices")


class PermissionTests(QuietCase):
    def setUp(self):
        super().setUp()
        self.extension = make_extension("1001")
        self.binding = make_binding(self.extension)
        self.before = ha1s(self.extension)

    def addresses(self) -> dict[str, str]:
        pk = self.extension.pk
        link = self.extension.provisioning_links.create(
            token_hash="x", created_at=self.binding.expires_at, expires_at=self.binding.expires_at
        )
        self.addCleanup(link.delete)
        return {
            **{name: page(name, pk) for name in (*NEEDS_CHANGE, *NEEDS_VIEW)},
            "forget_one": page("forget_one", pk, self.binding.pk),
            "phone_link_state": page("phone_link_state", pk, link.pk),
            "live": f"{page('live')}?ids={pk}", "list": LIST, "form": f"{LIST}{pk}/change/",
        }

    def assert_nothing_changed(self):
        self.assertEqual(ha1s(self.extension), self.before)
        self.assertEqual(self.extension.bindings.count(), 1)

    def test_strangers_are_sent_to_the_sign_in(self):
        for name, address in self.addresses().items():
            for method in ("get", "post"):
                with self.subTest(name, method=method):
                    response = getattr(self.client, method)(address)
                    self.assertEqual(response.status_code, 302)
                    self.assertIn("/admin/login/", response["Location"])
        self.assert_nothing_changed()

    def test_signed_in_but_no_administrator(self):
        self.client.force_login(User.objects.create_user("visitor", password="a-Long-enough-1"))
        for name, address in self.addresses().items():
            with self.subTest(name):
                self.assertEqual(self.client.get(address).status_code, 302)

    def test_an_administrator_of_other_things_sees_nothing(self):
        self.client.force_login(make_administrator("other"))
        for name, address in self.addresses().items():
            with self.subTest(name):
                self.assertEqual(self.client.get(address).status_code, 403)
        self.assertNotContains(self.client.get("/admin/"), "Show the extensions")

    def test_who_may_only_look_finds_no_button_and_no_door(self):
        self.client.force_login(make_administrator("viewer", "view"))
        password, phone_link = page("password", self.extension.pk), page("phone_link", self.extension.pk)
        for address in (LIST, f"{LIST}{self.extension.pk}/change/", page("card", self.extension.pk),
                        page("devices", self.extension.pk)):
            with self.subTest(address):
                response = self.client.get(address)
                self.assertEqual(response.status_code, 200)
                for door in (password, phone_link, "forget", "Forget"):
                    self.assertNotContains(response, door)
        for name, address in self.addresses().items():
            if name in NEEDS_CHANGE or name in ("forget_one", "phone_link_state"):
                for method in ("get", "post"):
                    with self.subTest(name, method=method):
                        self.assertEqual(getattr(self.client, method)(address).status_code, 403)
        response = self.client.post(f"{LIST}{self.extension.pk}/change/", {"number": "1099"})
        self.assertEqual(response.status_code, 403)
        self.assert_nothing_changed()

    def test_who_may_change_but_not_add_or_delete(self):
        self.client.force_login(make_administrator("changer", "view", "change"))
        self.assertContains(self.client.get(LIST), page("password", self.extension.pk))
        self.assertEqual(self.client.get(f"{LIST}add/").status_code, 403)
        self.assertEqual(self.client.get(f"{LIST}{self.extension.pk}/delete/").status_code, 403)

    def test_who_may_only_add_sees_the_card_of_the_new_one(self):
        self.client.force_login(make_administrator("adder", "add"))
        response = self.client.post(f"{LIST}add/", {
            "number": "1002", "enabled": "on", "max_devices": "5", "ring_seconds": "30", "language": "",
            "password_from": "generate",
        })
        self.assertContains(response, "Extension 1002 is ready.")

    def test_no_actions_for_who_may_only_look(self):
        self.client.force_login(make_administrator("viewer", "view"))
        self.client.post(LIST, {"action": "forget_devices", "_selected_action": self.extension.pk, "confirmed": "yes"})
        self.assert_nothing_changed()

    def test_an_extension_that_is_not_there(self):
        self.client.force_login(User.objects.create_superuser("root", "r@pbx.test", "a-Long-enough-1"))
        for name in (*NEEDS_CHANGE, *NEEDS_VIEW):
            with self.subTest(name):
                self.assertEqual(self.client.get(page(name, 999)).status_code, 404)

    def test_each_change_needs_its_csrf_token(self):
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(User.objects.create_superuser("root", "r@pbx.test", "a-Long-enough-1"))
        addresses = self.addresses()
        for name in (*NEEDS_CHANGE, "forget_one", "form"):
            with self.subTest(name):
                self.assertEqual(strict.post(addresses[name], {"password_from": "generate"}).status_code, 403)
        self.assert_nothing_changed()

    def test_get_changes_nothing(self):
        self.client.force_login(User.objects.create_superuser("root", "r@pbx.test", "a-Long-enough-1"))
        for address in self.addresses().values():
            self.client.get(address)
        self.assert_nothing_changed()
