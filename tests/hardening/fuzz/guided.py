"""Led by coverage: ``python -m tests.hardening.fuzz.guided TARGET [options of libFuzzer]``.

    pip install atheris      (not in requirements-dev.txt: it has wheels for some Pythons only)
    python -m tests.hardening.fuzz.guided uri -runs=200000
    python -m tests.hardening.fuzz.guided message -max_total_time=600 FOLDER     keeps what it finds new in FOLDER

Ends with the first input that a target does not bear, written to ``crash-...``: its place is ``kept.py``."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


def main() -> None:
    try:
        import atheris
    except ImportError:
        sys.exit("This needs atheris: pip install atheris")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pbx.settings")
    with atheris.instrument_imports(include=["sipcore", "pbx.diagnosis"]):
        import django

        django.setup()
        from tests.hardening.fuzz.targets import TARGETS

    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(f"usage: python -m tests.hardening.fuzz.guided {{{','.join(TARGETS)}}} [options of libFuzzer]")
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(target.seeds):
            (Path(folder) / str(number)).write_bytes(seed)
        options = [sys.argv[0], "-max_len=65535", "-timeout=10", "-print_final_stats=1", *sys.argv[2:], folder]
        atheris.Setup(options, target.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
