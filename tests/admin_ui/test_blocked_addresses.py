"""Blocked addresses: the list says who, why and until when; Unblock ends it."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from pbx.diagnosis.blocks import add
from pbx.diagnosis.models import Block, GuardAction
from tests.admin_ui.cases import AdminCase, QuietCase

BLOCKS = "/admin/diagnosis/block/"


def make_block(source: str = "203.0.113.9", number: str = "", **more) -> Block:
    now = timezone.now()
    return Block.objects.create(**{
        "source": source, "number": number, "reason": "guessing", "since": now, "until": now + timedelta(minutes=10),
        "failures": 6, "numbers": ["2001", "2002"], **more,
    })


class BlockedAddressesTests(AdminCase):
    def test_each_row_says_why(self):
        make_block(tries=7, last_try_at=timezone.now(), spared=["1001", "1002"])
        make_block("198.51.100.7", "1003", reason="wrong_password", failures=104, numbers=["1003"])
        make_block("192.0.2.5", reason="administrator", by="nodira", numbers=[])
        page = self.client.get(BLOCKS)
        self.assertContains(page, "203.0.113.9")
        self.assertContains(page, "(2001, 2002)")
        self.assertContains(page, "7 messages came from there")
        self.assertContains(page, "2 numbers go on working from there:")
        self.assertContains(page, "number 1003 only")
        self.assertContains(page, "with a wrong password 104 times within ten minutes")
        self.assertContains(page, "The administrator nodira blocked it.")
        self.assertContains(page, "Unblock</button>", 3)

    def test_unblock(self):
        block = make_block()
        page = self.client.post(f"{BLOCKS}unblock/", {"block": block.pk}, follow=True)
        self.assertContains(page, "203.0.113.9 is not blocked any more.")
        self.assertContains(page, "No address is blocked.")
        [request] = GuardAction.objects.all()
        self.assertEqual((request.action, request.source, request.by), ("unblock", "203.0.113.9", "root"))
        self.assertIn("203.0.113.9", LogEntry.objects.get().object_repr)

    def test_what_is_gone_is_said_kindly(self):
        for key in ("12345", "", "x", "9" * 40):
            page = self.client.post(f"{BLOCKS}unblock/", {"block": key}, follow=True)
            self.assertContains(page, "This address is not blocked any more.")

    def test_several_at_once(self):
        blocks = [make_block(f"203.0.113.{index}") for index in range(3)]
        page = self.client.post(BLOCKS, {
            "action": "unblock_chosen", "_selected_action": [block.pk for block in blocks[:2]],
        }, follow=True)
        self.assertContains(page, "2 addresses are not blocked any more.")
        self.assertEqual([block.source for block in Block.objects.all()], ["203.0.113.2"])

    def test_those_that_have_ended_are_shown_when_asked_for(self):
        make_block(until=timezone.now() - timedelta(minutes=5))
        self.assertContains(self.client.get(BLOCKS), "No address is blocked.")
        page = self.client.get(f"{BLOCKS}?ended=yes")
        self.assertContains(page, "203.0.113.9")
        self.assertNotContains(page, "Unblock</button>")

    def test_search_and_filter(self):
        make_block()
        make_block("198.51.100.7", "1003", reason="wrong_password")
        self.assertContains(self.client.get(f"{BLOCKS}?q=1003"), "198.51.100.7")
        self.assertNotContains(self.client.get(f"{BLOCKS}?q=1003"), "203.0.113.9")
        self.assertNotContains(self.client.get(f"{BLOCKS}?reason=guessing"), "198.51.100.7")
        self.assertContains(self.client.get(f"{BLOCKS}?q=nothing"), "No block fits the search.")

    def test_text_from_the_network_is_only_text(self):
        make_block(number="<img src=x>\x1b[2J", numbers=["<script>alert(1)</script>"], spared=["<b>"])
        page = self.client.get(BLOCKS)
        self.assertNotContains(page, "<script>alert")
        self.assertNotContains(page, "<img src=x>")
        self.assertNotContains(page, "\x1b")

    def test_many_rows_cost_no_more_queries(self):
        counts = []
        for number in range(2):
            for index in range(10):
                make_block(f"10.0.{number}.{index}")
            with CaptureQueriesContext(connection, ) as queries:
                self.client.get(BLOCKS)
            counts.append(len(queries))
        self.assertEqual(counts[0], counts[1])

    def test_in_the_languages(self):
        make_block()
        for language, word in (("uz", "Blokdan chiqarish"), ("ru", "Разблокировать")):
            with translation.override(language):
                page = self.client.get(BLOCKS, headers={"accept-language": language})
            self.assertContains(page, word)

    def test_a_block_of_sip_never_keeps_an_administrator_out_of_the_pages(self):
        add("127.0.0.1", "", timedelta(hours=1), by="root")
        make_block("203.0.113.9")
        self.client.logout()
        for address in ("127.0.0.1", "192.168.1.7"):
            add(address, "", timedelta(hours=1), by="root")
            page = self.client.post(
                "/admin/login/?next=/admin/", {"username": "root", "password": "a-Long-enough-1"},
                REMOTE_ADDR=address, follow=True,
            )
            self.assertEqual(page.status_code, 200)
            self.assertContains(self.client.get(BLOCKS, REMOTE_ADDR=address), address)
            self.client.logout()


class PermissionTests(QuietCase):
    def administrator(self, *codenames: str) -> User:
        user = User.objects.create_user("helper", password="a-Long-enough-1", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        self.client.force_login(user)
        return user

    def test_who_may_only_look_has_no_button(self):
        self.administrator("view_block")
        block = make_block()
        page = self.client.get(BLOCKS)
        self.assertContains(page, "203.0.113.9")
        self.assertNotContains(page, "Unblock")
        self.assertEqual(self.client.post(f"{BLOCKS}unblock/", {"block": block.pk}).status_code, 403)
        self.assertTrue(Block.objects.exists())

    def test_who_may_not_look_sees_nothing(self):
        self.administrator()
        self.assertEqual(self.client.get(BLOCKS).status_code, 403)

    def test_who_may_unblock_does(self):
        self.administrator("view_block", "delete_block")
        block = make_block()
        self.client.post(f"{BLOCKS}unblock/", {"block": block.pk})
        self.assertFalse(Block.objects.exists())

    def test_nobody_edits_or_adds(self):
        self.administrator("view_block", "delete_block")
        block = make_block()
        self.assertEqual(self.client.get(f"{BLOCKS}add/").status_code, 403)
        self.assertEqual(self.client.get(f"{BLOCKS}{block.pk}/change/").status_code, 302)
        self.assertEqual(self.client.get(f"{BLOCKS}{block.pk}/delete/").status_code, 403)
