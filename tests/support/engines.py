"""A real rtpengine as a child process, in user space."""

from __future__ import annotations

import socket
from pathlib import Path

from tests.support.processes import Program, free_port, wait_until
from tests.support.programs import require_program


class RtpEngine:
    """``url`` is for :class:`sipcore.media.pool.NgPool`; ``threads``: that relay media, 0 for as many as rtpengine
    wants. Raises ``unittest.SkipTest`` where it is not installed."""

    def __init__(
        self,
        directory: Path,
        *,
        ports: tuple[int, int],
        addresses: list[str],
        control: int = 0,
        log_level: int = 5,
        threads: int = 0,
    ) -> None:
        program = require_program("rtpengine", "rtpengine-daemon")
        self.control = control or free_port()
        self.url = f"udp:127.0.0.1:{self.control}"
        self._program = Program(
            [
                program, "--table=-1", "--config-file=none", "--foreground", "--log-stderr", f"--log-level={log_level}",
                *(f"--interface={address}" for address in addresses), f"--listen-ng=127.0.0.1:{self.control}",
                f"--port-min={ports[0]}", f"--port-max={ports[1]}", "--tos=184",
                *([f"--num-threads={threads}"] if threads else []),
            ],
            log_path=directory / "rtpengine.log",
            name="rtpengine",
        )  # fmt: skip
        wait_until(self._answers, "rtpengine answers a ping")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.2)
            asking.connect(("127.0.0.1", self.control))
            try:
                asking.send(b"1 d7:command4:pinge")
                return b"pong" in asking.recv(100)
            except OSError:
                return False

    @property
    def pid(self) -> int:
        return self._program.pid

    @property
    def log(self) -> str:
        return self._program.log

    def kill(self) -> None:
        self._program.kill()

    def stop(self) -> None:
        self._program.stop()
