"""Stands in for very many phones: answers each ping that comes to one port of any of this machine's addresses, from the
address that it was sent to. ``python -m tests.bench.ping_answers PORT``; says "listening" and ends with its parent."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys

PKTINFO = 8  # IP_PKTINFO, which Python 3.11 does not name


def main(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        udp.setsockopt(socket.IPPROTO_IP, PKTINFO, 1)
        udp.bind(("0.0.0.0", port))
        print("listening", flush=True)
        while True:
            data, ancillary, _flags, sender = udp.recvmsg(65_535, 64)
            if not data.startswith(b"OPTIONS "):
                continue
            _interface, _specific, destination = struct.unpack("=I4s4s", ancillary[0][2])
            answer = b"SIP/2.0 200 OK" + data[data.index(b"\r\n") :]
            source = [(socket.IPPROTO_IP, PKTINFO, struct.pack("=I4s4s", 0, destination, b""))]
            with contextlib.suppress(OSError):
                udp.sendmsg([answer], source, 0, sender)


if __name__ == "__main__":
    main(int(sys.argv[1]))
