"""Which phones are pinged, and when. Pure: time is an argument, nothing is sent from here.

A home router forgets an unused UDP mapping after 30 seconds or more; a request from the server every 20 keeps it. A
phone without a router in between is asked less often, only to know whether it is still there.
Any answer counts, and so does anything else that comes from there. Pings are spread evenly: a phone is pinged a
whole interval after it was last heard, and those loaded at a start are dealt over one interval."""

from __future__ import annotations

from collections.abc import Iterable
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


class Watched:
    """One phone. There may be a hundred thousand: what can be made of the rest is not kept, and what many share (our
    own address, the interval) is one object."""

    __slots__ = (
        "contact", "dead", "ends", "heard", "id", "interval", "local", "misses", "remote", "serial", "slot",
    )  # fmt: skip

    def __init__(
        self,
        id: BindingId,
        contact: str,
        local: tuple[str, int],
        remote: tuple[str, int],
        interval: float,
        ends: float,
        heard: float,
        serial: int,
    ) -> None:
        self.id, self.contact, self.local, self.remote = id, contact, local, remote
        self.interval, self.ends, self.heard, self.serial = interval, ends, heard, serial
        self.misses = self.slot = 0
        self.dead = False

    @property
    def flow(self) -> Flow:
        return Flow("UDP", self.local, self.remote)


class Place:
    """A remote address where several live: behind an edge proxy that is everybody, so that what happens at each
    datagram must not cost a look at each of them."""

    __slots__ = ("dead", "heard", "phones")

    def __init__(self) -> None:
        self.phones: dict[int, Watched] = {}
        self.dead: dict[int, Watched] = {}
        self.heard = float("-inf")


class Ping(NamedTuple):
    watched: Watched
    serial: int


class KeepAlive:
    """Times in seconds of one clock throughout."""

    def __init__(self) -> None:
        self._by_id: dict[BindingId, Watched] = {}
        self._by_remote: dict[tuple[str, int], Watched | Place] = {}
        self._by_serial: dict[int, Watched] = {}
        self._wheel: dict[int, dict[int, Watched]] = {}
        self._locals: dict[tuple[str, int], tuple[str, int]] = {}
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
        serial = self._serial
        local = self._locals.setdefault(flow.local, flow.local)
        watched = Watched(id, contact, local, flow.remote, interval, ends, first - interval, serial)
        self._by_id[id] = self._by_serial[serial] = watched
        here = self._by_remote.get(flow.remote)
        if here is None:
            self._by_remote[flow.remote] = watched
        else:
            if isinstance(here, Watched):
                here = self._share(here)
            here.phones[serial] = watched
        if dead:
            self._dead(watched)
        self._place(watched, first)

    def goes_on(self, id: BindingId, contact: str, flow: Flow, ends: float, now: float) -> bool:
        """It has registered again, until ``ends``: whether it is watched where it is and answers, so that nothing else
        changes. That its ping is due later is found out when it would be due."""
        watched = self._by_id.get(id)
        if watched is None or watched.dead or watched.contact != contact:
            return False
        if watched.remote != flow.remote or watched.local != flow.local:
            return False
        watched.ends, watched.heard, watched.misses = ends, now, 0
        return True

    def _share(self, first: Watched) -> Place:
        place = self._by_remote[first.remote] = Place()
        place.phones[first.serial] = first
        if first.dead:
            place.dead[first.serial] = first
        return place

    def forget(self, id: BindingId) -> None:
        watched = self._by_id.pop(id, None)
        if watched is None:
            return
        serial = watched.serial
        self._wheel.get(watched.slot, {}).pop(serial, None)
        del self._by_serial[serial]
        here = self._by_remote[watched.remote]
        if isinstance(here, Place):
            del here.phones[serial]
            here.dead.pop(serial, None)
        if not isinstance(here, Place) or not here.phones:
            del self._by_remote[watched.remote]

    def lives_at(self, remote: tuple[str, int]) -> bool:
        """Whether somebody who is watched lives at this very address and port."""
        return remote in self._by_remote

    def heard(self, remote: tuple[str, int], now: float) -> None:
        """A datagram came from there: whoever lives there is alive, and its router remembers."""
        here = self._by_remote.get(remote)
        if here is None:
            return
        if isinstance(here, Watched):
            self._alive(here, now)
            return
        here.heard = now  # the living learn of it when their ping would be due
        for watched in list(here.dead.values()):
            self._alive(watched, now)

    def answered(self, serial: int, host: str, now: float) -> None:
        """A response to a ping, from ``host``. The port may have changed on the way: any port counts."""
        watched = self._by_serial.get(serial)
        if watched is not None and watched.remote[0] == host:
            self._alive(watched, now)

    def unanswered(self, id: BindingId, since: float, now: float) -> None:
        """A request to this phone, sent at ``since``, got no answer at all: that says as much as its third missed
        ping, unless it was heard meanwhile. It is pinged at once: if only that request was lost, its answer undoes
        this."""
        watched = self._by_id.get(id)
        if watched is None or watched.dead:
            return
        watched.heard = max(watched.heard, self._by_remote[watched.remote].heard)
        if watched.heard > since:
            return
        self._dead(watched)
        self.died.append(id)
        self._wheel.get(watched.slot, {}).pop(watched.serial, None)
        self._place(watched, now)

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
                here = self._by_remote[watched.remote]
                if here.heard > watched.heard:
                    self._alive(watched, here.heard)
                if watched.ends <= now:
                    self.forget(watched.id)
                elif watched.heard + watched.interval > now + SLICE and not watched.dead:
                    self._place(watched, watched.heard + watched.interval)
                else:
                    if watched.misses >= MISSES and not watched.dead:
                        self._dead(watched)
                        self.died.append(watched.id)
                    watched.misses += 1
                    self._place(watched, now + watched.interval)
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
        here = self._by_remote[watched.remote]
        if isinstance(here, Place):
            here.dead[watched.serial] = watched

    def _alive(self, watched: Watched, now: float) -> None:
        watched.heard = now
        watched.misses = 0
        if watched.dead:
            watched.dead = False
            here = self._by_remote[watched.remote]
            if isinstance(here, Place):
                here.dead.pop(watched.serial, None)
            self.revived.append(watched.id)

    def _place(self, watched: Watched, due: float) -> None:
        slot = int(due / SLICE)
        slot = max(slot, self._past + 1)
        if self._next_slot is None or slot < self._next_slot:
            self._next_slot = slot
        watched.slot = slot
        waiting = self._wheel.get(slot)
        if waiting is None:
            waiting = self._wheel[slot] = {}
        waiting[watched.serial] = watched
