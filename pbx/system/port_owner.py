"""Who holds a port, from /proc: so that "address already in use" can name the program to stop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Owner(NamedTuple):
    pid: int
    name: str


def udp_port_owner(port: int) -> Owner | None:
    """The process that has this UDP port; None when nobody has, or when we may not see whose it is."""
    return _owner(port, ("udp", "udp6"))


def tcp_port_owner(port: int) -> Owner | None:
    """The process that listens on this TCP port; None when nobody does, or when we may not see whose it is."""
    return _owner(port, ("tcp", "tcp6"), listening="0A")


def _owner(port: int, tables: tuple[str, ...], listening: str | None = None) -> Owner | None:
    inodes = set()
    for table in tables:
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and listening in (None, fields[3]):
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            for descriptor in (process / "fd").iterdir():
                if os.readlink(descriptor) in inodes:
                    return Owner(int(process.name), (process / "comm").read_text().strip())
        except OSError:  # it ended meanwhile, or is not ours to look into
            continue
    return None
