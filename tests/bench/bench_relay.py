"""What a relayed packet costs: our relay, the shortest possible loop, and rtpengine in user space, in one run.

    python -m tests.bench.bench_relay [--quick] [--calls 100 400] [--rounds 3] [--seconds 5] [--engine ours rtpengine]

Calls of G.711 (two phones, a packet of 172 bytes each 20 ms) go through one process of each engine, in turns, round by
round. The engine, with all its threads, is held to the last core and the load to the first, all at one priority.
Printed for each round and as medians: processor microseconds of the engine for a packet, its share of its core, packets
lost, the delay in the relay, and what the load itself needed of its core. On loopback whoever sends pays for the
delivery too: a sample of the same kernel work is in all three."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from sipcore.media.ng import Path as MediaPath  # noqa: E402
from sipcore.media.pool import NgPool  # noqa: E402
from sipcore.media.processes import RelayProcesses  # noqa: E402
from sipcore.media.relay import NICE  # noqa: E402
from tests.bench.compiled import compiled  # noqa: E402
from tests.support.engines import RtpEngine  # noqa: E402
from tests.support.processes import find_program  # noqa: E402

PHONES = 25_000  # first port of the phones; below the range that systems give to anybody (32768-60999)
FLOOR = 28_000  # first port of the floor


@dataclass(frozen=True, slots=True)
class Measured:
    """One round of one engine, or the medians of its rounds (``lost``: the most)."""

    sent: float  # packets
    lost: float  # packets
    each: float  # processor microseconds of the engine for a packet sent to it
    share: float  # of one core, per cent
    median: float  # milliseconds
    p99: float  # milliseconds
    load: float  # what the load used of one core, per cent

    def __str__(self) -> str:
        return (
            f"{self.each:6.2f} us/packet {self.share:5.1f} % of a core  lost {self.lost:.0f} of {self.sent:.0f}"
            f"  delay {self.median:.2f} ms median {self.p99:.2f} ms p99  (load: {self.load:.1f} % of a core)"
        )


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table of all benchmarks; ``peer`` "" and ``ratio`` None where there is nothing to compare with."""

    name: str
    figure: float
    unit: str
    peer: str = ""
    ratio: float | None = None  # ours divided by the peer's


@dataclass(frozen=True, slots=True)
class Running:
    """An engine with all its calls."""

    pid: int
    phones: list[str]  # arguments of the load, two a call


def cpu(pid: int) -> float:
    """Seconds a process has run, with all its threads; precise, where `stat` counts in hundredths."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def hold(pid: int, core: int) -> None:
    """All threads of a process to one core, at the priority our relay gives itself, as far as the system lets us."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(task.name), {core})
            os.setpriority(os.PRIO_PROCESS, int(task.name), NICE)


def description(port: int) -> bytes:
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0", f"m=audio {port} RTP/AVP 8"]
    return "".join(f"{line}\r\n" for line in lines).encode()


def port_of(sdp: bytes) -> int:
    return int(sdp.split(b"m=audio ")[1].split()[0])


async def set_up(urls: list[str], calls: int) -> list[str]:
    """Offers and answers for all calls; gives the arguments of the load."""
    phones = []
    path = MediaPath(received_from="127.0.0.1")
    async with NgPool(urls) as pool:
        for number in range(calls):
            one, other = PHONES + 4 * number, PHONES + 4 * number + 2
            towards_other = await pool.offer(f"bench-{number}", "a", description(one), path=path)
            towards_one = await pool.answer(f"bench-{number}", "a", "b", description(other), path=path)
            phones += [f"{one}>{port_of(towards_one)}", f"{other}>{port_of(towards_other)}"]
    return phones


@asynccontextmanager
async def ours(calls: int) -> AsyncIterator[Running]:
    relays = RelayProcesses(ports=(20_000, 24_999), addresses=["127.0.0.1"])
    urls = await relays.start()
    try:
        yield Running(relays.pids[0], await set_up(urls, calls))
    finally:
        await relays.stop()


@asynccontextmanager
async def floor(calls: int) -> AsyncIterator[Running]:
    words, phones = [], []
    for number in range(calls):
        one, other = PHONES + 4 * number, PHONES + 4 * number + 2
        near, far = FLOOR + 4 * number, FLOOR + 4 * number + 2
        words.append(f"{near}>{one}:{far}>{other}")
        phones += [f"{one}>{near}", f"{other}>{far}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.udp_floor", *words, cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        yield Running(process.pid, phones)
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def rtpengine(calls: int) -> AsyncIterator[Running]:
    with tempfile.TemporaryDirectory() as directory:
        engine = RtpEngine(Path(directory), ports=(20_000, 24_999), addresses=["127.0.0.1"])
        try:
            yield Running(engine.pid, await set_up([engine.url], calls))
        finally:
            engine.stop()


ENGINES: dict[str, Callable[[int], AbstractAsyncContextManager[Running]]] = {
    "floor": floor,
    "ours": ours,
    "rtpengine": rtpengine,
}


def present(engines: Sequence[str], say: Callable[[str], None]) -> list[str]:
    """Those of the engines that are installed; says what is not."""
    if "rtpengine" not in engines or find_program("rtpengine"):
        return list(engines)
    say("rtpengine is not installed (apt-get install --no-install-recommends rtpengine-daemon)")
    return [name for name in engines if name != "rtpengine"]


async def measure(engine: str, calls: int, seconds: float) -> Measured:
    """One round. Raises SkipTest without a C compiler."""
    program = compiled("rtp_load")
    cores = sorted(os.sched_getaffinity(0))
    async with ENGINES[engine](calls) as running:
        load = await asyncio.create_subprocess_exec(program, str(seconds), *running.phones, stdout=subprocess.PIPE)
        hold(running.pid, cores[-1])
        hold(load.pid, cores[0])
        assert load.stdout is not None
        await load.stdout.readline()
        before = cpu(running.pid)
        await load.stdout.readline()
        used = cpu(running.pid) - before
        found = json.loads(await load.stdout.readline())
        await load.wait()
    return Measured(
        sent=found["sent"],
        lost=found["sent"] - found["received"],
        each=used / found["sent"] * 1e6,
        share=100 * used / seconds,
        median=found["median_ms"],
        p99=found["p99_ms"],
        load=100 * found["cpu"] / seconds,
    )


def medians(rounds: Sequence[Measured]) -> Measured:
    return Measured(
        sent=median(one.sent for one in rounds),
        lost=max(one.lost for one in rounds),
        each=median(one.each for one in rounds),
        share=median(one.share for one in rounds),
        median=median(one.median for one in rounds),
        p99=median(one.p99 for one in rounds),
        load=median(one.load for one in rounds),
    )


def compare(
    calls: int, seconds: float, rounds: int, engines: Sequence[str], say: Callable[[str], None] = lambda line: None
) -> dict[str, Measured]:
    """The medians of each engine that is there, measured in turns."""
    found: dict[str, list[Measured]] = {name: [] for name in engines}
    for number in range(rounds):
        for name in engines:
            found[name].append(asyncio.run(measure(name, calls, seconds)))
            say(f"{name:10} {calls:4} calls  round {number + 1}  {found[name][-1]}")
    return {name: medians(several) for name, several in found.items()}


def rows(*, quick: bool = False, say: Callable[[str], None] = lambda line: None) -> list[Row]:
    """For the table of all benchmarks: 400 calls through one relay process on one core. Raises SkipTest without a C
    compiler."""
    more_files()
    found = compare(400, 2.0 if quick else 5.0, 3, present(list(ENGINES), say), say)
    mine, theirs = found["ours"], found.get("rtpengine")
    peer = "rtpengine" if theirs else ""
    return [
        Row("relayed packet, CPU", mine.each, "us", peer, mine.each / theirs.each if theirs else None),
        Row("relayed packet, CPU of the shortest loop", found["floor"].each, "us"),
        Row("relay, 400 calls, lost", mine.lost, "packets", peer),
        Row("relay, 400 calls, share of a core", mine.share, "%", peer, mine.share / theirs.share if theirs else None),
        Row("relay, 400 calls, delay p99", mine.p99, "ms", peer, mine.p99 / theirs.p99 if theirs else None),
        Row("relay, 400 calls, share of a core of the load", mine.load, "%"),
    ]


def more_files() -> None:
    """Two sockets a phone and more: the children inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)), hard))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, nargs="+", default=[100, 400])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--engine", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--quick", action="store_true", help="400 calls, 2 seconds, one round")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.calls, chosen.seconds, chosen.rounds = [400], 2.0, 1
    more_files()
    engines = present(chosen.engine, print)
    cores = sorted(os.sched_getaffinity(0))
    print(
        f"Python {sys.version.split()[0]}, {len(cores)} cores, load average {os.getloadavg()[0]:.1f};"
        f" engine on core {cores[-1]}, load on core {cores[0]}"
    )
    for calls in chosen.calls:
        found = compare(calls, chosen.seconds, chosen.rounds, engines, lambda line: print(line, flush=True))
        for name, one in found.items():
            print(f"{name:10} {calls:4} calls  median   {one}")
        if {"ours", "rtpengine"} <= found.keys():
            print(f"ours / rtpengine: {found['ours'].each / found['rtpengine'].each:.2f} in CPU per packet")
    return 0


if __name__ == "__main__":
    sys.exit(main())
