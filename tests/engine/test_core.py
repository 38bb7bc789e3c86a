"""The engine as a phone meets it: challenge, registration, refusals, overload, pings."""

from __future__ import annotations

from dataclasses import replace
from unittest import TestCase

from django.test import tag

from sipcore.protocol.flow import Flow
from sipcore.protocol.message import Request, parse_message
from tests.engine.asking import flow
from tests.engine.core_under_test import DOMAIN, Engine, Phone


class EngineTestCase(TestCase):
    settings: dict = {}

    def setUp(self):
        self.engine = Engine(**self.settings)
        self.addCleanup(self.engine.log.close)
        self.engine.directory.add("1001")
        self.phone = Phone(self.engine)


class Registering(EngineTestCase):
    @tag("looks-inside")
    def test_one_that_cannot_be_answered_costs_its_neighbours_nothing(self):
        self.engine.directory.add("1002")
        other = Phone(self.engine, "1002")
        self.phone.send(self.phone.request()), other.send(other.request())
        remembered = self.engine.core._remember
        self.engine.core._remember = lambda host: 1 / 0
        self.engine.core.receive(self.phone.request(), self.phone.flow)
        self.engine.core.receive(other.request(), other.flow)
        broken, good = self.engine.store.settle()

        def completed():
            yield broken
            self.engine.core._remember = remembered
            yield good

        self.engine.core.completed(completed())
        self.assertEqual([answer.from_.uri.user for answer in self.engine.sent()], ["1002"])

    def test_challenge_then_200_with_the_binding_and_its_time(self):
        first = self.phone.send(self.phone.request())
        self.assertEqual(first.status, 401)
        self.assertNotIn("stale", first.get("WWW-Authenticate"))
        answer = self.phone.send(self.phone.request())
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.getall("Contact"), ["<sip:1001@192.168.1.5:5062>;expires=3600"])
        self.assertIn("GMT", answer.get("Date"))

    def test_answer_tells_where_the_request_came_from(self):
        via = self.phone.send(self.phone.request()).via
        self.assertEqual((via.params["received"], via.params["rport"]), ("192.0.2.10", "5062"))

    def test_refresh_with_the_same_nonce_needs_one_round_trip(self):
        self.phone.register()
        self.assertEqual(self.phone.send(self.phone.request()).status, 200)

    def test_the_log_has_the_four_lines_of_the_guide_and_no_secret(self):
        self.phone.register()
        text = "\n".join(self.engine.log_lines())
        for phrase in ("Received message from 192.0.2.10:5062: REGISTER 1001 Zoiper", "Processing REGISTER 1001",
                       "Sending 401 challenge"):
            self.assertIn(f"[SIP] {phrase}", text)
        self.assertNotIn(self.phone.nonce, text)
        self.assertNotIn("response=", text)

    def test_instance_reg_id_and_path_come_back(self):
        answer = self.phone.register(
            '<sip:1001@192.168.1.5:5062>;+sip.instance="<urn:uuid:1>";reg-id=1;expires=600',
            headers=["Path: <sip:edge.test;lr>", "Supported: path"],
        )
        self.assertEqual(
            answer.get("Contact"),
            '<sip:1001@192.168.1.5:5062>;expires=600;+sip.instance="<urn:uuid:1>";reg-id=1',
        )
        self.assertEqual(answer.getall("Path"), ["<sip:edge.test;lr>"])

    def test_keep_is_agreed_to(self):
        """RFC 6223 section 4.4."""
        self.phone.register()
        data = self.phone.request().replace(b";rport;", b";rport;keep;")
        self.assertIn(";keep=20", self.phone.send(data).get("Via"))

    def test_unknown_require_is_420_and_named(self):
        answer = self.phone.send(self.phone.request(headers=["Require: gruu, path"]))
        self.assertEqual((answer.status, answer.get("Unsupported")), (420, "gruu"))

    def test_423_tells_the_minimum(self):
        answer = self.phone.register(headers=["Expires: 5"])
        self.assertEqual((answer.status, answer.get("Min-Expires")), (423, "60"))


class Repeating(EngineTestCase):
    def test_the_same_401_twice_with_nothing_remembered(self):
        data = self.phone.request()
        [first], [second] = self.engine.exchange(data), self.engine.exchange(data)
        self.assertEqual(first.to_bytes(), second.to_bytes())
        self.assertEqual(self.engine.core.endpoint.transactions, 0)

    def test_a_doubled_packet_gets_the_same_200(self):
        self.phone.send(self.phone.request())
        data = self.phone.request()
        [first], [second] = self.engine.exchange(data), self.engine.exchange(data)
        self.assertEqual(first.status, 200)
        self.assertEqual(first.to_bytes(), second.to_bytes())

    def test_doubled_while_the_store_is_busy_it_is_decided_once(self):
        self.phone.send(self.phone.request())
        data = self.phone.request()
        self.assertEqual(self.engine.exchange(data, settle=False), [])
        self.assertEqual(self.engine.exchange(data, settle=False), [])
        self.assertEqual(len(self.engine.store.jobs), 1)

    def test_linphone_repeats_nonce_and_count_with_a_new_cseq_and_is_challenged_not_refused(self):
        self.phone.register()
        self.phone.nc = 0
        answer = self.phone.send(self.phone.request())
        self.assertEqual(answer.status, 401)
        self.assertIn("stale=true", answer.get("WWW-Authenticate"))
        self.assertEqual(self.phone.send(self.phone.request()).status, 200)
        self.assertNotIn("refused", "\n".join(self.engine.log_lines()))


class Nonces(EngineTestCase):
    def stale(self, answer):
        return answer.status == 401 and "stale=true" in answer.get("WWW-Authenticate")

    def test_one_from_another_address_is_stale(self):
        self.phone.send(self.phone.request())
        [answer] = self.engine.exchange(self.phone.request(), flow("198.51.100.7"))
        self.assertTrue(self.stale(answer))

    def test_one_from_another_port_is_good(self):
        self.phone.send(self.phone.request())
        [answer] = self.engine.exchange(self.phone.request(), flow(port=40000))
        self.assertEqual(answer.status, 200)

    def test_one_too_old_is_stale(self):
        self.phone.register()
        self.engine.clock.time += 7300
        self.assertTrue(self.stale(self.phone.send(self.phone.request())))

    def test_it_outlives_a_restart(self):
        self.phone.register()
        rows = self.engine.directory
        self.engine = self.phone.engine = Engine()
        self.engine.directory.by_number, self.engine.directory.rows = rows.by_number, rows.rows
        self.assertEqual(self.phone.send(self.phone.request()).status, 200)

    def test_behind_a_trusted_proxy_the_reported_address_counts(self):
        self.engine = self.phone.engine = Engine(trusted_proxies=lambda host: host == "192.0.2.10")
        self.engine.directory.add("1001")

        def via_proxy(received):
            line = f"Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKp{self.phone.cseq}\r\nVia:".encode()
            data = self.phone.request().replace(b"Via:", line, 1)
            return self.phone.send(data.replace(b";rport;", b";received=" + received + b";", 1))

        self.assertEqual(via_proxy(b"203.0.113.5").status, 401)
        self.assertTrue(self.stale(via_proxy(b"203.0.113.6")))
        self.assertEqual(via_proxy(b"203.0.113.6").status, 200)
        for invented in (b"office", b"203.0.113.999", b"0x7f000001"):
            request = Request("REGISTER", "sip:pbx.test", via_proxy(invented).headers)
            source = self.engine.core.authenticator.source(request, self.phone.flow)
            self.assertEqual(source, "192.168.1.5", "no proxy has written that: the Via's own address")

    def test_where_a_phone_is_that_registered_through_a_proxy(self):
        self.engine = Engine(trusted_proxies=lambda host: host == "192.0.2.10")
        source = self.engine.core.authenticator.registered_from
        edge, other = (Flow("UDP", ("192.0.2.1", 5060), (host, 5060)) for host in ("192.0.2.10", "192.0.2.11"))
        for path, host in (
            ("<sip:192.0.2.10;lr;received=sip:203.0.113.5:5062>", "203.0.113.5"),
            ("<sip:192.0.2.10;lr;received=sip:203.0.113.5:5062%3Btransport%3Dtcp>, <sip:far;lr>", "203.0.113.5"),
            ("<sip:192.0.2.10;lr;received=sip:[2001:db8::5]:5062>", "2001:db8::5"),
            ("<sip:192.0.2.10;lr>, <sip:far;lr;received=sip:203.0.113.5>", ""),
            ("<sip:a%3Breceived=sip:203.0.113.5@192.0.2.10;lr>", ""),
            ("<sip:192.0.2.10;lr;received=sip:office>", ""),
            ("<sip:192.0.2.10;lr;received=>", ""),
            ("<", ""),
            ("", "192.0.2.10"),
        ):
            self.assertEqual(source(path, edge), host, path)
            self.assertEqual(source(path, other), "192.0.2.11", "nobody trusts it")


class Refusing(EngineTestCase):
    def refusal(self, phone):
        """The bytes of the 403, with what the request brought along taken out."""
        phone.send(phone.request())
        answer = phone.send(phone.request())
        self.assertEqual(answer.status, 403)
        return [(n, v) for n, v in answer.headers if n not in ("Via", "From", "To", "Call-ID", "CSeq")], answer.reason

    def test_whatever_is_wrong_with_the_credentials_the_answer_is_the_same(self):
        self.engine.directory.add("1002", enabled=False)
        self.engine.directory.add("1003").ha1.clear()
        wrong = Phone(self.engine, password="wrong")
        third = Phone(self.engine, "1002")
        third.to_number = "1001"
        answers = [self.refusal(p) for p in (
            wrong, Phone(self.engine, "1002"), Phone(self.engine, "1003"), Phone(self.engine, "9999"), third,
        )]
        self.assertTrue(all(answer == answers[0] for answer in answers))
        causes = [line.rpartition("cause=")[2] for line in self.engine.log_lines() if "cause=" in line]
        self.assertEqual(causes, ["wrong_password", "disabled", "no_credential", "unknown_extension", "third_party"])

    def test_nothing_is_kept_of_who_is_refused(self):
        self.refusal(Phone(self.engine, password="wrong"))
        self.assertEqual(self.engine.core.endpoint.transactions + self.engine.core.endpoint.answers_kept, 0)

    def spoilt(self, edit):
        self.phone.send(self.phone.request())
        self.phone.credentials_edit = edit
        return self.phone.send(self.phone.request()).status

    def test_qop_left_out_is_refused(self):
        self.assertEqual(self.spoilt(lambda text: text.replace(", qop=auth, nc=00000001", "")), 403)

    def test_an_algorithm_that_was_not_offered_is_refused(self):
        self.assertEqual(self.spoilt(lambda text: text.replace("algorithm=MD5", "algorithm=SHA-256")), 403)

    def test_a_digest_uri_of_elsewhere_is_400(self):
        self.assertEqual(self.spoilt(lambda text: text.replace(f'uri="sip:{DOMAIN}"', 'uri="sip:evil.test"')), 400)

    def test_a_parameter_twice_is_400(self):
        self.assertEqual(self.spoilt(lambda text: text + ', username="1002"'), 400)

    def test_another_realm_is_challenged_again(self):
        self.assertEqual(self.spoilt(lambda text: text.replace('realm="pbx.test"', 'realm="asterisk"')), 401)

    def test_a_foreign_domain_is_404_for_everybody(self):
        for number in ("1001", "9999"):
            phone = Phone(self.engine, number)
            phone.domain = "elsewhere.test"
            self.assertEqual(phone.send(phone.request()).status, 404)

    def test_the_servers_own_address_is_a_domain_of_ours(self):
        self.phone.domain = "192.0.2.1"
        self.assertEqual(self.phone.send(self.phone.request()).status, 401)

    def test_a_contact_beside_nothing_is_read_as_if_it_stood_alone(self):
        self.assertEqual(self.phone.register().status, 200)
        answer = self.phone.register("<sip:{number}@192.168.1.5:5062>;expires=0,")
        self.assertEqual((answer.status, answer.getall("Contact")), (200, []))
        self.assertEqual(self.phone.register(",<sip:{number}@192.168.1.5:5062>").status, 200)

    def test_a_contact_at_the_server_itself_is_refused(self):
        self.assertEqual(self.phone.register("<sip:1001@192.0.2.1:5060>").status, 400)

    def test_too_many_contacts_are_refused(self):
        many = ", ".join(f"<sip:1001@192.168.1.{n}>" for n in range(11))
        self.assertEqual(self.phone.register(many).status, 400)


class TwoAlgorithms(EngineTestCase):
    settings = {"algorithms": ("SHA-256", "MD5")}

    def test_both_are_offered_the_stronger_first_and_each_works(self):
        answer = self.phone.send(self.phone.request())
        offered = answer.getall("WWW-Authenticate")
        self.assertEqual(len(offered), 2)
        self.assertIn("SHA-256", offered[0])
        for algorithm in ("SHA-256", "MD5"):
            phone = Phone(self.engine)
            phone.algorithm = phone.call_id = algorithm
            self.assertEqual(phone.register().status, 200)


class Overload(EngineTestCase):
    def test_a_full_waiting_list_is_503_with_retry_after(self):
        self.phone.send(self.phone.request())
        self.engine.store.has_room = lambda job, beside: False
        answer = self.phone.send(self.phone.request())
        self.assertEqual(answer.status, 503)
        self.assertGreater(int(answer.get("Retry-After")), 0)

    def test_the_times_to_come_back_differ(self):
        self.phone.send(self.phone.request())
        self.engine.store.has_room = lambda job, beside: False
        times = {self.phone.send(self.phone.request()).get("Retry-After") for _ in range(40)}
        self.assertGreater(len(times), 5)

    def test_a_store_that_is_away_too_long_is_503_never_4xx_and_is_not_answered_twice(self):
        self.phone.send(self.phone.request())
        self.assertEqual(self.engine.exchange(self.phone.request(), self.phone.flow, settle=False), [])
        self.assertEqual(self.engine.tick(7.5), [])
        [answer] = self.engine.tick(1)
        self.assertEqual(answer.status, 503)
        self.engine.core.completed(self.engine.store.settle())
        self.assertEqual(self.engine.sent(), [])

    def test_while_stopping_new_ones_get_503_and_accepted_ones_their_answer(self):
        self.phone.send(self.phone.request())
        self.engine.exchange(self.phone.request(), self.phone.flow, settle=False)
        self.engine.core.drain()
        second = Phone(self.engine)
        second.nonce = self.phone.nonce
        self.engine.core.receive(second.request(), second.flow)
        self.assertEqual([m.status for m in self.engine.sent()], [503])
        self.engine.core.completed(self.engine.store.settle())
        self.assertEqual([m.status for m in self.engine.sent()], [200])


class OtherMethods(EngineTestCase):
    def status(self, method, contact=None, **kwargs):
        return [m.status for m in self.engine.exchange(self.phone.request(contact, method=method, **kwargs))]

    def test_options_is_200_and_lists_methods(self):
        usual = ["Accept: application/sdp", "Supported: replaces, outbound, gruu", "Allow: INVITE, ACK, CANCEL, BYE"]
        [answer] = self.engine.exchange(self.phone.request(None, usual, method="OPTIONS"))
        self.assertEqual(answer.status, 200)
        self.assertIn("REGISTER", answer.get("Allow"))

    def test_unknown_method_is_501(self):
        self.assertEqual(self.status("FLY"), [501])

    def test_ack_is_never_answered(self):
        self.assertEqual(self.status("ACK"), [])

    def test_a_response_is_never_answered(self):
        self.assertEqual(self.engine.exchange(
            b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n"
            b"To: <sip:a@b>;tag=2\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n"), [])

    def test_garbage_is_not_answered(self):
        self.assertEqual(self.engine.exchange(b"\x16\x03\x01\x02\x00" * 20), [])


class Pings(EngineTestCase):
    def setUp(self):
        super().setUp()
        self.phone = Phone(self.engine, flow=flow("203.0.113.9", 40001))

    def test_a_phone_behind_nat_is_pinged_through_the_address_it_came_from(self):
        self.phone.register()
        self.engine.tick(19)
        self.engine.clock.time += 2
        self.engine.core.tick()
        [(data, to)] = self.engine.core.datagrams_to_send()
        self.assertEqual(to.remote, ("203.0.113.9", 40001))
        ping = parse_message(data)
        self.assertEqual((ping.method, ping.uri), ("OPTIONS", "sip:1001@192.168.1.5:5062"))

    def test_one_that_answers_is_never_unreachable_and_one_that_does_not_is(self):
        self.phone.register()
        for _ in range(6):
            for ping in self.engine.tick(20.2):
                answer = ping.to_bytes().replace(b"OPTIONS sip:1001@192.168.1.5:5062 SIP/2.0", b"SIP/2.0 486 Busy")
                self.engine.core.receive(answer, flow("203.0.113.9", 40009))
        self.assertEqual(self.engine.core.keepalive.died, [])
        self.engine.tick(90)
        self.assertEqual(len(self.engine.core.keepalive.died), 1)

    def test_one_that_needs_no_way_kept_open_is_asked_less_often_and_missed_all_the_same(self):
        self.phone.register("<sip:1001@203.0.113.9:40001>")
        self.assertEqual(self.engine.tick(59), [])
        self.assertEqual(len(self.engine.tick(2)), 1)
        self.engine.tick(181)
        self.assertEqual(len(self.engine.core.keepalive.died), 1)

    def test_one_that_took_over_the_address_of_its_router_is_pinged_too(self):
        self.engine.core.settings = replace(self.engine.core.settings, is_local=lambda host: False)
        self.phone.register("<sip:1001@203.0.113.9:40001>")
        self.assertNotEqual(self.engine.tick(21), [])

    def test_one_that_signed_off_is_left_alone(self):
        self.phone.register()
        self.phone.register(headers=["Expires: 0"])
        self.assertEqual(self.engine.tick(60), [])

    def test_double_line_end_is_answered_with_one(self):
        self.engine.core.receive(b"\r\n\r\n", self.phone.flow)
        self.assertEqual(self.engine.core.datagrams_to_send(), [(b"\r\n", self.phone.flow)])
