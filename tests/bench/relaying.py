"""Sound: 400 calls through one relay process on one core, ``bench_relay`` for the one table."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from tests.bench import bench_relay
from tests.bench.rows import Found, Goal, Missing, Row, Rows, Scale, figure, ratio

WHAT = "relayed packet"
CALLS = 400
ENGINES = {
    "floor": "shortest loop, Python (floor)", "ours": "our relay, one core", "rtpengine": "rtpengine in user space",
}


def measure(scale: Scale) -> Rows:
    bench_relay.more_files()
    absent = {name: lines[0] for name in ENGINES if (lines := bench_relay.missing([name]))}
    for name, title in ENGINES.items():
        if name in absent:
            yield Missing(title, absent[name])
            continue
        seconds = 2.0 if scale.quick else 5.0
        one = asyncio.run(bench_relay.measure(name, CALLS, seconds))
        yield Row(
            title, WHAT, one.sent / seconds, one.each, p50=one.median, p99=one.p99, load=one.load / 100,
            value=one.lost, unit="lost", worst=True,
            note=f"{one.share:.0f}% of its core, kept from it {one.waited:.0f}%",
        )


def goals(found: Found) -> Iterator[Goal]:
    value = ratio(found, (ENGINES["ours"], WHAT), (ENGINES["rtpengine"], WHAT), "cpu")
    yield Goal("CPU of a relayed packet to rtpengine in user space", value, 1, False)
    lost = figure(found, ENGINES["ours"], WHAT, "value")
    yield Goal("packets lost of 400 calls on one core, the worst round", lost, 0, False, "lost")
