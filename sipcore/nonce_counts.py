"""How often each nonce was used: a count is good once (RFC 7616 3.4.5), whatever the request asked and whatever became
of it.

A digest covers neither the Contact nor the From of a request: whoever has seen one could send it again with his own,
from the same address, as long as its nonce is good."""

from __future__ import annotations

from collections import OrderedDict

from sipcore.clock import Clock
from sipcore.protocol.digest import Credentials, Nonces

COUNTS_KEPT = 200_000


class NonceCounts:
    """Asked about valid nonces only, so none is older than ``lifetime`` seconds. For those alone who have shown the
    password; two accounts of one phone may use the same nonce, and count each for itself."""

    def __init__(self, nonces: Nonces, lifetime: float, clock: Clock, kept: int = COUNTS_KEPT) -> None:
        self._nonces, self._lifetime, self._clock, self._kept = nonces, lifetime, clock, kept
        self._used: OrderedDict[str, int] = OrderedDict()  # the time of issue and the count, in one number of 32 + 32
        self._since = float("-inf")  # of the monotonic clock: the other may be set

    def __len__(self) -> int:
        return len(self._used)

    def highest(self, credentials: Credentials) -> int | None:
        """The highest count it was used with, 0 for none; None when that is not known, because it was issued before
        this process began, or before the newest one that had to be forgotten."""
        used = self._used.get(_key(credentials))
        if used is not None:
            return used & 0xFFFFFFFF
        issued, of_this_run = self._nonces.origin(credentials.nonce)
        if not of_this_run:
            return None
        age = self._clock.wall() - issued
        return 0 if self._clock.now() - age >= self._since else None

    def use(self, credentials: Credentials) -> None:
        """Its count, and all below, are used up."""
        key = _key(credentials)
        used = self._used.pop(key, None)
        if used is None:
            used = self._nonces.origin(credentials.nonce)[0] << 32
        self._used[key] = max(used, used >> 32 << 32 | (credentials.nc or 0))  # at the end, as the newest
        good_since = self._clock.wall() - self._lifetime
        for _ in range(2):  # one comes, two may go
            oldest, used = next(iter(self._used.items()))
            issued = used >> 32
            if issued >= good_since:
                if len(self._used) <= self._kept:
                    break
                self._since = max(self._since, self._clock.now() - (self._clock.wall() - issued - 1))
            del self._used[oldest]


def _key(credentials: Credentials) -> str:
    return f"{credentials.nonce} {credentials.username}"
