"""The proof that the PBX names the right cause: for every code the fault is really made, with a real phone where
one can be brought to it, in networks of its own; then ``manage.py why`` is asked. The score is printed last."""

from __future__ import annotations

from tests.support.cases import OnSqlite
from tests.support.media_engines import OnOurRelay
from tests.verdicts.faults_account import AccountFaults
from tests.verdicts.scoreboard import SCORE


class Account(AccountFaults, OnOurRelay, OnSqlite):
    pass


del AccountFaults  # the loader would take it for a case of its own


def tearDownModule() -> None:
    SCORE.print()
