"""What the PBX sends, wherever it sends it: seen on its own port, so that no answer is missed where nobody listens."""

from __future__ import annotations

import re
from collections import Counter
from unittest import SkipTest

from tests.hardening.programs.wiretap import Wiretap

STATUS = re.compile(rb"SIP/2\.0 ([1-6]\d\d) ")
DEMANDED = re.compile(rb"(?i)\ASIP/2\.0 500 CSeq Out Of Order|\r\nRetry-After:")


class Answers:
    """``counts``: how often each status; ``broken``: the 500s that nobody asked for. RFC 3261 demands one within a
    dialog: for a CSeq that goes back (12.2.2), and with a Retry-After while an INVITE waits (14.2)."""

    def __init__(self, port: int) -> None:
        self.counts: Counter[int] = Counter()
        self.broken: list[str] = []
        self.demanded = 0
        try:
            self._tap = Wiretap(port)
        except PermissionError:
            raise SkipTest("only root sees every packet that leaves a port") from None

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *_: object) -> None:
        self._tap.__exit__()

    def gather(self) -> None:
        """Look at those since the last call."""
        for packet in self._tap.packets():
            self.take(packet.data)

    def take(self, data: bytes) -> None:
        if not (found := STATUS.match(data)):
            return
        status = int(found[1])
        self.counts[status] += 1
        if status == 500:
            if DEMANDED.search(data):
                self.demanded += 1
            else:
                self.broken.append(data.partition(b"\r\n\r\n")[0].decode("utf-8", "replace"))
