"""A question behind a batch of messages. The server takes them in order, so its answer tells that all were taken, and
how long that took."""

from __future__ import annotations

import secrets
import socket
import time

from tests.support.pbx import RunningPbx

AGAIN = 1.0
"""Seconds after which the question is asked again: it may have been lost in a full buffer."""

PATIENCE = 20.0


class Stalled(AssertionError):
    """It does not answer any more."""


class Barrier:
    def __init__(self, pbx: RunningPbx, host: str) -> None:
        self._server, self._domain = pbx.server, pbx.domain
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self._place = f"{host}:{self._socket.getsockname()[1]}"
        self.seconds: list[float] = []

    def close(self) -> None:
        self._socket.close()

    def wait(self) -> float:
        """Seconds until everything sent before was taken. Raises ``Stalled``."""
        branch = f"z9hG4bK{secrets.token_hex(8)}"
        data = (
            f"OPTIONS sip:{self._domain} SIP/2.0\r\nVia: SIP/2.0/UDP {self._place};rport;branch={branch}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:barrier@{self._domain}>;tag={branch[-8:]}\r\nTo: <sip:{self._domain}>\r\n"
            f"Call-ID: {branch}\r\nCSeq: 1 OPTIONS\r\nUser-Agent: the question behind each batch of messages\r\n"
            "Subject: it is long enough to be answered in full, since nobody gets back much more than he sent\r\n"
            "Content-Length: 0\r\n\r\n"
        ).encode()
        begin = time.monotonic()
        while (took := time.monotonic() - begin) < PATIENCE:
            self._socket.sendto(data, self._server)
            self._socket.settimeout(AGAIN)
            try:
                while branch.encode() not in self._socket.recv(65535):
                    pass
            except (TimeoutError, ConnectionRefusedError):
                continue
            took = time.monotonic() - begin
            self.seconds.append(took)
            return took
        raise Stalled(f"no answer for {took:.0f} s")
