from tests.calls_flow import flows_guard
from tests.engine.calls_in_memory import InMemory


class GuardInMemory(InMemory, flows_guard.GuardFlows):
    pass


class LimitsInMemory(InMemory, flows_guard.LimitFlows):
    settings = flows_guard.LimitFlows.LIMITS
