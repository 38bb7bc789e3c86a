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


class Table(
    HealthyPhones, AccountFaults, NetworkFaults, ServerFaults, CallFaults, OnOurRelay, OnSqlite
):
    """One class, so that there is one score, and nearly all of it is waiting side by side."""

    at_once = 10


del HealthyPhones, AccountFaults, NetworkFaults, ServerFaults, CallFaults  # the loader would take them for cases
