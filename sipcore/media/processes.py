"""The relay processes: started, watched, started again. For ``runsip``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .ng import KEY

START_SECONDS = 10.0  # a relay that is not ready by then is killed
STOP_SECONDS = 1.0  # a relay that has not ended by then is killed
FIRST_PAUSE = 0.2  # seconds before a relay that died is started again; doubled while it keeps dying
LONGEST_PAUSE = 10.0
STEADY = 30.0  # seconds of life after which a death is a first one again
ROOT = Path(__file__).resolve().parents[2]


class RelayFailed(Exception):
    """A relay did not start. ``reason``: the last line it said."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True, eq=False)
class _Worker:
    number: int
    ports: str
    url: str = ""
    process: asyncio.subprocess.Process | None = None
    watcher: asyncio.Task[None] | None = None
    said: list[str] = field(default_factory=list)


def port_slices(first: int, last: int, workers: int) -> list[str]:
    """The range cut into one of its own for each process, each beginning with an even port.

    Raises ValueError when there are too few for one call each (4 pairs)."""
    first += first % 2
    pairs = (last + 1 - first) // 2 // workers if workers > 0 else 0
    if pairs < 4:
        raise ValueError("too few RTP ports")
    return [f"{first + 2 * pairs * one}-{first + 2 * pairs * (one + 1) - 1}" for one in range(workers)]


class RelayProcesses:
    """``addresses``: what phones are told where an offer does not say, at most one for each family.

    ``died(url)`` is called in the loop when a relay has ended unasked, ``started(url)`` when it is there again (with
    the same url where its port is still free, else ``moved(old, new)`` comes before). ``log``: one English line.
    ``key``: that of the pool; without one the relays obey every user of this machine.
    Start it from the main thread: the kernel ties the end of the relays to the thread that started them."""

    def __init__(
        self,
        *,
        workers: int = 1,
        ports: tuple[int, int] = (10_000, 20_000),
        addresses: Sequence[str] = (),
        died: Callable[[str], None] = lambda url: None,
        started: Callable[[str], None] = lambda url: None,
        moved: Callable[[str, str], None] = lambda old, new: None,
        log: Callable[[str], None] = lambda line: None,
        options: Sequence[str] = (),
        key: str = "",
    ) -> None:
        self._workers = [_Worker(number, ports) for number, ports in enumerate(port_slices(*ports, workers))]
        self._addresses = list(addresses)
        self._died = died
        self._started = started
        self._moved = moved
        self._log = log
        self._options = list(options)
        self._environment = {**os.environ, KEY: key}
        self._stopping = False

    @property
    def urls(self) -> list[str]:
        """For :class:`~sipcore.media.pool.NgPool`; after :meth:`start`."""
        return [worker.url for worker in self._workers]

    @property
    def pids(self) -> list[int]:
        return [worker.process.pid for worker in self._workers if worker.process is not None]

    async def start(self) -> list[str]:
        """Start all and wait until they are ready; gives :attr:`urls`. Raises RelayFailed, then none is left."""
        try:
            for worker in self._workers:
                await self._start(worker)
        except BaseException:
            await self.stop()
            raise
        for worker in self._workers:
            worker.watcher = asyncio.create_task(self._watch(worker))
        return self.urls

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for what does not end in a second."""
        self._stopping = True
        for worker in self._workers:
            if worker.watcher is not None:
                worker.watcher.cancel()
            if worker.process is not None and worker.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    worker.process.terminate()
        await asyncio.gather(*(_ended(worker.process) for worker in self._workers if worker.process is not None))

    async def _start(self, worker: _Worker) -> None:
        control = worker.url.removeprefix("udp:") or "127.0.0.1:0"
        arguments = ["--ports", worker.ports, "--ng", control, "--parent", str(os.getpid()), *self._options]
        for address in self._addresses:
            arguments += ["--address", address]
        process = worker.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sipcore.media.relay", *arguments,
            cwd=ROOT, env=self._environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        line = b""
        with contextlib.suppress(TimeoutError):
            line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        if not line.startswith(b"ng udp:"):
            await _ended(process, kill=True)
            raise RelayFailed(f"the relay process did not start (status {process.returncode})")
        url = line.split()[1].decode("ascii", "replace")
        if worker.url and worker.url != url:
            self._moved(worker.url, url)
        worker.url = url
        self._log(f"Media relay {worker.number} is ready, ports {worker.ports}")

    async def _watch(self, worker: _Worker) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while worker.process is not None:
            since = loop.time()
            status = await worker.process.wait()
            if self._stopping:
                return
            self._log(f"Media relay {worker.number} has ended with status {status} and is started again")
            self._died(worker.url)
            if loop.time() - since > STEADY:
                pause = FIRST_PAUSE
            while True:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                try:
                    await self._start(worker)
                    break
                except (RelayFailed, OSError) as error:
                    self._log(f"Media relay {worker.number} could not be started: {error}")
                    worker.url = worker.url if pause < LONGEST_PAUSE else ""
            self._started(worker.url)


async def _ended(process: asyncio.subprocess.Process, *, kill: bool = False) -> None:
    if kill and process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        if not kill:
            await _ended(process, kill=True)
