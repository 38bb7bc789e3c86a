"""Two endpoints joined by a fake link and a fake clock (style item 10): loss and doubling are one line each."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sipcore.protocol import events
from sipcore.protocol.endpoint import Endpoint
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import Request

from .corpus_files import new_endpoint

Packet = tuple[float, str, bytes]  # when, who sent it, the bytes
Handler = Callable[["Side", events.Event, float], None]


@dataclass
class Side:
    """One end: its endpoint, the flow to the other end, and what it was told."""

    name: str
    flow: Flow
    handler: Handler | None = None
    endpoint: Endpoint = field(default_factory=new_endpoint)
    told: list[events.Event] = field(default_factory=list)

    def told_of(self, kind: type) -> list[events.Event]:
        return [event for event in self.told if isinstance(event, kind)]

    @property
    def statuses(self) -> list[int]:
        return [event.response.status for event in self.told if isinstance(event, events.ResponseReceived)]

    @property
    def methods(self) -> list[str]:
        return [event.request.method for event in self.told if isinstance(event, events.RequestReceived)]


class Link:
    """Carries packets in `delay` seconds. `copies(number)` says how often packet `number` arrives: 0 is a loss."""

    def __init__(
        self, answer: Handler, copies: Callable[[int], int] = lambda number: 1, transport: str = "UDP"
    ) -> None:
        a, b = ("192.0.2.1", 5060), ("192.0.2.2", 5060)
        self.phone = Side("phone", Flow(transport, a, b), endpoint=new_endpoint("a"))
        self.server = Side("server", Flow(transport, b, a), answer, endpoint=new_endpoint("b"))
        self.copies = copies
        self.now = 0.0
        self.delay = 0.01
        self.log: list[Packet] = []
        self._air: list[tuple[float, Side, bytes]] = []

    def run(self, until: float = 100.0) -> None:
        """Let time pass until nothing is left to happen, or it is `until`."""
        while True:
            self._drain(self.phone, self.server)
            self._drain(self.server, self.phone)
            times = [packet[0] for packet in self._air]
            times += [t for side in (self.phone, self.server) if (t := side.endpoint.next_timeout()) is not None]
            if not times or min(times) > until:
                self.now = until if times else self.now
                return
            self.now = max(self.now, min(times))
            arrived = [packet for packet in self._air if packet[0] <= self.now]
            self._air = [packet for packet in self._air if packet[0] > self.now]
            for _, side, data in arrived:
                side.endpoint.receive_datagram(data, side.flow, self.now)
            for side in (self.phone, self.server):
                side.endpoint.handle_timeout(self.now)

    def _drain(self, side: Side, other: Side) -> None:
        while (event := side.endpoint.next_event()) is not None:
            side.told.append(event)
            if side.handler is not None:
                side.handler(side, event, self.now)
        for data, _ in side.endpoint.datagrams_to_send():
            number = len(self.log)
            self.log.append((round(self.now, 3), side.name, data))
            self._air += [(self.now + self.delay, other, data)] * self.copies(number)

    def times(self, name: str, start: bytes) -> list[float]:
        """When `name` sent something that begins so."""
        return [when for when, who, data in self.log if who == name and data.startswith(start)]


def request(method: str, cseq: int = 1, call_id: str = "c1", **headers: str) -> Request:
    lines = [
        ("From", "<sip:1001@pbx.test>;tag=f1"),
        ("To", "<sip:1002@pbx.test>"),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} {method}"),
        ("Contact", "<sip:1001@192.0.2.1>"),
    ]
    return Request(method, "sip:1002@pbx.test", [*lines, *headers.items()])
