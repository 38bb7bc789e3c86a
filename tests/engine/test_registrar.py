"""RFC 3261 section 10.3: what a REGISTER changes and what it is told."""

from __future__ import annotations

from unittest import TestCase

from sipcore.registrar import MAX_ENDED, Accepted, Cause, Policy, Refused, Stale, register
from tests.engine.asking import asks, contact, flow
from tests.engine.memory_directory import MemoryDirectory

NOW = 1_800_000_000.0
PHONE, OTHER = "sip:1001@192.168.1.5:5062", "sip:1001@192.168.1.6:5062"


class RegistrarTestCase(TestCase):
    def setUp(self):
        self.account = MemoryDirectory().add("1001")
        self.rows = {}
        self.now = NOW
        self.policy = Policy(node="n1")

    def register(self, asked, draw=0.0):
        decision = register(asked, self.account, list(self.rows.values()), self.policy, self.now, draw)
        if isinstance(decision, Accepted):
            for binding in decision.changed:
                self.rows[binding.key] = binding
            for id in decision.removed:
                del self.rows[id.key]
        return decision

    def addresses(self):
        return {b.contact for b in self.rows.values() if b.expires_at > self.now}


class Lifetimes(RegistrarTestCase):
    def granted(self, *contacts, **fields):
        decision = self.register(asks(*contacts, **fields))
        return [round(b.expires_at - NOW) for b in decision.current]

    def test_default_is_granted_and_told_when_nothing_is_asked(self):
        self.assertEqual(self.granted(contact()), [3600])

    def test_expires_header_counts(self):
        self.assertEqual(self.granted(contact(), expires=120), [120])

    def test_parameter_of_the_contact_beats_the_header(self):
        self.assertEqual(self.granted(contact(expires=300), expires=120), [300])

    def test_too_long_is_shortened(self):
        self.assertEqual(self.granted(contact(), expires=2**32 - 1), [3600])

    def test_too_short_is_423_with_the_minimum_and_changes_nothing(self):
        decision = self.register(asks(contact(expires=59)))
        self.assertEqual(decision, Refused(423, Cause.EXPIRES_TOO_SHORT, 60))
        self.assertEqual(self.rows, {})

    def test_a_binding_ends_when_its_time_is_over(self):
        self.register(asks(contact(), expires=60))
        self.now += 61
        self.assertEqual(self.register(asks()).current, [])


class Spread(RegistrarTestCase):
    """Those that registered together must not come back together: what is granted is up to a fifth less."""

    def granted(self, seconds, draw):
        decision = self.register(asks(contact(), expires=seconds), draw)
        return [b.expires_at - NOW for b in decision.current]

    def test_it_is_shortened_by_up_to_a_fifth_and_never_lengthened(self):
        self.assertEqual(self.granted(3600, 0.0), [3600])
        self.assertEqual(self.granted(3600, 0.5), [3240])
        self.assertEqual(self.granted(3600, 0.999999), [2880])

    def test_all_in_between_are_as_likely(self):
        granted = [self.granted(100, step / 21 + 0.01)[0] for step in range(21)]
        self.assertEqual(granted, list(range(100, 79, -1)))

    def test_the_least_is_left_as_it_is(self):
        """A phone behind a router asks for it to keep its way open."""
        self.assertEqual(self.granted(60, 0.999999), [60])

    def test_never_below_the_least(self):
        self.assertEqual(self.granted(65, 0.999999), [60])

    def test_what_is_too_long_is_cut_first(self):
        self.assertEqual(self.granted(2**31, 0.999999), [2880])

    def test_signing_off_is_not_shortened(self):
        self.granted(3600, 0.5)
        self.assertEqual(self.granted(0, 0.5), [])

    def test_all_contacts_of_one_request_come_back_together(self):
        decision = self.register(asks(contact(PHONE), contact(OTHER), expires=3600), 0.5)
        self.assertEqual([b.expires_at - NOW for b in decision.current], [3240, 3240])


class Bindings(RegistrarTestCase):
    def test_refresh_does_not_double(self):
        self.register(asks(contact(PHONE)))
        self.now += 10
        decision = self.register(asks(contact(PHONE)))
        self.assertEqual(len(decision.current), 1)
        self.assertEqual(decision.current[0].registered_at, NOW)
        self.assertEqual(decision.current[0].refreshed_at, NOW + 10)

    def test_two_contacts_in_one_request_are_two_devices(self):
        decision = self.register(asks(contact(PHONE), contact(OTHER)))
        self.assertEqual({b.contact for b in decision.current}, {PHONE, OTHER})

    def test_query_lists_and_changes_nothing(self):
        self.register(asks(contact(PHONE)))
        decision = self.register(asks())
        self.assertEqual([b.contact for b in decision.current], [PHONE])
        self.assertEqual(decision.changed, [])

    def test_zero_removes_just_the_one_named(self):
        self.register(asks(contact(PHONE), contact(OTHER)))
        decision = self.register(asks(contact(PHONE, expires=0)))
        self.assertEqual([b.contact for b in decision.current], [OTHER])

    def test_removing_what_is_not_there_is_accepted(self):
        self.assertIsInstance(self.register(asks(contact(PHONE, expires=0))), Accepted)

    def test_star_with_zero_removes_all(self):
        self.register(asks(contact(PHONE)))
        self.register(asks(contact(OTHER), call_id="call-2"))
        self.assertEqual(self.register(asks(star=True, expires=0)).current, [])
        self.assertEqual(self.addresses(), set())

    def test_star_without_zero_is_400(self):
        self.register(asks(contact(PHONE)))
        for expires in (None, 60):
            self.assertEqual(self.register(asks(star=True, expires=expires)).status, 400)
        self.assertEqual(self.addresses(), {PHONE})

    def test_higher_q_is_listed_first(self):
        decision = self.register(asks(contact(PHONE, q=0.1), contact(OTHER, q=0.9)))
        self.assertEqual([b.contact for b in decision.current], [OTHER, PHONE])

    def test_all_or_nothing(self):
        decision = self.register(asks(contact(PHONE), contact(OTHER, expires=5)))
        self.assertEqual(decision.status, 423)
        self.assertEqual(self.addresses(), set())

    def test_the_address_is_where_the_packet_came_from(self):
        [binding] = self.register(asks(contact(PHONE), came=flow("203.0.113.9", 40001))).current
        self.assertEqual((binding.remote_host, binding.remote_port), ("203.0.113.9", 40001))


class Order(RegistrarTestCase):
    def test_older_cseq_of_the_same_call_id_is_refused(self):
        self.register(asks(contact(PHONE), cseq=10))
        for cseq in (9, 10):
            self.assertEqual(self.register(asks(contact(PHONE, expires=0), cseq=cseq)).status, 400)
        self.assertEqual(self.addresses(), {PHONE})

    def test_star_with_an_older_cseq_is_refused_whole(self):
        self.register(asks(contact(PHONE), cseq=10))
        self.assertEqual(self.register(asks(star=True, expires=0, cseq=9)).status, 400)
        self.assertEqual(self.addresses(), {PHONE})

    def test_another_call_id_updates_whatever_its_cseq(self):
        self.register(asks(contact(PHONE), cseq=10))
        self.assertIsInstance(self.register(asks(contact(PHONE), call_id="after-reboot", cseq=1)), Accepted)


class Replay(RegistrarTestCase):
    def test_a_nonce_count_is_good_once(self):
        asked = asks(contact(PHONE), nonce="n", nc=1)
        self.register(asked)
        self.assertIsInstance(self.register(asked), Stale)
        self.assertIsInstance(self.register(asks(contact(PHONE), nonce="n", nc=1)), Stale)
        self.assertIsInstance(self.register(asks(contact(PHONE), nonce="n", nc=2)), Accepted)

    def test_a_captured_authorization_does_not_carry_another_contact(self):
        self.register(asks(contact(PHONE), nonce="n", nc=1))
        self.assertIsInstance(self.register(asks(contact("sip:evil@203.0.113.66"), nonce="n", nc=1)), Stale)
        self.assertEqual(self.addresses(), {PHONE})

    def test_what_was_signed_off_cannot_be_replayed(self):
        first = asks(contact(PHONE), nonce="n", nc=1)
        self.register(first)
        self.register(asks(contact(PHONE, expires=0), nonce="n", nc=2))
        self.assertIsInstance(self.register(first), Stale)
        self.assertEqual(self.addresses(), set())

    def test_star_cannot_be_replayed_back_either(self):
        first = asks(contact(PHONE), nonce="n", nc=1)
        self.register(first)
        self.register(asks(star=True, expires=0, nonce="n", nc=2))
        self.assertIsInstance(self.register(first), Stale)


class OnePhoneThatMoves(RegistrarTestCase):
    def test_instance_with_reg_id_is_one_binding_whatever_its_address(self):
        self.register(asks(contact(PHONE, instance="urn:uuid:1", reg_id=1)))
        self.register(asks(contact(OTHER, instance="urn:uuid:1", reg_id=1), call_id="call-2"))
        self.assertEqual(self.addresses(), {OTHER})

    def test_two_reg_ids_are_two_flows(self):
        self.register(asks(contact(PHONE, instance="urn:uuid:1", reg_id=1)))
        self.register(asks(contact(OTHER, instance="urn:uuid:1", reg_id=2)))
        self.assertEqual(self.addresses(), {PHONE, OTHER})

    def test_instance_without_reg_id_replaces_its_old_address(self):
        self.register(asks(contact(PHONE, instance="urn:uuid:1")))
        self.register(asks(contact(OTHER, instance="urn:uuid:1"), call_id="call-2"))
        self.assertEqual(self.addresses(), {OTHER})

    def test_without_instance_the_same_call_id_and_user_replace(self):
        """Linphone and pjsua register their private address, learn the public one and register that."""
        self.register(asks(contact(PHONE)))
        self.register(asks(contact("sip:1001@203.0.113.9:40001")))
        self.assertEqual(self.addresses(), {"sip:1001@203.0.113.9:40001"})

    def test_another_phone_is_not_replaced(self):
        self.register(asks(contact(PHONE)))
        self.register(asks(contact(OTHER), call_id="another-phone"))
        self.assertEqual(self.addresses(), {PHONE, OTHER})

    def test_signing_off_without_the_instance_finds_the_binding(self):
        self.register(asks(contact(PHONE, instance="urn:uuid:1", reg_id=1)))
        self.register(asks(contact(PHONE, expires=0)))
        self.assertEqual(self.addresses(), set())


class DeviceLimit(RegistrarTestCase):
    def setUp(self):
        super().setUp()
        self.account.max_devices = 2
        for number in (1, 2):
            self.register(asks(contact(f"sip:1001@192.168.1.{number}"), call_id=f"phone-{number}"))

    def third(self, **fields):
        return self.register(asks(contact("sip:1001@192.168.1.3", **fields), call_id="phone-3"))

    def test_one_too_many_is_403(self):
        self.assertEqual(self.third(), Refused(403, Cause.TOO_MANY_DEVICES))

    def test_a_phone_that_does_not_answer_makes_room(self):
        self.rows["sip:1001@192.168.1.1"].unreachable_since = NOW
        self.assertIsInstance(self.third(), Accepted)
        self.assertEqual(self.addresses(), {"sip:1001@192.168.1.2", "sip:1001@192.168.1.3"})

    def test_known_phones_refresh_above_a_lowered_limit(self):
        self.account.max_devices = 1
        self.assertIsInstance(self.register(asks(contact("sip:1001@192.168.1.1"), call_id="phone-1")), Accepted)

    def test_signing_off_is_always_possible(self):
        self.account.max_devices = 1
        self.assertIsInstance(
            self.register(asks(contact("sip:1001@192.168.1.1", expires=0), call_id="phone-1")), Accepted
        )


class Bounds(RegistrarTestCase):
    def test_ended_registrations_of_a_phone_that_is_new_at_every_start_are_forgotten(self):
        for number in range(3 * MAX_ENDED):
            key = f"sip:1001-{number}@192.168.1.5"
            self.register(asks(contact(key), call_id=f"run-{number}"))
            self.register(asks(contact(key, expires=0), call_id=f"run-{number}"))
        self.assertLessEqual(len(self.rows), MAX_ENDED + 2)
