"""The SIP log: one line a message, ``[SIP]`` first, to stderr.

A line is formatted once into a bounded buffer; a thread writes what has gathered there. So a terminal or a
journal that blocks never stops a phone call; what had to be dropped is counted and said. A text from the network
cannot forge a line: everything that does not print is escaped. Lines are in English, because people search the
net for them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from contextlib import suppress
from enum import IntEnum
from typing import Protocol

BUFFER_LINES = 20_000
WRITTEN_AT_ONCE = 1000
_MILLISECONDS = tuple(f",{number:03d}" for number in range(1000))

STRANGER_LINES = 50
"""Lines a second about senders that never registered, before they are summed up."""


class Level(IntEnum):
    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class Log(Protocol):
    """Lines of one level each, which never hold up who writes them."""

    level: Level

    def debug(self, text: str) -> None: ...

    def info(self, text: str) -> None: ...

    def info_lines(self, *texts: str) -> None:
        """Several lines of one moment, each of them known to print."""

    def warning(self, text: str) -> None: ...

    def error(self, text: str) -> None: ...

    def stranger(self) -> bool:
        """Whether a line about an unknown sender may be written now. Those left out are summed into one line."""

    def sum_up(self) -> None:
        """Say how many lines about unknown senders were left out since the last time."""

    @property
    def waiting(self) -> bool:
        """Whether there are lines that nobody has handed to the writing thread yet."""

    def flush(self) -> None:
        """Hand what has been collected to the writing thread; never waits. Each time that thread wakes, it takes the
        interpreter from whoever has it: better not at once and not for one line."""


class SipLog:
    """See :class:`Log`. ``fd``: the file descriptor to write to. ``style``: "text" or "json"."""

    def __init__(self, fd: int = 2, style: str = "text", level: Level = Level.INFO) -> None:
        self._fd = fd
        self._json = style == "json"
        self.level = level
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._stamp = -1, ""
        self._stranger_second = -1
        self._stranger_lines = 0
        self._stranger_left_out = 0
        self._ready = threading.Lock()  # free when there is something to write
        self._ready.acquire()
        self._closing = False
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def info(self, text: str) -> None:
        if self.level <= Level.INFO:
            self._add("INFO", text)

    def info_lines(self, *texts: str) -> None:
        if self.level > Level.INFO:
            return
        lines = self._lines
        if self._json or len(lines) + len(texts) > BUFFER_LINES:
            for text in texts:
                self._add("INFO", text)
            return
        stamp = self._stamp_now()
        for text in texts:
            lines.append(f"{stamp} INFO [SIP] {text}\n")

    def debug(self, text: str) -> None:
        if self.level <= Level.DEBUG:
            self._add("DEBUG", text)

    def warning(self, text: str) -> None:
        if self.level <= Level.WARNING:
            self._add("WARNING", text)

    def error(self, text: str) -> None:
        self._add("ERROR", text)

    def stranger(self) -> bool:
        second = int(time.time())
        if second != self._stranger_second:
            self.sum_up()
            self._stranger_second = second
            self._stranger_lines = 0
        self._stranger_lines += 1
        if self._stranger_lines > STRANGER_LINES:
            self._stranger_left_out += 1
            return False
        return True

    def sum_up(self) -> None:
        if self._stranger_left_out:
            self.info(f"{self._stranger_left_out} more lines about unknown senders left out")
            self._stranger_left_out = 0

    @property
    def waiting(self) -> bool:
        return bool(self._lines) and self._ready.locked()

    def flush(self) -> None:
        if self._lines:
            self._wake()

    def close(self, timeout: float = 2.0) -> None:
        """Write what is left, at most ``timeout`` seconds."""
        self._closing = True
        self._wake()
        self._writer.join(timeout)

    def _wake(self) -> None:
        if self._ready.locked():
            with suppress(RuntimeError):  # another thread was faster
                self._ready.release()

    def _add(self, level: str, text: str) -> None:
        if len(self._lines) >= BUFFER_LINES:
            self._dropped += 1
            return
        if not text.isprintable():
            text = _escaped(text)
        stamp = self._stamp_now()
        if self._json:
            record = {"time": stamp.replace(",", "."), "level": level, "logger": "sip", "message": text}
            self._lines.append(json.dumps(record, ensure_ascii=False) + "\n")
        else:
            self._lines.append(f"{stamp} {level} [SIP] {text}\n")

    def _stamp_now(self) -> str:
        now = time.time()
        second, text = self._stamp  # together: several threads log
        if not 0 <= now - second < 1:  # thousands of lines a second share theirs
            second = int(now)
            text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self._stamp = second, text
        return text + _MILLISECONDS[int((now - second) * 1000)]

    def _write(self) -> None:
        lines = self._lines
        while True:
            self._ready.acquire()
            chunk = [lines.popleft() for _ in range(min(len(lines), WRITTEN_AT_ONCE))]
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                self._add("WARNING", f"{dropped} log lines were dropped because the log could not be written in time")
            if chunk:
                self._write_out("".join(chunk).encode("utf-8", "backslashreplace"))
            if lines:
                self._wake()
            elif self._closing:
                return

    def _write_out(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                time.sleep(0.05)
            except OSError:
                return  # nobody reads the log any more; calls go on


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
