"""gunicorn's thread worker for clients who are slow on purpose: a few unfinished requests must not take all threads."""

from __future__ import annotations

import errno
import selectors
import socket
import time
from functools import partial

from gunicorn.workers.gthread import TConn, ThreadWorker

READ_SECONDS = 10.0
"""In which a request has to be there whole, however it is cut."""

SEND_SECONDS = 60.0
"""In which each piece of an answer has to be taken."""


class PatientSocket(socket.socket):
    """Of a client. Patience ends like a connection that the other side has reset, about which nobody needs to hear."""

    until = 0.0  # monotonic

    def recv(self, size: int, flags: int = 0) -> bytes:
        left = self.until - time.monotonic()
        if left <= 0:
            raise ConnectionResetError(errno.ECONNRESET, "the request came too slowly")
        self.settimeout(left)
        try:
            return super().recv(size, flags)
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the request came too slowly") from None
        finally:
            self.settimeout(SEND_SECONDS)

    def sendall(self, data, flags: int = 0) -> None:
        try:
            super().sendall(data, flags)
        except TimeoutError:
            raise ConnectionResetError(errno.ECONNRESET, "the answer was taken too slowly") from None


class PatientWorker(ThreadWorker):
    def enqueue_req(self, conn: TConn) -> None:
        """A new connection costs no thread until it says something."""
        if isinstance(conn.sock, PatientSocket):
            super().enqueue_req(conn)
            return
        conn.sock = PatientSocket(fileno=conn.sock.detach())
        conn.sock.setblocking(False)
        conn.set_timeout()
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def handle(self, conn: TConn):
        conn.sock.until = time.monotonic() + READ_SECONDS
        return super().handle(conn)
