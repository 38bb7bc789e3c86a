"""The parent of the workers: opens what they share, starts them, starts again who dies, and ends them.

Each worker tells it by ``sd_notify`` that it is ready and that its loop lives, as it would tell the service manager; to
that only the parent speaks."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from subprocess import DEVNULL

from sipcore import systemd
from sipcore.log import Log
from sipcore.udp_socket import Address
from sipcore.workers.links import make_channel
from sipcore.workers.membership import Membership
from sipcore.workers.sockets import Pair, close, open_shared

KILL_AFTER = 4.1
"""Seconds from SIGTERM to SIGKILL: a worker takes less than four, and the supervisor waits for us not much longer."""

HANGING_AFTER = 20.0
"""Seconds without a word from the loop of a worker after which it is killed, and started again."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds before a worker that died is started again; doubled while it keeps dying."""

STEADY = 30.0
"""Seconds of life after which a death is a first one again."""

_CREDENTIALS = struct.Struct("3i")


@dataclass(slots=True, eq=False)
class Worker:
    """``heard``: when its loop last said that it lives (monotonic seconds), None until it is ready."""

    number: int
    inlet: socket.socket
    outlet: socket.socket
    sockets: list[Pair]
    process: asyncio.subprocess.Process | None = None
    heard: float | None = None
    task: asyncio.Task[None] | None = field(default=None)


class Crew:
    """``command`` starts a worker: it finds a :class:`Membership` in its environment. Raises
    :class:`~sipcore.udp_socket.CannotListen`."""

    def __init__(self, command: Sequence[str], addresses: Iterable[Address], workers: int, log: Log) -> None:
        self._command, self._log = list(command), log
        opened = open_shared(addresses, workers)
        self._workers = [Worker(number, *make_channel(), pairs) for number, pairs in enumerate(opened)]
        self._addresses: list[Address] = [(udp.host, udp.port) for udp, _ in opened[0]]
        self._telling = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._telling.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._telling.bind("")  # the kernel chooses a name
        self._stop: asyncio.Event | None = None
        self._ready = self._failed = False

    async def run(self) -> bool:
        """Until SIGTERM or SIGINT. False when a worker could not even begin; it has said why."""
        loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_reader(self._telling, self._listen)
        for worker in self._workers:
            worker.task = loop.create_task(self._keep(worker))
        watching = loop.create_task(self._watch())
        await self._stop.wait()
        systemd.notify("STOPPING=1")
        watching.cancel()
        await self._end_all()
        loop.remove_reader(self._telling)
        self.close()
        return not self._failed

    def close(self) -> None:
        for worker in self._workers:
            close(worker.sockets)
            worker.inlet.close()
            worker.outlet.close()
        self._telling.close()

    # One worker

    async def _keep(self, worker: Worker) -> None:
        """As long as nobody asks for the end, there is one."""
        assert self._stop is not None
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE
        while not self._stop.is_set():
            began, worker.heard = loop.time(), None
            try:
                worker.process = await self._start(worker)
                status = await worker.process.wait()
                how = f"has ended with status {status}"
            except OSError as error:
                how = f"could not be started ({error.strerror})"
            if self._stop.is_set():
                return
            if not self._ready:
                self._failed = True
                self._stop.set()
                return
            if loop.time() - began > STEADY:
                pause = FIRST_PAUSE
            self._log.warning(f"Worker {worker.number} {how} and is started again")
            self._log.flush()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _start(self, worker: Worker) -> asyncio.subprocess.Process:
        membership = Membership(
            number=worker.number,
            workers=len(self._workers),
            parent=os.getpid(),
            addresses=self._addresses,
            sockets=[[udp.socket.fileno(), tcp.socket.fileno()] for udp, tcp in worker.sockets],
            inlet=worker.inlet.fileno(),
            outlets=[other.outlet.fileno() for other in self._workers],
        )
        told = {name: value for name, value in os.environ.items() if name not in ("WATCHDOG_USEC", "WATCHDOG_PID")}
        told["NOTIFY_SOCKET"] = "@" + self._telling.getsockname()[1:].decode("ascii")
        # A process group of its own: Ctrl-C reaches the parent alone, and the workers end in order.
        return await asyncio.create_subprocess_exec(
            *self._command, "--worker", str(worker.number), stdin=DEVNULL, pass_fds=membership.files, process_group=0,
            env=told | membership.to_environment(),
        )  # fmt: skip

    async def _end_all(self) -> None:
        for worker in self._workers:
            _signal(worker, signal.SIGTERM)
        tasks = [worker.task for worker in self._workers if worker.task is not None]
        _, late = await asyncio.wait(tasks, timeout=KILL_AFTER)
        if late:
            for worker in self._workers:
                _signal(worker, signal.SIGKILL)
            await asyncio.wait(late, timeout=1.0)

    # How they are

    def _listen(self) -> None:
        """What workers tell. Anybody on this machine can write here, so that only our own children are believed."""
        for _ in range(len(self._workers) * 4):
            try:
                said, ancillary, _, _ = self._telling.recvmsg(512, socket.CMSG_SPACE(_CREDENTIALS.size))
            except OSError:
                return
            pid = next((_CREDENTIALS.unpack(value[:12])[0] for _, _, value in ancillary if len(value) >= 12), 0)
            worker = next((one for one in self._workers if one.process is not None and one.process.pid == pid), None)
            if worker is not None and (said.startswith(b"READY=1") or worker.heard is not None):
                worker.heard = asyncio.get_running_loop().time()
                self._see_ready()

    def _see_ready(self) -> None:
        if self._ready or any(worker.heard is None for worker in self._workers):
            return
        self._ready = True
        places = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self._addresses]
        listening = ", ".join(f"udp and tcp {place}" for place in places)
        self._log.info(f"Listening on {listening}, {len(self._workers)} workers")
        self._log.flush()
        systemd.notify(f"READY=1\nSTATUS=Listening on {listening}, {len(self._workers)} workers")

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            systemd.notify("WATCHDOG=1")
            for worker in self._workers:
                if worker.heard is not None and loop.time() - worker.heard > HANGING_AFTER:
                    self._log.warning(f"Worker {worker.number} hangs and is killed")
                    worker.heard = None
                    _signal(worker, signal.SIGKILL)
            self._log.flush()


def _signal(worker: Worker, number: signal.Signals) -> None:
    if worker.process is not None and worker.process.returncode is None:
        with suppress(ProcessLookupError):
            worker.process.send_signal(number)
