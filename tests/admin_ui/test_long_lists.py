"""Lists of very many rows: whatever way a page is read, it is the page that it would be."""

from __future__ import annotations

import re
import time
from unittest.mock import patch

from django.contrib.admin.templatetags import admin_list
from django.core.paginator import Paginator
from django.db import connection
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

from extensions.models import Binding, CredentialState, DigestCredential, Extension
from extensions.overview import without_password
from extensions.presence import add_presence
from pbx import long_lists
from pbx.calls import totals
from pbx.calls.models import CallRecord
from pbx.long_lists import LongListPaginator
from pbx.system.identity import current_realm
from pbx.templatetags import long_list
from tests.admin_ui.cases import LIST, AdminCase
from tests.calls.rows import ended, row, write
from tests.extensions.rows import make_binding

REGISTRATIONS, CALLS = "/admin/extensions/binding/", "/admin/calls/callrecord/"


def make_extensions(count: int) -> list[Extension]:
    for number in range(count):
        extension = Extension(number=str(2000 + number), display_name=f"Phone {number % 7}")
        extension.save()
    return list(Extension.objects.order_by("number"))


def give_credential(extension: Extension, algorithm: str = "MD5", realm: str = "", username: str = "") -> None:
    DigestCredential.objects.create(
        extension=extension, algorithm=algorithm, realm=realm or current_realm(),
        username=username or extension.number, ha1="0" * 32,
    )


class PageTest(AdminCase):
    def test_each_page_is_that_of_a_plain_paginator(self):
        make_extensions(23)
        for order in (("number",), ("display_name", "-pk"), ("-number", "pk")):
            rows = Extension.objects.with_presence().order_by(*order)
            ours, plain = LongListPaginator(rows, 5), Paginator(rows, 5)
            for number in plain.page_range:
                with self.subTest(order=order, page=number):
                    self.assertEqual(list(ours.page(number)), list(plain.page(number)))

    def test_many_rows_are_counted_once_in_a_while(self):
        make_extensions(4)
        counts = long_lists._counts
        self.addCleanup(counts.clear)
        with patch.object(long_lists, "MANY", 3):
            self.assertContains(self.client.get(LIST), "Total: 4")
            Extension.objects.first().delete()
            self.assertContains(self.client.get(LIST), "Total: 4")
            self.assertContains(self.client.get(LIST, {"q": "200"}), "Total: 3")
            for paginator, (until, count) in counts.items():
                counts[paginator] = until - long_lists.REMEMBERED, count
            self.assertContains(self.client.get(LIST), "Total: 3")
            Extension.objects.first().delete()  # few: known at once
            self.assertContains(self.client.get(LIST), "Total: 2")

    def test_the_end_of_the_list_asks_for_its_own_rows_alone(self):
        make_extensions(120)
        with CaptureQueriesContext(connection) as captured:
            response = self.client.get(LIST, {"p": "3"})
        self.assertContains(response, ">2119<")
        self.assertNotContains(response, ">2099<")
        wide = [query["sql"] for query in captured if '"display_name"' in query["sql"]]
        self.assertEqual(len(wide), 1)
        self.assertNotIn("OFFSET", wide[0])
        self.assertIn("LIMIT 20", wide[0])

    def test_the_box_of_a_row_names_its_extension(self):
        (extension,) = make_extensions(1)
        self.assertContains(self.client.get(LIST), (
            f'<input type="checkbox" name="_selected_action" value="{extension.pk}" class="action-select" '
            'aria-label="Select this object for an action - 2000">'
        ), html=True)


    def test_the_pages_of_the_list_hold_each_extension_once(self):
        make_extensions(120)
        Extension(number="~doctor", hidden=True).save()
        for order, shown in (({}, 1), ({"o": "-1"}, -1), ({"o": "-3"}, None)):
            numbers = []
            for page in (1, 2, 3):
                cl = self.client.get(LIST, {"p": page, **order}).context["cl"]
                self.assertEqual((cl.result_count, cl.paginator.num_pages), (120, 3))
                numbers += [extension.number for extension in cl.result_list]
            expected = [str(2000 + number) for number in range(120)]
            self.assertEqual(numbers[::shown] if shown else sorted(numbers), expected)

    def test_the_pages_of_registrations_are_by_number_and_the_newest_of_each_first(self):
        for extension in reversed(make_extensions(70)):
            make_binding(extension, key="first")
            if extension.number.endswith("7"):
                make_binding(extension, key="second")
            if extension.number.endswith("5"):
                make_binding(extension, key="ended", seconds_left=-5)
        hidden = Extension(number="0000", hidden=True)
        hidden.save()
        make_binding(hidden)
        expected = list(Binding.objects.shown().online().order_by("extension__number", "-pk"))
        self.assertEqual(len(expected), 77)
        for order, rows in (({}, expected), ({"o": "0"}, expected), ({"o": "-4"}, None)):
            found = []
            for page in (1, 2):
                cl = self.client.get(REGISTRATIONS, {"p": page, **order}).context["cl"]
                self.assertEqual(cl.result_count, 77)
                found += cl.result_list
            self.assertEqual(found if rows else set(found), rows or set(expected))

    def test_the_registrations_are_not_sorted_to_show_a_page(self):
        for extension in make_extensions(60):
            make_binding(extension)
        with CaptureQueriesContext(connection) as captured:
            self.client.get(REGISTRATIONS)
        (keys,) = [query["sql"] for query in captured if "ORDER BY" in query["sql"] and "bindings__pk" in query["sql"]]
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN QUERY PLAN {keys}")
                plan = " ".join(str(step[-1]) for step in cursor.fetchall())
            self.assertRegex(plan, "SCAN extensions_extension USING .*INDEX")
            self.assertNotIn("TEMP B-TREE FOR ORDER BY", plan)

    def test_each_page_of_calls_is_that_of_a_plain_paginator(self):
        """Also where several began in the same moment."""
        start = time.time() - 600
        write(*[ended(f"c{n}", start=start + n // 40 * (n % 3), talked=n % 3) for n in range(170)])
        plain = Paginator(CallRecord.objects.order_by("-start", "-id"), 50)
        for most in (1000, 169, 165):
            with patch.multiple(totals, MOST_UNASKED=most, MOST_AT_ONCE=most % 60):
                for page in plain.page_range:
                    with self.subTest(most=most, page=page):
                        cl = self.client.get(CALLS, {"p": page}).context["cl"]
                        expected = list(plain.page(page))[: most - (page - 1) * 50]
                        self.assertEqual(list(cl.result_list), expected)

    def test_only_the_newest_calls_are_paged_through_until_something_is_chosen(self):
        write(*[ended(f"c{number:03}", ago=1000 - number) for number in range(130)], row("living"))
        with patch.object(totals, "MOST_UNASKED", 110):
            cl = self.client.get(CALLS, {"p": "3"}).context["cl"]
            self.assertEqual((cl.result_count, cl.paginator.num_pages), (110, 3))
            self.assertEqual([call.uniqueid for call in cl.result_list], [f"c{30 - place:03}" for place in range(10)])
            counted = cl.paginator.totals
            self.assertEqual((counted.calls, counted.going_on), (110, 1))
            self.assertTrue(counted.is_partial)
            cl = self.client.get(CALLS, {"p": "3", "disposition__exact": "ANSWERED"}).context["cl"]
            self.assertEqual(cl.result_count, 130)
            self.assertEqual(cl.result_list[-1].uniqueid, "c000")


class RowTest(AdminCase):
    """What is made in one go is what Django makes cell by cell."""

    def setUp(self) -> None:
        super().setUp()
        for number, extension in enumerate(make_extensions(60)):
            extension.display_name = ("", "{0} {} %s", "<b>&amp;\"'", " ")[number % 4]
            extension.enabled = number % 5 > 0
            extension.save()
            if number % 3:
                make_binding(
                    extension, user_agent="{} <i>", seconds_left=1800 if number % 7 else -5,
                    unreachable_since=timezone.now() if number % 6 == 1 else None,
                )
        write(
            *[ended(f"c{number}", src=f"<{number}>", dst=("", " ", "{}")[number % 3]) for number in range(60)],
            ended("b", answer=None, disposition="BUSY", cause="<busy>"), row("living"),
        )

    def test_each_list(self):
        for address in (
            LIST, f"{LIST}?p=2", f"{LIST}?online=yes&o=-1.6", f"{LIST}?q=20&p=2&enabled__exact=1", f"{LIST}?q=2007",
            f"{LIST}?_popup=1", f"{LIST}?q=nobody", REGISTRATIONS, f"{REGISTRATIONS}?answers=no&o=-3", CALLS,
            f"{CALLS}?p=2&disposition__exact=ANSWERED", f"{CALLS}?q=%7B%7D",
        ):
            for language in ("en", "uz", "ru"):
                with self.subTest(address, language=language):
                    ours = self.rows_of(address, language)
                    with patch.object(long_list, "long_list_rows", plain_rows):
                        plain = self.rows_of(address, language)
                    self.assertEqual(ours, plain)

    def test_a_row_leads_to_its_page_and_from_there_back_to_the_same_filter(self):
        extension = Extension.objects.get(number="2007")
        self.assertContains(
            self.client.get(LIST, {"q": "2007", "enabled__exact": "1"}),
            f'<th class="field-number"><a href="{LIST}{extension.pk}/change/?_changelist_filters='
            'q%3D2007%26enabled__exact%3D1">2007</a></th>',
        )

    def rows_of(self, address: str, language: str) -> list[str]:
        html = self.client.get(address, headers={"accept-language": language}).content.decode()
        return re.findall(r"<tr>.*?</tr>", html, re.S)


def plain_rows(cl) -> list:
    return list(admin_list.results(cl))


@override_settings(SIP_DIGEST_ALGORITHMS=["SHA-256", "MD5"])
class FilterTest(AdminCase):
    """What is asked set by set is what the column of each row says."""

    def setUp(self) -> None:
        super().setUp()
        ready, half, renamed, elsewhere, _none = make_extensions(5)
        for algorithm in ("MD5", "SHA-256"):
            give_credential(ready, algorithm)
            give_credential(renamed, algorithm, username="1999")
        give_credential(half)
        give_credential(elsewhere, realm="another.test")
        make_binding(ready)
        make_binding(half, seconds_left=-5)

    def test_the_state_of_the_password(self):
        rows = Extension.objects.with_presence()
        for state in CredentialState:
            said = {row.pk for row in rows if row.stored_credential_state == state}
            self.assertEqual({row.pk for row in rows.in_credential_state(state)}, said, state)
        self.assertEqual(without_password(), {"missing": 2, "stale": 2})
        Extension.objects.exclude(number="2000").delete()
        self.assertEqual(without_password(), {"missing": 0, "stale": 0})

    def test_rows_that_were_read_are_told_the_same(self):
        half = Extension.objects.get(number="2001")
        make_binding(half, key="silent", unreachable_since=timezone.now(), seconds_left=60)
        rows = add_presence(Extension.objects.order_by("number"))
        with self.assertNumQueries(2):
            add_presence(rows)
        self.assertEqual([row.silent_devices for row in rows], [0, 1, 0, 0, 0])
        for ours, listed in zip(rows, Extension.objects.with_presence().order_by("number"), strict=True):
            for name in ("number", "devices_online", "last_seen", "stored_credential_state", "credential_state"):
                self.assertEqual(getattr(ours, name), getattr(listed, name), (ours, name))

    def test_online(self):
        rows = Extension.objects.with_presence()
        self.assertEqual([row.number for row in rows.online()], ["2000"])
        self.assertEqual([row.number for row in rows.offline()], ["2001", "2002", "2003", "2004"])
        self.assertEqual({row.pk for row in rows if row.devices_online}, {row.pk for row in rows.online()})
