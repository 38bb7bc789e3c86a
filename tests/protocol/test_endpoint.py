"""What one endpoint does with packets: sources, keep-alives, garbage, strangers."""

import unittest

from sipcore.protocol import events
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import Response, make_response, parse_message

from .corpus_files import FLOW, PHONE, SERVER, Outcome, make_tag, new_endpoint
from .link import request

STRANGER = Flow("UDP", SERVER, ("198.51.100.66", 5060))


def register(via: str = "SIP/2.0/UDP 192.168.1.20:5062;branch=z9hG4bK-1;rport", **headers) -> bytes:
    message = request("REGISTER", **headers)
    message.prepend("Via", via)
    return message.to_bytes()


class SourceTest(unittest.TestCase):
    def top_via(self, via: str) -> str:
        return Outcome(register(via)).events[0].request.get("Via")

    def test_received_and_rport(self):
        self.assertEqual(
            self.top_via("SIP/2.0/UDP 192.168.1.20:5062;branch=z9hG4bK-1;rport"),
            "SIP/2.0/UDP 192.168.1.20:5062;branch=z9hG4bK-1;rport=40962;received=203.0.113.9",
        )

    def test_rport_only_when_asked_for(self):
        self.assertEqual(
            self.top_via("SIP/2.0/UDP 192.168.1.20;branch=z9hG4bK-1"),
            "SIP/2.0/UDP 192.168.1.20;branch=z9hG4bK-1;received=203.0.113.9",
        )

    def test_what_the_sender_claims_is_replaced(self):
        via = self.top_via("SIP/2.0/UDP Host.Local;received=192.0.2.66;rport=1;branch=z9hG4bK-1;maddr=192.0.2.67")
        self.assertEqual(
            via, "SIP/2.0/UDP Host.Local;received=203.0.113.9;rport=40962;branch=z9hG4bK-1;maddr=192.0.2.67"
        )

    def test_only_the_first_of_a_list(self):
        via = self.top_via("SIP/2.0/UDP a;branch=z9hG4bK-1, SIP/2.0/TCP b;received=192.0.2.5")
        self.assertEqual(via, "SIP/2.0/UDP a;branch=z9hG4bK-1;received=203.0.113.9, SIP/2.0/TCP b;received=192.0.2.5")

    def test_without_rport_the_answer_goes_to_the_port_of_the_sent_by(self):
        """RFC 3261 18.2.2, where no NAT is in between: else that port is closed."""
        for sent_by, port in (("203.0.113.9:5070", 5070), ("203.0.113.9", 5060), ("192.168.1.20:5070", PHONE[1])):
            endpoint = new_endpoint()
            endpoint.receive_datagram(register(f"SIP/2.0/UDP {sent_by};branch=z9hG4bK-1"), FLOW, 0.0)
            asked = endpoint.next_event().request
            endpoint.reply_statelessly(asked, make_response(asked, 401), FLOW)
            endpoint.respond(endpoint.accept(asked, FLOW, 0.0), make_response(asked, 200), 0.0)
            endpoint.receive_datagram(register(f"SIP/2.0/UDP {sent_by};branch=z9hG4bK-1"), FLOW, 0.0)
            ways = [flow.remote for _, flow in endpoint.datagrams_to_send()]
            self.assertEqual(ways, [(PHONE[0], port)] * 3)

    def test_the_answer_goes_where_the_packet_came_from(self):
        """Never to sent-by, received or maddr."""
        endpoint = new_endpoint()
        endpoint.receive_datagram(register("SIP/2.0/UDP 192.0.2.66:9;branch=z9hG4bK-1;maddr=192.0.2.67"), FLOW, 0.0)
        asked = endpoint.next_event().request
        endpoint.reply_statelessly(asked, make_response(asked, 401), FLOW)
        [(_, flow)] = endpoint.datagrams_to_send()
        self.assertEqual(flow.remote, PHONE)

    def test_a_repetition_from_another_port_is_answered_there(self):
        endpoint = new_endpoint()
        endpoint.receive_datagram(register(), FLOW, 0.0)
        asked = endpoint.next_event().request
        endpoint.respond(endpoint.accept(asked, FLOW, 0.0), make_response(asked, 200), 0.0)
        rebound = FLOW._replace(remote=(PHONE[0], 50000))
        endpoint.receive_datagram(register(), rebound, 0.5)
        (first, there), (second, here) = endpoint.datagrams_to_send()
        self.assertEqual((there, here), (FLOW, rebound))
        self.assertEqual(second, first.replace(b"rport=40962", b"rport=50000"))

    def test_a_repetition_with_another_via_moves_nothing(self):
        """Its rport was damaged: the answer to the whole one still goes where that came from."""
        via = f"SIP/2.0/UDP {PHONE[0]}:5070;branch=z9hG4bK-1;rport"
        endpoint = new_endpoint()
        endpoint.receive_datagram(register(via), FLOW, 0.0)
        transaction = endpoint.accept(endpoint.next_event().request, FLOW, 0.0)
        endpoint.receive_datagram(register(via.replace("rport", "rpost")), FLOW, 0.1)
        endpoint.respond(transaction, make_response(transaction.request, 200), 0.2)
        self.assertEqual([flow for _, flow in endpoint.datagrams_to_send()], [FLOW])

    def test_another_address_cannot_touch_the_transaction(self):
        endpoint = new_endpoint()
        endpoint.receive_datagram(register(), FLOW, 0.0)
        endpoint.accept(endpoint.next_event().request, FLOW, 0.0)
        endpoint.receive_datagram(register(), STRANGER, 0.1)
        self.assertIsInstance(endpoint.next_event(), events.RequestReceived)


class KeyTest(unittest.TestCase):
    def test_however_long_a_branch_is_the_key_is_short_and_the_transaction_its_own(self):
        endpoint = new_endpoint()
        keys = set()
        for end in ("a", "b", "a"):
            branch = "z9hG4bK" + "x" * 20_000 + end
            endpoint.receive_datagram(register(f"SIP/2.0/UDP 192.168.1.20:5062;branch={branch}"), FLOW, 0.0)
            keys.add(endpoint.next_event().request.transaction_key)
        self.assertEqual(len(keys), 2)
        self.assertLess(max(map(len, keys)), 400)


class TagTest(unittest.TestCase):
    def test_a_stateless_401_is_repeatable_and_keeps_nothing(self):
        endpoint = new_endpoint()
        for _ in range(2):
            endpoint.receive_datagram(register(), FLOW, 0.0)
            asked = endpoint.next_event().request
            endpoint.reply_statelessly(asked, make_response(asked, 401), FLOW)
        (first, _), (second, _) = endpoint.datagrams_to_send()
        self.assertEqual(first, second)
        self.assertEqual(parse_message(first).to.tag, make_tag("c1|f1|z9hG4bK-1|203.0.113.9"))
        self.assertEqual((endpoint.transactions, endpoint.answers_kept), (0, 0))

    def test_a_tag_that_is_there_stays(self):
        endpoint = new_endpoint()
        data = register().replace(b"To: <sip:1002@pbx.test>", b"To: <sip:1002@pbx.test>;tag=mine")
        endpoint.receive_datagram(data, FLOW, 0.0)
        asked = endpoint.next_event().request
        endpoint.respond(endpoint.accept(asked, FLOW, 0.0), make_response(asked, 200, to_tag="other"), 0.0)
        self.assertEqual(parse_message(endpoint.datagrams_to_send()[0][0]).to.tag, "mine")

    def test_a_tag_of_the_core_is_not_doubled_and_100_has_none(self):
        endpoint = new_endpoint()
        endpoint.receive_datagram(register(), FLOW, 0.0)
        asked = endpoint.next_event().request
        transaction = endpoint.accept(asked, FLOW, 0.0)
        endpoint.respond(transaction, make_response(asked, 100), 0.0)
        endpoint.respond(transaction, make_response(asked, 200, to_tag="core"), 0.0)
        tags = [parse_message(data).to.tag for data, _ in endpoint.datagrams_to_send()]
        self.assertEqual(tags, [None, "core"])


class KeepAliveTest(unittest.TestCase):
    def test_double_crlf_is_answered_with_one(self):
        endpoint = new_endpoint()
        endpoint.receive_datagram(b"\r\n\r\n", FLOW, 0.0)
        self.assertEqual(endpoint.next_event(), events.KeepAlive(FLOW))
        self.assertEqual(endpoint.datagrams_to_send(), [(b"\r\n", FLOW)])

    def test_other_empty_packets_are_not_answered(self):
        for data in (b"\r\n", b"", b"\0", b"\0\0\0\0", b"\r\n" * 100):
            endpoint = new_endpoint()
            endpoint.receive_datagram(data, FLOW, 0.0)
            self.assertEqual(endpoint.next_event(), events.KeepAlive(FLOW))
            self.assertEqual(endpoint.datagrams_to_send(), [])


class GarbageTest(unittest.TestCase):
    def test_what_is_not_sip_gets_no_answer(self):
        for data in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"hello",
            b"\xff" * 1000,
            b"SIP/2.0 99 X\r\n\r\n",
            b"SIP/2.0 abc\r\n\r\n",
            "SIP/2.0 ٢٠٠ OK\r\n\r\n".encode(),
            b"REGISTER sip:a\r\n\r\n",
        ):
            outcome = Outcome(data)
            self.assertEqual(outcome.answers, [], data)
            self.assertIsInstance(outcome.events[0], events.Malformed)

    def test_malformed_ack_and_responses_get_no_answer(self):
        bad = request("ACK", Expires="1")
        bad.prepend("Via", "SIP/2.0/UDP a;branch=z9hG4bK1")
        for data in (
            bad.to_bytes().replace(b"CSeq: 1 ACK", b"CSeq: x ACK"),
            make_response(bad, 200).to_bytes().replace(b"CSeq: 1 ACK", b"CSeq: 1"),
        ):
            outcome = Outcome(data)
            self.assertEqual((outcome.answers, type(outcome.events[0])), ([], events.Malformed))

    def test_a_malformed_request_gets_one_answer_with_its_true_source(self):
        outcome = Outcome(register().replace(b"CSeq: 1 REGISTER", b"CSeq: x REGISTER"))
        [answer] = outcome.answers
        self.assertEqual((answer.status, answer.reason), (400, "Bad CSeq"))
        self.assertEqual(answer.via.params["received"], PHONE[0])
        self.assertIsNotNone(answer.to.tag)


    def test_a_damaged_repetition_does_not_disturb_the_whole_one(self):
        """Its 400 would be taken for the answer: same branch, same method."""
        endpoint = new_endpoint()
        endpoint.receive_datagram(register(), FLOW, 0.0)
        transaction = endpoint.accept(endpoint.next_event().request, FLOW, 0.0)
        damaged = register().replace(b"CSeq: 1 ", b"CSeq: x ")
        endpoint.receive_datagram(damaged, FLOW, 0.1)
        endpoint.receive_datagram(register().replace(b"REGISTER", b"REGISTES", 1), FLOW, 0.1)
        self.assertEqual(endpoint.datagrams_to_send(), [])
        endpoint.respond(transaction, make_response(transaction.request, 200), 0.2)
        endpoint.receive_datagram(damaged, FLOW, 0.3)
        [(answer, _)] = endpoint.datagrams_to_send()
        self.assertTrue(answer.startswith(b"SIP/2.0 200 "))


class ResponseTest(unittest.TestCase):
    def setUp(self):
        self.endpoint = new_endpoint("n1w1")
        self.transaction = self.endpoint.send_request(request("OPTIONS"), FLOW, 0.0)
        [(self.sent, _)] = self.endpoint.datagrams_to_send()
        self.answer = make_response(self.transaction.request, 200, to_tag="p")

    def receive(self, answer: Response, flow: Flow = FLOW) -> events.Event:
        self.endpoint.receive_datagram(answer.to_bytes(), flow, 0.1)
        event = self.endpoint.next_event()
        self.assertIsNone(self.endpoint.next_event())
        self.assertEqual(self.endpoint.datagrams_to_send(), [])
        return event

    def test_our_via(self):
        self.assertRegex(
            self.transaction.request.get("Via"),
            r"^SIP/2\.0/UDP 198\.51\.100\.1:5060;branch=z9hG4bKn1w1[0-9a-f]+;rport$",
        )
        self.assertEqual(self.transaction.request.max_forwards, 70)
        other = self.endpoint.send_request(request("OPTIONS"), FLOW, 0.0)
        self.assertNotEqual(other.key, self.transaction.key)

    def test_ipv6_in_our_via(self):
        flow = Flow("UDP", ("2001:db8::1", 5060), ("2001:db8::2", 5060))
        asked = self.endpoint.send_request(request("OPTIONS"), flow, 0.0).request
        self.assertEqual(asked.via.sent_by, "[2001:db8::1]:5060")

    def test_from_where_the_request_went_any_port(self):
        rebound = FLOW._replace(remote=(PHONE[0], 1))
        event = self.receive(self.answer, rebound)
        self.assertEqual((type(event), event.flow), (events.ResponseReceived, rebound))

    def test_from_anywhere_else_it_is_dropped(self):
        self.assertIsInstance(self.receive(self.answer, STRANGER), events.StrayResponse)
        self.assertFalse(self.transaction.terminated)

    def test_another_branch_method_call_or_tag(self):
        for old, new in (
            (";branch=z9hG4bKn1w1", ";branch=z9hG4bKn2"),
            ("OPTIONS", "INVITE"),
            ("c1", "c2"),
            ("tag=f1", "tag=f2"),
        ):
            answer = parse_message(self.answer.to_bytes().replace(old.encode(), new.encode()))
            self.assertIsInstance(self.receive(answer), events.StrayResponse, old)

    def test_more_than_our_via(self):
        self.answer.add("Via", "SIP/2.0/UDP 192.0.2.66")
        self.assertIsInstance(self.receive(self.answer), events.StrayResponse)

    def test_only_the_first_final_answer_counts(self):
        self.assertIsInstance(self.receive(self.answer), events.ResponseReceived)
        self.assertIsNone(self.receive(self.answer))


class MemoryTest(unittest.TestCase):
    def test_answers_are_bounded_oldest_first(self):
        endpoint = new_endpoint(memory=6_000)
        for second in range(10):
            for number in range(20):
                via = f"SIP/2.0/UDP a;branch=z9hG4bK{second}.{number}"
                endpoint.receive_datagram(register(via), FLOW, float(second))
                asked = endpoint.next_event().request
                endpoint.respond(endpoint.accept(asked, FLOW, second), make_response(asked, 200), float(second))
        self.assertLessEqual(endpoint.answers_kept, 50)
        endpoint.receive_datagram(register("SIP/2.0/UDP a;branch=z9hG4bK9.19"), FLOW, 9.5)
        self.assertIsInstance(endpoint.next_event(), events.Retransmission)

    def test_large_answers_are_bounded_in_bytes_and_push_no_other_out(self):
        """Who has the right password can make each as long as a packet."""
        endpoint = new_endpoint()

        def answered(branch: str, now: float, path: str = "<sip:edge.test>") -> None:
            endpoint.receive_datagram(register(f"SIP/2.0/UDP 192.168.1.20;branch=z9hG4bK{branch}"), FLOW, now)
            asked = endpoint.next_event().request
            response = make_response(asked, 200, headers=[("Path", path)])
            endpoint.respond(endpoint.accept(asked, FLOW, now), response, now)
            endpoint.datagrams_to_send()

        for round in range(2):
            now = 100.0 * round
            answered(f"honest{round}", now)
            for number in range(400):
                answered(f"{round}.{number}", now, f"<sip:{'v' * 30_000}>")
            self.assertEqual(endpoint.answers_kept, 1 + 4 * 1024 * 1024 // 30_130, round)
            endpoint.receive_datagram(
                register(f"SIP/2.0/UDP 192.168.1.20;branch=z9hG4bKhonest{round}"), FLOW, now + 1.0
            )
            self.assertIsInstance(endpoint.next_event(), events.Retransmission)
            endpoint.handle_timeout(now + 40.0)
            self.assertEqual(endpoint.answers_kept, 0)

    def test_a_repetition_is_answered_with_the_very_same_bytes(self):
        """Whatever the answer has beside the lines of the request, and however those stand."""
        contact = ("Contact", "<sip:1001@192.168.1.20:5062>;expires=3600")
        date = ("Date", "Mon, 23 Nov 2026 08:00:00 GMT")
        forms = (
            ([contact, ("Contact", "<sip:x@192.0.2.7>;expires=5"), date], b"", {}),
            ([], b"", {}),
            ([("Path", "<sip:edge.test;lr>"), contact, date], b"", {"Supported": "path"}),
            ([contact, ("Content-Type", "text/plain")], b"Via: no header\r\n\r\nContact: neither", {}),
            ([("Reason", "a\r\nVia: line of somebody"), contact], b"", {}),
        )
        for number, (own, body, headers) in enumerate(forms):
            for via in ("SIP/2.0/UDP a;rport;branch=z9hG4bK-{}", "SIP/2.0/UDP a;branch=z9hG4bK-{}, SIP/2.0/UDP b"):
                endpoint = new_endpoint()
                packet = register(via.format(number), **headers)
                endpoint.receive_datagram(packet, FLOW, 0.0)
                asked = endpoint.next_event().request
                response = make_response(asked, 200, headers=own, body=body)
                endpoint.respond(endpoint.accept(asked, FLOW, 0.0), response, 0.0)
                endpoint.receive_datagram(packet, FLOW, 30.0)
                self.assertIsInstance(endpoint.next_event(), events.Retransmission)
                (first, _), (second, _) = endpoint.datagrams_to_send()
                self.assertEqual(first, second)

    def test_another_request_under_a_branch_used_before_gets_no_answer_of_that_one(self):
        endpoint = new_endpoint()
        endpoint.receive_datagram(register(call_id="one"), FLOW, 0.0)
        asked = endpoint.next_event().request
        first = endpoint.accept(asked, FLOW, 0.0)
        endpoint.respond(first, make_response(asked, 200), 0.0)
        for headers in ({"call_id": "two"}, {"call_id": "one", "cseq": 2}):
            packet = register(**headers)
            endpoint.receive_datagram(packet, FLOW, 1.0)
            endpoint.receive_datagram(packet, FLOW, 1.0)
            event = endpoint.next_event()
            self.assertIsInstance(event, events.RequestReceived)
            transaction = endpoint.accept(event.request, FLOW, 1.0)
            endpoint.respond(transaction, make_response(event.request, 403), 1.0)
            self.assertIsInstance(endpoint.next_event(), events.Retransmission, "the second of the two packets")
            *_, answer, again = endpoint.datagrams_to_send()
            self.assertEqual(answer, again)
            self.assertTrue(answer[0].startswith(b"SIP/2.0 403"))

    def test_a_line_that_was_changed_in_the_answer_is_repeated_so(self):
        endpoint = new_endpoint()
        packet = register("SIP/2.0/UDP a;branch=z9hG4bK-1;keep")
        endpoint.receive_datagram(packet, FLOW, 0.0)
        asked = endpoint.next_event().request
        response = make_response(asked, 200, headers=[("Contact", "<sip:1001@192.168.1.20>;expires=60")])
        response.set("Via", "SIP/2.0/UDP a;branch=z9hG4bK-1;keep=20")
        endpoint.respond(endpoint.accept(asked, FLOW, 0.0), response, 0.0)
        endpoint.receive_datagram(packet, FLOW, 1.0)
        (first, _), (second, _) = endpoint.datagrams_to_send()
        self.assertEqual(first, second)
        self.assertIn(b"keep=20", second)

    def test_what_is_kept_of_an_answer_is_a_fraction_of_it(self):
        endpoint = new_endpoint(memory=100_000)
        for number in range(500):
            endpoint.receive_datagram(register(f"SIP/2.0/UDP a;branch=z9hG4bK-{number};x={'v' * 2000}"), FLOW, 0.0)
            asked = endpoint.next_event().request
            endpoint.respond(endpoint.accept(asked, FLOW, 0.0), make_response(asked, 200), 0.0)
        self.assertEqual(endpoint.answers_kept, 500)

    def test_a_flood_without_password_leaves_nothing(self):
        endpoint = new_endpoint()
        for number in range(2000):
            endpoint.receive_datagram(register(f"SIP/2.0/UDP a;branch=z9hG4bK{number}"), FLOW, 0.0)
            asked = endpoint.next_event().request
            endpoint.reply_statelessly(asked, make_response(asked, 401), FLOW)
        endpoint.datagrams_to_send()
        self.assertEqual((endpoint.transactions, endpoint.answers_kept, endpoint.next_timeout()), (0, 0, None))
