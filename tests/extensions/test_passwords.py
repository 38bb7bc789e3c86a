from __future__ import annotations

from django.conf import settings
from django.contrib.auth.hashers import check_password, identify_hasher
from django.core.exceptions import ValidationError
from django.test import SimpleTestCase

from extensions.hashers import check_extension_password, hash_extension_password
from extensions.passwords import ALPHABET, generate_password, password_warning, validate_password


class PasswordRuleTests(SimpleTestCase):
    def test_the_password_of_the_quick_test_is_accepted_with_a_warning(self):
        validate_password("test123456", "test1001")
        self.assertIn("weak", str(password_warning("test123456")))

    def test_easily_guessed_passwords_are_refused(self):
        for password, number, words in (
            ("short1", "1001", "too short: at least 8 characters"),
            ("10011001", "1001", "the number itself"),
            ("FRONTDESK", "frontdesk", "the number itself"),
            ("Password1", "1001", "strangers try first"),
            ("11111111", "1001", "strangers try first"),
            ("12345678", "1001", "strangers try first"),
            ("87654321", "1001", "strangers try first"),
            ("qwertyui", "1001", "strangers try first"),
        ):
            with self.subTest(password=password), self.assertRaisesMessage(ValidationError, words):
                validate_password(password, number)

    def test_refusals_never_repeat_the_password(self):
        for password in ("sesame", "sesame\tx-sesame", "x" * 200 + "sesame", " sesame-sesame"):
            with self.assertRaises(ValidationError) as caught:
                validate_password(password)
            self.assertNotIn("sesame", str(caught.exception))

    def test_passwords_outside_ascii_are_accepted_with_a_warning(self):
        validate_password("пароль-2026-Ўқ")
        self.assertIn("encoding", str(password_warning("пароль-2026-Ўқ")))

    def test_strong_passwords_get_no_warning(self):
        for password in (generate_password(), "Tr1cky-p0tat0", "correct horse battery"):
            with self.subTest(password=password):
                validate_password(password, "1001")
                self.assertEqual(password_warning(password), "")

    def test_generated_passwords_are_strong_and_unambiguous(self):
        made = {generate_password() for _ in range(500)}
        self.assertEqual(len(made), 500)
        self.assertTrue(all(len(password) == 16 and set(password) <= set(ALPHABET) for password in made))
        self.assertEqual(set("ilo01") & set(ALPHABET), set())
        self.assertEqual(set("".join(made)), set(ALPHABET))


class HasherTests(SimpleTestCase):
    def test_hash_is_salted_and_checks(self):
        first, second = (hash_extension_password("test123456") for _ in range(2))
        self.assertNotEqual(first, second)
        self.assertLessEqual(len(first), 128)
        self.assertTrue(check_extension_password("test123456", first))
        self.assertFalse(check_extension_password("test123457", first))

    def test_empty_foreign_or_damaged_hashes_are_nobodys(self):
        for encoded in ("", "!", "md5$a$b", "pbkdf2_sha256_extension$", "pbkdf2_sha256_extension$x$y$z"):
            with self.subTest(encoded=encoded):
                self.assertFalse(check_extension_password("test123456", encoded))

    def test_administrators_never_get_the_cheap_hasher(self):
        self.assertFalse(any("extension" in path.lower() for path in settings.PASSWORD_HASHERS))
        encoded = hash_extension_password("test123456")
        self.assertFalse(check_password("test123456", encoded))
        with self.assertRaises(ValueError):
            identify_hasher(encoded)
