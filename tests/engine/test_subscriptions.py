"""Lamps, presence and messages waiting, as a phone sees them: the engine in memory, time by hand."""

from __future__ import annotations

import unittest
from xml.etree import ElementTree

from tests.engine.subscriptions_under_test import SubscriptionWorld
from tests.support.caller import Caller, Fault
from tests.support.watcher import Watch


class SubscriptionCase(unittest.TestCase):
    settings: dict = {}

    def setUp(self) -> None:
        self.world = SubscriptionWorld(**self.settings)
        self.addCleanup(lambda: self.world.close())
        self.watcher = self.world.phone()

    def tearDown(self) -> None:
        self.assertEqual([], [str(error) for error in self.world.loop.errors])

    def watch(self, phone: Caller, event: str = "dialog", **how) -> Watch:
        watch = Watch(self.watcher, phone.number, event, **how)
        self.assertTrue(watch.news().active)
        return watch

    def ring(self, caller: Caller, callee: Caller):
        call = caller.invite(callee.number)
        invite = callee.expect("INVITE")
        return call, invite, callee.ring(invite)


class LampTests(SubscriptionCase):
    def test_a_lamp_follows_a_call_of_the_one_who_is_called(self):
        boss, caller = self.world.phone(), self.world.phone()
        lamp = Watch(self.watcher, boss.number)
        first = lamp.news()
        self.assertEqual((["terminated"], True, 600), (first.lamp, first.active, first.expires))
        call, invite, tag = self.ring(caller, boss)
        news = lamp.wait_lamp("early")
        self.assertEqual(["recipient"], news.directions)
        theirs = boss.answer(invite, tag=tag, ack=False)
        call.connected()
        lamp.wait_lamp("confirmed")
        boss.expect("ACK")
        boss.bye(theirs)
        news = lamp.wait_lamp("terminated")
        self.assertEqual(["recipient"], news.directions)

    def test_a_lamp_follows_a_call_of_the_caller(self):
        boss, other = self.world.phone(), self.world.phone()
        lamp = self.watch(boss)
        call, _, _ = self.ring(boss, other)
        self.assertEqual(["initiator"], lamp.wait_lamp("early").directions)
        call.cancel()
        lamp.wait_lamp("terminated")

    def test_nobody_is_named(self):
        boss, caller = self.world.phone(), self.world.phone()
        self.world.set_name(caller.number, "Secret Admirer")
        lamp = self.watch(boss)
        self.ring(caller, boss)
        body = str(lamp.wait_lamp("early").message)
        self.assertNotIn(caller.number, body)
        self.assertNotIn("Admirer", body)

    def test_what_comes_quickly_is_told_as_one(self):
        boss, caller = self.world.phone(), self.world.phone()
        lamp = self.watch(boss)
        self.world.pass_time(1.0)
        call, invite, tag = self.ring(caller, boss)
        boss.answer(invite, tag=tag, ack=False)
        call.connected()
        self.assertEqual(["confirmed"], lamp.news().lamp)
        lamp.quiet(5.0)

    def test_one_notify_at_a_time_and_the_newest_state_wins(self):
        boss, caller = self.world.phone(), self.world.phone()
        lamp = self.watch(boss)
        self.world.pass_time(1.0)
        call, invite, tag = self.ring(caller, boss)
        waiting = lamp.news(status=0)
        self.assertEqual(["early"], waiting.lamp)
        theirs = boss.answer(invite, tag=tag, ack=False)
        call.connected()
        lamp.quiet(3.0)  # the first one is repeated byte for byte, nothing else comes
        boss.expect("ACK")
        boss.bye(theirs)
        lamp.quiet(3.0)
        self.watcher.respond(waiting.message, 200)
        self.assertEqual(["terminated"], lamp.news().lamp)
        lamp.quiet(3.0)

    def test_two_calls_of_one_extension(self):
        boss, one, two = self.world.phone(), self.world.phone(), self.world.phone()
        lamp = self.watch(boss)
        call, invite, tag = self.ring(one, boss)
        boss.answer(invite, tag=tag, ack=False)
        call.connected()
        boss.expect("ACK")
        second, _, _ = self.ring(two, boss)
        self.assertEqual(["confirmed", "early"], sorted(lamp.wait_lamp("confirmed", "early").lamp))
        second.cancel()
        lamp.wait_lamp("confirmed")

    def test_who_transfers_is_free_and_the_others_talk_on(self):
        boss, caller, target = self.world.phone(), self.world.phone(), self.world.phone()
        lamps = {phone.number: self.watch(phone) for phone in (boss, caller, target)}
        call, invite, tag = self.ring(caller, boss)
        theirs = boss.answer(invite, tag=tag, ack=False)
        call.connected()
        boss.expect("ACK")
        lamps[boss.number].wait_lamp("confirmed")
        lamps[caller.number].wait_lamp("confirmed")
        boss.request(theirs, "REFER", [("Refer-To", f"<sip:{target.number}@pbx.test>")])
        ringing = target.expect("INVITE")
        tag = target.ring(ringing)
        lamps[target.number].wait_lamp("early")
        target.answer(ringing, tag=tag, ack=False)
        again = caller.expect("INVITE")
        caller.respond(again, 200, "OK", [("Contact", caller.contact)], caller.sdp())
        boss.take_bye(theirs)
        lamps[boss.number].wait_lamp("terminated")
        lamps[target.number].wait_lamp("confirmed")
        self.world.pass_time(1)
        self.assertEqual(1, len(self.world.board.calls))
        told = [m for m in self.watcher.inbox if m.method == "NOTIFY" and m.call_id == lamps[caller.number].call_id]
        for message in told:
            self.watcher.respond(message, 200)
        self.assertTrue(all(b"<state>confirmed</state>" in message.body for message in told), told)

    def test_several_devices_are_one_call(self):
        boss, caller = self.world.phone(), self.world.phone()
        desk = self.world.phone(boss.number)
        lamp = self.watch(boss)
        caller.invite(boss.number)
        for phone in (boss, desk):
            phone.ring(phone.expect("INVITE"))
        self.assertEqual(["early"], lamp.wait_lamp("early").lamp)

    def test_capital_letters_do_not_matter(self):
        self.world.directory.add("front-desk", "secret")
        watch = Watch(self.watcher, "Front-Desk")
        self.assertEqual(200, watch.answer.status)


class NamedTests(SubscriptionCase):
    settings = {"remote_party": True}

    def test_the_other_party_is_named_when_the_setting_says_so(self):
        boss, caller = self.world.phone(), self.world.phone()
        self.world.set_name(caller.number, 'Eve "<dialog id=\'x\'>&amp; Co\x07')
        lamp = Watch(self.watcher, boss.number)
        self.watcher.respond(self.watcher.expect("NOTIFY"), 200)
        self.ring(caller, boss)
        while True:
            message = self.watcher.expect("NOTIFY")
            self.watcher.respond(message, 200)
            root = ElementTree.fromstring(message.body)
            identity = root.find(".//{*}remote/{*}identity")
            if identity is not None:
                break
        self.assertEqual(1, len(root))
        self.assertEqual(f"sip:{caller.number}@pbx.test", identity.text)
        self.assertEqual('Eve "<dialog id=\'x\'>&amp; Co\ufffd', identity.get("display"))
        self.assertEqual(f"sip:{lamp.number}@pbx.test", root.get("entity"))


class LifeTests(SubscriptionCase):
    def test_a_refresh_gets_the_state_again(self):
        boss = self.world.phone()
        lamp = self.watch(boss)
        self.world.pass_time(300)
        lamp.again(600)
        news = lamp.news()
        self.assertEqual((["terminated"], 600), (news.lamp, news.expires))
        self.world.pass_time(500)
        self.ring(self.world.phone(), boss)
        lamp.wait_lamp("early")

    def test_who_signs_off_is_told_once_more(self):
        lamp = self.watch(self.world.phone())
        self.assertEqual("0", lamp.again(0).one("Expires"))
        news = lamp.news()
        self.assertEqual((False, "timeout"), (news.active, news.reason))
        self.assertEqual(0, len(self.world.subscriptions))
        lamp.again(600, status=481)

    def test_it_expires(self):
        lamp = self.watch(self.world.phone())
        self.world.pass_time(595)
        lamp.quiet(1)
        news = lamp.news(10)
        self.assertEqual((False, "timeout"), (news.active, news.reason))
        self.world.pass_time(1)
        self.assertEqual({}, self.world.rows.rows)

    def test_a_question_without_a_subscription(self):
        boss = self.world.phone()
        lamp = self.watch(boss)
        once = Watch(self.watcher, boss.number, expires=0)
        news = once.news()
        self.assertEqual((False, ["terminated"]), (news.active, news.lamp))
        self.assertEqual(1, len(self.world.subscriptions))
        lamp.again(600)  # the lasting one lives

    def test_its_phone_does_not_know_it(self):
        boss = self.world.phone()
        lamp = Watch(self.watcher, boss.number)
        lamp.news(status=481)
        self.world.pass_time(1)
        self.assertEqual((0, {}), (len(self.world.subscriptions), self.world.rows.rows))

    def test_its_phone_does_not_answer(self):
        lamp = Watch(self.watcher, self.world.phone().number)
        lamp.news(status=0)
        self.world.pass_time(33)
        self.assertEqual((0, {}), (len(self.world.subscriptions), self.world.rows.rows))

    def test_its_phone_wants_to_hear_of_it_later(self):
        boss = self.world.phone()
        lamp = Watch(self.watcher, boss.number)
        lamp.news(status=500, headers=(("Retry-After", "20"),))
        lamp.quiet(19)
        self.assertEqual(["terminated"], lamp.news().lamp)
        self.assertEqual(1, len(self.world.subscriptions))

    def test_its_phone_always_says_later(self):
        lamp = Watch(self.watcher, self.world.phone().number)
        for _ in range(3):
            lamp.news(40, status=500)
        self.world.pass_time(60)
        self.assertEqual(0, len(self.world.subscriptions))

    def test_who_signs_off_while_a_notify_is_under_way(self):
        lamp = Watch(self.watcher, self.world.phone().number)
        waiting = lamp.news(status=0)
        lamp.again(0)
        lamp.quiet(2)
        self.watcher.respond(waiting.message, 200)
        self.assertFalse(lamp.news().active)
        lamp.quiet(60)

    def test_its_extension_is_deleted(self):
        boss = self.world.phone()
        lamp = self.watch(boss)
        del self.world.directory.by_number[boss.number]
        news = lamp.news(61)
        self.assertEqual((False, "noresource"), (news.active, news.reason))

    def test_its_subscriber_is_disabled(self):
        lamp = self.watch(self.world.phone())
        self.world.disable(self.watcher.number)
        news = lamp.news(61)
        self.assertEqual((False, "rejected"), (news.active, news.reason))

    def test_its_phone_registers_from_elsewhere(self):
        boss = self.world.phone()
        self.watcher.register(contact=self.watcher.contact + ';+sip.instance="<urn:uuid:1>"')
        lamp = self.watch(boss)
        moved = self.world.phone(self.watcher.number, host="192.0.2.77", register=False)
        moved.register(contact=moved.contact + ';+sip.instance="<urn:uuid:1>"')
        self.ring(self.world.phone(), boss)
        notify = moved.expect("NOTIFY", call_id=lamp.call_id)
        self.assertEqual(["early"], lamp.read(notify).lamp)


class RefusedTests(SubscriptionCase):
    def setUp(self) -> None:
        super().setUp()
        self.boss = self.world.phone()

    def refused(self, status: int, event: str = "dialog", number: str = "", **how):
        return Watch(self.watcher, number or self.boss.number, event, status=status, **how).answer

    def test_too_short(self):
        self.assertEqual("60", self.refused(423, expires=59).one("Min-Expires"))

    def test_too_long_is_shortened(self):
        self.assertEqual("3600", Watch(self.watcher, self.boss.number, expires=99999).answer.one("Expires"))

    def test_nothing_said_is_an_hour(self):
        self.assertEqual("3600", Watch(self.watcher, self.boss.number, expires=None).answer.one("Expires"))

    def test_an_event_that_we_do_not_have(self):
        answer = self.refused(489, "conference")
        self.assertEqual("dialog, presence, message-summary", answer.one("Allow-Events"))

    def test_a_content_that_we_do_not_have(self):
        self.refused(406, accept="application/x-other")

    def test_several_contents(self):
        Watch(self.watcher, self.boss.number, "presence", accept="application/xpidf+xml, application/pidf+xml;q=0.5")
        Watch(self.watcher, self.boss.number, "presence;id=2", accept="")

    def test_no_such_number(self):
        self.refused(404, number="4711")
        self.refused(404, number="%00%01")
        self.refused(404, uri="sip:pbx.test")

    def test_anothers_messages(self):
        self.refused(403, "message-summary")

    def test_no_contact(self):
        answer = self.watcher.ask(
            "SUBSCRIBE", f"sip:{self.boss.number}@pbx.test", [("Event", "dialog"), ("Expires", "600")]
        )
        self.assertEqual(400, answer.status)

    def test_a_call_id_that_is_too_long_to_keep(self):
        answer = self.watcher.ask(
            "SUBSCRIBE", f"sip:{self.boss.number}@pbx.test",
            [("Event", "dialog"), ("Contact", self.watcher.contact), ("Call-ID", "x" * 300)],
        )
        self.assertEqual(400, answer.status)

    def test_without_a_password(self):
        stranger = self.world.phone(self.world.new_number(), register=False, password=None)
        Watch(stranger, self.boss.number, status=401)
        self.assertEqual(0, len(self.world.subscriptions))

    def test_a_stranger_cannot_end_or_turn_it(self):
        lamp = self.watch(self.boss)
        stranger = self.world.phone(self.watcher.number, host="192.0.2.66", register=False, password=None)
        lamp.again(0, status=401, phone=stranger)
        other = self.world.phone(host="192.0.2.67")
        with self.assertRaises(Fault):
            lamp.again(0, phone=other)
        self.ring(self.world.phone(), self.boss)
        lamp.wait_lamp("early")

    def test_the_same_phone_may_refresh_from_elsewhere_once_it_has_proven_itself(self):
        lamp = self.watch(self.boss)
        away = self.world.phone(self.watcher.number, host="192.0.2.68", register=False)
        lamp.again(600, phone=away)
        away.expect("NOTIFY", call_id=lamp.call_id)

    def test_other_requests_in_its_dialog(self):
        lamp = self.watch(self.boss)
        answer = self.watcher.final(self.watcher.request(lamp.dialog, "BYE"))
        self.assertEqual(481, answer.status)
        wrong = self.watcher.request(lamp.dialog, "SUBSCRIBE", [("Event", "presence"), ("Expires", "600")])
        self.assertEqual(481, self.watcher.final(wrong).status)


class BoundTests(SubscriptionCase):
    settings = {"max_per_extension": 5}

    def test_so_many_per_extension(self):
        numbers = [self.world.new_number() for _ in range(6)]
        for number in numbers[:5]:
            Watch(self.watcher, number)
        Watch(self.watcher, numbers[5], status=503)
        Watch(self.watcher, numbers[0])  # in the place of the first one
        self.assertEqual(5, len(self.world.subscriptions))

    def test_a_phone_that_has_forgotten_its_subscription_gets_one_in_its_place(self):
        boss = self.world.phone()
        self.watch(boss)
        lamp = self.watch(boss)
        self.world.pass_time(1)
        self.assertEqual((1, 1), (len(self.world.subscriptions), len(self.world.rows.rows)))
        self.ring(self.world.phone(), boss)
        self.assertEqual(lamp.call_id, self.watcher.expect("NOTIFY").call_id)

    def test_a_phone_that_subscribes_for_ever_is_slowed_down_and_costs_nothing(self):
        # baresip's mwi module: as fast as it is answered, each time with a new Call-ID.
        began = self.world.loop.time()
        for _ in range(40):
            watch = Watch(self.watcher, self.watcher.number, "message-summary")
            watch.news()
        self.assertGreater(self.world.loop.time() - began, 40)
        self.assertEqual((1, 1), (len(self.world.subscriptions), len(self.world.rows.rows)))

    def test_many_at_once_are_sent_away(self):
        headers = [("Event", "message-summary"), ("Contact", self.watcher.contact)]
        uri = f"sip:{self.watcher.number}@pbx.test"
        nonce = self.watcher.ask("SUBSCRIBE", uri, headers, authenticate=False)
        sent = []
        for index in range(50):
            lines = [
                ("CSeq", "1 SUBSCRIBE"), ("From", f"<{self.watcher.aor}>;tag=t{index}"), ("To", f"<{uri}>"),
                ("Call-ID", f"loop-{index}"), *headers,
            ]
            request = self.watcher.send("SUBSCRIBE", uri, lines)
            sent.append(self.watcher.with_credentials(request, self.watcher.final(request), cseq=2))
        self.assertEqual(401, nonce.status)
        statuses = [self.watcher.final(request).status for request in sent]
        self.assertEqual({200, 503}, set(statuses))
        self.assertLess(statuses.count(200), 10)
        self.assertEqual(1, len(self.world.subscriptions))


class PresenceTests(SubscriptionCase):
    def test_registered_or_not(self):
        boss = self.world.phone(register=False)
        presence = Watch(self.watcher, boss.number, "presence")
        self.assertFalse(presence.news().open)
        boss.register()
        self.assertTrue(presence.news().open)
        boss.register()
        presence.quiet(5)  # a refresh is no news
        boss.register(0)
        self.assertFalse(presence.news().open)

    def test_a_registration_that_expires(self):
        boss = self.world.phone(register=False)
        boss.register(120)
        presence = Watch(self.watcher, boss.number, "presence")
        self.assertTrue(presence.news().open)
        presence.quiet(118)
        self.assertFalse(presence.news(5).open)

    def test_a_phone_that_does_not_answer_any_more(self):
        boss = self.world.phone()
        presence = Watch(self.watcher, boss.number, "presence")
        presence.news()
        for binding in self.world.directory.rows.values():
            if binding.account_id == self.world.directory.by_number[boss.number].id:
                binding.unreachable_since = self.world.clock.wall()
        self.world.subscriptions.accounts_changed([self.world.directory.by_number[boss.number].id])
        self.assertFalse(presence.news().open)

    def test_on_the_phone(self):
        boss, caller = self.world.phone(), self.world.phone()
        presence = Watch(self.watcher, boss.number, "presence")
        self.assertEqual((True, False, ""), (lambda n: (n.open, n.on_the_phone, n.note))(presence.news()))
        call, invite, tag = self.ring(caller, boss)
        presence.quiet(2)  # that it rings is not for presence
        theirs = boss.answer(invite, tag=tag, ack=False)
        call.connected()
        boss.expect("ACK")
        news = presence.news()
        self.assertEqual((True, True, "On the phone"), (news.open, news.on_the_phone, news.note))
        boss.bye(theirs)
        self.assertFalse(presence.wait_open(True).on_the_phone)

    def test_messages_waiting(self):
        news = Watch(self.watcher, self.watcher.number, "message-summary").news()
        self.assertEqual("0/0 (0/0)", news.messages["Voice-Message"])
        self.assertEqual("no", news.messages["Messages-Waiting"])
        Watch(self.watcher, "", "message-summary", uri="sip:pbx.test")


class RestartTests(SubscriptionCase):
    def test_lamps_go_on(self):
        boss = self.world.phone()
        lamp = self.watch(boss)
        self.world.pass_time(1)
        self.world = self.world.restart()
        self.assertEqual(["terminated"], lamp.news(10).lamp)  # CSeq and version have risen: Watch looks
        self.ring(self.world.phone(), boss)
        lamp.wait_lamp("early")
        lamp.again(600)
        lamp.again(0)

    def test_the_news_after_a_restart_are_spread(self):
        lamps = [self.watch(self.world.phone()) for _ in range(8)]
        self.world.pass_time(1)
        self.world = self.world.restart()
        times = [lamp.news(10).message.at for lamp in lamps]
        self.assertGreater(max(times) - min(times), 2)
        self.assertLess(max(times) - min(times), 6)

    def test_two_restarts_use_no_number_twice(self):
        lamp = self.watch(self.world.phone())
        for _ in range(2):
            self.world.pass_time(1)
            self.world = self.world.restart()
            lamp.news(10)

    def test_expired_meanwhile(self):
        self.watch(self.world.phone(), expires=100)
        self.world.pass_time(1)
        self.world = self.world.restart(200)
        self.watcher.quiet(10)
        self.assertEqual(0, len(self.world.subscriptions))

    def test_the_store_is_away_at_the_start(self):
        lamp = self.watch(self.world.phone())
        self.world.pass_time(1)
        self.world.rows.away = True
        self.world = self.world.restart()
        self.watcher.quiet(10)
        self.world.rows.away = False
        lamp.news(10)

    def test_a_phone_behind_a_connection_is_told_when_it_is_back(self):
        boss = self.world.phone()
        lamp = self.watch(boss)
        self.world.pass_time(1)
        [row] = self.world.rows.rows.values()
        row.transport, row.connection = "TCP", "c1"
        self.world = self.world.restart()
        self.watcher.quiet(10)
        lamp.again(600)
        lamp.news()

    def test_what_the_store_refuses_is_lost_alone(self):
        first, second = self.world.phone(), self.world.phone()
        self.world.rows.refuse = lambda row: row.resource == first.number
        self.watch(first)
        self.watch(second)
        self.world.pass_time(2)
        self.assertEqual([second.number], [row.resource for row in self.world.rows.rows.values()])
