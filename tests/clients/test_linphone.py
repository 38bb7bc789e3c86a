"""linphonec, as people run it on a computer or (the same engine) as an app."""

from __future__ import annotations

from tests.support.cases import PASSWORD, OnPostgres, OnSqlite, PbxCase
from tests.support.linphone import Linphone


class LinphoneCase(PbxCase):
    def linphone(self, number: str, password: str, **options) -> Linphone:
        phone = Linphone(self.pbx.server, number, password, domain=self.pbx.domain, **options)
        self.addCleanup(phone.stop)
        return phone


class LinphoneTests(LinphoneCase):
    def test_it_registers_and_is_listed_with_its_name(self):
        number = self.new_extension()
        phone = self.linphone(number, PASSWORD)
        phone.wait_registered()
        self.assertEqual(phone.answers[:2], [401, 200])
        (binding,) = self.pbx.bindings(number)
        self.assertIn("Linphonec", binding["user_agent"])
        self.assertTrue(binding["instance"], "its +sip.instance was not kept")

    def test_after_a_wrong_password_it_asks_for_the_right_one_and_does_not_try_in_a_loop(self):
        number = self.new_extension()
        phone = self.linphone(number, "mistyped")
        phone.wait_password_asked()
        self.assertIn(403, phone.answers)
        self.assertEqual(self.pbx.bindings(number), [])
        self.assertLessEqual(len(phone.registers), 3, f"it tries in a loop: {phone.answers}")

    def test_unregistering_ends_the_registration(self):
        number = self.new_extension()
        phone = self.linphone(number, PASSWORD)
        phone.wait_registered()
        phone.unregister()
        self.pbx.wait_for_bindings(number, 0)
        phone.wait_not_registered()

    def test_closing_it_ends_the_registration(self):
        number = self.new_extension()
        phone = self.linphone(number, PASSWORD)
        phone.wait_registered()
        phone.quit()
        self.pbx.wait_for_bindings(number, 0)

    def test_two_phones_on_one_extension_are_two_registrations(self):
        number = self.new_extension()
        desk, pocket = self.linphone(number, PASSWORD), self.linphone(number, PASSWORD)
        desk.wait_registered()
        pocket.wait_registered()
        self.pbx.wait_for_bindings(number, 2)
        desk.quit()
        self.pbx.wait_for_bindings(number, 1)

    def test_the_quick_test_of_the_guide(self):
        self.pbx.manage("setpassword", "test1001", "--create", "--stdin", text_in="test123456\n")
        phone = self.linphone("test1001", "test123456")
        phone.wait_registered()
        self.assertEqual(len(self.pbx.bindings("test1001")), 1)


class LinphoneOnSqlite(LinphoneTests, OnSqlite):
    pass


class LinphoneOnPostgres(LinphoneTests, OnPostgres):
    pass


class PasswordChangedTests(LinphoneCase):
    # Short registrations, so that the refresh comes while the test waits.
    settings = {"SIP_MIN_EXPIRES": "5"}

    def test_a_changed_password_fails_at_the_next_refresh_and_not_before(self):
        number = self.new_extension()
        phone = self.linphone(number, PASSWORD, expires=12)
        phone.wait_registered()
        self.pbx.set_password(number, "second-pass")
        self.assertEqual(len(self.pbx.bindings(number)), 1)
        phone.wait_password_asked()
        self.assertIn(403, phone.answers)
        # After a 403 it stays silent; a person switches the account off and on again.
        phone.stop()
        self.linphone(number, "second-pass").wait_registered()


class PasswordChangedOnSqlite(PasswordChangedTests, OnSqlite):
    pass


class PasswordChangedOnPostgres(PasswordChangedTests, OnPostgres):
    pass


class TwoDigestsTests(LinphoneCase):
    """SIP_DIGEST_ALGORITHMS=SHA-256,MD5: linphone takes the first that it can do (RFC 8760 section 2.3)."""

    settings = {"SIP_DIGEST_ALGORITHMS": "SHA-256,MD5"}

    def test_it_registers_with_the_stronger_digest(self):
        self.pbx.create_extension("1900", PASSWORD)
        phone = self.linphone("1900", PASSWORD)
        phone.wait_registered()
        self.assertEqual(len(self.pbx.bindings("1900")), 1)
        self.assertIn("algorithm=SHA-256", phone.registers[-1].get("Authorization"))

    def test_a_wrong_password_is_refused(self):
        self.pbx.create_extension("1901", PASSWORD)
        phone = self.linphone("1901", "mistyped")
        phone.wait_answer(403)
        self.assertEqual(self.pbx.bindings("1901"), [])

    def test_after_the_setting_goes_back_to_md5_it_registers_again(self):
        self.pbx.create_extension("1902", PASSWORD)
        self.linphone("1902", PASSWORD).wait_registered()
        self.pbx.restart(SIP_DIGEST_ALGORITHMS="MD5")
        try:
            phone = self.linphone("1902", PASSWORD)
            phone.wait_registered()
            self.assertNotIn("SHA-256", phone.registers[-1].get("Authorization"))
        finally:
            self.pbx.restart(SIP_DIGEST_ALGORITHMS="SHA-256,MD5")


class TwoDigestsOnSqlite(TwoDigestsTests, OnSqlite):
    pass


class TwoDigestsOnPostgres(TwoDigestsTests, OnPostgres):
    pass


del LinphoneTests, PasswordChangedTests, TwoDigestsTests  # the loader would take them for cases of their own
