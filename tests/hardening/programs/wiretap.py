"""Every UDP packet that leaves one port of this machine, and where it goes: what a program only believes to be sent
nowhere else is seen here, whoever listens there."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

ETH_P_IP = 0x0800
ETH_P_ALL = 0x0003
SO_ATTACH_FILTER = 26
PACKET_OUTGOING = 4
ROOM = 16 * 1024 * 1024  # bytes that the kernel keeps until they are read


@dataclass(frozen=True)
class Packet:
    destination: tuple[str, int]
    data: bytes


class Wiretap:
    """``port``: the source port. Needs root; raises ``PermissionError`` without."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        program = b"".join(struct.pack("HBBI", *step) for step in _udp_from(port))
        kept = ctypes.create_string_buffer(program)
        attached = struct.pack("HL", len(program) // 8, ctypes.addressof(kept))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, attached)
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, 33, ROOM)  # SO_RCVBUFFORCE
        self._socket.setblocking(False)

    def __enter__(self) -> Wiretap:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def packets(self) -> Iterator[Packet]:
        """Those since the last call."""
        while True:
            try:
                data, address = self._socket.recvfrom(65535)
            except BlockingIOError:
                return
            if address[2] != PACKET_OUTGOING:
                continue  # on the loopback interface each one is seen leaving and coming
            header = (data[0] & 15) * 4
            port = struct.unpack_from(">H", data, header + 2)[0]
            yield Packet((socket.inet_ntoa(data[16:20]), port), data[header + 8 :])


def _udp_from(port: int) -> list[tuple[int, int, int, int]]:
    """A classic BPF program over an IPv4 packet: UDP, this source port, no later fragment."""
    load_byte, load_half_indexed, load_header, jump_equal, back = 0x30, 0x48, 0xB1, 0x15, 0x06
    return [
        (load_byte, 0, 0, 9),
        (jump_equal, 0, 4, 17),
        (load_header, 0, 0, 0),
        (load_half_indexed, 0, 0, 0),
        (jump_equal, 0, 1, port),
        (back, 0, 0, 65535),
        (back, 0, 0, 0),
    ]
