"""What a person sees who types ``manage.py setpassword``."""

from __future__ import annotations

import io
from datetime import timedelta
from unittest import mock

from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError
from django.test import TestCase, override_settings
from django.utils import timezone

from extensions.models import CredentialState, DigestCredential, Extension
from tests.extensions.rows import ha1s, make_binding, make_extension


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Pipe:
    """A stdin that is no terminal."""

    def __init__(self, data: bytes = b"") -> None:
        self.buffer = io.BytesIO(data)

    def isatty(self) -> bool:
        return False


def setpassword(*arguments: str, typed: list | None = None, stdin: bytes = b"") -> tuple[str, str]:
    """Run the command; ``typed`` is what is typed at the prompts, else stdin is a pipe with these bytes."""
    out, err = io.StringIO(), io.StringIO()
    source = Pipe(stdin) if typed is None else Terminal()
    with mock.patch("sys.stdin", source), mock.patch("getpass.getpass", side_effect=typed):
        call_command("setpassword", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@override_settings(SIP_REALM="pbx.example", SIP_DOMAIN="sip.example.uz", SIP_PORT=5060)
class SetPasswordTests(TestCase):
    def assert_refused(self, words: str, *arguments: str, **options) -> None:
        with self.assertRaises(CommandError) as caught:
            setpassword(*arguments, **options)
        self.assertIn(words, str(caught.exception))
        for secret in (*(options.get("typed") or ()), options.get("stdin", b"").decode(errors="replace").strip()):
            if isinstance(secret, str) and secret:
                self.assertNotIn(secret, str(caught.exception))

    def test_prompts_twice_and_tells_what_to_enter_in_the_phone(self):
        make_extension()
        out, _err = setpassword("1001", typed=["horse-battery-9", "horse-battery-9"])
        self.assertIn("The password of 1001 was changed.", out)
        self.assertIn("user 1001, server sip.example.uz, port 5060, transport UDP", out)
        self.assertNotIn("horse", out)
        self.assertTrue(Extension.objects.get().check_password("horse-battery-9"))

    def test_two_different_ones_are_asked_again(self):
        make_extension()
        out, _err = setpassword("1001", typed=["horse-battery-9", "horse-batterie", "other-pass-77", "other-pass-77"])
        self.assertIn("The two are not the same", out)
        self.assertTrue(Extension.objects.get().check_password("other-pass-77"))

    def test_weak_one_is_asked_again_and_given_up_after_three_tries(self):
        make_extension()
        self.assert_refused("Given up after 3 tries", "1001", typed=["sesame"] * 6)
        self.assertTrue(Extension.objects.get().check_password("test123456"))

    def test_control_c_changes_nothing(self):
        make_extension()
        self.assert_refused("Cancelled: nothing was changed.", "1001", typed=[KeyboardInterrupt])

    def test_generate_prints_the_password_once_alone_on_stdout(self):
        make_extension()
        out, err = setpassword("1001", "--generate")
        password = out.removesuffix("\n")
        self.assertEqual(len(password), 16)
        self.assertTrue(Extension.objects.get().check_password(password))
        self.assertIn("The password of 1001 was changed.", err)
        self.assertNotIn(password, err)

    def test_generate_labels_the_password_on_a_terminal(self):
        make_extension()
        out, err = Terminal(), io.StringIO()
        call_command("setpassword", "1001", "--generate", stdout=out, stderr=err)
        label, password = out.getvalue().removesuffix("\n").split(" ")
        self.assertEqual(label, "Password:")
        self.assertTrue(Extension.objects.get().check_password(password))

    def test_stdin_takes_the_first_line_as_it_is(self):
        make_extension()
        for data, password in (
            (b"test123456\n", "test123456"), (b"two words 7\r\nrest", "two words 7"), (b"no-newline-1", "no-newline-1"),
            ("\ufeffпароль-123\n".encode(), "пароль-123"),
        ):
            with self.subTest(password=password):
                setpassword("1001", "--stdin", stdin=data)
                self.assertTrue(Extension.objects.get().check_password(password))

    def test_bad_stdin_is_refused(self):
        make_extension()
        self.assert_refused("not UTF-8", "1001", "--stdin", stdin=b"\xcf\xe0\xf0\xee\xeb\xfc123\n")
        self.assert_refused("The password is empty", "1001", "--stdin", stdin=b"")
        self.assert_refused("too short", "1001", "--stdin", stdin=b"sesame\n")
        self.assertTrue(Extension.objects.get().check_password("test123456"))

    def test_without_a_terminal_it_names_the_ways(self):
        make_extension()
        self.assert_refused("Use --stdin to read the password from a pipe, or --generate", "1001")

    def test_never_as_an_argument(self):
        make_extension()
        for arguments in (("1001", "test123456"), ("1001", "--password", "test123456")):
            with self.assertRaises(CommandError):
                setpassword(*arguments)

    def test_unknown_number_names_create(self):
        self.assert_refused(
            "There is no extension 1001. To make it: manage.py setpassword 1001 --create", "1001", "--generate"
        )
        self.assertFalse(Extension.objects.exists())

    def test_create_makes_the_extension(self):
        out, _err = setpassword("test1001", "--create", "--name", "Quick test", "--stdin", stdin=b"test123456\n")
        self.assertIn("Extension test1001 was made, with its password.", out)
        self.assertIn("weak", out)
        extension = Extension.objects.get()
        self.assertEqual((extension.number, extension.display_name), ("test1001", "Quick test"))
        self.assertEqual(extension.credential_state, CredentialState.READY)

    def test_create_refuses_a_bad_number_and_makes_nothing_without_a_password(self):
        self.assert_refused("for example 1001 or front-desk", "10 01", "--create", "--generate")
        self.assert_refused("Cancelled", "1001", "--create", typed=[EOFError])
        self.assertFalse(Extension.objects.exists())

    def test_create_on_one_that_is_there_sets_its_password(self):
        make_extension(display_name="Front desk")
        setpassword("1001", "--create", "--name", "Other", "--stdin", stdin=b"horse-battery-9\n")
        extension = Extension.objects.get()
        self.assertEqual(extension.display_name, "Front desk")
        self.assertTrue(extension.check_password("horse-battery-9"))

    def test_number_in_another_case_is_the_same_extension(self):
        make_extension(number="Front")
        setpassword("FRONT", "--stdin", stdin=b"horse-battery-9\n")
        self.assertEqual(Extension.objects.get().number, "Front")
        self.assertEqual(Extension.objects.get().credential_state, CredentialState.READY)

    def test_disabled_extension_says_so(self):
        make_extension(enabled=False)
        out, _err = setpassword("1001", "--stdin", stdin=b"horse-battery-9\n")
        self.assertIn("Extension 1001 is disabled: no phone can register until it is enabled.", out)

    def test_missing_and_stale_credentials_are_repaired_and_said(self):
        make_extension(password=None)
        out, _err = setpassword("1001", "--stdin", stdin=b"horse-battery-9\n")
        self.assertIn("It had no credential", out)
        with override_settings(SIP_REALM="other.example"):
            out, _err = setpassword("1001", "--stdin", stdin=b"horse-battery-9\n")
            self.assertIn("made for another realm or number", out)
            self.assertEqual(Extension.objects.get().credential_state, CredentialState.READY)

    def test_phones_with_the_old_password_are_named_with_the_time_they_fail(self):
        extension = make_extension()
        online = make_binding(extension, seconds_left=600, user_agent="Zoiper\x1b[2J")
        make_binding(extension, key="ended", seconds_left=-600, user_agent="Ended phone")
        out, _err = setpassword("1001", "--stdin", stdin=b"horse-battery-9\n")
        time = timezone.localtime(online.expires_at).strftime("%H:%M")
        self.assertIn(
            f"Zoiper?[2J at 203.0.113.9:5062 is registered with the old password: it will fail at {time}", out
        )
        self.assertNotIn("Ended phone", out)
        self.assertEqual(extension.bindings.count(), 2)

    def test_the_same_password_again_alarms_nobody(self):
        extension = make_extension()
        DigestCredential.objects.update(changed_at=timezone.now() - timedelta(days=1))
        make_binding(extension)
        out, _err = setpassword("1001", "--stdin", stdin=b"test123456\n")
        self.assertIn("That is the password that 1001 had already.", out)
        self.assertNotIn("old password", out)

    def test_only_the_password_is_written(self):
        """The administrator disables the extension while the command waits at its prompt."""
        make_extension()

        def disable_meanwhile(_prompt):
            extension = Extension.objects.get()
            extension.enabled, extension.display_name = False, "Changed"
            extension.save()
            return "horse-battery-9"

        make_binding(Extension.objects.get())
        with mock.patch("sys.stdin", Terminal()), mock.patch("getpass.getpass", side_effect=disable_meanwhile):
            call_command("setpassword", "1001", stdout=io.StringIO())
        extension = Extension.objects.get()
        self.assertEqual((extension.enabled, extension.display_name), (False, "Changed"))
        self.assertTrue(extension.check_password("horse-battery-9"))

    def test_deleted_meanwhile_is_said(self):
        make_extension()

        def delete_meanwhile(_prompt):
            Extension.objects.all().delete()
            return "horse-battery-9"

        with mock.patch("sys.stdin", Terminal()), mock.patch("getpass.getpass", side_effect=delete_meanwhile), \
                self.assertRaisesMessage(CommandError, "Extension 1001 was deleted meanwhile."):
            call_command("setpassword", "1001", stdout=io.StringIO())
        self.assertFalse(DigestCredential.objects.exists())

    def test_a_database_that_is_away_is_one_sentence_without_the_row(self):
        make_extension()
        error = OperationalError("server closed the connection\nDETAIL: Failing row contains (1, secret)")
        with mock.patch.object(Extension, "save", side_effect=error):
            self.assert_refused("nothing was changed: server closed the connection", "1001", "--generate")
        error = DatabaseError("value too long\nDETAIL: Failing row contains (1, secret)")
        with mock.patch.object(Extension, "save", side_effect=error), self.assertRaises(CommandError) as caught:
            setpassword("1001", "--generate")
        self.assertNotIn("secret", str(caught.exception))
        self.assertTrue(ha1s(Extension.objects.get()))
