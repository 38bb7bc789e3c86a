"""Child processes with deadlines and kept logs. Start them from the main thread: the kernel ties their parent-death
signal to the thread that made them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tests.support.leaving import claim_port, when_leaving
from tests.support.programs import find_program

Found = TypeVar("Found")

# Every wait has a deadline, generous because a slow machine is no failure of the product.
PATIENCE = 30.0


class DeadlinePassed(AssertionError):
    """What was waited for did not come; the message carries the end of the log."""


def wait_until(condition: Callable[[], Found], what: str, seconds: float = PATIENCE, pause: float = 0.02) -> Found:
    """Poll until ``condition()`` is true and return its value. Raises ``DeadlinePassed`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise DeadlinePassed(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(pause)


def free_port(*, span: int = 1, host: str = "127.0.0.1") -> int:
    """The first of ``span`` neighbouring port numbers that nobody uses, UDP and TCP alike (baresip takes port N for
    UDP and TCP and N+1 for TLS). None is given twice, to no test process: who got it may use it in a network namespace,
    unseen from here, or not yet."""
    for _ in range(200):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
            first = probe.getsockname()[1]
        ports = range(first, first + span)
        with _giving:
            if ports[-1] < 65536 and all(_port_is_free(port, host) and claim_port(port) for port in ports):
                return first
    raise OSError("no free port found")


_giving = threading.Lock()


def _port_is_free(port: int, host: str) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


class Program:
    """A running child process whose output (stdout and stderr together) goes to ``log_path`` and can be waited for."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        log_path: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        death_signal: str = "KILL",
        run_as: str | None = None,
        name: str = "",
    ) -> None:
        self.name = name or Path(arguments[0]).name
        self.log_path = log_path
        prefix: list[str] = []
        if setpriv := find_program("setpriv"):
            # The kernel ends it when the test run is killed: nothing is left behind.
            prefix = [setpriv, f"--pdeathsig={death_signal}"]
            if run_as:
                prefix += [f"--reuid={run_as}", f"--regid={run_as}", "--clear-groups"]
            prefix.append("--")
        # Append: a restarted server goes on in the same log.
        with log_path.open("ab") as log:
            self._seen_from = log.tell()
            self.process = subprocess.Popen(
                [*prefix, *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
                # Ctrl-C in the terminal must not stop what the test is about to stop in its own way.
                start_new_session=True,
            )
        self._at_the_end = when_leaving(self._last_resort)

    def _last_resort(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)  # it leads a group of its own: its children go with it
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def log(self) -> str:
        """What this process (not an earlier one in the same file) has written so far."""
        with self.log_path.open("rb") as log:
            log.seek(self._seen_from)
            return log.read().decode("utf-8", "replace")

    def mark(self) -> int:
        """A place in the log, for ``wait_for(after=...)``."""
        return len(self.log)

    def wait_for(self, pattern: str, seconds: float = PATIENCE, after: int = 0) -> re.Match[str]:
        """Wait for a regular expression in the output. Raises ``DeadlinePassed`` when it does not come, at once when
        the process has ended without it."""
        deadline = time.monotonic() + seconds
        expression = re.compile(pattern, re.MULTILINE)
        while True:
            ended = not self.running
            if found := expression.search(self.log, after):
                return found
            if ended or time.monotonic() > deadline:
                reason = f"ended with {self.process.returncode}" if ended else f"silent for {seconds:.0f} s"
                raise DeadlinePassed(f"{self.name} {reason}; no {pattern!r} in its output:\n{self.tail()}")
            time.sleep(0.02)

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.splitlines()[-lines:])

    def say(self, line: str) -> None:
        """Type a line on its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def signal(self, number: int) -> None:
        if self.running:
            self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """The exit status. Raises ``DeadlinePassed``."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise DeadlinePassed(f"{self.name} still runs after {seconds:.0f} s:\n{self.tail()}") from None

    def terminate(self, seconds: float = PATIENCE) -> int:
        """SIGTERM and wait for the end."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self) -> None:
        """SIGKILL: no time to say good-bye."""
        self.signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def stop(self, seconds: float = 5.0) -> None:
        """For clean-up: SIGTERM, then SIGKILL to it and its children."""
        try:
            self.terminate(seconds)
        except DeadlinePassed:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)
        finally:
            if self.process.stdin is not None:
                with contextlib.suppress(OSError):
                    self.process.stdin.close()
            self._at_the_end.cancel()


def run_program(
    arguments: Sequence[str],
    *,
    seconds: float = 60.0,
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
    text_in: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run to the end with a deadline; output is text and a failure carries it."""
    try:
        return subprocess.run(
            list(arguments),
            input=text_in,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env=None if env is None else dict(env),
            cwd=cwd,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise DeadlinePassed(f"{arguments[0]} still runs after {seconds:.0f} s: {late.output!r}") from None


def scratch_directory(prefix: str) -> Path:
    """A directory of its own under the system's temporary one; gone at the end of the test run unless
    ``PBX_KEEP_LOGS=1``."""
    directory = Path(tempfile.mkdtemp(prefix=f"pbx-test-{prefix}-"))
    if not os.environ.get("PBX_KEEP_LOGS"):
        when_leaving(shutil.rmtree, directory, ignore_errors=True)
    return directory


def cpu_seconds(pid: int, *, with_children: bool = False) -> float:
    """Processor time of a process so far (user and system, all its threads); with its living and ended children when
    asked. Ended grandchildren of a living child are counted too. 0.0 when the process is gone."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    todo = [pid]
    while todo:
        one = todo.pop()
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(value) for value in fields[11:15 if with_children else 13]) / ticks
        if with_children:
            for task in Path(f"/proc/{one}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    todo.extend(int(child) for child in task.read_text().split())
    return total
