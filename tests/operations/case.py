"""What the tests of backup, restore and move have in common."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.cases import PASSWORD
from tests.support.pbx import ROOT, RunningPbx
from tests.support.phone import Phone
from tests.support.processes import run_program

FIRST = 3001
CROWD = 300


def numbers() -> list[str]:
    return [str(FIRST + place) for place in range(CROWD)]


def registers(pbx: RunningPbx, number: str, password: str = PASSWORD) -> int:
    """The status of a whole registration by a phone that never heard of this server before."""
    with Phone(pbx.server, number, password, pbx.domain) as phone:
        return phone.register().status


def try_to(pbx: RunningPbx, *arguments: str, text_in: str | None = None) -> tuple[int, str]:
    """``manage.py ...``: its status and all it said."""
    done = run_program([sys.executable, "manage.py", *arguments], env=pbx.env, cwd=ROOT, text_in=text_in, seconds=120)
    return done.returncode, done.stdout + done.stderr


def mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o777:o}"
