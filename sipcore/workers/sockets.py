"""The sockets of a port that several workers share, opened by their parent, who keeps them.

Since the parent has them all from the beginning to the end, the kernel deals what comes in the same way as long as it
lives: when a worker dies, what is sent to it waits in its socket until it has been started again, and nobody else's
phones change their worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sipcore.protocol.flow import Flow
from sipcore.server import PORT_TRIES
from sipcore.tcp_listener import TcpListener
from sipcore.udp_socket import Address, CannotListen, UdpSocket, share_port

Pair = tuple[UdpSocket, TcpListener]


class SharedUdpSocket(UdpSocket):
    """What is read from it is ours: ``hand_over`` has taken what is another worker's."""

    hand_over: Callable[[bytes, Flow], bool]

    def receive(self) -> tuple[list[tuple[bytes, Flow]], bool]:
        arrived, more = super().receive()
        hand_over = self.hand_over
        return [packet for packet in arrived if not hand_over(*packet)], more


def open_shared(addresses: Iterable[Address], workers: int) -> list[list[Pair]]:
    """For each worker a pair of each address. Raises :class:`~sipcore.udp_socket.CannotListen`, also when another PBX
    of ours shares this port among its workers; then nothing stays open."""
    opened: list[list[Pair]] = [[] for _ in range(workers)]
    try:
        for host, port in addresses:
            first = _first(host, port)
            opened[0].append(first)
            for pairs in opened[1:]:
                pairs.append(_beside(host, first[0].port))
    except CannotListen:
        close(pair for pairs in opened for pair in pairs)
        raise
    return opened


def close(pairs: Iterable[Pair]) -> None:
    for udp, tcp in pairs:
        udp.socket.close()
        tcp.socket.close()


def take_over(
    files: Iterable[Iterable[int]], addresses: Iterable[Address], hand_over: Callable[[bytes, Flow], bool]
) -> Iterable[Pair]:
    """What the parent has opened for this worker, in the order of ``addresses``."""
    for (host, port), (udp, tcp) in zip(addresses, files, strict=True):
        opened = SharedUdpSocket(host, port, file=udp)
        opened.hand_over = hand_over
        yield opened, TcpListener(host, port, file=tcp)


def _first(host: str, port: int) -> Pair:
    """Bound as one that shares with nobody: whoever has the port already is found."""
    for tries in range(1, PORT_TRIES + 1):
        udp = UdpSocket(host, port)
        try:
            tcp = TcpListener(host, udp.port)
        except CannotListen:
            udp.socket.close()
            if port or tries == PORT_TRIES:
                raise
        else:
            share_port(udp.socket)
            share_port(tcp.socket)
            return udp, tcp
    raise AssertionError("unreachable")


def _beside(host: str, port: int) -> Pair:
    udp = UdpSocket(host, port, beside=True)
    try:
        return udp, TcpListener(host, port, beside=True)
    except CannotListen:
        udp.socket.close()
        raise
