"""Keeps the processes of the PBX running: starts again what ends, with a growing pause, and ends all together.

Each child has a process group of its own, so that Ctrl-C reaches the supervisor alone and the children end in order.
When the supervisor itself is killed, the kernel sends each child SIGTERM: nobody keeps a port as an orphan."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pbx.early_words import _
from sipcore.systemd import notify, watchdog_seconds

FIRST_PAUSE = 1.0  # seconds
LONGEST_PAUSE = 30.0
STEADY_AFTER = 60.0  # seconds of life after which the next pause is the first one again
# Seconds from SIGTERM to SIGKILL. runsip takes four at most, gunicorn three (two and its own end); with the killing all
# is over within 5.
KILL_AFTER = 4.6
READY_AT_LAST = 15.0  # seconds; by then the person is told where to look, whatever happens
PR_SET_PDEATHSIG = 1


@dataclass
class Child:
    """One process that shall always run."""

    name: str
    command: list[str]
    process: subprocess.Popen | None = None
    started_at: float = 0.0
    due_at: float = 0.0
    pause: float = field(default=FIRST_PAUSE)


class Supervisor:
    """``ready`` says whether the children serve; ``on_ready`` is called once in any case: when it first says so,
    after ``READY_AT_LAST`` seconds, or at the end."""

    def __init__(
        self,
        children: list[Child],
        ready: Callable[[], bool] = lambda: True,
        on_ready: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
    ) -> None:
        self.children = children
        self.ready = ready
        self.on_ready = on_ready
        self.say = say
        self.stopping = False
        self.was_ready = False
        self.was_announced = False
        self._began_at = time.monotonic()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._wake_end, self._signal_end = socket.socketpair()
        self._watchdog = watchdog_seconds()
        self._next_beat = 0.0

    def run(self) -> int:
        """Until SIGTERM, SIGINT or SIGHUP; returns 0 when every child ended as asked, 1 when one had to be killed."""
        for end in (self._wake_end, self._signal_end):
            end.setblocking(False)
        signal.set_wakeup_fd(self._signal_end.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_arguments: None)
        while not self.stopping:
            now = time.monotonic()
            for child in self.children:
                self._tend(child, now)
            self._announce(now)
            self._wait(self._next_due(now))
        self._announce(time.monotonic())
        return self._end_all()

    def _stop(self, *_arguments: object) -> None:
        self.stopping = True

    def _tend(self, child: Child, now: float) -> None:
        if child.process is not None:
            status = child.process.poll()
            if status is None:
                return
            self._kill_group(child, signal.SIGKILL)  # what it may have left behind
            child.process = None
            if now - child.started_at >= STEADY_AFTER:
                child.pause = FIRST_PAUSE
            child.due_at = now + child.pause
            sentence = _("%(name)s ended (%(how)s); it is started again in %(seconds)d s")
            self.say(sentence % {"name": child.name, "how": in_words(status), "seconds": child.pause})
            child.pause = min(child.pause * 2, LONGEST_PAUSE)
        if now >= child.due_at:
            self._start(child, now)

    def _start(self, child: Child, now: float) -> None:
        supervisor = os.getpid()
        # The children answer for themselves to nobody but us: the service manager hears the supervisor.
        environment = {
            name: value for name, value in os.environ.items()
            if name not in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        }

        def tie_to_supervisor() -> None:
            self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != supervisor:
                os._exit(1)  # it died before the line above

        child.started_at = now
        try:
            child.process = subprocess.Popen(
                child.command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=tie_to_supervisor, env=environment
            )
        except OSError as error:
            child.due_at = now + child.pause
            sentence = _("%(name)s cannot be started (%(reason)s); next try in %(seconds)d s")
            self.say(sentence % {"name": child.name, "reason": error.strerror, "seconds": child.pause})
            child.pause = min(child.pause * 2, LONGEST_PAUSE)

    def _announce(self, now: float) -> None:
        if not self.was_ready and all(child.process for child in self.children) and self.ready():
            self.was_ready = True
            notify("READY=1")
        if not self.was_announced and (self.was_ready or self.stopping or now - self._began_at > READY_AT_LAST):
            self.was_announced = True
            self.on_ready()
        if self._watchdog and self.was_ready and now >= self._next_beat:
            self._next_beat = now + self._watchdog
            notify("WATCHDOG=1")

    def _next_due(self, now: float) -> float | None:
        """Seconds until something has to be done, None for when there is nothing but to wait for a signal."""
        due = [child.due_at for child in self.children if child.process is None]
        if not self.was_ready:
            due.append(now + 0.1)
        elif self._watchdog:
            due.append(self._next_beat)
        return max(0.0, min(due) - now) if due else None

    def _wait(self, seconds: float | None) -> None:
        select.select([self._wake_end], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while self._wake_end.recv(4096):
                pass

    def _end_all(self) -> int:
        notify("STOPPING=1")
        deadline = time.monotonic() + KILL_AFTER
        living = [child for child in self.children if child.process is not None]
        for child in living:
            self._signal(child, signal.SIGTERM)
        while (left := deadline - time.monotonic()) > 0 and any(child.process.poll() is None for child in living):
            self._wait(left)
        killed = [child for child in living if child.process.poll() is None]
        for child in living:
            self._kill_group(child, signal.SIGKILL)
            child.process.wait()
        for child in killed:
            self.say(_("%(name)s did not end in time and was killed") % {"name": child.name})
        signal.set_wakeup_fd(-1)
        return 1 if killed else 0

    @staticmethod
    def _signal(child: Child, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            child.process.send_signal(number)

    @staticmethod
    def _kill_group(child: Child, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, number)


def in_words(status: int) -> str:
    if status < 0:
        return _("signal %(name)s") % {"name": signal.Signals(-status).name}
    return _("status %(number)d") % {"number": status}
