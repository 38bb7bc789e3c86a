"""runsip is killed without warning in the middle of a morning's registrations."""

from __future__ import annotations

import contextlib
import socket

from tests.support.cases import PASSWORD, OnPostgres, OnSqlite, PbxCase
from tests.support.loadgen import LoadGenerator, LoadReport
from tests.support.pbx import CROWD, CROWD_PASSWORD, ROOT, RunningPbx
from tests.support.phone import Phone
from tests.support.processes import run_program, wait_until

PHONES = 2000


def crowd_phone(pbx: RunningPbx, number: int) -> Phone:
    return Phone(pbx.server, str(number), CROWD_PASSWORD.format(number=number), pbx.domain)


def crowd_of(pbx: RunningPbx, share: int) -> LoadGenerator:
    """``PHONES`` numbers that no other test of the class has registered: the ``share``-th of the crowd."""
    first = CROWD.start + share * PHONES
    assert first + PHONES < CROWD.stop - 10  # the last ones are for single phones
    return LoadGenerator(
        server=pbx.server, domain=pbx.domain, first=first, count=PHONES, password=CROWD_PASSWORD
    )


class KillTests(PbxCase):
    crowd = True

    def assert_all_there(self, report: LoadReport) -> None:
        """On the disk, and known to the server that runs now: it lists them to a phone that asks."""
        there = self.pbx.registered_numbers()
        lost = [number for number in report.confirmed if str(number) not in there]
        self.assertEqual(lost, [], f"{len(lost)} of {len(report.confirmed)} confirmed registrations are lost")
        for number in report.confirmed[:: max(1, len(report.confirmed) // 40)]:
            with crowd_phone(self.pbx, number) as phone:
                answer = phone.query()
                self.assertEqual(answer.status, 200)
                self.assertEqual(len(answer.contacts), 1, f"{number} is not known: {answer.text}")

    def test_what_was_confirmed_before_the_kill_is_there_after_it(self):
        for share, confirmed in enumerate((300, 1200)):
            with crowd_of(self.pbx, share) as load:
                load.start("register")
                load.wait_for_progress(confirmed)
                self.pbx.kill9()
                report = load.give_up()
            self.assertGreaterEqual(len(report.confirmed), confirmed)
            self.assertLess(len(report.confirmed), PHONES, "all were registered before the kill: nothing was tested")
            self.pbx.start()
            self.assert_all_there(report)

    def test_phones_that_were_waiting_are_served_by_the_restarted_server(self):
        with crowd_of(self.pbx, 2) as load:
            load.start("register")
            load.wait_for_progress(500)
            self.pbx.kill9()
            self.pbx.start()
            report = load.collect()
        self.assertEqual(len(report.confirmed), PHONES, f"{report}")
        self.assertEqual(report.failures, {}, "a phone heard a refusal because the server was restarted")
        self.assert_all_there(report)

    def test_a_phone_refreshes_with_its_old_nonce_after_the_restart(self):
        # The nonce key outlives the process: ten thousand refreshes cost one round trip each, not two.
        with crowd_phone(self.pbx, CROWD[-1]) as phone:
            self.assertEqual(phone.register().status, 200)
            asked = len(phone.answers)
            self.pbx.kill9()
            self.pbx.start()
            self.assertEqual(phone.register().status, 200)
            self.assertEqual([answer.status for answer in phone.answers[asked:]], [200])


class KillOnSqlite(KillTests, OnSqlite):
    pass


class KillOnPostgres(KillTests, OnPostgres):
    pass


class CleanStopTests(PbxCase):
    crowd = True

    def test_sigterm_ends_it_in_time_and_nothing_confirmed_is_lost(self):
        with crowd_of(self.pbx, 0) as load:
            load.start("register")
            load.wait_for_progress(300)
            self.assertEqual(self.pbx.terminate(seconds=10), 0)
            report = load.give_up()
        self.assertEqual(report.failures.keys() - {"503", "503 without Retry-After"}, set(), f"{report}")
        self.assertNotIn("503 without Retry-After", report.failures)
        there = self.pbx.registered_numbers()
        self.assertEqual([number for number in report.confirmed if str(number) not in there], [])
        # And the other way round: what it had accepted and written, it has answered.
        unanswered = len(there & {str(number) for number in CROWD[:PHONES]}) - len(report.confirmed)
        self.assertLessEqual(unanswered, 5, "registrations were written and their phones not told")
        self.pbx.start()

    def test_a_second_one_on_the_port_ends_with_the_reason_and_the_first_goes_on(self):
        done = run_program(self.pbx.command(), env=self.pbx.env, cwd=ROOT, seconds=60)
        self.assertNotEqual(done.returncode, 0)
        said = (done.stdout + done.stderr).strip()
        self.assertIn("running already", said)
        self.assertIn(f"process {self.pbx.program.pid}", said)
        self.assertNotIn("Traceback", said)
        with crowd_phone(self.pbx, CROWD[-2]) as phone:
            self.assertEqual(phone.register().status, 200)

    def test_another_program_on_the_port_is_named(self):
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            command = [str(port) if part == str(self.pbx.port) else part for part in self.pbx.command()]
            done = run_program(command, env=self.pbx.env, cwd=ROOT, seconds=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f"Port {port}", done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stdout + done.stderr)


class CleanStopOnSqlite(CleanStopTests, OnSqlite):
    pass


class CleanStopOnPostgres(CleanStopTests, OnPostgres):
    pass


class LockedDatabaseTests(PbxCase):
    """A program that holds the SQLite file locked (a backup, an administrator's shell)."""

    def test_a_locked_file_delays_the_answer_and_refuses_nobody(self):
        import sqlite3
        import threading

        number = self.new_extension()
        with contextlib.closing(sqlite3.connect(self.pbx.store.path, timeout=20, isolation_level=None,
                                                check_same_thread=False)) as other:
            other.execute("BEGIN IMMEDIATE")
            timer = threading.Timer(3.0, other.rollback)
            timer.start()
            try:
                with Phone(self.pbx.server, number, PASSWORD, self.pbx.domain) as phone:
                    answer = phone.register()
                    if answer.status == 503:
                        wait_until(lambda: phone.register().status == 200, "a 200 after the 503", 40, pause=1.0)
                    self.assertEqual({one.status for one in phone.answers} - {200, 401, 503}, set())
            finally:
                timer.join()
        self.assertEqual(len(self.pbx.bindings(number)), 1)


class LockedSqliteFile(LockedDatabaseTests, OnSqlite):
    pass


del KillTests, CleanStopTests, LockedDatabaseTests  # the loader would take them for cases of their own
