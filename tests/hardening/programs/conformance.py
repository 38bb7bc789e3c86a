"""What ``tests.hardening`` checks as tests: the rules of RFC 3261 and its companions on the wire, the fuzz targets, and
the fifty past failures of others."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence

from tests.hardening.past_failures import PAST_FAILURES
from tests.hardening.programs import Figure, Scale
from tests.support.pbx import ROOT
from tests.support.processes import run_program

CLOSING = re.compile(r"(?m)^(\d+) passed, (\d+) failed, (\d+) skipped$")
BAD = re.compile(r"(?m)^(?:FAIL|ERROR): (\S+)")


def measure(scale: Scale) -> Iterator[Figure]:
    yield _played("the registry of past failures", "complete", ["tests.hardening.test_past_failures"])
    if scale.quick:
        return  # the rest is in manage.py test, which .ci/run runs whole beside this
    yield _played(
        "checks on the wire, of RFC 3261 and its companions", "every MUST of the list", ["tests.hardening.conformance"]
    )
    yield _played("fuzz targets, seeded, and what once broke one", "every one", ["tests.hardening.fuzz"])
    named = sorted({name for failure in PAST_FAILURES.values() for name in failure.tests})
    others = [name for name in named if not name.startswith("tests.hardening.fuzz.")]
    yield _played(f"the {len(PAST_FAILURES)} past failures, the tests that name them", "every one", others)


def _played(what: str, goal: str, tests: Sequence[str]) -> Figure:
    done = run_program(
        [sys.executable, "manage.py", "test", *tests], cwd=ROOT, seconds=900,
        env={**os.environ, "PBX_NO_VENV": "1", "LANGUAGE_CODE": "en"},
    )  # fmt: skip
    said = done.stdout + done.stderr
    closing = CLOSING.search(said)
    if closing is None:
        return Figure(what, f"did not run: {said.strip()[-300:]}", goal, False)
    passed, failed, skipped = map(int, closing.groups())
    bad = sorted(set(BAD.findall(said)))
    told = f"{passed} of {passed + failed + skipped}"
    told += f"; failed {', '.join(bad)}" if bad else ""
    told += f"; {skipped} skipped" if skipped else ""
    return Figure(what, told, goal, passed > 0 and not failed and not skipped and done.returncode == 0)
