"""PostgreSQL goes away and comes back while phones register: they see delay, or 503 with Retry-After, never a 4xx."""

from __future__ import annotations

from tests.durability.test_kill import crowd_of, crowd_phone
from tests.support.cases import PbxCase
from tests.support.pbx import CROWD, PostgresStore, Store
from tests.support.postgres import PostgresCluster
from tests.support.processes import wait_until

PHONES = 2000
ALLOWED = {"503"}  # with Retry-After: the load generator and the strict phone look for it


class DatabaseRestart(PbxCase):
    crowd = True
    cluster: PostgresCluster

    @classmethod
    def make_store(cls) -> Store:
        cls.cluster = PostgresCluster()
        cls.addClassCleanup(cls.cluster.stop)
        return PostgresStore(cls.cluster)

    def assert_nobody_was_told_a_lie(self, report) -> None:
        self.assertEqual(len(report.confirmed), PHONES, f"{report}")
        self.assertEqual(report.failures.keys() - ALLOWED, set(), f"{report}")
        there = self.pbx.registered_numbers()
        lost = [number for number in report.confirmed if str(number) not in there]
        self.assertEqual(lost, [], "confirmed registrations are lost")

    def restart_under_load(self, how: str, share: int) -> None:
        with crowd_of(self.pbx, share) as load:
            load.start("register")
            load.wait_for_progress(400)
            if how == "kill":
                self.cluster.kill()
                self.cluster.start()
            else:
                self.cluster.restart(how)
            report = load.collect()
        self.assert_nobody_was_told_a_lie(report)

    def test_a_restart_under_load_loses_nothing_confirmed(self):
        self.restart_under_load("fast", 0)

    def test_a_crash_of_the_database_under_load_loses_nothing_confirmed(self):
        self.restart_under_load("kill", 1)

    def test_while_it_is_away_a_phone_gets_503_and_afterwards_200(self):
        with crowd_phone(self.pbx, CROWD[-1]) as phone:
            self.assertEqual(phone.register().status, 200)
            self.cluster.halt("immediate")
            answer = phone.register()
            self.assertEqual(answer.status, 503)  # the phone itself checks Retry-After
            self.assertLess(answer.seconds, 20, "it must answer before the phone gives up at 32 s")
            self.cluster.start()
            wait_until(lambda: phone.register().status == 200, "a 200 after the database came back", 40, pause=0.5)
            self.assertEqual({one.status for one in phone.answers} - {200, 401, 503}, set())
        self.assertTrue(self.pbx.program.running)

    def test_a_server_that_lost_its_database_over_night_recovers_by_itself(self):
        # No request came meanwhile: the dead connection is noticed at the first one, which is served all the same.
        self.cluster.restart("immediate")
        with crowd_phone(self.pbx, CROWD[-2]) as phone:
            self.assertEqual(phone.register().status, 200)
