"""The 401s whose answer is still to come: what does not come is evidence too.

A 401 is made without memory, so a REGISTER that comes again for want of one looks like a new one: here it is known by
its transaction. Silence for some seconds, with or without another try that shows no password, is
``challenge_unanswered``; the same message again and again is ``reply_lost``: what we send does not arrive."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from sipcore.protocol.flow import Flow

PATIENCE = 8.0
"""Seconds for a phone to answer a challenge."""

LOST_SECONDS = 40.0
"""How long repetitions of one message belong together: a phone gives up after 32 (RFC 3261 17.1.2.2)."""

AT_ONCE = {True: 200, False: 50}
"""Overdue ones that are told at once, of known sources and of strangers: each is read, in the loop. After a flood the
others follow a second later, and no more than these would be kept anyway."""

WHOLE, BEGINNING = 300, 1024
"""So many are kept as they came, and of more only so many bytes: even where the address of a phone is forged."""

LOST = 2
"""Repetitions of an answered request that mean that the answers do not arrive: one may be a doubled packet."""

Key = tuple[bytes, bytes]  # Call-ID and number


@dataclass(slots=True, eq=False)
class Open:
    """``transaction``: by what the endpoint knows the request. Times in seconds, monotonic."""

    flow: Flow
    transaction: str
    data: bytes
    until: float
    tries: int = 1
    repeats: int = 0

    @property
    def shows_credentials(self) -> bool:
        """It came with credentials; for another realm, else this challenge were answered."""
        return b"authorization" in self.data.lower()


class Challenges:
    """Those of known sources and those of strangers, bounded apart."""

    def __init__(self, most_known: int = 10_000, most_strangers: int = 300) -> None:
        self._most = {True: most_known, False: most_strangers}
        self._open: dict[bool, OrderedDict[Key, Open]] = {True: OrderedDict(), False: OrderedDict()}
        self._lost: OrderedDict[Key, Open] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open[True]) + len(self._open[False])

    def sent(
        self, key: Key, flow: Flow, transaction: str, data: bytes, *, known: bool, now: float
    ) -> Open | None:
        """A 401 goes out. Returns what is now known to be lost: the same request has come too often again."""
        one = self._lost.get(key)
        if one is not None and one.transaction == transaction and one.until > now:
            one.repeats += 1
            return one
        group = self._open[known]
        if len(group) >= WHOLE:
            data = data[:BEGINNING]
        one = group.get(key) or self._open[not known].get(key)
        if one is None:
            group[key] = Open(flow, transaction, data, now + PATIENCE)
            if len(group) > self._most[known]:
                group.popitem(last=False)
            return None
        if one.transaction == transaction:
            one.repeats += 1
            if one.repeats >= LOST:
                self.answered(key)
                one.until = now + LOST_SECONDS
                self._lost[key] = one
                if len(self._lost) > self._most[False]:
                    self._lost.popitem(last=False)
                return one
            return None
        # Another try without a password that fits: the time runs on from the first one.
        if b"authorization" in data.lower() or not one.shows_credentials:
            one.data = data
        one.flow, one.transaction, one.repeats = flow, transaction, 0
        one.tries += 1
        return None

    def answered(self, key: Key) -> None:
        """Credentials for our realm came: good or bad, this challenge was answered."""
        if self._open[True].pop(key, None) is None:
            self._open[False].pop(key, None)
        if self._lost:
            self._lost.pop(key, None)

    def overdue(self, now: float) -> list[Open]:
        """Those that were never answered, the oldest first and only so many; they are forgotten with this."""
        late: list[Open] = []
        for known, group in self._open.items():
            most = len(late) + AT_ONCE[known]
            while group and len(late) < most and next(iter(group.values())).until <= now:
                late.append(group.popitem(last=False)[1])
        while self._lost and next(iter(self._lost.values())).until <= now:
            self._lost.popitem(last=False)
        return late
