"""100,000 registered phones: ``bench_crowd`` for the one table."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench.rows import Found, Goal, Rows, Scale, figure

SUBJECT = "runsip, 100,000 phones"
LIMITS = (("memory", 300, "MB"), ("first REGISTER after start", 1, "s"), ("longest stall", 50, "ms"),
          ("admin pages", 3, "times"))


def measure(scale: Scale) -> Rows:
    if not scale.wants("crowd"):
        return
    from tests.bench import bench_crowd  # it takes Django along

    yield from bench_crowd.measure(scale)


def goals(found: Found) -> Iterator[Goal]:
    for what, limit, unit in LIMITS:
        yield Goal(f"{SUBJECT}: {what}", figure(found, SUBJECT, what, "value"), limit, False, unit)
