"""The floor of the benchmark: sends every datagram back, through the sockets and the drain of runsip's own loop.

``python -m tests.bench.echo_server PORT`` prints "listening" and runs until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys

from sipcore.udp_socket import UdpSocket


def drain(opened: UdpSocket) -> None:
    received, _more = opened.receive()
    if received:
        opened.send(received)


async def serve(port: int) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    opened = UdpSocket("127.0.0.1", port)
    loop.add_reader(opened.socket, drain, opened)
    print("listening", flush=True)
    await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
