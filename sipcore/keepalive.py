"""Which phones are pinged, and when. Pure: time is an argument, nothing is sent from here.

A home router forgets an unused UDP mapping after 30 seconds or more; a request from the server every 20 keeps it. A
phone without a router in between is asked less often, only to know whether it is still there.
Any answer counts, and so does anything else that comes from there. Pings are spread evenly: a phone is pinged a
whole interval after it was last heard, and those loaded at a start are dealt over one interval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from sipcore.ports import BindingId
from sipcore.protocol.flow import Flow

MISSES = 3
"""Pings in a row without an answer that make a device "does not answer"."""

SLICE = 0.1
"""Seconds of one slot of the wheel: what is due together is sent together, so slots are short."""

PINGS_AT_ONCE, LOOKED_AT_ONCE = 50, 1000
"""Pings that leave before others have their turn, and phones whose time has come that are looked at for them: most of
those may have ended, and all in the same second."""


@dataclass(slots=True, eq=False)
class Watched:
    id: BindingId
    contact: str
    flow: Flow
    interval: float
    ends: float
    heard: float
    due: float
    misses: int = 0
    dead: bool = False
    serial: int = 0
    slot: int = 0


@dataclass(slots=True)
class Place:
    """One remote address with all who live there: behind an edge proxy that is everybody, so that what happens at each
    datagram must not cost a look at each of them."""

    phones: dict[BindingId, Watched] = field(default_factory=dict)
    dead: dict[BindingId, Watched] = field(default_factory=dict)
    heard: float = float("-inf")


class Ping(NamedTuple):
    watched: Watched
    serial: int


class KeepAlive:
    """Times in seconds of one clock throughout."""

    def __init__(self) -> None:
        self._by_id: dict[BindingId, Watched] = {}
        self._by_remote: dict[tuple[str, int], Place] = {}
        self._by_serial: dict[int, Watched] = {}
        self._wheel: dict[int, dict[BindingId, Watched]] = {}
        self._next_slot: int | None = None
        self._past = -1
        """The last slot that has been taken."""
        self._serial = 0
        self.died: list[BindingId] = []
        self.revived: list[BindingId] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def watch(
        self,
        id: BindingId,
        contact: str,
        flow: Flow,
        interval: float,
        ends: float,
        first: float,
        dead: bool = False,
    ) -> None:
        """Start or go on watching: pinged after ``interval`` seconds of silence, ``ends`` is when the binding ends,
        ``first`` the time of its next ping. ``dead``: it is on record as one that does not answer."""
        self.forget(id)
        self._serial += 1
        watched = Watched(id, contact, flow, interval, ends, first - interval, first, serial=self._serial)
        self._by_id[id] = watched
        place = self._by_remote.get(flow.remote)
        if place is None:
            place = self._by_remote[flow.remote] = Place()
        place.phones[id] = watched
        if dead:
            self._dead(watched)
        self._by_serial[watched.serial] = watched
        self._place(watched)

    def forget(self, id: BindingId) -> None:
        watched = self._by_id.pop(id, None)
        if watched is None:
            return
        self._wheel.get(watched.slot, {}).pop(id, None)
        self._by_serial.pop(watched.serial, None)
        place = self._by_remote[watched.flow.remote]
        del place.phones[id]
        place.dead.pop(id, None)
        if not place.phones:
            del self._by_remote[watched.flow.remote]

    def lives_at(self, remote: tuple[str, int]) -> bool:
        """Whether somebody who is watched lives at this very address and port."""
        return remote in self._by_remote

    def heard(self, remote: tuple[str, int], now: float) -> None:
        """A datagram came from there: whoever lives there is alive, and its router remembers."""
        place = self._by_remote.get(remote)
        if place is None:
            return
        place.heard = now  # the living learn of it when their ping would be due
        for watched in list(place.dead.values()):
            self._alive(watched, now)

    def answered(self, serial: int, host: str, now: float) -> None:
        """A response to a ping, from ``host``. The port may have changed on the way: any port counts."""
        watched = self._by_serial.get(serial)
        if watched is not None and watched.flow.remote[0] == host:
            self._alive(watched, now)

    def unanswered(self, id: BindingId, since: float, now: float) -> None:
        """A request to this phone, sent at ``since``, got no answer at all: that says as much as its third missed
        ping, unless it was heard meanwhile. It is pinged at once: if only that request was lost, its answer undoes
        this."""
        watched = self._by_id.get(id)
        if watched is None or watched.dead:
            return
        watched.heard = max(watched.heard, self._by_remote[watched.flow.remote].heard)
        if watched.heard > since:
            return
        self._dead(watched)
        self.died.append(id)
        self._wheel.get(watched.slot, {}).pop(id, None)
        watched.due = now
        self._place(watched)

    def due(self, now: float) -> list[Ping]:
        """Those to ping now, or the first of them: then :meth:`next_due` is over already. One that has just missed
        its third is put into ``died``."""
        pings: list[Ping] = []
        if self._next_slot is None:
            return pings
        last = int(now / SLICE)
        if last - self._next_slot > len(self._wheel):
            slots: Iterable[int] = sorted(slot for slot in self._wheel if slot <= last)
        else:
            slots = range(self._next_slot, last + 1)
        self._past, self._next_slot = last, last + 1
        looked = 0
        for slot in slots:
            waiting = self._wheel.get(slot, {})
            while waiting:
                if len(pings) >= PINGS_AT_ONCE or looked >= LOOKED_AT_ONCE:
                    self._past, self._next_slot = slot - 1, slot
                    return pings
                looked += 1
                _, watched = waiting.popitem()
                place = self._by_remote[watched.flow.remote]
                if place.heard > watched.heard:
                    self._alive(watched, place.heard)
                if watched.ends <= now:
                    self.forget(watched.id)
                elif watched.heard + watched.interval > now + SLICE and not watched.dead:
                    watched.due = watched.heard + watched.interval
                    self._place(watched)
                else:
                    if watched.misses >= MISSES and not watched.dead:
                        self._dead(watched)
                        self.died.append(watched.id)
                    watched.misses += 1
                    watched.due = now + watched.interval
                    self._place(watched)
                    pings.append(Ping(watched, watched.serial))
            self._wheel.pop(slot, None)
        return pings

    def next_due(self) -> float | None:
        """When :meth:`due` is next worth calling, or None when nobody is watched."""
        return (self._next_slot + 1) * SLICE if self._by_id and self._next_slot is not None else None

    def slice(self, share: float) -> list[BindingId]:
        """The next ``share`` (0 to 1) of those watched, each in its turn: to be compared with what is stored,
        because an administrator may have removed a binding without telling us."""
        count = min(len(self._by_id), max(1, int(len(self._by_id) * share)))
        chosen = []
        for id in list(islice(self._by_id, count)):
            watched = self._by_id.pop(id)
            self._by_id[id] = watched  # to the end of the queue
            chosen.append(id)
        return chosen

    def _dead(self, watched: Watched) -> None:
        watched.dead = True
        self._by_remote[watched.flow.remote].dead[watched.id] = watched

    def _alive(self, watched: Watched, now: float) -> None:
        watched.heard = now
        watched.misses = 0
        if watched.dead:
            watched.dead = False
            self._by_remote[watched.flow.remote].dead.pop(watched.id, None)
            self.revived.append(watched.id)

    def _place(self, watched: Watched) -> None:
        slot = int(watched.due / SLICE)
        slot = max(slot, self._past + 1)
        if self._next_slot is None or slot < self._next_slot:
            self._next_slot = slot
        watched.slot = slot
        self._wheel.setdefault(slot, {})[watched.id] = watched
