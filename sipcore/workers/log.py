"""The log of one of several workers, who all write into one pipe or file."""

from __future__ import annotations

import select

from sipcore.log import SipLog


class SharedLog(SipLog):
    """Whole lines are written in pieces that the kernel does not mix with those of others (PIPE_BUF of POSIX)."""

    def _write_out(self, data: bytes) -> None:
        start = 0
        while start < len(data):
            end = data.rfind(b"\n", start, start + select.PIPE_BUF) + 1
            if end <= start:  # one line longer than that
                end = data.find(b"\n", start) + 1 or len(data)
            super()._write_out(data[start:end])
            start = end
