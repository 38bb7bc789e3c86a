"""What the source of the product must not have, because other servers had it. The numbers are those of
``tests.hardening.past_failures``."""

from __future__ import annotations

import re
import unittest

from tests.test_architecture import ROOT, imported_modules, product_files

FETCHING = ("urllib.request", "http.client", "requests", "httpx", "aiohttp", "ftplib", "xmlrpc", "smtplib")
UNESCAPED = re.compile(r"mark_safe|SafeString|SafeText|\|\s*safe\b|autoescape off|safeseq")
QUERIES = re.compile(r"RawSQL|\.raw\(|\.extra\(|cursor\(\)")


class SourceTests(unittest.TestCase):
    def test_nothing_fetches_an_address_25(self) -> None:
        found = [
            f"{path.relative_to(ROOT)}:{line} {module}"
            for path in product_files()
            if path.name != "pip_source.py"  # looks for the package index when it sets itself up
            for module, line in imported_modules(path)
            if any(module == name or module.startswith(name + ".") for name in FETCHING)
        ]
        self.assertEqual([], found)

    def test_only_pictures_of_our_own_are_not_escaped_39(self) -> None:
        """The QR code is drawn by us, of an address that we made."""
        pages = [*product_files(), *sorted((ROOT / "templates").rglob("*.html"))]
        found = {
            path.relative_to(ROOT).as_posix(): matched
            for path in pages
            if (matched := [line.strip() for line in path.read_text("utf-8").splitlines() if UNESCAPED.search(line)])
        }
        for place, lines in found.items():
            self.assertTrue(place.startswith("templates/"), f"{place}: {lines}")
            self.assertEqual([], [line for line in lines if "{{ qr|safe }}" not in line], place)

    def test_sql_is_written_in_few_places_40(self) -> None:
        """All else is the ORM's. Of these, none has a word of a request in its text."""
        allowed = {
            "extensions/binding_table.py",
            "pbx/calls/call_table.py",
            "pbx/diagnosis/bundle.py",
            "pbx/diagnosis/server_gather.py",
            "pbx/diagnosis/store.py",
            "pbx/prepared.py",
        }
        found = {
            path.relative_to(ROOT).as_posix() for path in product_files() if QUERIES.search(path.read_text("utf-8"))
        }
        self.assertEqual(set(), {place for place in found if not place.startswith("pbx/operations/")} - allowed)
