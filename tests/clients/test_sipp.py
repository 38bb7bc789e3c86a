"""An office of ten thousand numbers, played by sipp."""

from __future__ import annotations

from pathlib import Path

from tests.support import sipp
from tests.support.cases import OnPostgres, OnSqlite, PbxCase
from tests.support.pbx import CROWD, CROWD_PASSWORD
from tests.support.processes import free_port

SCENARIOS = Path(__file__).parent / "scenarios"


class TenThousandNumbersTests(PbxCase):
    crowd = True

    def play(self, scenario: str, numbers: Path, local_port: int, **options) -> None:
        done = sipp.play(
            SCENARIOS / f"{scenario}.xml", self.pbx.server, numbers, len(CROWD), domain=self.pbx.domain,
            local_port=local_port, **options,
        )
        self.assertEqual(done.returncode, 0, f"sipp: {done.stderr[-500:]}{sipp.errors(numbers)}")

    def test_all_register_refresh_and_unregister(self):
        numbers = sipp.write_numbers((str(number), CROWD_PASSWORD.format(number=number)) for number in CROWD)
        local_port = free_port()
        everybody = {str(number) for number in CROWD}

        self.play("register", numbers, local_port, expires=3600, first_cseq=1)
        self.assertEqual(self.pbx.registered_numbers(), everybody)
        first = self.bindings()

        self.play("register", numbers, local_port, expires=3600, first_cseq=10)
        again = self.bindings()
        self.assertEqual(self.pbx.registered_numbers(), everybody)
        self.assertEqual(set(again), set(first), "a refresh made another registration of the same phone")
        late = [row for row in again if again[row]["refreshed_at"] <= first[row]["refreshed_at"]]
        self.assertEqual(late, [], "a confirmed refresh is not on the disk")
        self.assertEqual([row for row in again if again[row]["registered_at"] != first[row]["registered_at"]], [])

        self.play("unregister", numbers, local_port, expires=0, first_cseq=20)
        self.assertEqual(self.pbx.registered_numbers(), set())

    def bindings(self) -> dict[int, dict]:
        return {row["id"]: row for row in self.pbx.store.rows(
            "SELECT id, registered_at, refreshed_at FROM extensions_binding")}


class TenThousandNumbersOnSqlite(TenThousandNumbersTests, OnSqlite):
    pass


class TenThousandNumbersOnPostgres(TenThousandNumbersTests, OnPostgres):
    pass


del TenThousandNumbersTests  # the loader would take it for a case of its own
