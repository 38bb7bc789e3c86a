"""Who is connected, which bindings live on which connection, and who has to go when there are too many or nothing
comes. Pure: time is an argument (seconds, monotonic), the sockets are elsewhere.

A connection that has a living binding is nobody's to drop: it lasts as long as its bindings. Of the others the
silent (no whole message yet) go before those that have spoken, and the oldest first, so that whoever opens
connections for nothing only takes them from himself and his like (hardening rule 37). But a share of the places is for
the silent: everybody is that at first."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import takewhile

from sipcore.guard.blocks import source_key
from sipcore.ports import BindingId

HELLO_SECONDS = 10.0
"""From the connection to its first whole message."""

MESSAGE_SECONDS = 30.0
"""From the first byte of a message to its last one."""

IDLE_SECONDS = 120.0
"""Without a message, for a connection on which nobody is registered. RFC 5626 4.4.1 has phones ping within 120 s."""

AT_ONCE = 8192
"""Connections in all."""

PER_ADDRESS = 500
"""Connections from one address on which nobody is registered: an office behind one router that comes back all at
once must fit in."""

ENDED_AT_ONCE = 1000
"""Bindings whose end is noted at once, when a proxy in front has thousands on its connection."""

SILENT_SHARE = 4
"""One place of so many is for those that have not spoken yet. Else who has filled all of them with one message each
would shut out everybody who has just come."""

Group = OrderedDict[str, "Peer"]


@dataclass(slots=True, eq=False)
class Peer:
    """One connection. ``host``: its address, or the /64 of that, which is one customer's; ``begun``: since when a
    message is incomplete; ``bindings``: when each of them ends."""

    connection: str
    host: str
    heard: float
    begun: float | None = None
    spoken: bool = False
    bindings: dict[BindingId, float] = field(default_factory=dict)


class Connections:
    """All stream connections of this process, by name."""

    def __init__(self, at_once: int = AT_ONCE, per_address: int = PER_ADDRESS) -> None:
        self.at_once, self.per_address = at_once, per_address
        self._peers: dict[str, Peer] = {}
        self._where: dict[BindingId, str] = {}
        self._lost: dict[BindingId, str] = {}
        self._ends: list[tuple[float, BindingId]] = []
        self._partial: dict[str, Peer] = {}
        # Those without a binding, who was heard last at the end: (silent, spoken), in all and of each address.
        self._unbound: tuple[Group, Group] = (OrderedDict(), OrderedDict())
        self._of_host: dict[str, tuple[Group, Group]] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def opened(self, connection: str, host: str, now: float) -> str | None:
        """A new connection. Returns the one that must be closed for it, if any; it may be the new one itself."""
        host = source_key(host)
        peer = self._peers[connection] = Peer(connection, host, now)
        self._rank(peer)
        silent, spoken = self._of_host[host]
        if len(silent) + len(spoken) > self.per_address:
            return _first_of(silent, spoken, self.per_address)
        if len(self._peers) > self.at_once:
            return self.first_to_go()
        return None

    def first_to_go(self) -> str | None:
        """Whom to close when there is no room; None when somebody is registered on every connection."""
        return _first_of(*self._unbound, self.at_once)

    def heard(self, connection: str, now: float, *, whole: bool, begun: bool) -> None:
        """Bytes came: ``whole`` messages among them, and of one, ``begun``, only a part so far."""
        peer = self._peers[connection]
        if peer.begun is not None and (whole or not begun):
            peer.begun = None
            del self._partial[connection]
        if begun and peer.begun is None:
            peer.begun = now
            self._partial[connection] = peer
        if whole:
            peer.heard = now
            if not peer.bindings:
                self._unrank(peer)
                peer.spoken = True
                self._rank(peer)

    def closed(self, connection: str) -> Peer | None:
        """The connection has ended, and its bindings with it (see :meth:`take_lost`). What was known of it, None
        when it had ended before."""
        peer = self._peers.pop(connection, None)
        if peer is None:
            return None
        self._partial.pop(connection, None)
        self._unrank(peer)
        for id in peer.bindings:
            del self._where[id]
            self._lost[id] = connection
        return peer

    def follow(self, id: BindingId, connection: str, ends: float, now: float) -> None:
        """This binding lives on ``connection`` ("" for none of ours) until ``ends``. When that connection is gone
        already, so is the binding."""
        before = self._peers.get(self._where.pop(id, ""))
        if before is not None:
            del before.bindings[id]
            self._settle(before, now)
        if not connection or ends <= now:
            return
        peer = self._peers.get(connection)
        if peer is None:
            self._lost[id] = connection
            return
        self._lost.pop(id, None)
        self._unrank(peer)
        peer.spoken = True
        peer.bindings[id] = ends
        self._where[id] = connection
        heapq.heappush(self._ends, (ends, id))
        if len(self._ends) > 4 * len(self._where) + 1000:  # refreshed ones leave their old ends behind
            self._ends = [(self._peers[name].bindings[id], id) for id, name in self._where.items()]
            heapq.heapify(self._ends)

    def overdue(self, now: float) -> list[str]:
        """Those to be closed because what they had to send did not come."""
        self._end_bindings(now)
        # Whoever began first stands first, and whoever was heard first: the others need not be looked at.
        slow = takewhile(lambda peer: now - (peer.begun or now) > MESSAGE_SECONDS, self._partial.values())
        late = {peer.connection: None for peer in slow}
        for group, patience in zip(self._unbound, (HELLO_SECONDS, IDLE_SECONDS), strict=True):
            for peer in group.values():
                if now - peer.heard <= patience:
                    break
                late[peer.connection] = None
        return list(late)

    def _end_bindings(self, now: float) -> None:
        ends = self._ends
        for _ in range(ENDED_AT_ONCE):
            if not ends or ends[0][0] > now:
                break
            end, id = heapq.heappop(ends)
            peer = self._peers.get(self._where.get(id, ""))
            if peer is not None and peer.bindings[id] == end:
                del peer.bindings[id], self._where[id]
                self._settle(peer, now)

    def is_registered(self, connection: str) -> bool:
        peer = self._peers.get(connection)
        return peer is not None and bool(peer.bindings)

    def take_lost(self) -> dict[BindingId, str]:
        """The bindings whose connection has ended since the last call, each with that connection: one that lives on
        another connection by now must not be ended."""
        lost, self._lost = self._lost, {}
        return lost

    def _settle(self, peer: Peer, now: float) -> None:
        """Its last binding may just have gone: then it is like any other, idle from now on."""
        if not peer.bindings:
            peer.heard = now
            self._rank(peer)

    def _rank(self, peer: Peer) -> None:
        groups = self._of_host.get(peer.host)
        if groups is None:
            groups = self._of_host[peer.host] = (OrderedDict(), OrderedDict())
        groups[peer.spoken][peer.connection] = self._unbound[peer.spoken][peer.connection] = peer

    def _unrank(self, peer: Peer) -> None:
        if self._unbound[peer.spoken].pop(peer.connection, None) is None:
            return
        groups = self._of_host[peer.host]
        del groups[peer.spoken][peer.connection]
        if not groups[0] and not groups[1]:
            del self._of_host[peer.host]


def _first_of(silent: Group, spoken: Group, places: int) -> str | None:
    """Whom to close of these, who have so many places together."""
    if spoken and len(silent) <= places // SILENT_SHARE:
        silent = spoken
    return next(iter(silent or spoken), None)
