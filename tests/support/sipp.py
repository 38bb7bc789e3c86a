"""sipp: one scenario played for many numbers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.support.processes import free_port, run_program, scratch_directory
from tests.support.programs import require_program


def write_numbers(accounts: Iterable[tuple[str, str]]) -> Path:
    """The file of numbers and passwords that ``play`` takes."""
    path = scratch_directory("sipp") / "numbers.csv"
    with path.open("w", encoding="ascii") as file:
        file.write("SEQUENTIAL\n")
        for number, password in accounts:
            file.write(f"{number};[authentication username={number} password={password}]\n")
    return path


def play(
    scenario: Path, server: tuple[str, int], numbers: Path, count: int, *, domain: str, expires: int, local_port: int,
    first_cseq: int = 1, rate: int = 4000, at_once: int = 200, seconds: float = 120.0,
    transport: str = "u1",
) -> subprocess.CompletedProcess[str]:
    """Play ``scenario`` once for each of the first ``count`` numbers. Exit status 0: all went well, 1: some failed.
    ``transport`` as sipp names it: "u1" UDP, "t1" TCP on one connection, "tn" TCP with one for each number.
    The same ``local_port`` gives the same Contacts, and the n-th number has the same Call-ID in every run."""
    sipp = require_program("sipp", "sip-tester")
    return run_program([
        sipp, f"{server[0]}:{server[1]}", "-sf", str(scenario), "-inf", str(numbers), "-m", str(count),
        "-r", str(rate), "-l", str(at_once), "-i", "127.0.0.1", "-p", str(local_port), "-mi", "127.0.0.1",
        "-mp", str(free_port()), "-t", transport, "-max_socket", "1000", "-cp", str(free_port()), "-nostdin",
        "-key", "domain", domain,
        "-key", "expires", str(expires),
        "-auth_uri", domain, "-cid_str", "%u-office@127.0.0.1", "-base_cseq", str(first_cseq),
        "-timeout", f"{seconds:.0f}s", "-timeout_error", "-trace_err", "-error_file", str(numbers.parent / "errors"),
    ], seconds=seconds + 10, env={"TERM": "dumb", "PATH": "/usr/bin:/bin"})


def errors(numbers: Path) -> str:
    """What sipp noted about the failed ones."""
    path = numbers.parent / "errors"
    return path.read_text(errors="replace")[-3000:] if path.exists() else ""
