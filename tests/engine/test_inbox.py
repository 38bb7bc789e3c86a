"""The order of admission: who is served first and who is shed when more comes than can be served."""

from __future__ import annotations

import tracemalloc
from unittest import TestCase

from sipcore.admission import Classifier, Rank
from sipcore.inbox import Inbox
from sipcore.protocol.message import Request, make_response
from tests.engine.asking import flow
from tests.engine.core_under_test import Engine, Phone

PHONE = flow("192.0.2.10", 5062)
BESIDE = flow("192.0.2.10", 9999)
STRANGER = flow("203.0.113.66", 5060)
TAG = "n1-0-00112233445566778899"


def message(start: str, to: str = "<sip:1002@pbx.test>", *more: str) -> bytes:
    lines = [
        start, "Via: SIP/2.0/UDP 10.0.0.9:5062;rport;branch=z9hG4bK1", "Max-Forwards: 70",
        "From: <sip:1001@pbx.test>;tag=a", f"To: {to}", "Call-ID: call-7", "CSeq: 1 X", *more, "Content-Length: 0",
    ]  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def request(method: str, user: str = "1002", **how) -> bytes:
    return message(f"{method} sip:{user}@pbx.test SIP/2.0", **how)


CREDENTIALS = 'Authorization: Digest username="1001", cnonce="made up", nonce="given"'


class Ranks(TestCase):
    def setUp(self):
        self.now = 1000.0
        self.classify = Classifier(
            {PHONE.remote}.__contains__,
            {PHONE.remote[0]}.__contains__,
            lambda call_id, tag: (call_id, tag) == ("call-7", TAG),
            frozenset({"112"}),
            lambda nonce, host: (nonce, host) == ("given", STRANGER.remote[0]),
            lambda branch: branch.startswith("z9hG4bKours."),
            lambda: self.now,
        )

    def test_known_phones_go_before_strangers_and_calls_before_registrations(self):
        ranks = [
            self.classify(request("INVITE", "112"), PHONE),
            self.classify(request("BYE"), PHONE),
            self.classify(request("INVITE"), PHONE),
            self.classify(request("REGISTER"), PHONE),
            self.classify(message("REGISTER sip:pbx.test SIP/2.0", "<sip:1@pbx.test>", CREDENTIALS), BESIDE),
            self.classify(request("REGISTER"), BESIDE),
            self.classify(request("INVITE", "112"), STRANGER),
            self.classify(message("REGISTER sip:pbx.test SIP/2.0", "<sip:1@pbx.test>", CREDENTIALS), STRANGER),
            self.classify(request("REGISTER"), STRANGER),
            self.classify(b"\x16\x03\x01" * 30, STRANGER),
        ]
        self.assertEqual(ranks, list(Rank))

    def test_whoever_knows_a_tag_of_ours_belongs_to_the_call_wherever_it_is_by_now(self):
        for method in ("INVITE", "BYE", "ACK", "UPDATE"):
            self.assertEqual(self.classify(request(method, to=f"<sip:1002@pbx.test>;tag={TAG}"), STRANGER), Rank.DIALOG)
        compact = request("BYE", to=f"<sip:1002@pbx.test>;tag={TAG};x=y").replace(b"To:", b"t:")
        self.assertEqual(self.classify(compact.replace(b"Call-ID", b"i"), STRANGER), Rank.DIALOG)

    def test_a_tag_that_is_made_up_is_no_pass(self):
        self.assertEqual(self.classify(request("BYE", to="<sip:1@pbx.test>;tag=guess"), STRANGER), Rank.STRANGER)
        other = request("BYE", to=f"<sip:1@pbx.test>;tag={TAG}").replace(b"call-7", b"call-8")
        self.assertEqual(self.classify(other, STRANGER), Rank.STRANGER)

    def test_credentials_that_are_made_up_are_no_pass(self):
        for made_up in ('nonce="guess"', 'cnonce="given"', 'nonce="given', 'opaque="given"', "nonce=given", ""):
            more = f'Authorization: Digest username="1001", {made_up}'
            ranked = self.classify(message("REGISTER sip:pbx.test SIP/2.0", "<sip:1@pbx.test>", more), STRANGER)
            self.assertEqual(ranked, Rank.STRANGER, made_up)

    def test_answers_to_what_we_asked_known_phones_are_of_the_first(self):
        answer = message("SIP/2.0 200 OK").replace(b"branch=z9hG4bK1", b"branch=z9hG4bKours.7")
        self.assertEqual(self.classify(answer, PHONE), Rank.DIALOG)
        self.assertEqual(self.classify(answer.replace(b"Via:", b"v:"), BESIDE), Rank.DIALOG)
        self.assertEqual(self.classify(answer, STRANGER), Rank.NOISE)

    def test_answers_to_nothing_are_noise_whoever_sends_them(self):
        ours = b", SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKours.7\r\nMax"
        for answer in (
            message("SIP/2.0 200 OK"),
            message("SIP/2.0 200 OK").replace(b"\r\nMax", ours),
            b"SIP/2.0 200 OK",
        ):
            self.assertEqual(self.classify(answer, PHONE), Rank.NOISE)

    def test_calls_for_help_are_believed_a_few_times_a_second_and_not_at_the_phones_expense(self):
        flood = [self.classify(request("INVITE", "112"), BESIDE) for _ in range(20)]
        self.assertEqual(flood, [Rank.EMERGENCY] * 5 + [Rank.NEW_NEIGHBOUR] * 15)
        of_the_phone = [self.classify(request("INVITE", "112"), PHONE) for _ in range(6)]
        self.assertEqual(of_the_phone, [Rank.EMERGENCY] * 5 + [Rank.CALL])
        self.now += 1
        self.assertEqual(self.classify(request("INVITE", "112"), BESIDE), Rank.EMERGENCY)

    def test_calls_for_help_from_everywhere_are_bounded_in_all(self):
        everywhere = Classifier(lambda remote: False, lambda host: True, lambda call_id, tag: False, frozenset({"112"}))
        ranks = [everywhere(request("INVITE", "112"), flow(f"203.0.113.{host}")) for host in range(200)]
        self.assertLessEqual(ranks.count(Rank.EMERGENCY), 100, "50, or twice that when a second ends meanwhile")

    def test_the_end_of_a_call_that_is_not_known_is_believed_a_few_times_a_second(self):
        flood = [self.classify(request("CANCEL"), BESIDE) for _ in range(100)]
        self.assertEqual(flood, [Rank.DIALOG] * 20 + [Rank.NEW_NEIGHBOUR] * 80)
        self.assertEqual(self.classify(request("CANCEL"), PHONE), Rank.DIALOG)
        self.assertEqual(self.classify(request("BYE", to=f"<sip:1002@pbx.test>;tag={TAG}"), BESIDE), Rank.DIALOG)

    def test_a_large_message_of_who_has_proved_nothing_goes_last(self):
        for method, user in (("REGISTER", "1"), ("INVITE", "112"), ("CANCEL", "1")):
            large = request(method, user) + bytes(5000)
            self.assertEqual(self.classify(large, BESIDE), Rank.NOISE, method)
            self.assertEqual(self.classify(large, STRANGER), Rank.NOISE, method)
        self.assertEqual(self.classify(request("INVITE") + bytes(5000), PHONE), Rank.CALL)
        within = request("INVITE", to=f"<sip:1002@pbx.test>;tag={TAG}") + bytes(5000)
        self.assertEqual(self.classify(within, BESIDE), Rank.DIALOG)

    def test_keep_alives(self):
        self.assertEqual(self.classify(b"\r\n\r\n", PHONE), Rank.REFRESH)
        self.assertEqual(self.classify(b"\r\n\r\n", STRANGER), Rank.NOISE)

    def test_whatever_the_bytes_it_ranks_them(self):
        whole = request("INVITE", "112", to=f"<sip:1@pbx.test>;tag={TAG}")
        for end in range(len(whole)):
            self.assertIn(self.classify(whole[:end], STRANGER), Rank)
        self.assertIn(self.classify(b"INVITE " + b"\xff" * 65_000, STRANGER), Rank)
        self.assertIn(self.classify(request("BYE", to=";tag=\xff\0"), STRANGER), Rank)


class Order(TestCase):
    def setUp(self):
        self.inbox = Inbox(most=10)

    def put(self, name: str, rank: Rank, host: str = "192.0.2.1"):
        self.inbox.put(name.encode(), flow(host), rank)

    def taken(self) -> str:
        names = []
        while (packet := self.inbox.take()) is not None:
            names.append(packet[0].decode())
        return " ".join(names)

    def test_the_first_rank_is_served_first_and_each_in_its_order(self):
        for name, rank in (("s1", Rank.STRANGER), ("r1", Rank.REFRESH), ("s2", Rank.STRANGER), ("d1", Rank.DIALOG),
                           ("r2", Rank.REFRESH), ("c1", Rank.CALL)):  # fmt: skip
            self.put(name, rank)
        self.assertEqual(self.taken(), "d1 c1 r1 r2 s1 s2")

    def test_when_it_is_full_the_last_rank_is_shed(self):
        for number in range(10):
            self.put(f"s{number}", Rank.STRANGER)
        for number in range(4):
            self.put(f"r{number}", Rank.REFRESH)
        self.assertEqual(len(self.inbox), 10)
        self.assertEqual(self.taken(), "r0 r1 r2 r3 s0 s1 s2 s3 s4 s5")
        self.assertEqual(self.inbox.take_shed(), {Rank.STRANGER: 4})
        self.assertEqual(self.inbox.take_shed(), {})

    def test_a_call_for_help_is_the_last_to_go(self):
        self.put("help", Rank.EMERGENCY)
        for number in range(30):
            self.put(f"d{number}", Rank.DIALOG)
        self.assertTrue(self.taken().startswith("help d0 "))

    def test_an_address_that_sends_much_waits_behind_itself_alone(self):
        for number in range(5):
            self.put(f"loud{number}", Rank.STRANGER, "203.0.113.1")
        self.put("quiet", Rank.STRANGER, "203.0.113.2")
        self.assertEqual(self.taken(), "loud0 quiet loud1 loud2 loud3 loud4")

    def test_an_address_that_sends_much_is_shed_first(self):
        self.put("quiet1", Rank.STRANGER, "203.0.113.2")
        for number in range(50):
            self.put(f"loud{number}", Rank.STRANGER, "203.0.113.1")
        self.put("quiet2", Rank.STRANGER, "203.0.113.2")
        self.assertIn("quiet1", taken := self.taken())
        self.assertIn("quiet2", taken)

    def test_a_flood_of_the_first_rank_does_not_silence_the_others(self):
        """Its source may be forged: the address of a known phone."""
        inbox = Inbox()
        for number in range(1000):
            inbox.put(b"help%d" % number, flow("192.0.2.1"), Rank.EMERGENCY)
        for number in range(5):
            inbox.put(b"refresh%d" % number, flow("192.0.2.2"), Rank.REFRESH)
            inbox.put(b"new%d" % number, flow("192.0.2.3"), Rank.STRANGER)
        first = [inbox.take()[0] for _ in range(500)]
        self.assertEqual(sum(name.startswith(b"refresh") for name in first), 5)
        self.assertEqual(sum(name.startswith(b"new") for name in first), 5)
        self.assertGreater(sum(name.startswith(b"help") for name in first[:100]), 90)

    def test_no_flood_of_any_rank_starves_another_or_takes_its_places(self):
        """3,000 packets come a second and 2,000 are served, whatever rank the flood has come by."""
        for flooded in Rank:
            inbox, served = Inbox(most=1000), 0
            for tick in range(3000):
                for number in range(3):
                    inbox.put(b"flood%d.%d" % (tick, number), flow("192.0.2.1"), flooded)
                if tick % 200 == 0:
                    for rank in Rank:
                        inbox.put(b"honest%d.%d" % (tick, rank), flow("192.0.2.2"), rank)
                for _ in range(2):
                    served += (packet := inbox.take()) is not None and packet[0].startswith(b"honest")
            self.assertEqual(served, 15 * len(Rank), flooded.name)
            self.assertEqual(set(inbox.take_shed()), {flooded})

    def test_a_large_message_takes_the_turns_of_several(self):
        inbox = Inbox()
        for number in range(100):
            inbox.put(b"%05d" % number + bytes(60_000), flow("192.0.2.1"), Rank.DIALOG)
        for number in range(100):
            inbox.put(b"small%d" % number, flow("192.0.2.2"), Rank.REFRESH)
        taken = [inbox.take()[0] for _ in range(110)]
        self.assertEqual(sum(name.startswith(b"small") for name in taken), 100)
        self.assertEqual(taken[-1][:2], b"00", "in the first dozens")

    def test_what_waits_already_is_not_taken_again(self):
        for _ in range(3):
            self.put("same", Rank.STRANGER)
        self.put("same", Rank.STRANGER, "192.0.2.2")
        self.assertEqual(self.taken(), "same same")
        self.assertEqual(self.inbox.take_shed(), {})
        self.put("same", Rank.STRANGER)
        self.assertEqual(self.taken(), "same", "it had been served, and comes again")

    def test_it_is_bounded_in_bytes_too(self):
        inbox = Inbox()
        tracemalloc.start()
        try:
            for number in range(3_000):
                inbox.put(bytes(60_000), flow(f"10.0.{number >> 8}.{number & 255}"), Rank.STRANGER)
            self.assertLess(tracemalloc.get_traced_memory()[0], 20_000_000)
        finally:
            tracemalloc.stop()

    def test_what_it_held_is_forgotten(self):
        for number in range(50):
            self.put("x", Rank.STRANGER, f"203.0.113.{number}")
        self.taken()
        self.assertEqual((len(self.inbox), self.inbox._bytes, self.inbox._waiting), (0, 0, set()))


class Flood(TestCase):
    """Of somebody at the address of a phone, or who forges it, above what can be served."""

    def served(self, evil: bytes, source=BESIDE) -> tuple[int, dict[Rank, int]]:
        clock = iter(range(10**9))
        classify = Classifier(
            {PHONE.remote}.__contains__, {PHONE.remote[0]}.__contains__, lambda call_id, tag: False,
            frozenset({"112"}), now=lambda: next(clock) / 3000,
        )  # fmt: skip
        inbox, served = Inbox(), 0
        for tick in range(6000):
            for number in range(3):
                packet = evil.replace(b"call-7", b"%d.%d" % (tick, number))
                inbox.put(packet, source, classify(packet, source))
            if tick % 10 == 0:
                refresh = request("REGISTER").replace(b"call-7", b"mine%d" % tick)
                inbox.put(refresh, PHONE, classify(refresh, PHONE))
            for _ in range(2):
                served += (packet := inbox.take()) is not None and b"mine" in packet[0]
        return served, inbox.take_shed()

    def test_the_refreshes_of_the_phone_are_served(self):
        for evil in (
            request("INVITE", "112"), request("BYE"), request("INVITE"), message("SIP/2.0 200 OK"),
            message("REGISTER sip:pbx.test SIP/2.0", "<sip:1@pbx.test>", CREDENTIALS),
        ):  # fmt: skip
            served, shed = self.served(evil)
            self.assertEqual(served, 600, evil[:20])
            self.assertNotIn(Rank.REFRESH, shed)

    def test_even_where_its_port_is_forged_too_the_flood_has_its_turns_only(self):
        served, shed = self.served(request("BYE"), PHONE)
        self.assertEqual(served, 600)
        self.assertNotIn(Rank.REFRESH, shed)


class OfTheEngine(TestCase):
    def setUp(self):
        self.engine = Engine(emergency=frozenset({"112"}))
        self.addCleanup(self.engine.log.close)
        self.engine.directory.add("1001")
        self.phone = Phone(self.engine)

    def test_a_phone_is_known_by_its_address_once_it_has_registered(self):
        again = self.phone.request()
        self.assertEqual(self.engine.core.rank(again, self.phone.flow), Rank.STRANGER)
        self.phone.register()
        self.assertEqual(self.engine.core.rank(again, self.phone.flow), Rank.REFRESH)
        self.assertEqual(self.engine.core.rank(again, flow(self.phone.flow.remote[0], 1)), Rank.NEW_NEIGHBOUR)
        self.assertEqual(self.engine.core.rank(request("INVITE", "112"), self.phone.flow), Rank.EMERGENCY)

    def test_an_answer_to_a_request_of_ours_is_known_by_its_branch(self):
        self.phone.register()
        ask = Request("OPTIONS", "sip:1001@192.0.2.10", [("From", "<sip:a@b>;tag=1"), ("To", "<sip:c@d>")])
        ask.add("Call-ID", "x")
        ask.add("CSeq", "1 OPTIONS")
        self.engine.core.endpoint.send_request(ask, self.phone.flow, 0.0)
        answer = make_response(ask, 200).to_bytes()
        self.assertEqual(self.engine.core.rank(answer, self.phone.flow), Rank.DIALOG)
        self.assertEqual(self.engine.core.rank(message("SIP/2.0 200 OK"), self.phone.flow), Rank.NOISE)

    def test_its_refresh_has_room_in_the_store_when_strangers_have_none(self):
        self.phone.register()
        stranger = Phone(self.engine, flow=flow("203.0.113.66"))
        self.engine.store.has_room = lambda job, beside: job.refreshes
        self.assertEqual(self.phone.register().status, 200)
        self.assertEqual(stranger.register().status, 503)
