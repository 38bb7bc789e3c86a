"""A flow: the two ends between which packets travel (the idea of RFC 5626 3)."""

from typing import NamedTuple


class Flow(NamedTuple):
    """Where a message came from and where its answer goes. The engine knows no other addresses."""

    transport: str  # "UDP", "TCP" ... in capitals, as in Via
    local: tuple[str, int]  # our address (of the packet, not of the wildcard socket) and port
    remote: tuple[str, int]  # the peer's address and port, as the packet said
    connection: str = ""  # names one connection of a stream transport; empty for UDP

    @property
    def reliable(self) -> bool:
        """Whether the transport repeats lost packets itself (RFC 3261 17: some timers are then zero)."""
        return self.transport != "UDP"
