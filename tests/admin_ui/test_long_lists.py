"""Lists of very many rows: whatever way a page is read, it is the page that it would be."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.db import connection
from django.test.utils import CaptureQueriesContext, override_settings

from extensions.models import CredentialState, DigestCredential, Extension
from extensions.overview import without_password
from extensions.presence import for_list
from pbx.long_lists import LongListPaginator
from pbx.system.identity import current_realm
from tests.admin_ui.cases import LIST, AdminCase
from tests.extensions.rows import make_binding


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
            rows = for_list(Extension.objects.all()).order_by(*order)
            ours, plain = LongListPaginator(rows, 5), Paginator(rows, 5)
            for number in plain.page_range:
                with self.subTest(order=order, page=number):
                    self.assertEqual(list(ours.page(number)), list(plain.page(number)))

    def test_the_end_of_the_list_asks_for_its_own_rows_alone(self):
        make_extensions(120)
        with CaptureQueriesContext(connection) as captured:
            response = self.client.get(LIST, {"p": "3"})
        self.assertContains(response, ">2119<")
        self.assertNotContains(response, ">2099<")
        wide = [query["sql"] for query in captured if "devices_online" in query["sql"]]
        self.assertEqual(len(wide), 1)
        self.assertNotIn("OFFSET", wide[0])

    def test_the_box_of_a_row_names_its_extension(self):
        (extension,) = make_extensions(1)
        self.assertContains(self.client.get(LIST), (
            f'<input type="checkbox" name="_selected_action" value="{extension.pk}" class="action-select" '
            'aria-label="Select this object for an action - 2000">'
        ), html=True)


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

    def test_online(self):
        rows = Extension.objects.with_presence()
        self.assertEqual([row.number for row in rows.online()], ["2000"])
        self.assertEqual([row.number for row in rows.offline()], ["2001", "2002", "2003", "2004"])
        self.assertEqual({row.pk for row in rows if row.devices_online}, {row.pk for row in rows.online()})
