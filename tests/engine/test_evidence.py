"""Each way a registration fails leaves its evidence behind, and a phone that is well leaves none."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

from sipcore.evidence.challenges import PATIENCE
from sipcore.evidence.conversations import Conversation, Entry, Pool, call_id_of
from sipcore.evidence.facts import Attempt
from sipcore.protocol.errors import SipError
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import parse_message
from sipcore.registrar import Cause
from tests.engine.asking import flow
from tests.engine.core_under_test import DOMAIN, Engine, Phone
from tests.engine.test_core import EngineTestCase


def attempts(engine: Engine) -> list[Attempt]:
    """What the next writing would write."""
    return [failure.attempt() for failure in engine.core.recorder.take().failures]


class EvidenceTestCase(EngineTestCase):
    def only(self, cause: str, engine: Engine | None = None) -> Attempt:
        found = attempts(engine or self.engine)
        self.assertEqual([attempt.cause for attempt in found], [cause])
        return found[0]

    def said(self, *call_ids: str):
        """What would be kept of a call with these Call-IDs."""
        self.engine.core.recorder.trace_calls("call", call_ids)
        [trace] = self.engine.core.recorder.take().traces
        return trace.trace().messages

    def wait(self, seconds: float) -> None:
        self.engine.clock.time += seconds

    def nothing(self) -> None:
        self.assertEqual([attempt.cause for attempt in attempts(self.engine)], [])


class Healthy(EvidenceTestCase):
    def test_registering_refreshing_and_leaving_write_nothing(self):
        for contact in (
            None,
            "<sip:1001@192.168.1.5:5062>",
            "<sip:1001@192.168.1.5:5062>",
            "<sip:1001@1.2.3.4>;expires=0",
        ):
            self.assertEqual(self.phone.register(contact).status, 200)
        self.wait(60)
        self.nothing()

    def test_one_stale_nonce_is_no_failure(self):
        self.phone.register()
        self.wait(8000)
        self.assertEqual(self.phone.register().status, 200)
        self.wait(60)
        self.nothing()

    def test_a_phone_that_asks_twice_before_it_shows_its_password(self):
        """pjsua learns its public address from the first 401 and begins anew."""
        self.phone.send(self.phone.request())
        self.phone.nonce = None
        self.phone.send(self.phone.request())
        self.assertEqual(self.phone.register().status, 200)
        self.wait(60)
        self.nothing()

    def test_a_doubled_packet_is_no_lost_reply(self):
        data = self.phone.request()
        self.phone.send(data), self.phone.send(data)
        data = self.phone.request()
        self.phone.send(data), self.phone.send(data)
        self.nothing()

    def test_a_database_that_is_away_is_no_fault_of_a_phone(self):
        self.engine.core.draining = True
        self.phone.send(self.phone.request())
        self.assertEqual(self.phone.send(self.phone.request()).status, 503)
        self.wait(60)
        self.nothing()


class Refused(EvidenceTestCase):
    def test_wrong_password_with_both_messages_and_both_answers(self):
        self.phone.password = "wrong"
        self.phone.register()
        attempt = self.only("wrong_password")
        self.assertEqual(
            (attempt.number, attempt.source, attempt.port, attempt.transport, attempt.count),
            ("1001", "192.0.2.10", 5062, "UDP", 1),
        )
        self.assertFalse(attempt.proven)
        starts = [(message.sent, message.text.split("\n")[0]) for message in attempt.messages]
        self.assertEqual(
            starts,
            [
                (False, "REGISTER sip:pbx.test SIP/2.0"),
                (True, "SIP/2.0 401 Unauthorized"),
                (False, "REGISTER sip:pbx.test SIP/2.0"),
                (True, "SIP/2.0 403 Forbidden"),
            ],
        )
        self.assertEqual((attempt.messages[0].local, attempt.messages[0].remote), ("192.0.2.1:5060", "192.0.2.10:5062"))
        text = "".join(message.text for message in attempt.messages)
        self.assertNotIn(self.phone.nonce, text)

    def test_what_the_phone_asked_with(self):
        self.phone.password = "wrong"
        self.phone.register(headers=["Expires: 600", "Route: <sip:proxy.test;lr>"])
        asked = self.only("wrong_password").asked
        self.assertEqual(
            (
                asked.method,
                asked.request_uri,
                asked.to_uri,
                asked.contact,
                asked.contacts,
                asked.via,
                asked.via_transport,
                asked.vias,
                asked.expires,
                asked.user_agent,
                asked.digest_username,
                asked.digest_realm,
                asked.digest_uri,
                asked.digest_algorithm,
                asked.digest_qop,
                asked.call_id,
                asked.route,
                asked.content_length,
            ),
            (
                "REGISTER",
                f"sip:{DOMAIN}",
                f"sip:1001@{DOMAIN}",
                "sip:1001@192.168.1.5:5062",
                1,
                "192.168.1.5:5062",
                "UDP",
                1,
                600,
                "Zoiper",
                "1001",
                "pbx.test",
                f"sip:{DOMAIN}",
                "MD5",
                "auth",
                "1001@phone",
                "<sip:proxy.test;lr>",
                0,
            ),
        )

    def test_the_same_again_is_one_attempt_counted(self):
        self.phone.password = "wrong"
        for _ in range(5):
            self.phone.register()
        self.assertEqual(self.only("wrong_password").count, 5)

    def test_a_repeated_packet_is_no_second_attempt(self):
        self.phone.password = "wrong"
        self.phone.send(self.phone.request())
        data = self.phone.request()
        for _ in range(3):
            self.phone.send(data)
        attempt = self.only("wrong_password")
        self.assertEqual((attempt.count, attempt.repeats), (1, 2))

    def test_numbers_that_cannot_register(self):
        self.engine.directory.add("1002", enabled=False)
        self.engine.directory.add("1003", ha1={})
        self.engine.directory.add("1004", ha1={}, has_stale=True)
        for number, cause in (
            ("1002", "disabled"),
            ("1003", "no_credential"),
            ("1004", "stale_credential"),
            ("9999", "unknown_extension"),
        ):
            with self.subTest(cause=cause):
                Phone(self.engine, number).register()
                self.assertEqual(self.only(cause).number, number)

    def test_another_domain(self):
        self.phone.domain = "elsewhere.test"
        self.phone.register()
        self.assertEqual(self.only("wrong_domain").asked.to_uri, "sip:1001@elsewhere.test")

    def test_another_user_in_the_credentials(self):
        self.phone.to_number = "1002"
        self.phone.register()
        attempt = self.only("third_party")
        self.assertEqual((attempt.number, attempt.asked.digest_username), ("1002", "1001"))

    def test_a_digest_uri_that_was_changed_on_the_way(self):
        self.phone.credentials_edit = lambda text: text.replace(f'uri="sip:{DOMAIN}"', 'uri="sip:10.0.0.1"')
        self.phone.register()
        self.assertEqual(self.only("alg_tampering").asked.digest_uri, "sip:10.0.0.1")

    def test_an_algorithm_that_was_not_offered(self):
        self.phone.credentials_edit = lambda text: text.replace("algorithm=MD5", "algorithm=SHA-256")
        self.phone.register()
        self.only("unsupported_algorithm")

    def test_who_knows_the_password_is_proven(self):
        self.engine.directory.by_number["1001"].max_devices = 1
        self.phone.register()
        other = Phone(self.engine, flow=flow("192.0.2.11"))
        other.call_id = "other"
        other.register("<sip:1001@192.168.1.6:5062>")
        self.assertTrue(self.only("too_many_devices").proven)
        self.phone.register(headers=["Expires: 5"])
        attempt = self.only("expires_too_short")
        self.assertEqual((attempt.proven, attempt.asked.expires), (True, 5))

    def test_a_register_that_says_nonsense(self):
        self.phone.register("<mailto:1001@192.168.1.5>")
        self.assertEqual(self.only("malformed").asked.fault, "Bad Contact")
        self.phone.register(headers=["Require: gruu"])
        self.assertEqual(self.only("malformed").asked.fault, "Unsupported Extension Required")

    def test_a_broken_message_of_a_number(self):
        self.engine.exchange(self.phone.request().replace(b"Max-Forwards: 70", b"Max-Forwards 70"))
        attempt = self.only("malformed")
        self.assertEqual((attempt.number, attempt.asked.fault), ("1001", "Header Without Colon"))
        self.assertEqual([message.sent for message in attempt.messages], [False, True])

    def test_something_that_is_no_sip_has_no_number(self):
        self.engine.exchange(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(self.only("malformed").number, "")

    def test_a_body_that_a_router_has_changed(self):
        def invite(body: bytes, length: int) -> bytes:
            head = self.phone.request(contact=None, method="INVITE").partition(b"Content-Length")[0]
            return head + b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % length + body

        self.engine.exchange(invite(b"v=0\r\nc=IN IP4 1.2.3.4\r\n", 30))
        attempt = self.only("alg_tampering")
        self.assertEqual(
            (attempt.asked.method, attempt.asked.content_length, attempt.asked.body_bytes), ("INVITE", 30, 23)
        )
        self.engine.exchange(invite(b"v=0\r\nc=IN IP4 101.102.103.104\r\n", 23))
        self.assertEqual(self.only("alg_tampering").asked.fault, "Body Longer Than Content-Length")
        self.engine.exchange(invite(b"", 30))
        self.only("malformed")

    def test_a_stream_that_breaks(self):
        self.engine.core.receive_broken(self.phone.request(), SipError(400, "Missing Content-Length"), self.phone.flow)
        self.assertEqual(self.only("malformed").asked.fault, "Missing Content-Length")

    def test_tls_where_plain_tcp_is_spoken(self):
        self.engine.core.wrong_transport(flow())
        attempt = self.only("wrong_transport")
        self.assertEqual((attempt.number, attempt.source, attempt.messages), ("", "192.0.2.10", ()))


class Unanswered(EvidenceTestCase):
    def test_silence_after_the_challenge(self):
        self.phone.send(self.phone.request())
        self.wait(PATIENCE - 1)
        self.nothing()
        self.wait(2)
        attempt = self.only("challenge_unanswered")
        self.assertEqual((attempt.number, attempt.count, attempt.asked.user_agent), ("1001", 1, "Zoiper"))
        self.assertEqual(len(attempt.messages), 2)
        self.wait(60)
        self.nothing()

    def test_it_asks_again_and_again_and_never_shows_a_password(self):
        for _ in range(4):
            self.phone.nonce = None
            self.phone.send(self.phone.request())
            self.wait(1)
        self.wait(PATIENCE)
        self.assertEqual(self.only("challenge_unanswered").count, 4)

    def test_an_answer_for_another_realm(self):
        self.phone.send(self.phone.request())
        self.phone.credentials_edit = lambda text: text.replace('realm="pbx.test"', 'realm="old.test"')
        self.phone.send(self.phone.request())
        self.wait(PATIENCE)
        self.assertEqual(self.only("wrong_realm").asked.digest_realm, "old.test")

    def test_the_old_realm_in_a_first_message_is_forgiven(self):
        """A phone that moved here from another server, and takes our challenge."""
        first = self.phone.request(
            headers=[
                'Authorization: Digest username="1001", realm="old", nonce="n", '
                'uri="sip:pbx.test", response="' + 32 * "0" + '"'
            ]
        )
        self.phone.send(first)
        self.assertEqual(self.phone.register().status, 200)
        self.wait(60)
        self.nothing()

    def test_our_401_does_not_arrive(self):
        data = self.phone.request()
        for pause in (0, 0.5, 1, 2, 4, 4, 4, 4, 4):
            self.wait(pause)
            self.phone.send(data)
        attempt = self.only("reply_lost")
        self.assertEqual((attempt.count, attempt.repeats), (1, 8))
        self.wait(60)
        self.nothing()

    def test_our_200_does_not_arrive(self):
        self.phone.send(self.phone.request())
        data = self.phone.request()
        for _ in range(4):
            self.assertEqual(self.phone.send(data).status, 200)
        attempt = self.only("reply_lost")
        self.assertEqual((attempt.count, attempt.repeats), (1, 3))
        self.assertEqual([message.text[:11] for message in attempt.messages if message.sent][-1], "SIP/2.0 200")

    def test_a_phone_whose_address_changes_with_every_message(self):
        self.phone.send(self.phone.request())
        for last in range(6):
            self.phone.flow = flow(f"192.0.2.{20 + last}", 1000 + last)
            self.phone.send(self.phone.request())
        found = {attempt.cause: attempt for attempt in attempts(self.engine)}
        self.assertEqual(set(found), {"nonce_loop"})
        self.assertIn("192.0.2.25:1005", found["nonce_loop"].sources)

    def test_strangers_do_not_push_out_what_a_known_phone_waits_for(self):
        self.phone.register()
        self.phone.nonce = None
        self.phone.send(self.phone.request())
        for number in range(3000):
            stranger = Phone(self.engine, f"x{number}", flow=flow("198.51.100.7"))
            self.engine.exchange(stranger.request(), stranger.flow)
        self.wait(PATIENCE)
        self.assertIn("1001", {attempt.number for attempt in attempts(self.engine)})


class Bounds(EvidenceTestCase):
    def test_100_000_failing_sources_take_no_more_than_their_share(self):
        recorder = self.engine.core.recorder
        data = self.phone.request()
        request = parse_message(data)
        for number in range(100_000):
            source = flow(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
            recorder.received(data, source)
            request.transaction_key = str(number)
            recorder.refused(request, source, Cause.UNKNOWN_EXTENSION)
        self.assertLessEqual(len(recorder.take().failures), 40)
        self.assertLess(recorder.kept_bytes, 5 * 1024 * 1024)

    def left_after(self, messages: Iterable[bytes], source: Flow) -> int:
        """Bytes, 40 seconds after they came."""
        tracemalloc.start()
        try:
            for data in messages:
                self.engine.exchange(data, source)
            for _ in range(8):
                self.wait(5)
                self.engine.core.recorder.take()
            self.engine.core.endpoint.handle_timeout(self.engine.clock.now())
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    def test_large_messages_of_strangers_leave_little_behind(self):
        """A branch of the old kind, a tag, a Call-ID and a number as long as they like."""

        def message(number: int, domain: str) -> bytes:
            fill = f"{number}{'x' * 6000}"
            return (
                f"REGISTER sip:{domain} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;rport;branch=z{number};y={fill}\r\n"
                f"From: <sip:1@{domain}>;tag={fill}\r\nTo: <sip:{fill}@{domain}>\r\nCall-ID: {fill[:1000]}\r\n"
                f"CSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            ).encode()

        self.phone.register()
        for source in (flow("203.0.113.9"), flow(self.phone.flow.remote[0], 1)):
            for domain in ("other.test", DOMAIN):
                left = self.left_after((message(number, domain) for number in range(300)), source)
                self.assertLess(left - self.engine.core.recorder.kept_bytes, 2_000_000, (source.remote, domain))

    def test_conversations_are_counted_with_their_call_ids(self):
        pool = Pool(1_000_000, 10**6, 60.0)
        for number in range(10_000):
            conversation = Conversation(call_id_of(b"X sip:a SIP/2.0\r\nCall-ID: %d%s\r\n" % (number, b"x" * 200), "h"))
            pool.put(conversation)
            pool.add(conversation, Entry(1000.0, False, flow(), b"x" * 24, 24))
        self.assertLess(len(pool.by_id), 1_300)

    def test_a_long_call_id_is_one_conversation_all_the_same(self):
        self.phone.send(self.phone.request().replace(b"Call-ID: ", b"Call-ID: " + b"x" * 900))
        self.wait(PATIENCE)
        self.assertEqual(len(self.only("challenge_unanswered").messages), 2)

    def test_scanners_leave_room_for_a_known_phone_and_a_new_one(self):
        self.phone.register()
        for number in range(2000):
            scanner = Phone(self.engine, f"9{number}", flow=flow(f"198.51.{number % 250}.7"))
            scanner.register()
        self.phone.password = "wrong"
        self.phone.register()
        self.engine.directory.add("1002")
        Phone(self.engine, "1002", "wrong", flow("203.0.113.5")).register()
        found = {(attempt.number, attempt.cause): attempt for attempt in attempts(self.engine)}
        self.assertGreater(len(found[("1001", "wrong_password")].messages), 2)
        self.assertEqual(len(found[("1002", "wrong_password")].messages), 4)

    def test_one_source_takes_only_a_part(self):
        for number in range(50):
            Phone(self.engine, f"9{number}", flow=flow("198.51.100.7")).register()
        self.assertLessEqual(len(attempts(self.engine)), 6)

    def test_long_messages_of_strangers_are_read_within_bounds(self):
        """Reading them is what costs, in the thread for which registrations wait."""
        for stranger in range(60):
            source = flow(f"198.51.100.{stranger}")
            for number in range(24):
                junk = b"REGISTER sip:x SIP/2.0\r\nCall-ID: %d\r\nCSeq: %d\r\nX: " % (stranger, number) + b"@" * 8000
                self.engine.exchange(junk + b"\r\n\r\n", source)
        found = attempts(self.engine)
        self.assertGreater(len(found), 20)
        self.assertTrue(all(attempt.messages for attempt in found))
        self.assertLess(sum(len(message.text) for attempt in found for message in attempt.messages), 100 * 1024)

    def test_a_watched_phone_is_written_bit_by_bit(self):
        self.engine.core.recorder.watch(frozenset({"1001"}))
        for number in range(100):
            filling = (b"P-Filling: " + b"@" * 500 + b"\r\n") * 12
            data = self.phone.request().replace(b"Max-Forwards:", filling + b"Max-Forwards:", 1)
            data = data.replace(b"Call-ID: ", b"Call-ID: %d" % number, 1)
            self.engine.exchange(data, flow(f"198.51.100.{number}"))
        first, second = (self.engine.core.recorder.take().watched for _ in range(2))
        self.assertTrue(first and second)
        self.assertLess(sum(len(raw.entry.data) for raw in first), 257 * 1024)

    def test_after_a_flood_without_passwords_not_all_are_told_at_once(self):
        for number in range(1500):
            stranger = Phone(self.engine, f"x{number}", flow=flow(f"198.51.{number % 250}.7"))
            self.engine.exchange(stranger.request(), stranger.flow)
        self.wait(PATIENCE)
        self.assertEqual(len(self.engine.core.recorder._challenges.overdue(self.engine.clock.now())), 50)
        self.assertTrue(attempts(self.engine))

    def test_what_is_old_is_forgotten(self):
        self.phone.send(self.phone.request())
        self.wait(1000)
        attempts(self.engine)
        self.assertEqual(self.engine.core.recorder.kept_bytes, 0)

    def test_a_long_conversation_keeps_its_beginning_and_its_end(self):
        self.phone.nonce = None
        for _ in range(400):
            self.phone.nonce = None
            self.phone.send(self.phone.request())
        messages = self.said(self.phone.call_id)
        self.assertLessEqual(len(messages), 129)
        self.assertIn("CSeq: 1 REGISTER", messages[0].text)
        self.assertIn("CSeq: 400 REGISTER", messages[-1].text)

    def test_long_messages_are_cut(self):
        self.phone.password = "wrong"
        self.phone.register(headers=["X-Long: " + "a" * 20_000])
        attempt = self.only("wrong_password")
        self.assertGreater(attempt.messages[0].size, 20_000)
        self.assertLessEqual(len(attempt.messages[0].text), 4096)


class Watching(EvidenceTestCase):
    def watched(self):
        return list(self.engine.core.recorder.take().watched)

    def test_every_message_of_a_watched_number_once(self):
        self.engine.core.recorder.watch(frozenset({"1001"}))
        self.phone.register()
        Phone(self.engine, "9999").register()
        told = self.watched()
        self.assertEqual(
            [(one.number, one.call_id, one.entry.sent) for one in told],
            [("1001", "1001@phone", sent) for sent in (False, True, False, True)],
        )
        self.assertEqual(self.watched(), [])
        self.phone.register()
        self.assertEqual(len(self.watched()), 2)

    def test_capital_letters_are_the_same_number(self):
        self.engine.directory.add("Desk")
        self.engine.core.recorder.watch(frozenset({"desk"}))
        Phone(self.engine, "Desk").register()
        self.assertEqual(len(self.watched()), 4)

    def test_no_longer_when_the_time_is_over(self):
        self.engine.core.recorder.watch(frozenset({"1001"}))
        self.phone.register()
        self.watched()
        self.engine.core.recorder.watch(frozenset())
        self.phone.register()
        self.assertEqual(self.watched(), [])


class Calls(EvidenceTestCase):
    def test_the_messages_of_both_legs_in_order_with_their_numbers(self):
        recorder = self.engine.core.recorder
        recorder.link("leg-1", "1001")
        recorder.link("leg-2", "1002")
        for at, (call_id, sent) in enumerate((("leg-1", False), ("leg-2", True), ("leg-2", False), ("leg-1", True))):
            self.wait(at)
            data = f"SIP/2.0 200 OK\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\n\r\n".encode()
            (recorder.sent if sent else recorder.received)(data, flow())
        self.assertEqual(
            [(one.number, one.sent) for one in self.said("leg-1", "leg-2")],
            [("1001", False), ("1002", True), ("1002", False), ("1001", True)],
        )

    def test_a_long_call_is_kept_until_it_is_over(self):
        recorder = self.engine.core.recorder
        recorder.link("leg-1", "1001")
        recorder.received(b"INVITE sip:1002@pbx.test SIP/2.0\r\nCall-ID: leg-1\r\n\r\n", flow())
        self.wait(3600)
        recorder.take()
        self.assertEqual(len(self.said("leg-1")), 1)
        recorder.release(["leg-1"])
        self.wait(600)
        recorder.take()
        self.assertEqual(self.said("leg-1"), ())


class Aging(EvidenceTestCase):
    def test_a_herd_that_came_together_is_forgotten_in_parts(self):
        pool = Pool(10**9, 10**6, 60.0)
        for number in range(5_000):
            conversation = Conversation(b"%d" % number)
            pool.put(conversation)
            pool.add(conversation, Entry(1000.0, False, flow(), b"x", 1))
        left = []
        for second in range(4):
            pool.age(1061.0 + second)
            left.append(len(pool.by_id))
        self.assertEqual(left, [3_000, 1_000, 0, 0])
        self.assertEqual(pool.bytes, 0)
