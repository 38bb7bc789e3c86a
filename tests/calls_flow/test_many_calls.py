"""A hundred calls at once, sipp on both ends."""

from __future__ import annotations

from tests.calls_flow.real import RealCase
from tests.support import sipp_calls
from tests.support.cases import PASSWORD
from tests.support.processes import wait_until

AT_ONCE = 100


class ManyCalls(RealCase):
    calls = {"SIP_MAX_CALLS_PER_EXTENSION": "200", "RTP_PORTS": "41000-41999"}

    def test_a_hundred_calls_at_once(self) -> None:
        callers = [(self.new_extension(), PASSWORD) for _ in range(50)]
        number = self.new_extension()
        answering = sipp_calls.callee(self.pbx.server, self.pbx.domain, number, PASSWORD)
        self.addCleanup(answering.stop)
        calling = sipp_calls.caller(
            self.pbx.server, self.pbx.domain, number, callers, count=AT_ONCE, rate=50, at_once=AT_ONCE, hold=6000
        )
        self.addCleanup(calling.stop)
        living = 'SELECT id FROM calls_callrecord WHERE "end" IS NULL AND answer IS NOT NULL'
        wait_until(lambda: len(self.pbx.store.rows(living)) == AT_ONCE, "a hundred calls that go on", 20)
        status = calling.wait(60)
        report = calling.report()
        self.assertEqual((0, AT_ONCE, 0), (status, report.calls, report.failed), report)
        wait_until(lambda: not self.pbx.store.rows(living), "the end of all records")
        rows = self.world.rows("", number)
        self.assertEqual(AT_ONCE, len(rows))
        self.assertEqual(
            {("normal", "ANSWERED", "caller")}, {(r["cause"], r["disposition"], r["hung_up_by"]) for r in rows}
        )
        self.assertLessEqual({row["billsec"] for row in rows}, {5, 6, 7})
