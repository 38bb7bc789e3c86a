"""baresip, as people run it on a computer."""

from __future__ import annotations

from tests.support.baresip import Baresip
from tests.support.cases import PASSWORD, OnPostgres, OnSqlite, PbxCase
from tests.support.phone import Phone


class BaresipTests(PbxCase):
    def baresip(self, number: str, password: str, **options) -> Baresip:
        options.setdefault("domain", self.pbx.domain)
        phone = Baresip(self.pbx.server, number, password, **options)
        self.addCleanup(phone.stop)
        return phone

    def test_it_registers_and_is_listed_with_its_name_and_address(self):
        number = self.new_extension()
        phone = self.baresip(number, PASSWORD)
        phone.wait_registered()
        self.assertEqual(phone.answers, [401, 200])
        (binding,) = self.pbx.bindings(number)
        self.assertIn("baresip", binding["user_agent"])
        self.assertEqual((binding["remote_host"], binding["remote_port"]), ("127.0.0.1", phone.sip_port))

    def test_the_servers_address_does_as_well_as_its_domain(self):
        number = self.new_extension()
        self.baresip(number, PASSWORD, domain=None).wait_registered()
        self.assertEqual(len(self.pbx.bindings(number)), 1)

    def test_the_quick_test_of_the_guide(self):
        self.pbx.manage("setpassword", "test1001", "--create", "--stdin", text_in="test123456\n")
        phone = self.baresip("test1001", "test123456")
        phone.wait_registered()
        self.assertEqual(len(self.pbx.bindings("test1001")), 1)

    def test_a_wrong_password_is_refused_once_and_it_does_not_try_in_a_loop(self):
        number = self.new_extension()
        phone = self.baresip(number, "mistyped")
        self.assertIn("403", phone.wait_refused()["param"])
        phone.wait_silent()
        self.assertEqual(phone.answers, [401, 403])
        self.assertEqual(self.pbx.bindings(number), [])

    def test_a_number_that_does_not_exist_looks_like_a_wrong_password(self):
        phone = self.baresip("nobody", "mistyped")
        self.assertIn("403", phone.wait_refused()["param"])
        phone.wait_silent()
        self.assertEqual(phone.answers, [401, 403])

    def test_after_the_right_password_is_typed_it_registers(self):
        number = self.new_extension()
        phone = self.baresip(number, "mistyped")
        phone.wait_refused()
        phone.switch_off_account()
        seen = len(phone.events)
        phone.type_new_password(PASSWORD)
        phone.wait_registered(after=seen)
        self.pbx.wait_for_bindings(number, 1)

    def test_switching_the_account_off_ends_the_registration(self):
        number = self.new_extension()
        phone = self.baresip(number, PASSWORD)
        phone.wait_registered()
        phone.switch_off_account()
        self.pbx.wait_for_bindings(number, 0)
        phone.wait_silent(1.0)
        # Its Call-ID and CSeq go on: one challenge at most, no refusal.
        self.assertEqual(set(phone.answers), {401, 200})

    def test_closing_it_ends_the_registration(self):
        number = self.new_extension()
        phone = self.baresip(number, PASSWORD)
        phone.wait_registered()
        self.assertEqual(phone.quit(), 0)
        self.pbx.wait_for_bindings(number, 0)

    def test_two_phones_on_one_extension_are_two_registrations(self):
        number = self.new_extension()
        desk, pocket = (self.baresip(number, PASSWORD) for _ in range(2))
        for phone in (desk, pocket):
            phone.wait_registered()
        self.assertEqual(
            {binding["remote_port"] for binding in self.pbx.bindings(number)}, {desk.sip_port, pocket.sip_port}
        )
        desk.quit()
        (left,) = self.pbx.wait_for_bindings(number, 1)
        self.assertEqual(left["remote_port"], pocket.sip_port)

    def test_its_endless_questions_for_messages_do_not_keep_others_from_registering(self):
        # With the mwi module it sends SUBSCRIBE, each refused one followed by another on some starts.
        number, other = self.new_extension(), self.new_extension()
        phone = self.baresip(number, PASSWORD, modules=("mwi",))
        phone.wait_registered()
        with Phone(self.pbx.server, other, PASSWORD, self.pbx.domain) as strict:
            for _ in range(5):
                self.assertEqual(strict.register().status, 200)
        self.assertEqual(len(self.pbx.bindings(number)), 1)


class BaresipOnSqlite(BaresipTests, OnSqlite):
    pass


class BaresipOnPostgres(BaresipTests, OnPostgres):
    pass


class PasswordChangedTests(PbxCase):
    # Short registrations, so that the refresh comes while the test waits.
    settings = {"SIP_MIN_EXPIRES": "5"}

    def test_a_changed_password_fails_at_the_next_refresh_and_not_before(self):
        number = self.new_extension()
        with Baresip(self.pbx.server, number, PASSWORD, domain=self.pbx.domain, expires=12) as phone:
            phone.wait_registered()
            before = len(phone.events)
            self.pbx.set_password(number, "second-pass")
            self.assertEqual(len(self.pbx.bindings(number)), 1)
            self.assertIn("403", phone.wait_refused(after=before)["param"])
            phone.switch_off_account()
            before = len(phone.events)
            phone.type_new_password("second-pass")
            phone.wait_registered(after=before)
            # Same phone, same address: it has not become two.
            self.pbx.wait_for_bindings(number, 1)


class PasswordChangedOnSqlite(PasswordChangedTests, OnSqlite):
    pass


class PasswordChangedOnPostgres(PasswordChangedTests, OnPostgres):
    pass


del BaresipTests, PasswordChangedTests  # the loader would take them for cases of their own
