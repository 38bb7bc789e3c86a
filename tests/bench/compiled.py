"""The C programs of the benchmarks, compiled when they are asked for."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path

from tests.support.programs import find_program

OPTIONS = ("-O2", "-Wall")
KEPT = Path(__file__).resolve().parents[2] / "var" / "bench"


def compiled(source: Path) -> Path | None:
    """The program made of one C file, kept under ``var/bench`` by the hash of the file; None without a compiler.

    Raises CalledProcessError for a wrong source; what the compiler says goes to standard error."""
    compiler = find_program("gcc") or find_program("cc")
    if compiler is None:
        return None
    name = hashlib.sha256(source.read_bytes() + repr(OPTIONS).encode()).hexdigest()[:16]
    KEPT.mkdir(parents=True, exist_ok=True)
    program = KEPT / f"{source.stem}-{name}"
    if not program.exists():
        with tempfile.TemporaryDirectory(dir=KEPT) as scratch:
            made = Path(scratch) / "program"
            subprocess.run([compiler, *OPTIONS, "-o", str(made), str(source), "-lm"], check=True)
            made.rename(program)
    return program
