"""The table of figures against goals:

    python -m tests.hardening [--quick] [--seed N] [PROGRAM ...]

Root and the programs that ``.ci/run`` installs are needed for the whole (network namespaces, a small tmpfs, PostgreSQL,
rtpengine, libfaketime). Run it on a machine that does nothing else. ``--quick`` does each in small, in five minutes in
all, and does not fail for figures that hang on the machine's speed. Ends with the number of goals missed, but for those
that a program of others misses."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
import traceback
from collections.abc import Iterator
from unittest import SkipTest

from tests.hardening.programs import ORDER, Figure, Scale

AGAIN = 4
"""Programs that may be run once more in small, where somebody else's work may have been in the way."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hardening")
    parser.add_argument("programs", nargs="*", metavar="PROGRAM", help=f"of {', '.join(ORDER)}; all without")
    parser.add_argument("--quick", action="store_true", help="each in small, five minutes in all")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default 1)")
    options = parser.parse_args(arguments)
    for name in options.programs:
        if name not in ORDER:
            parser.error(f"no program {name}; there are {', '.join(ORDER)}")
    scale = Scale(options.quick, options.seed)
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, seed {scale.seed}{', quick' * scale.quick}\n")
    outcomes = {name: _run(name, scale) for name in options.programs or ORDER}
    again = [name for name, (missed, _skipped) in outcomes.items() if missed]
    if scale.quick and 0 < len(again) <= AGAIN:
        print(f"once more: {', '.join(again)}\n", flush=True)
        outcomes |= {name: _run(name, scale) for name in again}
    missed = sum(missed for missed, _skipped in outcomes.values())
    skipped = sum(skipped for _missed, skipped in outcomes.values())
    print(f"{missed} goals missed, {skipped} programs not run")
    if skipped and os.environ.get("CI"):
        missed += skipped
    return min(missed, 100)


def _run(name: str, scale: Scale) -> tuple[int, int]:
    """How many goals it missed, and 1 when it could not run."""
    missed = skipped = 0
    begin = time.monotonic()
    print(name, flush=True)
    for figure in _figures(name, scale):
        if figure is None:
            skipped = 1
            continue
        judged = not (figure.timed and scale.quick)
        missed += judged and not figure.met and not figure.of_others
        print(_line(figure, judged), flush=True)
    print(f"  ({time.monotonic() - begin:.0f} s)\n", flush=True)
    return missed, skipped


def _figures(name: str, scale: Scale) -> Iterator[Figure | None]:
    """``None`` stands for a program that cannot run here."""
    try:
        yield from importlib.import_module(f"tests.hardening.programs.{name}").measure(scale)
    except SkipTest as reason:
        print(f"  not run: {reason}")
        yield None
    except Exception:
        traceback.print_exc(file=sys.stdout)
        yield Figure("the program itself", "ended with an exception", "to its end", False)


def _line(figure: Figure, judged: bool) -> str:
    verdict = "met" if figure.met else "MISSED" if judged else "missed (not judged in small)"
    line = f"  {verdict:7} {figure.what}: {figure.measured} (goal: {figure.goal})"
    return f"{line}\n          {figure.cause}" if figure.cause and not figure.met else line


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
