"""Memory that a flood took goes back to the system: the C library keeps what has become free between what has not."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

MEGABYTE = 1024 * 1024

LOOK_SECONDS = 10
GROWN = 2 * MEGABYTE
"""So much more than after the last time, and it is worth the look, which takes a few milliseconds in the loop."""

LARGEST = 192 * MEGABYTE
"""Of a larger process the look would take too long, and what a flood leaves is little beside it."""

LOOKS = 5
"""So often it is looked after the memory has last grown: what a flood leaves is free only some time after it."""


def resident() -> int:
    """Bytes that this process has in memory; 0 where that cannot be told."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def give_back() -> None:
    """Return what is free. Does nothing with a C library other than glibc."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return
    trim(0)


class Memory:
    """:meth:`every_second` is all that is to be called."""

    def __init__(self, resident: Callable[[], int] = resident, give_back: Callable[[], None] = give_back) -> None:
        self._resident, self._give_back = resident, give_back
        self._before = 0
        self._seconds = 0
        self._looks = 0

    def every_second(self) -> None:
        self._seconds += 1
        if self._seconds % LOOK_SECONDS:
            return
        now = self._resident()
        if now - self._before > GROWN:
            self._looks = LOOKS
        if self._looks and now <= LARGEST:
            self._looks -= 1
            self._give_back()
            self._before = self._resident()
