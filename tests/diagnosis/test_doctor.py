"""``manage.py doctor`` on a healthy server: it registers and calls as a phone, and nothing of that is left."""

from __future__ import annotations

import subprocess
import sys

from tests.diagnosis.doctor_case import ADDRESS, DoctorOnPostgres, DoctorOnSqlite
from tests.support.cases import PASSWORD
from tests.support.network_namespaces import inside
from tests.support.pbx import ROOT
from tests.support.phone import Phone
from tests.support.processes import wait_until

TABLES = ("extensions_extension", "extensions_binding", "extensions_digestcredential", "calls_callrecord",
          "diagnosis_attempt", "diagnosis_onlineperiod", "diagnosis_calltrace", "diagnosis_block",
          "diagnosis_guardaction")  # fmt: skip
MAKE_HIDDEN = """
import sys
from extensions.hidden_account import hidden_account
with hidden_account() as (number, password):
    print(number, password, flush=True)
    sys.stdin.readline()
"""


class DoctorTests:
    def left_behind(self) -> dict[str, int]:
        return {name: self.rows(f"SELECT count(*) AS n FROM {name}")[0]["n"] for name in TABLES}

    def test_a_healthy_server(self):
        self.new_extension()
        before = self.left_behind()
        code, said = self.doctor()
        self.assertEqual([], said["verdicts"])
        self.assertEqual(0, code)
        self.assertEqual({"language", "checks", "verdicts"}, set(said))
        self.assertEqual("en", said["language"])
        names = [check["name"] for check in said["checks"]]
        for name in ("database", "disk", "migrations", "process", "port", "firewall", "domain", "clock", "drops",
                     "options_udp_loopback", "options_tcp_loopback", "options_udp_advertised",
                     "options_tcp_advertised"):  # fmt: skip
            self.assertIn(name, names)
        for way in ("phone_loopback", "ring_loopback", "phone_advertised", "ring_advertised"):
            check = said["checks"][names.index(way)]
            self.assertTrue(check["ok"])
            self.assertRegex(check["notes"][0], r"^(4[0-9]|50) of 50 packets")
        # It really was there: two registrations, two calls with sound.
        self.assertEqual(2, len(self.pbx.log_lines(r"~doctor-[0-9a-f]+ calls \*43")))
        self.assertEqual(2, len(self.pbx.log_lines(r"~doctor-[0-9a-f]+ calls ~doctor-")))
        self.assertEqual(before, self.left_behind())

    def test_on_a_terminal(self):
        code, said = self.run_doctor()
        self.assertEqual(0, code, said)
        self.assertIn("No problem found.", said)
        self.assertNotIn("~doctor", said)

    def test_a_registered_phone_notices_nothing(self):
        number = self.new_extension()
        with inside(self.namespace), Phone((ADDRESS, self.pbx.port), number, PASSWORD, ADDRESS,
                                           local_host=ADDRESS) as phone:
            self.assertEqual(200, phone.register().status)
            self.assertEqual(0, self.doctor()[0])
            self.assertEqual(200, phone.register().status)
        self.assertEqual(1, len(self.pbx.bindings(number)))

    def test_the_hidden_account_is_of_this_machine_alone(self):
        """From another machine the right password of the doctor's account gets what an unknown number gets."""
        outside = self.networks.host("outside", self.switch, "192.168.77.99/24")
        made = subprocess.Popen(
            [sys.executable, "manage.py", "shell", "-v", "0", "-c", MAKE_HIDDEN], env=self.pbx.env, cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        try:
            number, password = made.stdout.readline().split()
            with inside(outside):
                answers = []
                for one in (number, "~doctor-0000"):
                    with Phone((ADDRESS, self.pbx.port), one, password, ADDRESS, local_host="192.168.77.99") as phone:
                        answers.append(phone.register())
            self.assertEqual([403, 403], [answer.status for answer in answers])
            names = [[name for name, _value in answer.headers] for answer in answers]
            self.assertEqual(names[0], names[1])
            with inside(self.namespace), Phone((ADDRESS, self.pbx.port), number, password, ADDRESS,
                                               local_host=ADDRESS) as phone:
                self.assertEqual(200, phone.register().status)
            self.assertEqual(0, len(self.csv_rows_of(number)))
        finally:
            made.communicate("\n", timeout=30)
        self.assertEqual([], self.rows("SELECT 1 AS one FROM extensions_extension WHERE number = %s", number))

    def csv_rows_of(self, number: str) -> list[str]:
        return [line for line in self.pbx.manage("exportextensions").splitlines() if number in line]

    def test_one_that_was_killed_is_swept(self):
        """What a killed doctor leaves goes with the next one."""
        self.pbx.manage("shell", "-v", "0", "-c", (
            "from datetime import timedelta; from django.utils import timezone; "
            "from extensions.models import Extension; e = Extension(number='~doctor-old', hidden=True); "
            "e.set_password('long-enough-pass'); e.save(); e.created_at = timezone.now() - timedelta(hours=1); e.save()"
        ))
        self.assertEqual(0, self.doctor()[0])
        wait_until(lambda: not self.rows("SELECT 1 AS one FROM extensions_extension WHERE number = '~doctor-old'"),
                   "the old account to be gone")

    def test_other_languages(self):
        for language, word in (("uz", "Muammo topilmadi."), ("ru", "Проблем не найдено.")):
            _code, said = self.run_doctor("--language", language)
            self.assertIn(word, said)
        _code, said = self.doctor("--language", "ru")
        self.assertEqual("ru", said["language"])


class DoctorTestsOnSqlite(DoctorTests, DoctorOnSqlite):
    pass


class DoctorTestsOnPostgres(DoctorTests, DoctorOnPostgres):
    pass
