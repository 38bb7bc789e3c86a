from tests.calls_flow import flows_forks
from tests.engine.calls_in_memory import InMemory


class ForksInMemory(InMemory, flows_forks.ForkFlows):
    pass
