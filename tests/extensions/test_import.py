"""What a person sees who imports and exports extensions."""

from __future__ import annotations

import csv
import io
import os
import stat
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils import timezone

from extensions.bulk import Change, ChangedMeanwhile, save_many
from extensions.hashers import hash_extension_password
from extensions.models import Binding, CredentialState, DigestCredential, Extension
from sipcore.protocol.digest import make_ha1
from tests.extensions.rows import ha1s, make_binding, make_extension

REALM = "pbx.example"
MD5 = make_ha1("MD5", "1001", REALM, "test123456")
SHA256 = make_ha1("SHA-256", "1001", REALM, "test123456")


class FileTests(TestCase):
    def setUp(self):
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def run_import(self, content: str | bytes, *options: str) -> str:
        path = self.directory / "extensions.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        out = io.StringIO()
        call_command("importextensions", str(path), *options, stdout=out)
        return out.getvalue()

    def refusal(self, content: str | bytes, *options: str) -> str:
        before = list(Extension.objects.values_list())
        with self.assertRaises(CommandError) as caught:
            self.run_import(content, *options)
        self.assertEqual(list(Extension.objects.values_list()), before)
        self.assertIn("Nothing was imported", str(caught.exception))
        return str(caught.exception)

    def export(self) -> str:
        out = io.StringIO()
        call_command("exportextensions", stdout=out)
        return out.getvalue()

    def numbers(self) -> list[str]:
        return list(Extension.objects.order_by("number").values_list("number", flat=True))


@override_settings(SIP_REALM=REALM)
class ImportTests(FileTests):
    def test_numbers_names_and_passwords(self):
        out = self.run_import("number,name,password\n1001,Front desk,test123456\n1002,Omborхона,horse-battery-9\n")
        self.assertIn("Extensions made: 2, changed: 0.", out)
        self.assertIn("Weak or risky passwords: 1001.", out)
        self.assertIn("has passwords in it: delete it", out)
        self.assertNotIn("test123456", out)
        extension = Extension.objects.get(number="1001")
        self.assertEqual(extension.display_name, "Front desk")
        self.assertTrue(extension.check_password("test123456"))
        self.assertEqual(ha1s(extension), {"MD5": MD5, "SHA-256": SHA256})

    def test_without_a_password_the_credential_stays_missing_and_it_says_so(self):
        out = self.run_import("number,name,password\n1001,A,\n1002,B,horse-battery-9\n")
        self.assertIn("no phone can sign in to: 1001.", out)
        self.assertEqual(Extension.objects.get(number="1001").credential_state, CredentialState.MISSING)

    def test_ha1_of_this_realm(self):
        out = self.run_import(f"number,ha1,ha1_sha256\n1001,{MD5.upper()},\n1002,,\n")
        self.assertIn("for the realm pbx.example", out)
        extension = Extension.objects.get(number="1001")
        self.assertEqual(ha1s(extension), {"MD5": MD5})
        self.assertEqual(extension.password, "")
        self.assertEqual(extension.credential_state, CredentialState.READY)
        with override_settings(SIP_DIGEST_ALGORITHMS=["SHA-256", "MD5"]):
            self.assertIn(
                "no phone can sign in to: 1001.", self.run_import(f"number,ha1\n1001,{MD5}\n", "--update")
            )
            out = self.run_import(f"number,ha1,ha1_sha256\n1001,{MD5},{SHA256}\n", "--update")
            self.assertNotIn("no phone can sign in", out)
        self.assertEqual(ha1s(extension), {"MD5": MD5, "SHA-256": SHA256})

    def test_every_bad_line_is_named_with_its_reason_and_nothing_is_imported(self):
        make_extension("1001")
        words = self.refusal(
            "number,name,password,ha1,ha1_sha256,enabled,max_devices,language\n"
            "2001,Good,horse-battery-9,,,yes,5,ru\n"
            ",No number,,,,,,\n"
            "20 02,Space,,,,,,\n"
            "2003,Short,sesame,,,,,\n"
            "2001,Twice,,,,,,\n"
            "1001,There already,,,,,,\n"
            f"2004,Both,horse-battery-9,{MD5},,,,\n"
            "2005,Hex,,abc,,,,\n"
            f"2006,Sha alone,,,{SHA256},,,\n"
            "2007,Enabled,,,,perhaps,,\n"
            "2008,Devices,,,,,many,\n"
            "2009,Devices,,,,,11,\n"
            "2010,Language,,,,,,de\n"
            "2011,Comma, in the name,,,,,,en\n"
            f"2012,{'x' * 81},,,,,,\n"
        )
        for line, reason in (
            (3, "number: This field cannot be blank."),
            (4, "number: Use letters, digits, dot, underscore and hyphen only"),
            (5, "too short: at least 8 characters"),
            (6, "The number 2001 is already on line 2."),
            (7, "There is already an extension 1001. To change it, add --update."),
            (8, "Give a password or an HA1, not both."),
            (9, "ha1 has to be 32 hexadecimal digits."),
            (10, "An ha1_sha256 needs the ha1 (MD5) beside it."),
            (11, "enabled is yes or no."),
            (12, "max_devices is a whole number."),
            (13, "max_devices: Ensure this value is less than or equal to 10."),
            (14, "language: Value 'de' is not a valid choice."),
            (15, "more cells than columns"),
            (16, "name: Ensure this value has at most 80 characters"),
        ):
            with self.subTest(line=line):
                self.assertRegex(words, rf"(?m)^Line {line}: .*")
                self.assertIn(reason, words.split(f"Line {line}: ")[1].splitlines()[0])
        self.assertNotIn("Line 2:", words)
        for secret in ("sesame", "horse-battery", MD5):
            self.assertNotIn(secret, words)

    def test_duplicates_are_found_ignoring_case(self):
        self.assertIn("Line 3: The number FRONT is already on line 2.", self.refusal("number\nfront\nFRONT\n"))

    def test_the_list_of_bad_lines_is_bounded(self):
        words = self.refusal("number\n" + "a b\n" * 1 + "".join(f"{n} x\n" for n in range(999)))
        self.assertEqual(words.count("Line "), 50)
        self.assertIn("and 950 more.", words)

    def test_files_as_excel_writes_them(self):
        for name, content in (
            ("BOM and semicolons", "\ufeffNumber;Name\r\n1001;Иван\r\n".encode()),
            ("UTF-16 with tabs", "Number\tName\r\n1001\tИван\r\n".encode("utf-16")),
            ("separator hint", "sep=;\r\nnumber;name\r\n1001;Иван\r\n".encode()),
            ("old line ends, empty lines and cells", "number,name,\n\n1001,Иван,\n,,\n".encode()),
            ("quotes", '"number","name"\n"1001","Иван"'.encode()),
        ):
            with self.subTest(name):
                self.run_import(content)
                self.assertEqual(list(Extension.objects.values_list("number", "display_name")), [("1001", "Иван")])
                Extension.objects.all().delete()

    def test_cp1251_is_refused_with_the_remedy_and_then_read(self):
        content = "number;name\n1001;Front\n1002;Иван\n".encode("cp1251")
        words = self.refusal(content)
        self.assertIn("Line 3 is not UTF-8.", words)
        self.assertIn("--encoding cp1251", words)
        self.run_import(content, "--encoding", "cp1251")
        self.assertEqual(Extension.objects.get(number="1002").display_name, "Иван")
        self.assertIn("There is no encoding nonsense", self.refusal(content, "--encoding", "nonsense"))

    def test_tables_that_cannot_be_read_name_the_remedy(self):
        for content, words in (
            ("", "has to name the columns, with number among them"),
            ("1001,Front desk\n", "has to name the columns"),
            ("number,secret\n1001,x\n", "a column “secret” that nobody knows"),
            ("number,name,name\n1001,a,b\n", "“name” is there twice"),
            ('number,name\n1001,"never closed\n', "Line 2 is not CSV"),
            ('number,name\n1001,"a" b\n', "Line 2 is not CSV"),
        ):
            with self.subTest(content=content):
                self.assertIn(words, self.refusal(content))
        with self.assertRaisesMessage(CommandError, "cannot be read: there is no such file"):
            call_command("importextensions", str(self.directory / "nowhere.csv"))

    def test_line_numbers_count_like_an_editor(self):
        words = self.refusal('sep=;\nnumber;name\n1001;"two\nlines"\n\n10 02;x\n')
        self.assertIn("Line 3: name: A name cannot contain control characters", words)
        self.assertIn("Line 6: number:", words)

    def test_stdin(self):
        stdin = mock.Mock(buffer=io.BytesIO(b"number\n1001\n"))
        with mock.patch("sys.stdin", stdin):
            call_command("importextensions", "-", stdout=io.StringIO())
        self.assertEqual(self.numbers(), ["1001"])

    def test_dry_run_checks_everything_and_changes_nothing(self):
        make_extension("1001")
        out = self.run_import("number,name\n1001,New\n1002,B\n", "--dry-run", "--update")
        self.assertIn("1 would be made, 1 changed. Nothing was written.", out)
        self.assertEqual(self.numbers(), ["1001"])
        self.assertEqual(Extension.objects.get().display_name, "")
        self.refusal("number\n1001\n", "--dry-run")

    def test_generated_passwords_go_into_a_private_new_file(self):
        make_extension("1001")
        output = self.directory / "passwords.csv"
        content = "number,password\n1001,\n1002,\n1003,horse-battery-9\n"
        out = self.run_import(content, "--update", "--dry-run", "--generate-passwords", str(output))
        self.assertIn("Passwords would be generated for: 1002.", out)
        self.assertFalse(output.exists())
        old_mask = os.umask(0)
        try:
            out = self.run_import(content, "--update", "--generate-passwords", str(output))
        finally:
            os.umask(old_mask)
        self.assertEqual(stat.S_IMODE(output.stat().st_mode), 0o600)
        with output.open(newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([row["number"] for row in rows], ["1002"])
        self.assertNotIn(rows[0]["password"], out)
        self.assertIn("hand them out and delete the file", out)
        self.assertTrue(Extension.objects.get(number="1002").check_password(rows[0]["password"]))
        self.assertTrue(Extension.objects.get(number="1001").check_password("test123456"))
        with self.assertRaisesMessage(CommandError, "is there already"):
            self.run_import("number\n1004\n", "--generate-passwords", str(output))
        # What was written can be imported again.
        self.assertIn("changed: 1", self.run_import(output.read_bytes(), "--update"))

    def test_passwords_file_that_cannot_be_written_imports_nothing(self):
        words = self.refusal("number\n1001\n", "--generate-passwords", str(self.directory / "no" / "out.csv"))
        self.assertIn("cannot be written", words)

    def test_a_number_taken_at_this_moment_imports_nothing_and_leaves_no_passwords(self):
        output = self.directory / "passwords.csv"
        with mock.patch("extensions.importing.save_many", side_effect=IntegrityError("DETAIL: secret")):
            words = self.refusal("number\n1001\n", "--generate-passwords", str(output))
        self.assertIn("run the command again", words)
        self.assertNotIn("secret", words)
        self.assertFalse(output.exists())

    def test_too_many_rows(self):
        with mock.patch("extensions.importing.MAX_ROWS", 2):
            self.assertIn("Line 4: More than 2 extensions", self.refusal("number\n1\n2\n3\n4\n"))


@override_settings(SIP_REALM=REALM)
class UpdateTests(FileTests):
    def test_what_the_file_has_no_column_for_stays(self):
        extension = make_extension(display_name="Old", max_devices=3, language="uz")
        make_binding(extension)
        self.assertIn("changed: 1", self.run_import("number,name\n1001,New\n", "--update"))
        stored = Extension.objects.get()
        self.assertEqual((stored.pk, stored.display_name, stored.max_devices, stored.language, stored.enabled),
                         (extension.pk, "New", 3, "uz", True))
        self.assertTrue(stored.check_password("test123456"))
        self.assertEqual(stored.created_at, extension.created_at)
        self.assertEqual(stored.credential_state, CredentialState.READY)
        self.assertTrue(stored.bindings.exists())

    def test_ring_time_and_media_are_changed_where_the_file_says_so(self):
        make_extension("1001", ring_seconds=45, media_from_anywhere=True)
        make_extension("1002", ring_seconds=45, media_from_anywhere=True)
        self.run_import("number,ring_seconds,media_from_anywhere\n1001,20,No\n1002,,\n", "--update")
        self.assertEqual(
            list(Extension.objects.order_by("number").values_list("ring_seconds", "media_from_anywhere")),
            [(20, False), (45, True)],
        )

    def test_a_wrong_ring_time_or_answer_is_named_with_its_line(self):
        words = self.refusal(
            "number,ring_seconds,media_from_anywhere\n1001,30,yes\n1002,4,\n1003,171,\n1004,x,\n1005,,perhaps\n"
        )
        for line, reason in (
            (3, "ring_seconds: Ensure this value is greater than or equal to 5."),
            (4, "ring_seconds: Ensure this value is less than or equal to 170."),
            (5, "ring_seconds is a whole number."),
            (6, "media_from_anywhere is yes or no."),
        ):
            self.assertIn(f"Line {line}: {reason}", words)
        self.assertNotIn("Line 2", words)

    def test_disabling_ends_registrations(self):
        make_binding(make_extension("1001"))
        make_binding(make_extension("1002"))
        self.run_import("number,enabled\n1001,no\n1002,\n", "--update")
        self.assertEqual(list(Binding.objects.values_list("extension__number", flat=True)), ["1002"])

    def test_new_ha1_takes_away_what_was_made_of_the_old_password(self):
        extension = make_extension(password="horse-battery-9")
        self.run_import(f"number,ha1\n1001,{MD5}\n", "--update")
        self.assertEqual(ha1s(extension), {"MD5": MD5})
        self.assertFalse(Extension.objects.get().check_password("horse-battery-9"))

    def test_the_same_ha1_again_alarms_nobody(self):
        extension = make_extension()
        past = timezone.now() - timedelta(days=1)
        DigestCredential.objects.update(changed_at=past)
        self.run_import(f"number,ha1,ha1_sha256\n1001,{MD5},{SHA256}\n", "--update")
        self.assertEqual(set(extension.credentials.values_list("changed_at", flat=True)), {past})

    def test_number_in_another_case_is_a_bad_line(self):
        make_extension(number="Front")
        self.assertIn("There is an extension Front: write its number", self.refusal("number\nfront\n", "--update"))

    def test_missing_and_stale_credentials_get_a_generated_password(self):
        make_extension("1001", password=None)
        stale = make_extension("before")
        stale.number = "1002"
        stale.save()
        self.run_import("number\n1001\n1002\n", "--update", "--generate-passwords", str(self.directory / "out.csv"))
        self.assertEqual({e.credential_state for e in Extension.objects.all()}, {CredentialState.READY})


@override_settings(SIP_REALM=REALM)
class ExportTests(FileTests):
    def test_export_has_no_secret(self):
        extension = make_extension()
        text = self.export()
        for secret in ("test123456", extension.password, *ha1s(extension).values(), "pbkdf2"):
            self.assertNotIn(secret, text)

    def test_export_round_trips(self):
        make_extension(
            "1001", display_name='Front "desk", Ўқув', max_devices=2, ring_seconds=45, media_from_anywhere=True,
            language="uz",
        )
        make_extension("-5", display_name="=HYPERLINK(0)", enabled=False)
        make_extension("1003", display_name="'=quoted")
        make_extension("1004", display_name="''+x")
        make_extension("1005", display_name="O'g'il 'quoted'")
        make_extension("1006", display_name="@sum")
        columns = (
            "number", "display_name", "enabled", "max_devices", "ring_seconds", "media_from_anywhere", "language"
        )
        before = list(Extension.objects.order_by("number").values_list(*columns))
        text = self.export()
        Extension.objects.all().delete()
        self.run_import(text)
        self.assertEqual(list(Extension.objects.order_by("number").values_list(*columns)), before)
        self.assertEqual(self.export(), text)
        self.assertIn("made: 0, changed: 6", self.run_import(text, "--update"))
        self.assertEqual(list(Extension.objects.order_by("number").values_list(*columns)), before)

    def test_no_cell_is_a_formula_for_a_spreadsheet(self):
        for number, name in enumerate(("=1+1", "+1", "-1", "@a", "'=1", "\uff1d1"), start=1001):
            make_extension(str(number), password=None, display_name=name)
        make_extension("-7", password=None)
        for row in csv.reader(io.StringIO(self.export())):
            for cell in row:
                self.assertNotIn(cell[:1], tuple("=+-@\uff1d"))

    def test_export_to_a_file_for_excel(self):
        make_extension(display_name="Иван")
        path = self.directory / "out.csv"
        out = io.StringIO()
        call_command("exportextensions", str(path), stdout=out)
        self.assertIn("Extensions written: 1.", out.getvalue())
        self.assertTrue(path.read_bytes().startswith(b"\xef\xbb\xbfnumber,name"))
        with self.assertRaisesMessage(CommandError, "add --force"):
            call_command("exportextensions", str(path))
        call_command("exportextensions", str(path), "--force", stdout=out)
        self.assertIn("changed: 1", self.run_import(path.read_bytes(), "--update"))


@override_settings(SIP_REALM=REALM)
class BulkEqualsSaveTests(TransactionTestCase):
    """``save_many`` writes the rows that ``save()`` writes."""

    PASSWORDS = {"1001": "horse-battery-9", "1002": None, "1003": "test123456", "new": "horse-battery-9", "bare": None}

    def rows(self) -> list:
        extensions = Extension.objects.order_by("number")
        return [
            (
                e.number, e.display_name, e.enabled, e.max_devices, e.language, e.credential_state,
                e.check_password(self.PASSWORDS[e.number] or "test123456"),
                list(e.credentials.order_by("algorithm").values_list("algorithm", "username", "realm", "ha1")),
                [c.changed_at.year for c in e.credentials.order_by("algorithm")],
                e.bindings.count(), e.ring_seconds, e.media_from_anywhere,
            )
            for e in extensions
        ]

    def before(self) -> list[Extension]:
        """Three that are there and two new ones, changed but not saved."""
        Extension.objects.all().delete()
        for number in ("1001", "1002", "1003"):
            make_binding(make_extension(number))
        DigestCredential.objects.update(changed_at=timezone.now().replace(year=2001))
        changed = [*Extension.objects.order_by("number"), Extension(number="new"), Extension(number="bare")]
        for extension in changed:
            extension.display_name, extension.max_devices, extension.language = f"Name {extension.number}", 2, "ru"
            extension.enabled = extension.number != "1002"
            extension.ring_seconds, extension.media_from_anywhere = 45, extension.number == "1003"
        return changed

    def test_same_rows(self):
        for extension in self.before():
            if password := self.PASSWORDS[extension.number]:
                extension.set_password(password)
            extension.save()
        by_save = self.rows()
        changes = []
        for extension in self.before():
            password = self.PASSWORDS[extension.number]
            if password:
                extension.password = hash_extension_password(password)
            changes.append(Change(extension, raw=password))
        with mock.patch("extensions.bulk.BATCH", 2):
            save_many(changes)
        self.assertEqual(self.rows(), by_save)
        self.assertEqual({row[9] for row in by_save}, {0, 1})
        self.assertEqual({year for row in by_save for year in row[8]}, {2001, timezone.now().year})

    def test_all_or_nothing(self):
        changes = [Change(extension) for extension in self.before()]
        rows = self.rows()
        make_extension("NEW")
        with self.assertRaises(IntegrityError):
            save_many(changes)
        Extension.objects.get(number="NEW").delete()
        self.assertEqual(self.rows(), rows)

    def test_renamed_or_deleted_meanwhile(self):
        for meanwhile in ("rename", "delete"):
            changes = [Change(extension) for extension in self.before()]
            extension = Extension.objects.get(number="1002")
            if meanwhile == "rename":
                extension.number = "2002"
                extension.save()
            else:
                extension.delete()
            with self.subTest(meanwhile), self.assertRaises(ChangedMeanwhile):
                save_many(changes)
            self.assertFalse(Extension.objects.filter(number="new").exists())

    def test_a_password_changed_meanwhile_stays(self):
        """An import of names does not bring back the hash that it read."""
        make_extension()
        change = Change(Extension.objects.get())
        other = Extension.objects.get()
        other.set_password("horse-battery-9")
        other.save()
        change.extension.display_name = "New"
        save_many([change], ["display_name"])
        self.assertTrue(Extension.objects.get().check_password("horse-battery-9"))
