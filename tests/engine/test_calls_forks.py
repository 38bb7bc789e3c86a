from tests.calls_flow import flows_forks
from tests.engine.calls_in_memory import InMemory
from tests.engine.calls_under_test import DOMAIN, PASSWORD, SERVER
from tests.support.caller import Caller


class ForksInMemory(InMemory, flows_forks.ForkFlows):
    def test_two_extensions_behind_one_edge_proxy(self) -> None:
        """Both have the proxy's address; only a device of the caller's own extension there is the caller itself."""
        proxy = self.phone()
        behind = Caller(proxy.wire, SERVER, self.world.new_number(), PASSWORD, DOMAIN)
        behind.register()
        call = proxy.invite(behind.number)
        invite = proxy.expect("INVITE")
        proxy.respond(invite, 486)
        call.refused(486)
