"""The little of STUN (RFC 5389) that phones ask: under which address and port the world sees them."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import struct
import threading

from tests.support.network_namespaces import inside
from tests.verdicts.case import Host

PORT = 3478
COOKIE = 0x2112A442
REQUEST, SUCCESS, XOR_MAPPED_ADDRESS = 0x0001, 0x0101, 0x0020


class StunServer:
    """Answers binding requests on this machine until it is stopped."""

    def __init__(self, host: Host) -> None:
        with inside(host.namespace):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host.address, PORT))
        self._socket.settimeout(0.2)
        self._closing = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> StunServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._closing:
            try:
                data, (address, port) = self._socket.recvfrom(2048)
            except TimeoutError:
                continue
            kind, _length, _cookie, transaction = struct.unpack("!HHI12s", data[:20])
            if kind != REQUEST:
                continue
            value = struct.pack(
                "!BBHI", 0, 1, port ^ COOKIE >> 16, int(ipaddress.IPv4Address(address)) ^ COOKIE
            )
            attribute = struct.pack("!HH", XOR_MAPPED_ADDRESS, len(value)) + value
            answer = struct.pack("!HHI12s", SUCCESS, len(attribute), COOKIE, transaction) + attribute
            self._socket.sendto(answer, (address, port))


def public_address(phone: Host, port: int, server: Host) -> tuple[str, int]:
    """What the STUN server says to this port of the phone."""
    with inside(phone.namespace):
        asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with asking:
        asking.bind((phone.address, port))
        asking.settimeout(2)
        for _ in range(5):
            asking.sendto(struct.pack("!HHI12s", REQUEST, 0, COOKIE, secrets.token_bytes(12)), (server.address, PORT))
            try:
                data = asking.recv(2048)
            except TimeoutError:
                continue
            _family, masked_port, masked = struct.unpack("!xBHI", data[24:32])
            return str(ipaddress.IPv4Address(masked ^ COOKIE)), masked_port ^ COOKIE >> 16
    raise AssertionError("the STUN server does not answer")
