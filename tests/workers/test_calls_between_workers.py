"""The scenarios of the calls once more, between phones of which each is registered with another worker. Those of offers
and timers are left out: nothing in them hangs on who a phone is registered with."""

from __future__ import annotations

from tests.calls_flow import flows_forks, flows_guard, flows_setup, flows_transfer
from tests.workers.case import WorkersCase


class SetupBetweenWorkers(WorkersCase, flows_setup.SetupFlows):
    pass


class ForksBetweenWorkers(WorkersCase, flows_forks.ForkFlows):
    pass


class GuardBetweenWorkers(WorkersCase, flows_guard.GuardFlows):
    pass


class TransferBetweenWorkers(WorkersCase, flows_transfer.TransferFlows):
    pass


class LimitsBetweenWorkers(WorkersCase, flows_guard.LimitFlows):
    calls = {**WorkersCase.calls, "SIP_MAX_CALLS": "4", "SIP_MAX_CALLS_PER_EXTENSION": "2", "SIP_MAX_RINGING": "3"}
