"""A ``tests.support.caller.Wire`` over TCP (RFC 3261 18.3)."""

from __future__ import annotations

import re
import socket
import time

from tests.support.caller import Address


class TcpWire:
    def __init__(self, server: Address, host: str = "127.0.0.1") -> None:
        self.server, self._host = server, host
        self.connect()

    def connect(self) -> None:
        """Connect anew, from another port."""
        self._socket = socket.create_connection(self.server, 5, source_address=(self._host, 0))
        self.address: Address = self._socket.getsockname()
        self._data = b""

    def send(self, data: bytes, to: Address) -> None:
        self._socket.settimeout(5)
        self._socket.sendall(data)

    def receive(self, seconds: float) -> tuple[bytes, Address] | None:
        end = time.monotonic() + seconds
        while (message := self._message()) is None:
            self._socket.settimeout(max(0.001, end - time.monotonic()))
            try:
                chunk = self._socket.recv(65536)
            except TimeoutError:
                return None
            if not chunk:
                raise ConnectionError("the server has closed the connection")
            self._data += chunk
        return message, self.server

    def _message(self) -> bytes | None:
        self._data = self._data.lstrip(b"\r\n")
        head, blank, body = self._data.partition(b"\r\n\r\n")
        if not blank:
            return None
        length = int(re.search(rb"(?i)\r\nContent-Length:\s*(\d+)", head)[1])  # type: ignore[index]
        if len(body) < length:
            return None
        self._data = body[length:]
        return head + blank + body[:length]

    def now(self) -> float:
        return time.monotonic()

    def close(self) -> None:
        self._socket.close()
