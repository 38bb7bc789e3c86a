"""Who changed which extension, and what becomes of the sessions of somebody whose password changes."""

from __future__ import annotations

import getpass
import os
from io import StringIO
from unittest import mock

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from extensions.audit import TERMINAL, changes_of
from extensions.csv_tables import read_table
from extensions.importing import COLUMNS, REQUIRED, carry_out, plan_import
from extensions.models import Extension
from tests.admin_ui.cases import LIST, AdminCase, make_administrator, page
from tests.extensions.rows import make_extension


def whoever() -> str:
    return os.environ.get("SUDO_USER") or getpass.getuser()


class ChangesTests(AdminCase):
    def setUp(self):
        super().setUp()
        self.extension = make_extension("1001", password="old-pass-77")
        self.address = f"{LIST}{self.extension.pk}/change/"

    def set_password(self, *options: str):
        with mock.patch("sys.stdin", StringIO("other-pass-88\n")):
            call_command("setpassword", *options, "--stdin", stdout=StringIO(), stderr=StringIO())

    def test_the_page_says_who_changed_what(self):
        olim = make_administrator("olim", "view", "change")
        self.client.force_login(olim)
        self.client.post(self.address, self.fields(self.extension, display_name="Dilnoza"))
        self.client.force_login(self.admin)
        self.client.post(page("password", self.extension.pk), {
            "once": "1", "password_from": "type", "password1": "new-pass-88", "password2": "new-pass-88",
        })
        newest, oldest = changes_of(self.extension)
        self.assertEqual(("root", "olim"), (newest.who, oldest.who))
        self.assertIn("assword", newest.what)
        response = self.client.get(self.address)
        self.assertContains(response, "olim")
        self.assertNotContains(response, "new-pass-88")

    def test_a_password_set_in_a_terminal_is_there_with_its_author(self):
        self.set_password("1001")
        (change,) = changes_of(self.extension)
        self.assertEqual(f"{whoever()}, by manage.py setpassword", change.who)
        self.assertEqual("Changed password.", change.what)
        self.set_password("1002", "--create")
        (change,) = changes_of(Extension.objects.get(number="1002"))
        self.assertEqual("Added.", change.what)

    def test_a_refused_password_leaves_no_trace(self):
        with self.assertRaises(CommandError), mock.patch("sys.stdin", StringIO("1001\n")):
            call_command("setpassword", "1001", "--stdin", stdout=StringIO())
        self.assertEqual([], changes_of(self.extension))

    def test_an_import_notes_every_extension(self):
        table = "number,name,password\n1001,Ali,secret-pass-1\n1005,Vali,secret-pass-2\n"
        columns, rows = read_table(table, COLUMNS, REQUIRED)
        carry_out(plan_import(columns, rows, update=True, generate=False))
        (changed,) = changes_of(self.extension)
        self.assertEqual(f"{whoever()}, by manage.py importextensions", changed.who)
        self.assertIn("assword", changed.what)
        (made,) = changes_of(Extension.objects.get(number="1005"))
        self.assertEqual("Added.", made.what)
        self.assertFalse(any("secret-pass" in entry.change_message for entry in LogEntry.objects.all()))

    def test_the_changes_of_a_deleted_administrator_stay_with_the_name(self):
        olim = make_administrator("olim", "view", "change")
        self.client.force_login(olim)
        self.client.post(self.address, self.fields(self.extension, display_name="Dilnoza"))
        self.client.post(page("phone_link", self.extension.pk), REMOTE_ADDR="127.0.0.1", HTTP_HOST="10.0.0.5")
        before = [change.what for change in changes_of(self.extension)]
        self.client.force_login(self.admin)
        deleting = f"/admin/auth/user/{olim.pk}/delete/"
        self.assertNotContains(self.client.get(deleting), "og entr")
        self.client.post(deleting, {"post": "yes"})
        self.assertFalse(User.objects.filter(username="olim").exists())
        after = changes_of(self.extension)
        self.assertEqual(["olim"] * len(before), [change.who for change in after])
        for was, change in zip(before, after, strict=True):
            self.assertIn(was.rstrip("."), change.what)

    def test_the_name_of_the_terminal_signs_in_nowhere_and_is_in_no_list(self):
        self.set_password("1001")
        self.assertFalse(User.objects.get(username=TERMINAL).has_usable_password())
        self.assertFalse(User.objects.get(username=TERMINAL).is_active)
        self.assertNotContains(self.client.get("/admin/auth/user/"), TERMINAL)


class SessionTests(AdminCase):
    def signed_in(self, client: Client) -> bool:
        return client.get(LIST).status_code == 200

    def setUp(self):
        super().setUp()
        self.stolen = Client()
        self.stolen.force_login(self.admin)
        self.assertTrue(self.signed_in(self.stolen))

    def test_a_new_password_ends_the_other_sessions(self):
        self.client.post("/admin/password_change/", {
            "old_password": "a-Long-enough-1", "new_password1": "another-Long-2", "new_password2": "another-Long-2",
        })
        self.assertTrue(self.signed_in(self.client))
        self.assertFalse(self.signed_in(self.stolen))

    def test_one_set_by_another_administrator_ends_all(self):
        second = User.objects.create_superuser("second", "s@pbx.test", "a-Long-enough-1")
        self.client.force_login(second)
        self.client.post(f"/admin/auth/user/{self.admin.pk}/password/", {
            "usable_password": "true", "password1": "another-Long-2", "password2": "another-Long-2",
        })
        self.assertFalse(self.signed_in(self.stolen))

    def test_who_is_deactivated_is_out_at_once(self):
        self.admin.is_active = False
        self.admin.save()
        self.assertFalse(self.signed_in(self.stolen))
