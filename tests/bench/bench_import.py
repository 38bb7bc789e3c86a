"""How long an import of many extensions takes, with passwords, on the database that DATABASE_URL names:

    python tests/bench/bench_import.py [--count 10000]

Runs ``manage.py importextensions`` as a person would, against a throwaway SQLite file unless DATABASE_URL is set
(the extensions stay there: name an empty database). The goal is 10,000 in under two minutes on two cores.
Exit code 1 when it is missed."""

from __future__ import annotations

import argparse
import csv
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOAL = 120.0  # seconds for 10,000


def manage(*arguments: str, environment: dict[str, str]) -> float:
    """Run one command and return its seconds of wall clock."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=environment, check=True)
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as directory:
        environment = {**os.environ, "VAR_DIR": directory}
        path = Path(directory) / "extensions.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("number", "name", "password"))
            writer.writerows((20_000 + n, f"Phone {n}", secrets.token_hex(8)) for n in range(count))
        manage("migrate", "-v0", environment=environment)
        seconds = {
            "new": manage("importextensions", str(path), environment=environment),
            "the same again with --update": manage("importextensions", str(path), "--update", environment=environment),
        }
    database = environment.get("DATABASE_URL", "sqlite:").partition(":")[0]
    for what, taken in seconds.items():
        print(f"import of {count} extensions with passwords, {what}, {database}, {os.cpu_count()} cores: {taken:.1f} s")
    return 0 if max(seconds.values()) < GOAL * count / 10_000 else 1


if __name__ == "__main__":
    sys.exit(main())
