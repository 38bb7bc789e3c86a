"""Telling the service manager how we are (sd_notify): one datagram, no library."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> bool:
    """Send ``state`` ("READY=1", "WATCHDOG=1", "STOPPING=1", "STATUS=..."). False where no manager listens."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return False
    if path.startswith("@"):
        path = "\0" + path[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(state.encode(), path)
        except OSError:
            return False
    return True


def watchdog_seconds() -> float | None:
    """How often "WATCHDOG=1" is due: half of what the manager allows."""
    allowed = os.environ.get("WATCHDOG_USEC", "")
    if not allowed.isdecimal() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(allowed) / 2_000_000
