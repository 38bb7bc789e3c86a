"""Who holds a port, from /proc: so that "address already in use" can name the program to stop, or say that it is this
PBX itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from django.utils.translation import gettext as _

ROOT = Path(__file__).resolve().parent.parent.parent


class Owner(NamedTuple):
    pid: int
    name: str
    """What people call it: the name of its program, or of the part of this PBX that it is."""
    ours: bool = False


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
                    return _named(process)
        except OSError:  # it ended meanwhile, or is not ours to look into
            continue
    return None


def _named(process: Path) -> Owner:
    words = (process / "cmdline").read_bytes().split(b"\0")
    here = Path(os.readlink(process / "cwd"))
    # gunicorn is always started in our directory; runsip from any, by the path of manage.py.
    if b"python:pbx.web_server" in words and here == ROOT:
        return Owner(int(process.name), _("the web pages of this PBX"), ours=True)
    if b"runsip" in words:
        program = os.fsdecode(words[words.index(b"runsip") - 1])
        if (here / program).resolve() == ROOT / "manage.py":
            return Owner(int(process.name), _("the SIP server of this PBX"), ours=True)
    return Owner(int(process.name), (process / "comm").read_text().strip())
