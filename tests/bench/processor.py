"""Processor time to the nanosecond: ``/proc/PID/stat`` counts in hundredths of a second, which is a tenth of what a
short phase takes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Of a process and all its descendants so far, all threads; what has ended and was waited for counts by hundredths.
    Threads that have ended are lost. 0.0 when the process is gone."""
    total, todo = 0.0, [pid]
    while todo:
        one = Path(f"/proc/{todo.pop()}")
        with contextlib.suppress(OSError):
            ended = (one / "stat").read_text().rpartition(")")[2].split()[13:15]
            total += sum(map(int, ended)) / TICKS
            for task in (one / "task").iterdir():
                total += task_seconds(task)
                with contextlib.suppress(OSError):
                    todo.extend(map(int, (task / "children").read_text().split()))
    return total


def main_thread_seconds(pid: int) -> float:
    return task_seconds(Path(f"/proc/{pid}/task/{pid}"))


def task_seconds(task: Path) -> float:
    """Of one thread, given its directory in /proc."""
    with contextlib.suppress(OSError):
        return int((task / "schedstat").read_text().split()[0]) / 1e9
    return 0.0
