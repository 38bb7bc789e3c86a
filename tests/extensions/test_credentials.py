"""The HA1 cache follows the extension: made, refreshed, kept or seen as stale, always with the save itself."""

from __future__ import annotations

import pickle
from datetime import timedelta
from hashlib import md5, sha256
from unittest import mock

from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models.signals import post_delete
from django.test import TestCase, TransactionTestCase, override_settings
from django.utils import timezone

from extensions.models import CredentialState, DigestCredential, Extension
from tests.extensions.rows import ha1s, make_binding, make_extension

REALM = "pbx.example"


def expected(number: str, password: str, realm: str = REALM) -> dict[str, str]:
    text = f"{number}:{realm}:{password}".encode()
    return {"MD5": md5(text).hexdigest(), "SHA-256": sha256(text).hexdigest()}


@override_settings(SIP_REALM=REALM)
class CredentialTests(TestCase):
    def test_save_makes_both_rows(self):
        extension = make_extension(password="test123456")
        self.assertEqual(ha1s(extension), expected("1001", "test123456"))
        self.assertEqual(extension.credential_state, CredentialState.READY)
        self.assertTrue(extension.check_password("test123456"))
        self.assertFalse(extension.check_password("test123457"))

    def test_password_outside_ascii_is_hashed_as_typed(self):
        for password in ("пароль-123", "e\u0301te-12345", "\u00e9te-12345"):
            with self.subTest(password=password):
                extension = make_extension(number=str(len(password)) + password[0].encode().hex(), password=password)
                self.assertEqual(ha1s(extension), expected(extension.number, password))

    def test_new_password_replaces_both_rows_in_place(self):
        extension = make_extension()
        before = set(extension.credentials.values_list("pk", flat=True))
        extension.set_password("another-123")
        extension.save()
        self.assertEqual(ha1s(extension), expected("1001", "another-123"))
        self.assertEqual(set(extension.credentials.values_list("pk", flat=True)), before)

    def test_changed_at_moves_only_with_the_password(self):
        extension = make_extension()
        past = timezone.now() - timedelta(days=3)
        DigestCredential.objects.update(changed_at=past)
        extension.display_name = "Front desk"
        extension.save()
        extension.set_password("test123456")
        extension.save()
        with override_settings(SIP_REALM="other.example"):
            extension.set_password("test123456")  # the repair after a change of the realm
            extension.save()
            self.assertEqual(ha1s(extension), expected("1001", "test123456", "other.example"))
            self.assertEqual(set(extension.credentials.values_list("changed_at", flat=True)), {past})
            extension.set_password("another-123")
            extension.save()
        self.assertTrue(all(changed > past for changed in extension.credentials.values_list("changed_at", flat=True)))

    def test_without_a_password_the_state_is_missing(self):
        self.assertEqual(make_extension(password=None).credential_state, CredentialState.MISSING)

    def test_state_looks_at_the_offered_algorithms_only(self):
        extension = make_extension()
        extension.credentials.filter(algorithm="SHA-256").delete()
        with override_settings(SIP_DIGEST_ALGORITHMS=["MD5"]):
            self.assertEqual(extension.credential_state, CredentialState.READY)
        with override_settings(SIP_DIGEST_ALGORITHMS=["SHA-256", "MD5"]):
            self.assertEqual(extension.credential_state, CredentialState.MISSING)

    def test_changed_realm_is_stale_and_setting_the_password_repairs_it(self):
        extension = make_extension()
        with override_settings(SIP_REALM="other.example"):
            self.assertEqual(extension.credential_state, CredentialState.STALE)
            extension.set_password("test123456")
            extension.save()
            self.assertEqual(extension.credential_state, CredentialState.READY)

    def test_password_text_that_no_phone_can_send_is_refused(self):
        for password in ("", "tab\there123", "line\nbreak1", "\ud800abcdefg", "nul\0nul12", " outer123", "x" * 129):
            with self.subTest(password=password), self.assertRaises(ValidationError):
                Extension(number="1001").set_password(password)

    def test_update_fields_without_password_still_saves_the_hash(self):
        extension = make_extension()
        extension.set_password("another-123")
        extension.save(update_fields=["display_name"])
        self.assertTrue(Extension.objects.get().check_password("another-123"))
        self.assertEqual(ha1s(extension), expected("1001", "another-123"))

    def test_stale_instance_does_not_bring_an_old_hash_back(self):
        stale = Extension.objects.get(pk=make_extension().pk)
        current = Extension.objects.get()
        current.set_password("another-123")
        current.save()
        stale.display_name = "Front desk"
        stale.save()
        self.assertTrue(Extension.objects.get().check_password("another-123"))

    def test_ha1_is_made_for_the_number_that_is_stored(self):
        stale = Extension.objects.get(pk=make_extension().pk)
        renamed = Extension.objects.get()
        renamed.number = "1002"
        renamed.save()
        stale.set_password("another-123")
        stale.save(update_fields=["password"])
        self.assertEqual(ha1s(renamed), expected("1002", "another-123"))
        self.assertEqual(renamed.credential_state, CredentialState.READY)

    def test_raw_password_goes_into_no_pickle(self):
        extension = Extension(number="1001")
        extension.set_password("test123456")
        self.assertNotIn(b"test123456", pickle.dumps(extension))

    def test_reading_the_row_again_forgets_the_raw_password(self):
        extension = make_extension()
        extension.set_password("another-123")
        extension.refresh_from_db()
        extension.save()
        self.assertEqual(ha1s(extension), expected("1001", "test123456"))

    def test_fixture_keeps_its_own_rows(self):
        from django.core import serializers

        make_extension()
        text = serializers.serialize("json", [*Extension.objects.all(), *DigestCredential.objects.all()])
        Extension.objects.all().delete()
        for item in serializers.deserialize("json", text):
            item.save()
        self.assertEqual(Extension.objects.get().credential_state, CredentialState.READY)


@override_settings(SIP_REALM=REALM)
class RenameDisableDeleteTests(TestCase):
    def test_rename_makes_credentials_stale_and_ends_registrations(self):
        extension = make_extension()
        make_binding(extension)
        extension.number = "1002"
        extension.save()
        self.assertEqual(extension.credential_state, CredentialState.STALE)
        self.assertEqual(set(extension.credentials.values_list("username", flat=True)), {"1001"})
        self.assertFalse(extension.bindings.exists())

    def test_changing_only_the_case_of_a_number_is_a_rename(self):
        extension = make_extension(number="Front")
        make_binding(extension)
        extension.number = "front"
        extension.save()
        self.assertEqual(extension.credential_state, CredentialState.STALE)
        self.assertFalse(extension.bindings.exists())

    def test_rename_with_a_new_password_is_ready(self):
        extension = make_extension()
        make_binding(extension)
        extension.number = "1002"
        extension.set_password("test123456")
        extension.save()
        self.assertEqual(extension.credential_state, CredentialState.READY)
        self.assertEqual(ha1s(extension), expected("1002", "test123456"))
        self.assertFalse(extension.bindings.exists())

    def test_rename_back_is_ready_again(self):
        extension = make_extension()
        for number in ("1002", "1001"):
            extension.number = number
            extension.save()
        self.assertEqual(extension.credential_state, CredentialState.READY)

    def test_disable_ends_registrations_and_keeps_credentials(self):
        extension, other = make_extension(), make_extension(number="1002")
        make_binding(extension)
        make_binding(other)
        extension.enabled = False
        extension.save()
        self.assertFalse(extension.bindings.exists())
        self.assertTrue(other.bindings.exists())
        self.assertEqual(extension.credential_state, CredentialState.READY)

    def test_password_change_keeps_registrations(self):
        extension = make_extension()
        make_binding(extension)
        extension.set_password("another-123")
        extension.save()
        self.assertTrue(extension.bindings.exists())

    def test_delete_purges_credentials_and_registrations(self):
        for delete in (lambda: Extension.objects.get().delete(), lambda: Extension.objects.all().delete()):
            extension = make_extension()
            make_binding(extension)
            delete()
            self.assertFalse(DigestCredential.objects.exists())
            self.assertFalse(extension.bindings.model.objects.exists())


@override_settings(SIP_REALM=REALM)
class TransactionTests(TransactionTestCase):
    """What holds when a transaction fails or is the caller's own."""

    def test_raw_password_is_forgotten_after_the_commit(self):
        extension = Extension(number="1001")
        extension.set_password("test123456")
        extension.save()
        self.assertNotIn("test123456", repr(vars(extension)))

    def test_after_a_rollback_the_next_save_makes_the_rows(self):
        extension = Extension(number="1001")
        extension.set_password("test123456")
        with self.assertRaises(RuntimeError), transaction.atomic():
            extension.save()
            raise RuntimeError
        self.assertFalse(DigestCredential.objects.exists())
        extension.save()
        self.assertEqual(ha1s(extension), expected("1001", "test123456"))
        self.assertIsNone(extension._raw_password)

    def test_after_a_rollback_of_a_change_the_next_save_makes_the_rows(self):
        extension = make_extension()
        extension.set_password("another-123")
        with self.assertRaises(RuntimeError), transaction.atomic():
            with transaction.atomic():
                extension.save()
            raise RuntimeError
        self.assertEqual(ha1s(extension), expected("1001", "test123456"))
        self.assertTrue(Extension.objects.get().check_password("test123456"))
        extension.save()
        self.assertEqual(ha1s(extension), expected("1001", "another-123"))
        self.assertTrue(Extension.objects.get().check_password("another-123"))

    def test_a_password_set_before_the_commit_of_the_former_is_kept_for_its_own_save(self):
        extension = Extension(number="1001")
        extension.set_password("test123456")
        with transaction.atomic():
            extension.save()
            extension.set_password("another-123")
        extension.save()
        self.assertEqual(ha1s(extension), expected("1001", "another-123"))

    def test_save_is_all_or_nothing(self):
        """A crash between the row and its HA1 leaves neither."""
        extension = make_extension()
        make_binding(extension)
        extension.set_password("another-123")
        extension.number = "1002"
        with mock.patch("extensions.signals.refresh_credentials", side_effect=RuntimeError), \
                self.assertRaises(RuntimeError):
            extension.save()
        stored = Extension.objects.get()
        self.assertEqual(stored.number, "1001")
        self.assertTrue(stored.check_password("test123456"))
        self.assertTrue(stored.bindings.exists())
        self.assertEqual(ha1s(stored), expected("1001", "test123456"))

    def test_delete_is_all_or_nothing(self):
        extension = make_extension()
        make_binding(extension)

        def crash(**_arguments):
            raise RuntimeError

        post_delete.connect(crash, sender=Extension)
        try:
            with self.assertRaises(RuntimeError):
                Extension.objects.get().delete()
        finally:
            post_delete.disconnect(crash, sender=Extension)
        self.assertEqual(ha1s(extension), expected("1001", "test123456"))
        self.assertTrue(extension.bindings.exists())

    def test_the_database_itself_removes_no_extension_with_rows_left_behind(self):
        """There is no way round the cascade: the foreign keys are checked."""
        extension = make_extension()
        make_binding(extension)
        with self.assertRaises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("DELETE FROM extensions_extension WHERE id = %s", [extension.pk])
            connection.check_constraints()
        self.assertEqual(ha1s(extension), expected("1001", "test123456"))
