"""What the one table says of the rounds: medians, ratios of them, and goals that are met, missed or not told."""

from __future__ import annotations

import io
import unittest
from contextlib import redirect_stderr, redirect_stdout
from unittest import SkipTest

from tests.bench.__main__ import Part, main, run
from tests.bench.rows import Goal, Missing, Row, Scale, middle, ratio


class RowTests(unittest.TestCase):
    def test_medians_of_figures_and_all_failures(self):
        rounds = [Row("ours", "call", rate=rate, value=rate, unit="lost", failed=1) for rate in (3.0, 9.0, 4.0)]
        row = middle(rounds)
        self.assertEqual((row.subject, row.what, row.rate, row.value, row.failed), ("ours", "call", 4.0, 4.0, 3))

    def test_the_worst_round_where_that_is_what_matters(self):
        self.assertEqual(middle([Row("", "", value=lost, worst=True) for lost in (0.0, 7.0, 0.0)]).value, 7.0)

    def test_a_ratio_needs_both(self):
        found = {("ours", "call"): Row("ours", "call", server=30, database=3), ("peer", "call"): Row("", "", server=11)}
        self.assertEqual(ratio(found, ("ours", "call"), ("peer", "call"), "cpu"), 3.0)
        self.assertIsNone(ratio(found, ("ours", "call"), ("away", "call"), "cpu"))

    def test_goals(self):
        self.assertTrue(Goal("rate", 3.0, 3, True).met)
        self.assertFalse(Goal("rate", 2.99, 3, True).met)
        self.assertTrue(Goal("lost", 0.0, 0, False).met)
        self.assertIn("not told", str(Goal("rate", None, 3, True)))


class TableTests(unittest.TestCase):
    def table(self, measure, rounds: int = 1, quick: bool = False) -> tuple[int, str]:
        part = Part("part", measure, lambda found: iter([Goal("a goal", ratio(found, ("a", "x"), ("b", "x"), "rate"), 2,
                                                              True)]), quick=not quick)
        said = io.StringIO()
        with redirect_stdout(said), redirect_stderr(io.StringIO()):
            status = run([part], Scale(quick), rounds)
        return status, said.getvalue()

    def test_rounds_become_medians_and_a_goal(self):
        rates = iter((1.0, 100.0, 50.0))
        status, said = self.table(lambda scale: iter([Row("a", "x", next(rates)), Row("b", "x", 10.0)]), rounds=3)
        self.assertEqual(status, 0)
        self.assertRegex(said, r"met +5\.00 times +>= 2 +a goal")

    def test_a_missed_goal_is_told_and_fails_nothing(self):
        status, said = self.table(lambda scale: iter([Row("a", "x", 10.0), Row("b", "x", 10.0)]))
        self.assertEqual(status, 0)
        self.assertIn("MISSED", said)

    def test_what_is_missing_is_told_and_fails_nothing(self):
        def measure(scale):
            yield Missing("a", "get it so")
            raise SkipTest("and this so")

        status, said = self.table(measure)
        self.assertEqual(status, 0)
        self.assertIn("without a: get it so", said)
        self.assertIn("without part: and this so", said)

    def test_what_does_not_work_fails(self):
        self.assertEqual(self.table(lambda scale: iter([Row("a", "x", 1.0, failed=1, note="why")]))[0], 1)
        self.assertEqual(self.table(lambda scale: iter([Missing("a", "broken", broken=True)]))[0], 1)
        self.assertEqual(self.table(lambda scale: iter(int("x") for _ in "y"))[0], 1)

    def test_quick_says_what_it_leaves_out(self):
        status, said = self.table(lambda scale: iter([Row("a", "x", 1.0)]), quick=True)
        self.assertEqual(status, 0)
        self.assertIn("without part: left out with --quick", said)

    def test_an_unknown_name_is_refused_with_those_there_are(self):
        said = io.StringIO()
        with redirect_stderr(said), self.assertRaises(SystemExit):
            main(["--only", "kamailo"])
        self.assertIn("kamailio-4", said.getvalue())
