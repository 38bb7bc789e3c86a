from tests.calls_flow import flows_transfer
from tests.engine.calls_in_memory import InMemory


class TransferInMemory(InMemory, flows_transfer.TransferFlows):
    pass
