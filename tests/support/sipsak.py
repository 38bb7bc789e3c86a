"""sipsak: one REGISTER from the command line."""

from __future__ import annotations

import subprocess

from tests.support.processes import run_program
from tests.support.programs import require_program


def register(
    server: tuple[str, int], number: str, password: str, *, expires: int = 60, contact: str = "",
    namespace: str | None = None, local_port: int = 0,
) -> subprocess.CompletedProcess[str]:
    """``namespace``: of its network. Exit status 0: registered, else refused. The messages are in its output."""
    sipsak = require_program("sipsak", "sipsak")
    contact = contact or f"sip:{number}@127.0.0.1:5999"
    inside = ["ip", "netns", "exec", namespace] if namespace else []
    return run_program([
        *inside, sipsak, "-vvv", "-U", "-C", contact, "-x", str(expires), "-l", str(local_port),
        "-u", number, "-a", password,
        # It looks the domain up even when it is told where to send, so the address is the domain; of a port there it
        # reads four digits.
        "-s", f"sip:{number}@{server[0]}", "-p", f"{server[0]}:{server[1]}",
    ], seconds=40)


def options(server: tuple[str, int]) -> subprocess.CompletedProcess[str]:
    """An OPTIONS to the server itself, without user part."""
    sipsak = require_program("sipsak", "sipsak")
    return run_program([sipsak, "-vvv", "-s", f"sip:{server[0]}", "-p", f"{server[0]}:{server[1]}"],
                       seconds=40)
