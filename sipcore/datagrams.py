"""Many datagrams by one system call: ``recvmmsg`` and ``sendmmsg`` of Linux, which Python's sockets do not have.

Around each call of a socket Python lets go of the interpreter, and while the store's thread has something to do, that
one takes it: every datagram would wait for a part of a batch. These calls do not wait (MSG_DONTWAIT), and keep the
interpreter. Memory for the kernel is laid out once, in the form of recvmsg(2), recvmmsg(2) and sendmmsg(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Sequence

from sipcore.protocol.ordinary import ordinary

AT_ONCE = 64
"""Datagrams by one call."""

LARGEST = 65_535
PLACE, CONTROL = 96, 32
"""Bytes for who is at the other end, and where in them the control message begins. A sockaddr_in6 has 28, and
CMSG_SPACE of an in6_pktinfo is 40."""


@ordinary
class _Buffer(ctypes.Structure):
    """struct iovec"""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


@ordinary
class _Message(ctypes.Structure):
    """struct msghdr"""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("buffers", ctypes.c_void_p),
        ("buffers_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


@ordinary
class _Header(ctypes.Structure):
    """struct mmsghdr"""

    _fields_ = (("message", _Message), ("size", ctypes.c_uint))


HEADER = ctypes.sizeof(_Header)

_LIBRARY = ctypes.PyDLL(None, use_errno=True)
_receive, _send = _LIBRARY.recvmmsg, _LIBRARY.sendmmsg
_send.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
_receive.argtypes = (*_send.argtypes, ctypes.c_void_p)


class _Places:
    """Memory for :data:`AT_ONCE` datagrams: what is in them, who is at the other end, and how long both are."""

    def __init__(self, name_length: int, control_length: int) -> None:
        # Nothing of it is resident before it is written to.
        content, others = bytearray(AT_ONCE * LARGEST), bytearray(AT_ONCE * PLACE)
        self.buffers, self._headers = (_Buffer * AT_ONCE)(), (_Header * AT_ONCE)()
        first, other = _address(content), _address(others)
        for index in range(AT_ONCE):
            buffer, message = self.buffers[index], self._headers[index].message
            buffer.base, buffer.length = first + index * LARGEST, LARGEST
            message.name, message.name_length = other + index * PLACE, name_length
            message.buffers, message.buffers_length = ctypes.addressof(buffer), 1
            if control_length:
                message.control, message.control_length = other + index * PLACE + CONTROL, control_length
        self.content, self.others = memoryview(content), memoryview(others)
        self.headers = memoryview(self._headers).cast("B")
        self.at = ctypes.addressof(self._headers)


def _address(memory: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class Receiver:
    """Of one socket, by its file number."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._places = _Places(CONTROL, PLACE - CONTROL)
        self._fresh, self._nobody = bytes(self._places.headers), bytes(AT_ONCE * PLACE)
        self._sizes = self._places.headers.cast("I")
        self._size, self._stride = ctypes.sizeof(_Message) // 4, HEADER // 4
        self._used = AT_ONCE

    def receive(self) -> list[tuple[bytes, bytes]]:
        """What waits in the kernel, at most :data:`AT_ONCE`: each datagram and who it is from, a sockaddr and at
        :data:`CONTROL` a control message, with zeros up to :data:`PLACE`. Raises OSError, but not because there is
        nothing."""
        places, used = self._places, self._used
        if used:  # the kernel has written there how long everything was
            places.headers[: used * HEADER] = self._fresh[: used * HEADER]
            places.others[: used * PLACE] = self._nobody[: used * PLACE]
        count: int = _receive(self._file, places.at, AT_ONCE, socket.MSG_DONTWAIT, None)
        self._used = max(count, 0)
        if count < 0:
            error = ctypes.get_errno()
            if error in (errno.EAGAIN, errno.EINTR):
                return []
            raise OSError(error, os.strerror(error))
        content, others, sizes, size, stride = places.content, places.others, self._sizes, self._size, self._stride
        # Each is copied at its own length: one that is kept would else keep a place of LARGEST bytes.
        return [
            (
                bytes(content[index * LARGEST : index * LARGEST + sizes[index * stride + size]]),
                bytes(others[index * PLACE : index * PLACE + PLACE]),
            )
            for index in range(count)
        ]


class Sender:
    """Of one socket, by its file number. ``name_length`` and ``control_length``: of what is in the place of whom it
    sends to."""

    def __init__(self, file: int, name_length: int, control_length: int) -> None:
        self._file = file
        self._places = _Places(name_length, control_length)
        self._lengths = memoryview(self._places.buffers).cast("B").cast("L")

    def send(self, datagrams: Sequence[tuple[bytes, bytes]]) -> int:
        """How many of these, from the first on, the kernel has taken, at most :data:`AT_ONCE`: each datagram and whom
        it is for, in :data:`PLACE` bytes. Raises OSError when not even the first: BlockingIOError when the kernel's
        buffer is full."""
        content, others, lengths = self._places.content, self._places.others, self._lengths
        count = 0
        for data, whom in datagrams[:AT_ONCE]:
            size, at, place = len(data), count * LARGEST, count * PLACE
            if size > LARGEST:
                break
            content[at : at + size] = data
            lengths[2 * count + 1] = size
            others[place : place + PLACE] = whom
            count += 1
        if not count:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        sent: int = _send(self._file, self._places.at, count, socket.MSG_DONTWAIT)
        if sent < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return sent
