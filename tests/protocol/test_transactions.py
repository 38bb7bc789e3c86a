"""The four transactions on a fake link: RFC 3261 17, RFC 6026, with loss, doubling and the timers by their letters."""

import random
import unittest
from collections.abc import Callable

from sipcore.protocol import events
from sipcore.protocol.message import Request, make_response
from sipcore.protocol.transaction import TABLE, Kind, ServerTransaction, State, Timers

from .link import Handler, Link, Side, request


def answering(*statuses: int) -> Handler:
    """A core that accepts each request and answers at once with these."""

    def handle(side: Side, event: events.Event, now: float) -> None:
        if isinstance(event, events.RequestReceived) and event.request.method != "ACK":
            transaction = side.endpoint.accept(event.request, event.flow, now)
            for status in statuses:
                side.endpoint.respond(transaction, make_response(event.request, status), now)

    return handle


def silent(side: Side, event: events.Event, now: float) -> None:
    if isinstance(event, events.RequestReceived) and event.request.method != "ACK":
        side.endpoint.accept(event.request, event.flow, now)


def lose(*numbers: int) -> Callable[[int], int]:
    return lambda number: 0 if number in numbers else 1


def nothing_arrives(number: int) -> int:
    return 0


class NonInviteTest(unittest.TestCase):
    def test_asked_and_answered(self):
        link = Link(answering(200))
        link.phone.endpoint.send_request(request("REGISTER"), link.phone.flow, 0.0)
        link.run()
        self.assertEqual((link.phone.statuses, link.server.methods, len(link.log)), ([200], ["REGISTER"], 2))
        self.assertEqual([side.endpoint.transactions for side in (link.phone, link.server)], [0, 0])
        self.assertEqual(link.server.endpoint.answers_kept, 0)

    def test_an_answer_is_known_by_its_branch_whatever_else_the_phone_writes_into_our_via(self):
        for added, known in (
            ("", True), ("=5060;received=192.0.2.9", True), ("=x;note", True), (";branch=other", False),
            (", SIP/2.0/UDP elsewhere", False),
        ):  # fmt: skip
            link = Link(silent)
            endpoint = link.phone.endpoint
            transaction = endpoint.send_request(request("REGISTER"), link.phone.flow, 0.0)
            answer = make_response(transaction.request, 200)
            via = answer.get("Via")
            answer.set("Via", via + added)
            endpoint.receive_datagram(answer.to_bytes(), link.phone.flow, 0.1)
            found = []
            while (event := endpoint.next_event()) is not None:
                found.append(isinstance(event, events.ResponseReceived))
            self.assertEqual([known], found, added)

    def test_timers_e_and_f_when_nobody_is_there(self):
        link = Link(silent, nothing_arrives)
        transaction = link.phone.endpoint.send_request(request("OPTIONS"), link.phone.flow, 0.0)
        link.run()
        self.assertEqual(
            link.times("phone", b"OPTIONS"), [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
        )  # RFC 3261 17.1.2.2, word for word
        self.assertEqual(link.now, 32.0)
        self.assertEqual(link.phone.told, [events.TransactionTimeout(transaction)])
        self.assertTrue(transaction.terminated)

    def test_lost_request_is_sent_again(self):
        link = Link(answering(200), lose(0))
        link.phone.endpoint.send_request(request("REGISTER"), link.phone.flow, 0.0)
        link.run()
        self.assertEqual((link.phone.statuses, link.server.methods), ([200], ["REGISTER"]))

    def test_lost_answer_is_repeated_from_memory(self):
        link = Link(answering(200), lose(1))
        link.phone.endpoint.send_request(request("REGISTER"), link.phone.flow, 0.0)
        link.run()
        self.assertEqual((link.phone.statuses, link.server.methods), ([200], ["REGISTER"]))
        self.assertEqual(len(link.server.told_of(events.Retransmission)), 1)
        answers = [data for _, who, data in link.log if who == "server"]
        self.assertEqual(answers[0], answers[1])

    def test_answer_is_kept_for_64_t1(self):
        link = Link(answering(200))
        link.phone.endpoint.send_request(request("REGISTER"), link.phone.flow, 0.0)
        link.run(until=0.1)
        packet = link.log[0][2]
        for now, kept in ((31.9, True), (36.2, False)):
            link.server.endpoint.handle_timeout(now)
            link.server.endpoint.receive_datagram(packet, link.server.flow, now)
            event = link.server.endpoint.next_event()
            self.assertIs(type(event), events.Retransmission if kept else events.RequestReceived)

    def test_after_a_provisional_timer_e_is_t2(self):
        link = Link(answering(100))
        link.phone.endpoint.send_request(request("OPTIONS"), link.phone.flow, 0.0)
        link.run(until=20)
        self.assertEqual(link.times("phone", b"OPTIONS"), [0, 0.5, 4.5, 8.5, 12.5, 16.5])

    def test_repetitions_before_the_answer_are_absorbed(self):
        link = Link(silent)
        link.phone.endpoint.send_request(request("REGISTER"), link.phone.flow, 0.0)
        link.run(until=3)
        self.assertEqual(link.server.methods, ["REGISTER"])
        self.assertEqual(link.times("server", b""), [])

    def test_two_copies_in_one_drain_are_one_request(self):
        """Both copies are read before the core sees the first one."""
        link = Link(answering(200), lambda number: 2 if number == 0 else 1)
        link.phone.endpoint.send_request(request("REGISTER"), link.phone.flow, 0.0)
        link.run()
        self.assertEqual((link.server.methods, link.phone.statuses), (["REGISTER"], [200]))

    def test_reliable_transport_sends_once(self):
        link = Link(silent, nothing_arrives, "TCP")
        link.phone.endpoint.send_request(request("OPTIONS"), link.phone.flow, 0.0)
        link.run()
        self.assertEqual((link.times("phone", b"OPTIONS"), link.now), ([0], 32.0))
        link = Link(answering(200), transport="TCP")
        transaction = link.phone.endpoint.send_request(request("OPTIONS"), link.phone.flow, 0.0)
        link.run()
        self.assertTrue(transaction.terminated)  # timers J and K are zero
        self.assertEqual((link.now, link.server.endpoint.answers_kept), (0.02, 0))

    def test_broken_flow(self):
        link = Link(silent, nothing_arrives)
        transaction = link.phone.endpoint.send_request(request("OPTIONS"), link.phone.flow, 0.0)
        link.phone.endpoint.transport_failed(link.phone.flow, 0.1)
        link.run()
        self.assertEqual(link.phone.told, [events.TransportFailed(transaction, link.phone.flow)])
        self.assertEqual(link.phone.endpoint.transactions, 0)


class InviteTest(unittest.TestCase):
    def test_timers_a_and_b_when_nobody_is_there(self):
        link = Link(silent, nothing_arrives)
        transaction = link.phone.endpoint.send_request(request("INVITE"), link.phone.flow, 0.0)
        link.run()
        self.assertEqual(link.times("phone", b"INVITE"), [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
        self.assertEqual((link.now, link.phone.told), (32.0, [events.TransactionTimeout(transaction)]))

    def test_ringing_stops_the_repetitions_and_may_last(self):
        link = Link(answering(100, 180))
        link.phone.endpoint.send_request(request("INVITE"), link.phone.flow, 0.0)
        link.run(until=170)
        self.assertEqual((link.times("phone", b"INVITE"), link.phone.statuses), ([0], [100, 180]))

    def test_failure_is_acknowledged_by_the_transaction(self):
        link = Link(answering(100, 486))
        transaction = link.phone.endpoint.send_request(request("INVITE", Route="<sip:r;lr>"), link.phone.flow, 0.0)
        link.run()
        self.assertEqual((link.phone.statuses, link.server.methods), ([100, 486], ["INVITE"]))
        [ack] = [data for _, who, data in link.log if data.startswith(b"ACK")]
        self.assertIn(b"CSeq: 1 ACK\r\n", ack)
        self.assertIn(f"branch={transaction.request.via.branch};".encode(), ack)
        self.assertIn(b"Route: <sip:r;lr>\r\n", ack)
        self.assertRegex(ack, rb"To: <sip:1002@pbx.test>;tag=[0-9a-f]+\r\n")
        self.assertTrue(transaction.terminated)
        self.assertEqual(link.server.endpoint.transactions, 0)

    def test_lost_ack_timer_g_repeats_the_failure(self):
        link = Link(answering(486), lose(2, 4))
        link.phone.endpoint.send_request(request("INVITE"), link.phone.flow, 0.0)
        link.run()
        self.assertEqual(link.times("server", b"SIP/2.0 486"), [0.01, 0.51, 1.51])
        self.assertEqual((len(link.times("phone", b"ACK")), link.phone.statuses), (3, [486]))

    def test_ack_never_comes_timer_h(self):
        link = Link(answering(486))
        link.copies = lambda number: 0 if link.log[number][2].startswith(b"ACK") else 1
        link.phone.endpoint.send_request(request("INVITE"), link.phone.flow, 0.0)
        link.run()
        self.assertEqual(
            link.times("server", b"SIP/2.0 486"),
            [0.01, 0.51, 1.51, 3.51, 7.51, 11.51, 15.51, 19.51, 23.51, 27.51, 31.51],
        )
        self.assertEqual(len(link.server.told_of(events.TransactionTimeout)), 1)

    def test_success_goes_to_the_core_each_time_and_the_ack_too(self):
        """RFC 6026: the 2xx belongs to the cores, the transactions only stay to let it through."""
        link = Link(answering(200))
        transaction = link.phone.endpoint.send_request(request("INVITE"), link.phone.flow, 0.0)
        link.run(until=0.1)
        self.assertIs(transaction.state, State.ACCEPTED)
        server = link.server.told_of(events.RequestReceived)[0].request
        [open_transaction] = link.server.endpoint._servers.values()
        link.server.endpoint.respond(open_transaction, make_response(server, 200), link.now)
        ack = request("ACK")
        link.phone.endpoint.send_statelessly(ack, link.phone.flow)
        link.run(until=1)
        self.assertEqual((link.phone.statuses, link.server.methods), ([200, 200], ["INVITE", "ACK"]))
        link.run()
        self.assertTrue(transaction.terminated and open_transaction.terminated)  # timers M and L

    def test_repeated_invite_after_success_is_absorbed(self):
        link = Link(answering(200), lambda number: 2 if number == 0 else 1)
        link.phone.endpoint.send_request(request("INVITE"), link.phone.flow, 0.0)
        link.run(until=0.1)
        packet = link.log[0][2]
        link.server.endpoint.receive_datagram(packet, link.server.flow, 0.2)
        self.assertIsInstance(link.server.endpoint.next_event(), events.Retransmission)
        self.assertEqual(link.server.endpoint.datagrams_to_send(), [])

    def test_cancel_has_the_branch_of_the_invite(self):
        def handle(side: Side, event: events.Event, now: float) -> None:
            if not isinstance(event, events.RequestReceived):
                return
            transaction = side.endpoint.accept(event.request, event.flow, now)
            if event.request.method == "INVITE":
                side.endpoint.respond(transaction, make_response(event.request, 180), now)
            if event.request.method == "CANCEL":
                side.endpoint.respond(transaction, make_response(event.request, 200), now)
                invite = side.endpoint.invite_of(event.request, event.flow)
                assert invite is not None
                side.endpoint.respond(invite, make_response(invite.request, 487), now)

        link = Link(handle)
        invite = link.phone.endpoint.send_request(request("INVITE"), link.phone.flow, 0.0)
        self.assertIsNone(link.phone.endpoint.cancel(invite, 0.0))  # nothing came back yet: RFC 3261 9.1
        link.run(until=1)
        cancel = link.phone.endpoint.cancel(invite, 1.0)
        self.assertEqual(cancel.request.via.branch, invite.request.via.branch)
        link.run()
        self.assertEqual((link.phone.statuses, link.server.methods), ([180, 200, 487], ["INVITE", "CANCEL"]))
        self.assertIsNone(link.phone.endpoint.cancel(invite, link.now))

    def test_a_strangers_cancel_finds_nothing(self):
        link = Link(answering(180))
        invite = link.phone.endpoint.send_request(request("INVITE"), link.phone.flow, 0.0)
        link.run(until=1)
        link.phone.endpoint.cancel(invite, 1.0)
        [(packet, _)] = link.phone.endpoint.datagrams_to_send()
        stranger = link.server.flow._replace(remote=("198.51.100.66", 5060))
        link.server.endpoint.receive_datagram(packet, stranger, 1.1)
        event = link.server.endpoint.next_event()
        self.assertIsNone(link.server.endpoint.invite_of(event.request, stranger))

    def test_cancel_of_an_rfc_2543_phone(self):
        link = Link(answering(180))
        invite = request("INVITE")
        invite.prepend("Via", "SIP/2.0/UDP 192.0.2.1")
        cancel = request("CANCEL")
        cancel.prepend("Via", "SIP/2.0/UDP 192.0.2.1")
        seen = []
        for message in (invite, cancel):
            link.server.endpoint.receive_datagram(message.to_bytes(), link.server.flow, 0.0)
            seen.append(link.server.endpoint.next_event().request)
            if len(seen) == 1:
                opened = link.server.endpoint.accept(seen[0], link.server.flow, 0.0)
        self.assertIs(link.server.endpoint.invite_of(seen[1], link.server.flow), opened)


class LossyNetworkTest(unittest.TestCase):
    """15 % lost, 10 % doubled: everything completes, and no core sees anything twice."""

    def network(self, seed: int) -> Callable[[int], int]:
        chance = random.Random(seed)
        return lambda number: 0 if (x := chance.random()) < 0.15 else 2 if x < 0.25 else 1

    def test_registrations(self):
        for seed in range(60):
            link = Link(answering(200), self.network(seed))
            link.phone.endpoint.send_request(request("REGISTER"), link.phone.flow, 0.0)
            link.run()
            self.assertEqual((link.phone.statuses, link.server.methods), ([200], ["REGISTER"]), seed)
            self.assertEqual(link.phone.endpoint.transactions + link.server.endpoint.transactions, 0)
            self.assertEqual(link.server.endpoint.answers_kept, 0)

    def test_refused_calls(self):
        for seed in range(60):
            link = Link(answering(100, 486), self.network(seed))
            link.phone.endpoint.send_request(request("INVITE"), link.phone.flow, 0.0)
            link.run()
            self.assertEqual(
                ([s for s in link.phone.statuses if s > 100], link.server.methods), ([486], ["INVITE"]), seed
            )
            self.assertEqual(link.phone.endpoint.transactions + link.server.endpoint.transactions, 0)


class TableTest(unittest.TestCase):
    def test_every_state_has_a_way_out(self):
        for kind in Kind:
            states = {state for known, state, _ in TABLE if known is kind}
            targets = {row[1] for key, row in TABLE.items() if key[0] is kind} - {State.TERMINATED}
            self.assertEqual(targets, states - {State.START})
            self.assertIn(State.TERMINATED, {row[1] for key, row in TABLE.items() if key[0] is kind})

    def test_a_timer_that_fires_was_started_by_some_row(self):
        for (kind, _, event), _row in TABLE.items():
            if len(event) == 1:
                started = {action for key, row in TABLE.items() if key[0] is kind for action in row[0]}
                self.assertIn(f"+{event}", started, (kind, event))

    def test_what_has_no_row_changes_nothing(self):
        transaction = ServerTransaction("k", Request("REGISTER", "sip:a"), Link(silent).server.flow)
        transaction.fire("begin")
        self.assertEqual((transaction.fire("ack"), transaction.state), ((), State.TRYING))
        transaction.fire("failure")
        self.assertEqual((transaction.fire("success"), transaction.state), ((), State.COMPLETED))

    def test_durations_of_rfc_3261_table_4(self):
        timers = Timers(0.5, 4.0, 5.0)
        self.assertEqual(
            [timers.first(x, False) for x in "ABDEFGHIJKLM"], [0.5, 32, 32, 0.5, 32, 0.5, 32, 5, 32, 5, 32, 32]
        )
        self.assertEqual(
            [timers.first(x, True) for x in "ABDEFGHIJKLM"], [None, 32, 0, None, 32, None, 32, 0, 0, 0, 32, 32]
        )
