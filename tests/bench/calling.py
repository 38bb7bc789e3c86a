"""Calls: INVITE to BYE through the server, ``bench_calls`` for the one table."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import SkipTest

from tests.bench import bench_calls
from tests.bench.rows import Found, Goal, Missing, Row, Rows, Scale, ratio

WHAT = "call"
OURS, FLOOR = "runsip, SQLite", "bare loop, Python (floor)"
PROXIES = {"Kamailio as a proxy, 1 child": 1, "Kamailio as a proxy, 2 children": 2}
ASTERISK = "Asterisk, chan_pjsip"
AT_ONCE, RATE = 40, 5000


def measure(scale: Scale) -> Rows:
    calls = 400 if scale.quick else 3000
    yield _row(FLOOR, bench_calls.floor(calls))
    subjects = {OURS: bench_calls.runsip}
    subjects |= {name: lambda children=children: bench_calls.kamailio(children) for name, children in PROXIES.items()}
    subjects[ASTERISK] = bench_calls.asterisk
    for name, start in subjects.items():
        try:
            with start() as running:
                yield _row(name, bench_calls.measure(running, calls, AT_ONCE, RATE))
        except SkipTest as reason:
            yield Missing(name, str(reason))


def _row(name: str, found: bench_calls.Figures) -> Row:
    note = f"signalling {found.signalling:.0f} us" if found.signalling != found.cpu else ""
    load = found.sipp * found.rate / 1e6 / 2  # two sipps
    return Row(name, WHAT, found.rate, found.cpu, load=load, failed=found.failed, note=note)


def goals(found: Found) -> Iterator[Goal]:
    values = [ratio(found, (OURS, WHAT), (name, WHAT), "cpu") for name in PROXIES]
    value = max((value for value in values if value is not None), default=None)
    yield Goal("CPU of a call to Kamailio as a proxy, the cheaper", value, 3, False)
    yield Goal("CPU of a call to Asterisk", ratio(found, (OURS, WHAT), (ASTERISK, WHAT), "cpu"), 0.2, False)
