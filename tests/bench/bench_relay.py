"""What a relayed packet costs: our relay, the shortest possible loop, and rtpengine in user space, in one run.

    python -m tests.bench.bench_relay [--quick] [--calls 100 400] [--rounds 3] [--seconds 5] [--engine ours rtpengine]

Calls of G.711 (two phones, a packet of 172 bytes each 20 ms) go through one process of each engine, in turns, round by
round. The engine is held to the last core and the load to the first, all at one priority; rtpengine has one thread for
media, which on one core is the cheapest for it.
Printed for each round and as medians: processor microseconds of the engine for a packet, its share of its core, packets
lost, the delay in the relay, what the load itself needed of its core, and how long the engine was kept waiting for its
core by others: a busy neighbour spoils the delay, and what piles up meanwhile is cheaper to relay. On loopback whoever
sends pays for the delivery too: a sample of the same kernel work is in all three."""

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

ADDRESS = "127.0.9.1"  # of everybody: what else runs on this machine has no ports there
PHONES = 25_000  # first port of the phones; below the range that systems give to anybody (32768-60999)
FLOOR = 28_000  # first port of the floor
LOAD = Path(__file__).with_name("rtp_load.c")


@dataclass(frozen=True, slots=True)
class Measured:
    """One round of one engine, or the medians of its rounds (``lost``: the most)."""

    sent: float  # packets
    lost: float  # packets
    each: float  # processor microseconds of the engine for a packet it relayed
    share: float  # of one core, per cent
    median: float  # milliseconds
    p99: float  # milliseconds
    load: float  # what the load used of one core, per cent
    waited: float  # of the time, per cent: its threads were ready to run and had to wait

    def __str__(self) -> str:
        return (
            f"{self.each:6.2f} us/packet {self.share:5.1f} % of a core  lost {self.lost:.0f} of {self.sent:.0f}"
            f"  delay {self.median:.2f} ms median {self.p99:.2f} ms p99"
            f"  (load: {self.load:.1f} % of a core; kept waiting {self.waited:.0f} %)"
        )


@dataclass(frozen=True, slots=True)
class Running:
    """An engine with all its calls."""

    pid: int
    phones: list[str]  # arguments of the load, two a call


def scheduled(pid: int) -> tuple[float, float]:
    """Seconds a process, with all its threads, has run, and those it was ready to run while others had its core."""
    ran = waited = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            one = (task / "schedstat").read_text().split()
            ran, waited = ran + int(one[0]), waited + int(one[1])
    return ran / 1e9, waited / 1e9


def hold(pid: int, core: int) -> None:
    """All threads of a process to one core, at the priority our relay gives itself, as far as the system lets us."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            os.sched_setaffinity(int(task.name), {core})
            os.setpriority(os.PRIO_PROCESS, int(task.name), NICE)


def description(port: int) -> bytes:
    lines = ["v=0", f"o=- 1 1 IN IP4 {ADDRESS}", "s=-", f"c=IN IP4 {ADDRESS}", "t=0 0", f"m=audio {port} RTP/AVP 8"]
    return "".join(f"{line}\r\n" for line in lines).encode()


def port_of(sdp: bytes) -> int:
    return int(sdp.split(b"m=audio ")[1].split()[0])


async def set_up(urls: list[str], calls: int) -> list[str]:
    """Offers and answers for all calls; gives the arguments of the load."""
    phones = []
    path = MediaPath(received_from=ADDRESS)
    async with NgPool(urls) as pool:
        for number in range(calls):
            one, other = PHONES + 4 * number, PHONES + 4 * number + 2
            towards_other = await pool.offer(f"bench-{number}", "a", description(one), path=path)
            towards_one = await pool.answer(f"bench-{number}", "a", "b", description(other), path=path)
            phones += [f"{one}>{port_of(towards_one)}", f"{other}>{port_of(towards_other)}"]
    return phones


@asynccontextmanager
async def ours(calls: int) -> AsyncIterator[Running]:
    relays = RelayProcesses(ports=(20_000, 24_999), addresses=[ADDRESS])
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
        sys.executable, "-m", "tests.bench.udp_floor", ADDRESS, *words, cwd=ROOT, stdout=subprocess.PIPE
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
        engine = RtpEngine(Path(directory), ports=(20_000, 24_999), addresses=[ADDRESS], threads=1)
        try:
            yield Running(engine.pid, await set_up([engine.url], calls))
        finally:
            engine.stop()


ENGINES: dict[str, Callable[[int], AbstractAsyncContextManager[Running]]] = {
    "floor": floor,
    "ours": ours,
    "rtpengine": rtpengine,
}


def missing(engines: Sequence[str]) -> list[str]:
    """What is not installed, a line for each."""
    lines = []
    if compiled(LOAD) is None:
        lines.append("no C compiler (apt-get install gcc libc6-dev): the relay is not measured")
    if "rtpengine" in engines and find_program("rtpengine") is None:
        lines.append("rtpengine is not installed (apt-get install --no-install-recommends rtpengine-daemon)")
    return lines


async def measure(engine: str, calls: int, seconds: float) -> Measured:
    """One round."""
    program = compiled(LOAD)
    assert program is not None, missing([])
    cores = sorted(os.sched_getaffinity(0))
    async with ENGINES[engine](calls) as running:
        load = await asyncio.create_subprocess_exec(
            str(program), str(seconds), ADDRESS, *running.phones, stdout=subprocess.PIPE, start_new_session=True
        )  # a session is a group of its own to the scheduler: the engine shares its due with nobody
        hold(running.pid, cores[-1])
        hold(load.pid, cores[0])
        assert load.stdout is not None
        await load.stdout.readline()
        before = scheduled(running.pid)
        await load.stdout.readline()
        after = scheduled(running.pid)
        found = json.loads(await load.stdout.readline())
        await load.wait()
    used, waited = after[0] - before[0], after[1] - before[1]
    return Measured(
        sent=found["sent"],
        lost=found["sent"] - found["received"],
        each=used / max(1, found["received"]) * 1e6,
        share=100 * used / seconds,
        median=found["median_ms"],
        p99=found["p99_ms"],
        load=100 * found["cpu"] / seconds,
        waited=100 * waited / seconds,
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
        waited=median(one.waited for one in rounds),
    )


def compare(
    calls: int, seconds: float, rounds: int, engines: Sequence[str], say: Callable[[str], None]
) -> dict[str, Measured]:
    """The medians of each engine that is there, measured in turns."""
    found: dict[str, list[Measured]] = {name: [] for name in engines}
    for number in range(rounds):
        for name in engines:
            found[name].append(asyncio.run(measure(name, calls, seconds)))
            say(f"{name:10} {calls:4} calls  round {number + 1}  {found[name][-1]}")
    return {name: medians(several) for name, several in found.items()}


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
    for line in missing(chosen.engine):
        print(line)
    if compiled(LOAD) is None:
        return 2
    engines = [name for name in chosen.engine if name != "rtpengine" or find_program("rtpengine")]
    more_files()
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
