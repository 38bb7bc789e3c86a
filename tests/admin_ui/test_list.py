"""The list of extensions: what each row says, search, filters, its price in queries, and its live cells."""

from __future__ import annotations

from datetime import timedelta

from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from extensions.models import Extension
from tests.admin_ui.cases import LIST, AdminCase, page
from tests.extensions.rows import make_binding, make_extension


def numbers(response) -> list[str]:
    return [extension.number for extension in response.context["cl"].result_list]


class ListTests(AdminCase):
    def test_a_row_says_number_name_password_state_devices_and_last_seen(self):
        extension = make_extension("1001", display_name="Front desk")
        make_binding(extension, key="a")
        make_binding(extension, key="b")
        response = self.client.get(LIST)
        for text in ("1001", "Front desk", "ready", "online", "2 devices"):
            self.assertContains(response, text)
        self.assertContains(response, "last seen")

    def test_the_three_states_of_a_password_are_told_apart(self):
        make_extension("1001")
        make_extension("1002", password=None)
        make_extension("1003").credentials.update(realm="elsewhere")
        self.assertContains(self.client.get(LIST, {"q": "1001"}), 'pbx-good" title')
        self.assertContains(self.client.get(LIST, {"q": "1002"}), "missing</span>")
        self.assertContains(self.client.get(LIST, {"q": "1003"}), "made for another realm or number</span>")

    def test_a_phone_that_stopped_answering_is_not_called_online(self):
        make_binding(make_extension("1001"), unreachable_since=timezone.now())
        self.assertContains(self.client.get(LIST), "does not answer")

    def test_an_ended_registration_is_offline_and_last_seen(self):
        seen = timezone.now() - timedelta(days=3)
        make_binding(make_extension("1001"), seconds_left=-60, refreshed_at=seen)
        response = self.client.get(LIST)
        self.assertContains(response, "offline")
        self.assertContains(response, f'datetime="{timezone.localtime(seen).isoformat()}"')

    def test_every_list_has_the_menu_and_counts_beside_the_search_only_when_filtered(self):
        extension = make_extension("1001")
        make_binding(extension)
        for address in (LIST, "/admin/extensions/binding/", "/admin/auth/user/"):
            with self.subTest(address):
                response = self.client.get(address)
                self.assertContains(response, 'id="nav-sidebar"')
                self.assertNotContains(response, "small quiet")
                self.assertContains(self.client.get(address, {"q": "1"}), "small quiet")
        self.assertContains(self.client.get("/admin/calls/callrecord/"), 'id="nav-sidebar"')

    def test_headings_of_filters_are_their_names(self):
        response = self.client.get(LIST)
        for heading in ("Online", "Password", "Enabled"):
            self.assertContains(response, f"<summary>{heading}</summary>")
        self.assertContains(self.client.get("/admin/calls/callrecord/"), "<summary>Period</summary>")

    def test_search_finds_part_of_a_number_or_of_a_name(self):
        make_extension("1001", display_name="Front desk")
        make_extension("2002", display_name="Warehouse")
        self.assertEqual(numbers(self.client.get(LIST, {"q": "ront"})), ["1001"])
        self.assertEqual(numbers(self.client.get(LIST, {"q": "200"})), ["2002"])

    def test_filters(self):
        online = make_extension("1001", language="uz")
        make_binding(online)
        make_extension("1002", password=None, enabled=False)
        make_extension("1003").credentials.update(realm="elsewhere")
        for query, expected in (
            ({"online": "yes"}, ["1001"]), ({"online": "no"}, ["1002", "1003"]),
            ({"password_state": "ready"}, ["1001"]), ({"password_state": "missing"}, ["1002"]),
            ({"password_state": "stale"}, ["1003"]), ({"enabled__exact": "0"}, ["1002"]),
            ({"language__exact": "uz"}, ["1001"]), ({"password_state": "nonsense"}, ["1001", "1002", "1003"]),
        ):
            with self.subTest(query):
                self.assertEqual(numbers(self.client.get(LIST, query)), expected)

    def test_every_column_sorts(self):
        make_extension("1001")
        for column in range(1, 7):
            with self.subTest(column):
                self.assertEqual(self.client.get(LIST, {"o": f"-{column}"}).status_code, 200)

    def test_fifty_rows_cost_as_many_queries_as_one(self):
        def fill(first: int, count: int) -> None:
            for number in range(first, first + count):
                make_binding(make_extension(str(number), password="aaaa-bbbb-7"), key=str(number))

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                self.client.get(LIST)
            return len(captured)

        fill(1000, 1)
        self.client.get(LIST)
        with_one = queries()
        fill(2000, 49)
        self.assertEqual(queries(), with_one)

    def test_the_list_reads_no_secret_from_the_database(self):
        make_extension("1001")
        with CaptureQueriesContext(connection) as captured:
            self.client.get(LIST)
        for query in captured:
            self.assertNotIn('"ha1"', query["sql"])
            self.assertNotIn('"extensions_extension"."password"', query["sql"])

    def test_the_password_button_is_on_the_row(self):
        extension = make_extension("1001")
        self.assertContains(self.client.get(LIST), f'href="{page("password", extension.pk)}"')

    def test_text_from_the_network_is_harmless(self):
        extension = make_extension("1001", display_name="<script>alert(1)</script>")
        response = self.client.get(LIST)
        self.assertNotContains(response, "<script>alert(1)")
        self.assertContains(response, "&lt;script&gt;alert(1)")
        self.assertNotContains(self.client.get(page("card", extension.pk)), "<script>alert(1)")


class LiveCellTests(AdminCase):
    def test_a_registration_shows_in_the_next_answer(self):
        extension = make_extension("1001")
        rows = self.client.get(page("live"), {"ids": str(extension.pk)}).json()["rows"]
        self.assertIn("offline", rows[str(extension.pk)]["online"])
        self.assertIn("never", rows[str(extension.pk)]["seen"])
        make_binding(extension)
        rows = self.client.get(page("live"), {"ids": str(extension.pk)}).json()["rows"]
        self.assertIn(">online<", rows[str(extension.pk)]["online"])
        self.assertIn("1 device", rows[str(extension.pk)]["online"])

    def test_any_ids_are_answered(self):
        extension = make_extension("1001")
        for ids in ("", "x", "1,,2", "9" * 400, "٣", f"{extension.pk},-1", "1 OR 1=1", ",".join(["7"] * 5000)):
            with self.subTest(ids[:20]):
                self.assertEqual(self.client.get(page("live"), {"ids": ids}).status_code, 200)


class ActionTests(AdminCase):
    def act(self, action: str, *extensions: Extension, **more):
        return self.client.post(LIST, {
            "action": action, "_selected_action": [extension.pk for extension in extensions], **more,
        }, follow=True)

    def test_disabling_several_first_says_what_it_ends(self):
        first, second = make_extension("1001"), make_extension("1002")
        make_binding(first)
        response = self.act("disable", first, second)
        self.assertContains(response, "1 phone that is registered now is signed out at once.")
        self.assertEqual(Extension.objects.filter(enabled=True).count(), 2)
        response = self.act("disable", first, second, confirmed="yes")
        self.assertContains(response, "2 extensions are disabled now.")
        self.assertEqual(Extension.objects.filter(enabled=True).count(), 0)
        self.assertFalse(first.bindings.exists())

    def test_enabling_several(self):
        first = make_extension("1001", enabled=False)
        self.act("enable", first)
        first.refresh_from_db()
        self.assertTrue(first.enabled)

    def test_forgetting_devices_asks_and_is_noted(self):
        first = make_extension("1001")
        make_binding(first)
        self.act("forget_devices", first)
        self.assertTrue(first.bindings.exists())
        self.act("forget_devices", first, confirmed="yes")
        self.assertFalse(first.bindings.exists())
        self.assertContains(self.client.get(f"{LIST}{first.pk}/history/"), "Forgot devices: 203.0.113.9:5062")

    def test_deleting_several_says_how_many_phones_go(self):
        first = make_extension("1001")
        make_binding(first)
        response = self.act("delete_selected", first)
        self.assertContains(response, "Phones online, whose registration ends: 1")
        self.assertNotContains(response, "igest")
        self.act("delete_selected", first, post="yes")
        self.assertFalse(Extension.objects.exists())


@override_settings(LANGUAGE_CODE="uz")
class OtherLanguageTests(AdminCase):
    def test_the_list_opens_in_every_language(self):
        make_binding(make_extension("1001"))
        for language in ("uz", "ru", "en"):
            with self.subTest(language):
                self.assertEqual(self.client.get(LIST, headers={"accept-language": language}).status_code, 200)
