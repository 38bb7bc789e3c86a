"""sipsak, the administrator's probe on the command line."""

from __future__ import annotations

from tests.support import sipsak
from tests.support.cases import PASSWORD, OnPostgres, OnSqlite, PbxCase


class SipsakTests(PbxCase):
    def test_it_registers_with_the_right_password(self):
        number = self.new_extension()
        done = sipsak.register(self.pbx.server, number, PASSWORD)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(len(self.pbx.bindings(number)), 1)

    def test_it_is_refused_with_a_wrong_password(self):
        number = self.new_extension()
        done = sipsak.register(self.pbx.server, number, "mistyped")
        self.assertNotEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("403 Forbidden", done.stdout + done.stderr)
        self.assertEqual(self.pbx.bindings(number), [])

    def test_the_server_answers_its_options(self):
        done = sipsak.options(self.pbx.server)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class SipsakOnSqlite(SipsakTests, OnSqlite):
    pass


class SipsakOnPostgres(SipsakTests, OnPostgres):
    pass


del SipsakTests  # the loader would take it for a case of its own
