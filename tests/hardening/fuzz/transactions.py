"""The transaction layer under any order of packets, answers and time. The bytes are the packet, and the script too."""

from __future__ import annotations

from sipcore.protocol.events import RequestReceived
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import Request, make_response
from sipcore.protocol.transaction import ClientTransaction, ServerTransaction
from tests.protocol.corpus_files import PHONE, SERVER, new_endpoint

FLOWS = (
    Flow("UDP", SERVER, PHONE),
    Flow("UDP", SERVER, ("203.0.113.9", 7)),  # the same phone behind another port
    Flow("UDP", SERVER, ("198.51.100.66", 5060)),  # somebody else
    Flow("TCP", SERVER, ("203.0.113.9", 50000), "1"),
)
STATUSES = (100, 180, 183, 200, 202, 302, 401, 486, 500, 603)
STEPS = 60
DAY = 86_400.0


def play(data: bytes) -> None:
    endpoint = new_endpoint(memory=6_000)
    script = data[:: max(1, len(data) // STEPS)][:STEPS]
    now = 1.0
    asked: list[tuple[Request, Flow]] = []
    servers: list[ServerTransaction] = []
    clients: list[ClientTransaction] = []
    packets = [data]
    came: set[Flow] = set()
    for byte in script:
        step, choice = byte % 10, byte // 10
        if step <= 2:
            flow = FLOWS[choice % 4]
            came.add(flow)
            endpoint.receive_datagram(packets[choice % len(packets)], flow, now)
        elif step == 3 and asked:
            request, flow = asked[choice % len(asked)]
            servers.append(endpoint.accept(request, flow, now))
        elif step == 4 and servers:
            transaction = servers[choice % len(servers)]
            endpoint.respond(transaction, make_response(transaction.request, STATUSES[choice % 10]), now)
        elif step == 5 and asked:
            request, flow = asked[choice % len(asked)]
            endpoint.reply_statelessly(request, make_response(request, 401), flow)
        elif step == 6:
            method = ("INVITE", "BYE", "OPTIONS")[choice % 3]
            head = [("From", "<sip:a@b>;tag=1"), ("To", "<sip:c@d>"), ("Call-ID", "x"), ("CSeq", f"1 {method}")]
            flow = FLOWS[choice % 4]
            came.add(flow)
            clients.append(endpoint.send_request(Request(method, "sip:c@d", head), flow, now))
        elif step == 7 and clients:
            transaction = clients[choice % len(clients)]
            answer = make_response(transaction.request, STATUSES[choice % 10], to_tag="t")
            endpoint.receive_datagram(answer.to_bytes(), transaction.flow, now)
        elif step == 8 and clients:
            transaction = clients[choice % len(clients)]
            (endpoint.cancel, endpoint.abandon)[choice % 2](transaction, *([now] if choice % 2 == 0 else []))
        elif step == 9:
            now += (0.0, 0.3, 0.6, 4.0, 33.0)[choice % 5]
            endpoint.handle_timeout(now)
            if choice == 25:
                endpoint.transport_failed(FLOWS[3], now)
        while (event := endpoint.next_event()) is not None:
            if isinstance(event, RequestReceived):
                asked.append((event.request, event.flow))
        for packet, flow in endpoint.datagrams_to_send():
            assert flow in came, "a packet to somebody who never sent one"
            if len(packets) < 8:
                packets.append(packet)
    for transaction in servers:
        endpoint.respond(transaction, make_response(transaction.request, 500), now)
    for transaction in clients:
        endpoint.abandon(transaction)
    sent = 0
    while (due := endpoint.next_timeout()) is not None:
        assert due < now + DAY, "a timer that never ends"
        endpoint.handle_timeout(due)
        sent += len(endpoint.datagrams_to_send())
        assert sent < 50 * STEPS, "it repeats without end"
    assert endpoint.transactions == 0, "a transaction that never ends"
    assert endpoint.answers_kept == 0, "an answer that is kept for ever"
