"""The proof that the PBX names the right cause: for every code the fault is really made, with a real phone where
one can be brought to it, in networks of its own; then ``manage.py why`` is asked. The score is printed last."""

from __future__ import annotations

from tests.support.cases import OnSqlite
from tests.support.media_engines import OnOurRelay
from tests.verdicts.faults_account import AccountFaults
from tests.verdicts.faults_calls import CallFaults
from tests.verdicts.faults_network import NetworkFaults
from tests.verdicts.faults_server import ServerFaults
from tests.verdicts.healthy import HealthyPhones
from tests.verdicts.scoreboard import SCORE


class Healthy(HealthyPhones, OnOurRelay, OnSqlite):
    pass


class Account(AccountFaults, OnOurRelay, OnSqlite):
    pass


class Network(NetworkFaults, OnOurRelay, OnSqlite):
    pass


class Server(ServerFaults, OnOurRelay, OnSqlite):
    pass


class Calls(CallFaults, OnOurRelay, OnSqlite):
    pass


del HealthyPhones, AccountFaults, NetworkFaults, ServerFaults, CallFaults  # the loader would take them for cases


def tearDownModule() -> None:
    SCORE.print()
