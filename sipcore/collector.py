"""When Python's collector looks for rings of objects. It finds next to none here: what a phone or a call leaves is
freed when the last reference goes. But each round looks through all that is new, and everybody waits for it."""

from __future__ import annotations

import gc

CALLS, NO_CALLS = (2_000, 5, 20), (20_000, 2, 20)
"""New objects after which it looks through them, and so on for the older ones.

A call leaves 200 objects that stay: 20,000 are 100 calls, and a round takes 10 ms. A registration leaves two, but
hundreds under way at once are thousands that are new only for now: after each 2,000 the collector took a tenth of all
that refreshes cost."""

SETTLE_PHONES = 1000
"""So many phones more, and it is told to leave what is there alone."""


class Collector:
    def __init__(self) -> None:
        self._settled = 0

    def started(self) -> None:
        gc.freeze()  # what is here lives to the end: looking through it would hold up the loop for 30 ms each time
        gc.set_threshold(*NO_CALLS)

    def every_second(self, phones: int, calls: bool) -> None:
        """``phones``: how many are known; ``calls``: whether there are any."""
        gc.set_threshold(*CALLS if calls else NO_CALLS)
        # Phones stay, and nothing of them refers to itself. Not during calls: these it has to free, and would not any
        # more.
        if phones > self._settled + SETTLE_PHONES and not calls:
            gc.freeze()  # looking through 100,000 would take 100 ms and more
            self._settled = phones
        self._settled = min(self._settled, phones)
