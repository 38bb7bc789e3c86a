"""New subscriptions to the same thing in quick succession. baresip's mwi module sends thousands in a few seconds, each
with a new Call-ID, as fast as they are answered: so the answers to such a phone are held back. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

BURST = 4
WINDOW = 10.0
"""So many in so many seconds are what a person can cause who switches a phone off and on."""

KEYS_KEPT = 5000


class Throttle:
    def __init__(self) -> None:
        self._seen: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()

    def is_crowded(self, key: Hashable, now: float) -> bool:
        """Count one more; whether there have been too many of late."""
        since, count = self._seen.pop(key, (now, 0))
        if now - since > WINDOW:
            since, count = now, 0
        self._seen[key] = since, count + 1
        if len(self._seen) > KEYS_KEPT:
            self._seen.popitem(last=False)
        return count >= BURST
