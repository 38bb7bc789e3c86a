"""Which numbers there can be, and the one way to write them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.test import SimpleTestCase, TestCase, override_settings

from extensions.models import Extension
from extensions.querysets import SignalsBypassed
from extensions.sip_account import SipAccount
from tests.extensions.rows import make_extension

SQL_WRITE = re.compile(r"\b(update|insert into|delete from)\s+\W?extensions_extension\b", re.IGNORECASE)
ROOT = Path(__file__).resolve().parents[2]


class NumberTests(TestCase):
    def test_numbers_that_can_be_dialled_are_accepted(self):
        for number in ("1", "1001", "test1001", "front-desk", "a.b_c", "9" * 32):
            with self.subTest(number=number):
                Extension(number=number).full_clean()

    def test_other_numbers_are_refused_with_an_example(self):
        for number in ("", "10 01", "1001\n", "+1001", "*43", "тест", "1001@pbx", "٣٤", "9" * 33, "a/b", "%31"):
            with self.subTest(number=number), self.assertRaises(ValidationError) as caught:
                Extension(number=number).full_clean()
            self.assertIn("number", caught.exception.message_dict)
        with self.assertRaisesMessage(ValidationError, "for example 1001 or front-desk"):
            Extension(number="10 01").full_clean()

    def test_numbers_are_unique_ignoring_case(self):
        make_extension(number="Front")
        with self.assertRaisesMessage(ValidationError, "capital and small letters count as the same"):
            Extension(number="fRONT").full_clean()
        with self.assertRaises(IntegrityError), transaction.atomic():
            Extension(number="front").save()

    def test_by_number_ignores_case(self):
        extension = make_extension(number="Front")
        self.assertEqual(Extension.objects.by_number("fRoNt").get(), extension)
        self.assertFalse(Extension.objects.by_number("fron").exists())

    def test_names_with_control_characters_are_refused(self):
        Extension(number="1001", display_name="Öffnung «Ўқув» O‘g‘il").full_clean()
        for name in ("a\tb", "a\r\nVia: x", "\x1b[2J", "a\x85b", "a\u2028b"):
            with self.subTest(name=name), self.assertRaises(ValidationError):
                Extension(number="1001", display_name=name).full_clean()

    @override_settings(SIP_DOMAIN="sip.example.uz", SIP_PORT=5080, SIP_HOST="0.0.0.0")
    def test_account_shows_the_domain(self):
        self.assertEqual(
            Extension(number="1001").sip_account,
            SipAccount(username="1001", server="sip.example.uz", port=5080, transport="UDP"),
        )

    @override_settings(SIP_DOMAIN="", SIP_HOST="0.0.0.0")
    def test_account_never_shows_the_bind_address(self):
        self.assertNotIn(Extension(number="1001").sip_account.server, ("0.0.0.0", "::", ""))


class OneWriterTests(TestCase):
    """update() and the bulk methods send no signals: the manager refuses them, whoever calls."""

    def test_manager_refuses_writes_without_signals(self):
        extension = make_extension()
        for write in (
            lambda: Extension.objects.update(enabled=False),
            lambda: Extension.objects.filter(pk=extension.pk).update(number="1002"),
            lambda: Extension.objects.bulk_create([Extension(number="1002")]),
            lambda: Extension.objects.all().bulk_update([extension], ["enabled"]),
        ):
            with self.assertRaisesMessage(SignalsBypassed, "Call save() on each extension"):
                write()

    def test_update_or_create_sends_the_signals(self):
        extension = make_extension()
        Extension.objects.update_or_create(number="1001", defaults={"enabled": False})
        extension.refresh_from_db()
        self.assertFalse(extension.enabled)


class MigrationTests(TestCase):
    def test_models_and_migrations_agree(self):
        call_command("makemigrations", "extensions", "--check", "--dry-run", verbosity=0)


class SourceTests(SimpleTestCase):
    def test_only_the_bulk_module_goes_round_the_manager(self):
        """``_base_manager`` is the one door that the manager cannot shut; SQL on the table would be another."""
        guilty = set()
        for folder in ("pbx", "extensions", "sipcore"):
            for path in (ROOT / folder).rglob("*.py"):
                if "migrations" in path.parts:
                    continue
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                    if (isinstance(node, ast.Attribute) and node.attr in ("_base_manager", "_raw_delete")) or (
                        isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL_WRITE.search(node.value)
                    ):
                        guilty.add(str(path.relative_to(ROOT)))
        self.assertEqual(sorted(guilty), ["extensions/bulk.py"])
