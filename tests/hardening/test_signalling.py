"""Past failures of other servers that nothing else in the suite asks for: signalling. The number at the end of a name
is that of ``tests.hardening.past_failures``."""

from __future__ import annotations

import hmac
import re
from unittest.mock import patch

from sipcore import authentication
from tests.engine.calls_in_memory import InMemory
from tests.engine.calls_under_test import SERVER
from tests.engine.core_under_test import Engine, Phone
from tests.engine.test_core import EngineTestCase
from tests.support.caller import Caller

VICTIM = "203.0.113.66"
CHALLENGE = 'Digest realm="evil.test", nonce="AAAA", algorithm=MD5, qop="auth"'


def without_names(text: str) -> str:
    """What an answer says, but for the tags, names and addresses that belong to the question."""
    text = re.sub(r"(UDP |tag=|branch=|rport=|sip:|Call-ID: |CSeq: |nonce=\")[^;>\r\"]+", r"\1", text)
    return re.sub(r"Retry-After: \d+", "Retry-After", text)


class EnumerationTests(InMemory):
    def test_each_method_answers_known_and_unknown_numbers_alike_2(self) -> None:
        """The same bytes, the same to a repetition, and as often by itself where nobody confirms it."""
        called = self.phone()
        known, off = self.world.new_number(), self.world.new_number()
        self.world.disable(off)
        for method in ("INVITE", "MESSAGE", "SUBSCRIBE"):
            seen = []
            for number in (known, off, "55555"):
                stranger = self.phone(number, register=False, password="guess")
                sent = self.refused_request(stranger, called, method)
                answers = [answer.raw for answer in stranger.inbox if answer.status >= 200]
                stranger.inbox.clear()
                stranger.wire.send(sent.data, SERVER)
                stranger.pump(0.1)
                stranger.quiet(40.0, 403)
                seen.append((stranger.times_repeated("SIP/2.0"), [without_names(raw.decode()) for raw in answers]))
            self.assertEqual(seen[0], seen[1], method)
            self.assertEqual(seen[0], seen[2], method)
        called.quiet(0.1)

    def refused_request(self, stranger: Caller, called: Caller, method: str):
        uri = f"sip:{called.number}@{called.domain}"
        lines = [
            ("From", f"<{stranger.aor}>;tag=t"),
            ("To", f"<{uri}>"),
            ("Call-ID", f"c{method}{stranger.number}"),
            ("Contact", stranger.contact),
            ("Event", "dialog"),
            ("CSeq", f"1 {method}"),
        ]
        sent = stranger.send(method, uri, lines)
        refusal = stranger.final(sent)
        self.assertEqual(401, refusal.status)
        again = stranger.with_credentials(sent, refusal, cseq=2)
        while stranger.pump(1.0):
            pass
        self.assertEqual([403], [answer.status for answer in stranger.inbox if answer.status >= 200], method)
        return again


class SameWorkTests(EngineTestCase):
    def test_an_unknown_number_costs_the_same_hashes_as_a_known_one_4(self) -> None:
        """Time cannot be compared in a suite that shares its machine; the work can."""
        engine = self.engine
        engine.directory.add("1002", enabled=False)
        engine.directory.add("1003").ha1.clear()
        work = {}
        for number in ("1001", "1002", "1003", "9999"):
            phone = Phone(engine, number, password="wrong")
            phone.send(phone.request())
            engine.directory.calls.clear()
            with (
                patch.object(authentication, "response_matches", wraps=authentication.response_matches) as compared,
                patch("sipcore.protocol.digest.hmac.compare_digest", wraps=hmac.compare_digest) as constant,
            ):
                self.assertEqual(phone.send(phone.request()).status, 403)
            work[number] = (compared.call_count, constant.call_count, list(engine.directory.calls))
        self.assertEqual(work["1001"][0], 1)
        self.assertEqual(set(map(str, work.values())), {str(work["1001"])})


class AnsweringStrangersTests(InMemory):
    def test_a_callee_that_asks_for_a_password_gets_none_11(self) -> None:
        """Nor does it get one INVITE after the other (12)."""
        for status, name in ((401, "WWW-Authenticate"), (407, "Proxy-Authenticate")):
            caller, called = self.phone(), self.phone()
            call = caller.invite(called.number)
            invite = called.expect("INVITE")
            self.assertNotIn("uthorization", str(invite))
            called.respond(invite, status, headers=[(name, CHALLENGE)])
            called.expect("ACK")
            answer = call.final()
            self.assertGreaterEqual(answer.status, 400)
            self.assertNotIn("evil.test", str(answer))
            caller.ack_failure(call.sent, answer)
            called.quiet(40.0)

    def test_a_phone_that_asks_for_a_password_within_a_call_gets_none_11(self) -> None:
        caller, called = self.phones()
        ours, theirs = self.connect(caller, called)
        sent = caller.request(ours, "INFO", body=b"x", kind="text/plain")
        info = called.expect("INFO")
        called.respond(info, 401, headers=[("WWW-Authenticate", CHALLENGE)])
        answer = caller.final(sent)
        self.assertGreaterEqual(answer.status, 400)
        self.assertNotIn("evil.test", str(answer))
        called.quiet(40.0)
        self.hang_up(caller, ours, called, theirs)


class ReflectionTests(InMemory):
    """``VICTIM`` is named wherever a message can name somebody, and never gets a packet."""

    def setUp(self) -> None:
        super().setUp()
        self.victim = self.world.wire(VICTIM)
        self.place = f"{VICTIM}:{self.victim.address[1]}"
        self.destinations: set[str] = set()
        core = self.world.core
        send = core.datagrams_to_send

        def recorded():
            waiting = send()
            self.destinations |= {flow.remote[0] for _data, flow in waiting}
            return waiting

        core.datagrams_to_send = recorded

    def tearDown(self) -> None:
        super().tearDown()
        self.assertLessEqual(self.destinations, {"127.0.0.1", "203.0.113.9"})  # whatever the port

    def test_a_via_that_names_somebody_else_21(self) -> None:
        stranger = self.world.wire("203.0.113.9")
        for via in (
            f"SIP/2.0/UDP {self.place};branch=z9hG4bK1",
            f"SIP/2.0/UDP a;branch=z9hG4bK2;maddr={VICTIM}",
            f"SIP/2.0/UDP a;branch=z9hG4bK3;received={VICTIM};rport={self.victim.address[1]}",
            f"SIP/2.0/UDP {self.place};branch=z9hG4bK4;rport",
        ):
            for method, uri in (
                ("OPTIONS", "sip:pbx.test"),
                ("REGISTER", "sip:pbx.test"),
                ("INVITE", "sip:1@pbx.test"),
            ):
                stranger.send(
                    (
                        f"{method} {uri} SIP/2.0\r\nVia: {via}{method}\r\nVia: SIP/2.0/UDP {self.place}\r\n"
                        f"From: <sip:1@pbx.test>;tag=1\r\nTo: <{uri}>\r\nCall-ID: {via}{method}\r\n"
                        f"CSeq: 1 {method}\r\nContact: <sip:1@{self.place}>\r\nContent-Length: 0\r\n\r\n"
                    )
                    .replace(f"Call-ID: {via}", "Call-ID: x")
                    .encode(),
                    SERVER,
                )
                self.world.pass_time(40.0)
        self.assertTrue(stranger.inbox)

    def test_nothing_is_forwarded_for_a_stranger_20(self) -> None:
        """An ACK, a BYE by a Route, and an answer whose second Via is the victim's."""
        stranger = self.world.wire("203.0.113.9")
        names = "From: <sip:1@pbx.test>;tag=1\r\nTo: <sip:2@pbx.test>;tag=2\r\nCall-ID: x\r\n"
        for method in ("ACK", "BYE", "INVITE", "OPTIONS"):
            stranger.send(
                (
                    f"{method} sip:2@{self.place} SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK{method}\r\n"
                    f"Route: <sip:192.0.2.1;lr>, <sip:{self.place};lr>\r\n{names}CSeq: 1 {method}\r\n\r\n"
                ).encode(),
                SERVER,
            )
        for status in ("180 Ringing", "200 OK"):
            stranger.send(
                (
                    f"SIP/2.0 {status}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n"
                    f"Via: SIP/2.0/UDP {self.place};branch=z9hG4bKy\r\n{names}CSeq: 1 INVITE\r\n\r\n"
                ).encode(),
                SERVER,
            )
        self.world.pass_time(40.0)

    def test_a_registered_phone_cannot_name_somebody_else_24(self) -> None:
        """By the Contact of its registration, of its answer, or by Refer-To: what is sent goes to the phone itself."""
        caller, called = self.phone(), self.phone(register=False)
        called.register(contact=f"<sip:{called.number}@{self.place}>")
        call = caller.invite(called.number)
        invite = called.expect("INVITE")
        called.respond(invite, 200, headers=[("Contact", f"<sip:{called.number}@{self.place}>")], body=called.sdp())
        ours = call.connected()
        called.expect("ACK")
        for target in (f"sip:1@{self.place}", f"sip:1@{VICTIM};transport=tcp", f"http://{VICTIM}/"):
            sent = caller.request(ours, "REFER", [("Refer-To", f"<{target}>")])
            self.assertGreaterEqual(caller.final(sent).status, 400)
        sent = caller.request(ours, "BYE")
        bye = called.expect("BYE")
        called.respond(bye, 200)
        self.assertEqual(200, caller.final(sent).status)
        self.world.pass_time(60.0)

    def test_an_unauthenticated_phone_gets_little_and_once_22(self) -> None:
        """Of a real phone's length."""
        called = self.phone()
        stranger = self.phone("1", register=False, password=None)
        for method in ("REGISTER", "INVITE", "SUBSCRIBE", "OPTIONS"):
            uri = f"sip:{called.number}@{called.domain}"
            lines = [
                ("From", f'"Reception" <{stranger.aor}>;tag=4f1b2c3d'),
                ("To", f"<{uri}>"),
                ("Event", "dialog"),
                ("Call-ID", f"97wAGhfHgHGPGaLQ-{method}"),
                ("CSeq", f"1 {method}"),
                ("Contact", stranger.contact),
                ("Expires", "3600"),
                ("User-Agent", "Z 5.6.4 v2.10.20.5"),
                ("Allow", "INVITE, ACK, BYE, CANCEL"),
            ]
            sent = stranger.send(method, uri, lines)
            answer = stranger.final(sent)
            self.assertLessEqual(len(answer.raw), 1.5 * len(sent.data), method)
            stranger.quiet(40.0)
            self.assertEqual(0, stranger.times_repeated("SIP/2.0"))
        called.quiet(0.1)

    def test_no_version_is_told_50(self) -> None:
        phone = self.phone()
        stranger = self.phone("1", register=False, password=None)
        usual = [("Contact", stranger.contact), ("User-Agent", "Z 5.6.4 v2.10.20.5"), ("Accept", "application/sdp")]
        answers = [
            phone.register(),
            *(
                stranger.ask(method, f"sip:{phone.domain}", usual, authenticate=False)
                for method in ("OPTIONS", "MESSAGE", "PUBLISH")
            ),
        ]
        for answer in answers:
            self.assertEqual(("", ""), (answer.get("Server"), answer.get("User-Agent")), answer)
            self.assertNotRegex(str(answer), r"(?i)python|django|pbx/")


class OneMessageAloneTests(InMemory):
    def test_what_breaks_the_handler_of_one_message_is_that_messages_loss_31(self) -> None:
        caller, called = self.phones()
        with patch.object(self.world.board, "on_request", side_effect=RuntimeError("a bug")):
            caller.wire.send(
                (
                    f"MESSAGE {called.aor} SIP/2.0\r\nVia: SIP/2.0/UDP {caller.sent_by};branch=z9hG4bKm\r\n"
                    f"From: <{caller.aor}>;tag=1\r\nTo: <{called.aor}>\r\nCall-ID: m\r\nCSeq: 1 MESSAGE\r\n\r\n"
                ).encode(),
                SERVER,
            )
            self.world.pass_time(1.0)
        self.assertTrue([line for line in self.world.log_lines if "could not be handled: RuntimeError" in line])
        self.assertNotIn("a bug", "".join(self.world.log_lines))
        ours, theirs = self.connect(caller, called)
        self.hang_up(caller, ours, called, theirs)


class NothingKeptTests(EngineTestCase):
    def test_thousands_without_a_password_leave_nothing_35(self) -> None:
        engine: Engine = self.engine
        for number in range(2000):
            phone = Phone(engine, str(number))
            engine.core.receive(phone.request(), phone.flow)
        engine.sent()
        endpoint = engine.core.endpoint
        self.assertEqual((0, 0, 0), (endpoint.transactions, endpoint.answers_kept, engine.core.pending))
