from tests.calls_flow import flows_setup
from tests.engine.calls_in_memory import InMemory


class SetupInMemory(InMemory, flows_setup.SetupFlows):
    pass
