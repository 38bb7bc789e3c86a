"""What a relayed packet costs: our relay, the shortest possible loop, and rtpengine in user space, in one run.

    python tests/bench/bench_relay.py [--quick] [--calls 200 400] [--seconds 8] [--engine ours floor rtpengine]

Calls of G.711 (two phones, a packet of 172 bytes each 20 ms) go through one process of each. Printed: processor
microseconds of the engine for a packet, its share of one core, packets lost, delay, and what the load itself cost. A
sample of the same kernel work is in all three: on loopback whoever sends pays for the delivery too."""

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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from sipcore.media.ng import Path as MediaPath  # noqa: E402
from sipcore.media.pool import NgPool  # noqa: E402
from sipcore.media.processes import RelayProcesses  # noqa: E402
from tests.support.engines import RtpEngine  # noqa: E402
from tests.support.processes import find_program  # noqa: E402

PHONES = 25_000  # first port of the phones; below the range that systems give to anybody (32768-60999)
FLOOR = 28_000  # first port of the floor


def cpu(pid: int) -> float:
    """Seconds a process has run, with all its threads; precise, where `stat` counts in hundredths."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def description(port: int) -> bytes:
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0", f"m=audio {port} RTP/AVP 8"]
    return "".join(f"{line}\r\n" for line in lines).encode()


def port_of(sdp: bytes) -> int:
    return int(sdp.split(b"m=audio ")[1].split()[0])


async def set_up(urls: list[str], calls: int) -> list[str]:
    """Offers and answers for all calls; gives the arguments of the load, two phones a call."""
    phones = []
    path = MediaPath(received_from="127.0.0.1")
    async with NgPool(urls) as pool:
        for number in range(calls):
            one, other = PHONES + 4 * number, PHONES + 4 * number + 2
            towards_other = await pool.offer(f"bench-{number}", "a", description(one), path=path)
            towards_one = await pool.answer(f"bench-{number}", "a", "b", description(other), path=path)
            phones += [f"{one}>{port_of(towards_one)}", f"{other}>{port_of(towards_other)}"]
    return phones


async def measure(name: str, pid: int, phones: list[str], seconds: float) -> float:
    load = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.rtp_load", str(seconds), *phones, cwd=ROOT, stdout=subprocess.PIPE
    )
    assert load.stdout is not None
    await load.stdout.readline()
    before = cpu(pid)
    await load.stdout.readline()
    used = cpu(pid) - before
    found = json.loads(await load.stdout.readline())
    await load.wait()
    sent, lost = found["sent"], found["sent"] - found["received"]
    each = used / sent * 1e6
    print(
        f"{name:10} {len(phones) // 2:4} calls {sent / seconds:8.0f} packets/s {each:7.2f} us/packet"
        f" {100 * used / seconds:6.1f} % of a core  lost {lost:5}"
        f"  delay {found['median_ms']:.2f} ms median {found['p99_ms']:.2f} ms p99"
        f"  (load: {found['cpu'] / sent * 1e6:.2f} us/packet)",
        flush=True,
    )
    return each


async def ours(calls: int, seconds: float) -> float:
    relays = RelayProcesses(ports=(20_000, 24_999), addresses=["127.0.0.1"])
    urls = await relays.start()
    try:
        return await measure("ours", relays.pids[0], await set_up(urls, calls), seconds)
    finally:
        await relays.stop()


async def floor(calls: int, seconds: float) -> float:
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
        return await measure("floor", process.pid, phones, seconds)
    finally:
        process.kill()
        await process.wait()


async def rtpengine(calls: int, seconds: float) -> float:
    with tempfile.TemporaryDirectory() as directory:
        engine = RtpEngine(Path(directory), ports=(20_000, 24_999), addresses=["127.0.0.1"])
        try:
            return await measure("rtpengine", engine.pid, await set_up([engine.url], calls), seconds)
        finally:
            engine.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, nargs="+", default=[200, 400])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--engine", nargs="+", default=["floor", "ours", "rtpengine"])
    parser.add_argument("--quick", action="store_true", help="50 calls, 2 seconds")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.calls, chosen.seconds = [50], 2.0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65_536)), hard))
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    engines = {"floor": floor, "ours": ours, "rtpengine": rtpengine}
    for calls in chosen.calls:
        for name in chosen.engine:
            if name == "rtpengine" and find_program("rtpengine") is None:
                print("rtpengine  is not installed (apt-get install --no-install-recommends rtpengine-daemon)")
                continue
            asyncio.run(engines[name](calls, chosen.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
