"""Counts in memory how often somebody asks, and says when it is too often. Each web process counts for itself."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from ipaddress import ip_address, ip_network


class Throttle:
    """At most ``limit`` in ``seconds`` for one key; knows ``keys`` keys at most, the newest."""

    def __init__(self, limit: int, seconds: float, keys: int = 4096) -> None:
        self._limit, self._seconds, self._keys = limit, seconds, keys
        self._windows: OrderedDict[str, list[float]] = OrderedDict()  # when it began, how many since
        self._lock = threading.Lock()

    def is_over(self, key: str, now: float | None = None) -> bool:
        """Whether ``key`` has used up what it may; counts nothing."""
        now = time.monotonic() if now is None else now
        with self._lock:
            window = self._windows.get(key)
            return window is not None and now - window[0] < self._seconds and window[1] >= self._limit

    def count(self, key: str, now: float | None = None) -> None:
        now = time.monotonic() if now is None else now
        with self._lock:
            window = self._windows.get(key)
            if window is None or now - window[0] >= self._seconds:
                self._windows.pop(key, None)
                self._windows[key] = [now, 1]
                while len(self._windows) > self._keys:
                    self._windows.popitem(last=False)
            else:
                window[1] += 1


def network_of(address: str) -> str:
    """What one stranger has: an IPv4 address, the /64 of an IPv6 address."""
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    return str(ip_network((found, 64), strict=False)) if found.version == 6 else str(found)
