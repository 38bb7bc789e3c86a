from tests.calls_flow import flows_offers
from tests.engine.calls_in_memory import InMemory


class OffersInMemory(InMemory, flows_offers.OfferFlows):
    pass
