"""Active Calls: who is on the phone now, and hanging up."""

from __future__ import annotations

import time
from datetime import timedelta

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from pbx.calls.models import CallAction, CallRecord
from pbx.calls.store import DjangoCallStore
from pbx.system.heartbeat import beat
from tests.admin_ui.cases import AdminCase, QuietCase
from tests.calls.rows import NODE, ended, leg, row, write

ACTIVE = "/admin/calls/activecall/"
HANG_UP = "/admin/calls/activecall/hangup/"
PIECE = {"x-requested-with": "fetch"}


def make_caller(name: str, *permissions: str) -> User:
    """An administrator with these permissions, "view_activecall" for example, and no others."""
    user = User.objects.create_user(name, password="a-Long-enough-1", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="calls", codename__in=permissions))
    return user


def detail(call: CallRecord) -> str:
    return reverse("admin:calls_callrecord_change", args=[call.pk])


def alive(seconds_ago: float = 1) -> None:
    now = timezone.now()
    beat(NODE, 0, 1, "udp", now, now - timedelta(seconds=seconds_ago))


class ListTests(AdminCase):
    def test_nobody_is_on_the_phone(self):
        write(ended())
        self.assertContains(self.client.get(ACTIVE), "Nobody is on the phone.")

    def test_each_living_call_newest_first(self):
        alive()
        now = time.time()
        write(row("old", start=now - 90, answer=now - 80, legs=[leg(state="answered")]),
              row("new", src="1003", clid="1003", dst="1004", start=now - 5,
                  legs=[leg("1004"), leg("1004", remote="198.51.100.7:5060")]),
              row("newest", start=now - 1, clid="1001"), ended("over", dst="1999"))
        response = self.client.get(ACTIVE)
        for text in ("3 calls", "Front desk", "talking", "ringing", "calling", "198.51.100.7:5060", "Hang up"):
            self.assertContains(response, text)
        self.assertNotContains(response, "<b>1999</b>")
        self.assertNotContains(response, "no sign of life")
        self.assertEqual(
            [live.record.uniqueid for live in response.context["active"].calls], ["newest", "new", "old"]
        )

    def test_the_duration_counts_from_the_answer_else_from_the_start(self):
        now = int(time.time())
        write(row("a", start=now - 90.0, answer=now - 80.0), row("b", start=now - 5.0))
        response = self.client.get(ACTIVE)
        self.assertContains(response, f'data-since="{now - 80}"')
        self.assertContains(response, f'data-since="{now - 5}"')

    def test_the_script_gets_a_piece_and_the_same_one_while_nothing_happens(self):
        alive()
        call = row()
        write(call)
        first = self.client.get(ACTIVE, headers=PIECE)
        self.assertNotContains(first, "<html")
        self.assertNotContains(first, "csrfmiddlewaretoken")
        self.assertEqual(self.client.get(ACTIVE, headers=PIECE).content, first.content)
        call.end = time.time()
        DjangoCallStore().write_calls([call])
        self.assertContains(self.client.get(ACTIVE, headers=PIECE), "Nobody is on the phone.")

    def test_a_server_without_a_sign_of_life_is_named(self):
        write(row())
        self.assertContains(self.client.get(ACTIVE), f"The SIP server on {NODE} gives no sign of life.")
        alive(seconds_ago=300)
        self.assertContains(self.client.get(ACTIVE), "no sign of life")

    def test_many_calls_cost_as_many_queries_as_one_and_the_page_is_bounded(self):
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                self.client.get(ACTIVE)
            return len(captured)

        write(row("first"))
        self.client.get(ACTIVE)
        with_one = queries()
        write(*[row(f"c{number}", legs=[leg()]) for number in range(150)])
        self.assertEqual(queries(), with_one)
        write(*[row(f"d{number}") for number in range(150)])
        response = self.client.get(ACTIVE)
        self.assertEqual(len(response.context["active"].calls), 200)
        self.assertContains(response, "301 calls")
        self.assertContains(response, "and 101 older calls")

    def test_text_from_the_network_is_only_text(self):
        bad = '"><script>alert(1)</script>'
        write(row(src=bad, dst=bad, clid=f'"{bad}" <1>', legs=[leg(user_agent=bad, device=bad, remote=bad)]))
        for headers in ({}, PIECE):
            self.assertNotContains(self.client.get(ACTIVE, headers=headers), "<script>alert")

    def test_the_menu_has_the_names_of_freepbx(self):
        response = self.client.get("/admin/")
        for text in ("Active Calls", "Call Detail Records", "Registrations", "Extensions"):
            self.assertContains(response, text)


class HangUpTests(AdminCase):
    def test_it_asks_the_engine_through_the_database_and_is_noted(self):
        call = write(row())
        response = self.client.post(HANG_UP, {"call": call.uniqueid}, follow=True)
        self.assertRedirects(response, ACTIVE)
        self.assertContains(response, "The call from 1001 to 1002 is being hung up.")
        self.assertContains(response, "hanging up")
        self.assertContains(self.client.get("/admin/"), detail(call))
        entry = LogEntry.objects.get()
        self.assertEqual((entry.user, entry.object_id, entry.object_repr), (self.admin, str(call.pk), "1001 → 1002"))
        asked = DjangoCallStore().take_actions(NODE)
        self.assertEqual([(action.uniqueid, action.action, action.by) for action in asked],
                         [("pbx1-1.1", "hangup", "root")])

    def test_pressing_twice_asks_once(self):
        call = write(row())
        for _press in range(2):
            self.client.post(HANG_UP, {"call": call.uniqueid})
        self.assertEqual(len(DjangoCallStore().take_actions(NODE)), 1)

    def test_a_call_that_is_over_or_was_never_there(self):
        call = write(ended())
        self.assertContains(self.client.post(HANG_UP, {"call": call.uniqueid}, follow=True), "has ended already")
        for id in ("", "nix", "\0", "x" * 9000, "\ud800".encode("utf-8", "surrogatepass")):
            with self.subTest(id[:9]):
                self.assertContains(self.client.post(HANG_UP, {"call": id}, follow=True), "no such call any more")
        self.assertFalse(CallAction.objects.exists())
        self.assertFalse(LogEntry.objects.exists())

    def test_from_the_page_of_the_call_one_comes_back_there(self):
        call = write(row())
        self.assertContains(self.client.get(detail(call)), "Hang up")
        self.assertRedirects(
            self.client.post(HANG_UP, {"call": call.uniqueid, "back": "record"}), detail(call)
        )

    def test_the_link_of_an_active_call_leads_to_its_record(self):
        call = write(row())
        self.assertRedirects(self.client.get(f"{ACTIVE}{call.pk}/change/"), detail(call))


class PermissionTests(QuietCase):
    def setUp(self):
        super().setUp()
        self.call = write(row())

    def ask(self, client: Client | None = None) -> int:
        return (client or self.client).post(HANG_UP, {"call": self.call.uniqueid}).status_code

    def test_strangers_are_sent_to_the_sign_in(self):
        self.assertEqual(self.client.get(ACTIVE).status_code, 302)
        self.assertEqual(self.ask(), 302)
        self.assertFalse(CallAction.objects.exists())

    def test_without_permission_there_is_nothing_to_see(self):
        self.client.force_login(make_caller("other"))
        self.assertEqual([self.client.get(ACTIVE).status_code, self.ask()], [403, 403])
        self.assertFalse(CallAction.objects.exists())

    def test_who_may_only_look_has_no_button(self):
        self.client.force_login(make_caller("viewer", "view_activecall"))
        response = self.client.get(ACTIVE)
        self.assertContains(response, "1002")
        self.assertNotContains(response, "Hang up")
        self.assertNotContains(response, detail(self.call))
        self.assertEqual(self.ask(), 403)
        self.assertEqual(self.client.get(detail(self.call)).status_code, 403)
        self.assertFalse(CallAction.objects.exists())

    def test_who_may_hang_up(self):
        self.client.force_login(make_caller("operator", "view_activecall", "hangup_activecall"))
        self.assertContains(self.client.get(ACTIVE), "Hang up")
        self.assertEqual(self.ask(), 302)
        self.assertEqual(CallAction.objects.get().by, "operator")

    def test_it_needs_post_and_its_csrf_token(self):
        user = make_caller("operator", "view_activecall", "hangup_activecall")
        self.client.force_login(user)
        self.assertEqual(self.client.get(HANG_UP).status_code, 405)
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(user)
        self.assertEqual(self.ask(strict), 403)
        self.assertFalse(CallAction.objects.exists())

    def test_nobody_can_add_change_or_delete_a_call(self):
        self.client.force_login(User.objects.create_superuser("root", "r@pbx.test", "a-Long-enough-1"))
        for address in (f"{ACTIVE}add/", f"{ACTIVE}{self.call.pk}/delete/", "/admin/calls/callrecord/add/",
                        f"/admin/calls/callrecord/{self.call.pk}/delete/"):
            with self.subTest(address):
                self.assertEqual(self.client.post(address, {"post": "yes"}).status_code, 403)
        self.client.post(detail(self.call), {"dst": "1999"})
        self.assertEqual(CallRecord.objects.get().dst, "1002")
