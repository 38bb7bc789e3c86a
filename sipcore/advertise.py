"""Which address of ours a phone is told: inside the office the one its packets came to, outside ``EXTERNAL_IP``."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable

from sipcore.protocol.flow import Flow

RESOLVE_SECONDS = 60.0


class Advertised:
    """``external``: address or name, empty when the machine has a public address itself. ``local``: tells whether a
    phone's address is on our side of the router."""

    def __init__(self, external: str, local: Callable[[str], bool]) -> None:
        self._name = external
        self._local = local
        self._external = external if _is_address(external) else ""

    def host(self, flow: Flow) -> str:
        """For Contact and for session descriptions sent on this flow."""
        if self._external and not self._local(flow.remote[0]) and (":" in self._external) == (":" in flow.remote[0]):
            return self._external
        return flow.local[0]

    async def keep_resolved(self) -> None:
        """A name is looked up again every minute: home connections change their address."""
        if not self._name or _is_address(self._name):
            return
        loop = asyncio.get_running_loop()
        while True:
            try:
                found = [str(entry[4][0]) for entry in await loop.getaddrinfo(self._name, None)]
                self._external = min(found, key=lambda address: ":" in address)  # IPv4 before IPv6
            except OSError:
                pass  # the last one that was found stays
            await asyncio.sleep(RESOLVE_SECONDS)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
