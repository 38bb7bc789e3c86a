"""An honest phone that registers again and again while a program does its worst, and what the PBX's process shows of
itself from outside: its memory and its log."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

from tests.support.pbx import RunningPbx
from tests.support.phone import AnswerFault, NoAnswer, Phone

PAUSE = 0.02
"""Seconds between two registrations."""

RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?:DEBUG|INFO|WARNING|ERROR) \S")
BROKEN = re.compile(r"Traceback|could not be handled|could not be answered|A batch failed| ERROR ")


class HonestPhone(threading.Thread):
    """A context manager. ``seconds``: how long each registration took; ``faults``: what went wrong, in words."""

    def __init__(self, pbx: RunningPbx, number: str, password: str, pause: float = PAUSE) -> None:
        super().__init__(name=f"honest-{number}", daemon=True)
        self.seconds: list[float] = []
        self.statuses: list[int] = []
        self.faults: list[str] = []
        self._phone = Phone(pbx.server, number, password, pbx.domain, patience=10.0)
        self._pause = pause
        self._over = threading.Event()

    def __enter__(self) -> HonestPhone:
        self._phone.register()  # the first one asks for a challenge: two round trips
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(20)
        self._phone.close()

    def run(self) -> None:
        while not self._over.is_set():
            begin = time.monotonic()
            try:
                status = self._phone.register().status
                if status != 200:
                    self.faults.append(f"{status}")
                self.statuses.append(status)
            except (AnswerFault, NoAnswer, OSError) as fault:
                self.faults.append(str(fault).partition("\n")[0])
            self.seconds.append(time.monotonic() - begin)
            self._over.wait(self._pause)

    @property
    def slowest(self) -> float:
        return max(self.seconds, default=0.0)

    def share(self, percent: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0

    def __str__(self) -> str:
        return (
            f"{len(self.seconds)} times, p50 {self.share(50) * 1000:.0f}, p99 {self.share(99) * 1000:.0f}, "
            f"slowest {self.slowest * 1000:.0f} ms"
        )


def memory(pbx: RunningPbx) -> float:
    """Megabytes that its process holds."""
    status = Path(f"/proc/{pbx.program.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s*(\d+)", status)[1]) / 1024  # type: ignore[index]


def odd_lines(log: str) -> list[str]:
    """Those that are no record of their own: torn, of two lines, or with what a terminal would obey."""
    # Not splitlines(): it also splits at characters that a terminal does not, which is a finding too.
    return [line for line in log.split("\n") if line and not (RECORD.match(line) and line.isprintable())]


def broken_lines(log: str) -> list[str]:
    """Those that tell of an exception."""
    return [line for line in log.split("\n") if BROKEN.search(line)]


def some(lines: list[str]) -> str:
    """The first of them, for a figure."""
    return f"{len(lines)}, first {lines[0][:160]!r}" if lines else "none"
