"""The parts of a notifier that decide by themselves: documents, what an answer means, the rows on their way."""

from __future__ import annotations

import unittest
from xml.etree import ElementTree

from sipcore.ports import StoreUnavailable
from sipcore.protocol.errors import SipError
from sipcore.protocol.message import Response, parse_message
from sipcore.subscriptions import dialog_info, pidf
from sipcore.subscriptions.book import SubscriptionBook
from sipcore.subscriptions.packages import Limits, read_subscribe
from sipcore.subscriptions.ports import SubscriptionRow
from sipcore.subscriptions.states import Conversation, ExtensionState, Telling
from sipcore.subscriptions.subscription import Outcome, outcome, retry_after
from sipcore.subscriptions.throttle import Throttle
from tests.engine.subscriptions_under_test import MemoryRows

EVIL = "\x00\x1b<x a='1\">&\ud800\uffff]]>\r\n\u2028"


class DocumentTests(unittest.TestCase):
    def test_nothing_can_break_out_of_a_document(self):
        conversation = Conversation("id", False, "early", EVIL, EVIL)
        for document in (dialog_info.document, pidf.document):
            for named in (False, True):
                telling = Telling(EVIL, EVIL, EVIL, 1, ExtensionState((conversation,), True), (), named, EVIL)
                root = ElementTree.fromstring(document(telling))
                self.assertLessEqual(len(root), 2)
                self.assertNotIn("x", {element.tag for element in root.iter()})

    def test_what_has_ended_is_told_as_terminated(self):
        ended = (Conversation("a", True, "confirmed", "1002", ""),)
        telling = Telling("1001", "sip:1001@d", "d", 3, ExtensionState(), ended)
        root = ElementTree.fromstring(dialog_info.document(telling))
        self.assertEqual([("a", "initiator")], [(d.get("id"), d.get("direction")) for d in root])
        self.assertEqual(["terminated"], [d.findtext("{*}state") for d in root])

    def test_of_one_that_goes_on_nothing_else_is_told(self):
        ended = (Conversation("a", True, "confirmed", "1002", ""),)
        state = ExtensionState((Conversation("b", True, "early", "1003", ""),))
        root = ElementTree.fromstring(dialog_info.document(Telling("1001", "sip:1001@d", "d", 3, state, ended)))
        self.assertEqual(["early"], [d.findtext("{*}state") for d in root])

    def test_whom_one_talks_to_is_no_news_when_it_is_not_told(self):
        before = ExtensionState((Conversation("b", True, "early", "1003", ""),))
        after = ExtensionState((Conversation("b", True, "early", "1004", "Eve"),))
        self.assertEqual(dialog_info.seen(before, False), dialog_info.seen(after, False))
        self.assertNotEqual(dialog_info.seen(before, True), dialog_info.seen(after, True))


class AskedTests(unittest.TestCase):
    def read(self, *lines: str):
        text = "\r\n".join(["SUBSCRIBE sip:1002@pbx.test SIP/2.0", *lines, "Content-Length: 0", "", ""])
        return read_subscribe(parse_message(text.encode()), Limits())

    def test_short_names_and_capitals(self):
        asked = self.read("o: Presence ;ID=7", "Accept: APPLICATION/PIDF+XML;q=1, text/plain", "Expires: 100")
        self.assertEqual(("presence", "7", 100), (asked.package.name, asked.event_id, asked.expires))

    def test_other_parameters_of_the_event_are_not_ours(self):
        self.assertEqual("", self.read("Event: dialog;sla;include-session-description").event_id)

    def test_what_is_wrong(self):
        for status, lines in (
            (489, ()), (489, ("Event: ",)), (489, ("Event: dialog.winfo",)), (400, ("Event: dialog;id=a b",)),
            (400, ("Event: dialog;id=" + "a" * 100,)), (400, ("Event: dialog;id=1;id=2",)),
            (406, ("Event: dialog", "Accept: " + "a/b, " * 5000)), (423, ("Event: dialog", "Expires: 1")),
        ):
            with self.subTest(lines=lines), self.assertRaises(SipError) as caught:
                self.read(*lines)
            self.assertEqual(status, caught.exception.status)


class OutcomeTests(unittest.TestCase):
    def test_what_an_answer_to_a_notify_means(self):
        for status, answered, reliable, wanted in (
            (200, True, False, Outcome.DELIVERED), (202, True, False, Outcome.DELIVERED),
            (481, True, False, Outcome.GONE), (408, False, False, Outcome.GONE), (404, True, True, Outcome.GONE),
            (489, True, False, Outcome.GONE), (501, True, False, Outcome.GONE), (500, True, False, Outcome.LATER),
            (503, True, True, Outcome.LATER), (503, False, True, Outcome.ASLEEP), (503, False, False, Outcome.GONE),
        ):
            with self.subTest(status=status, answered=answered):
                self.assertIs(wanted, outcome(Response(status), answered, reliable))

    def test_when_to_try_again(self):
        for text, seconds in (("20", 20), ("20;duration=5", 20), ("20 (busy)", 20), ("99999999", 300), ("soon", 30)):
            with self.subTest(text=text):
                self.assertEqual(seconds, retry_after(Response(500, headers=[("Retry-After", text)])))


class ThrottleTests(unittest.TestCase):
    def test_a_burst_then_nothing_until_it_is_over(self):
        throttle = Throttle()
        self.assertEqual([False] * 4 + [True] * 4, [throttle.is_crowded("a", index) for index in range(8)])
        self.assertFalse(throttle.is_crowded("b", 8.0))
        self.assertFalse(throttle.is_crowded("a", 11.0))

    def test_it_keeps_no_more_than_it_may(self):
        throttle = Throttle()
        for index in range(20_000):
            throttle.is_crowded(index, 0.0)
        self.assertLessEqual(len(throttle._seen), 5000)


class ChoresStore:
    def __init__(self) -> None:
        self.chores = []

    def call(self, chore) -> None:
        self.chores.append(chore)

    def work(self) -> None:
        """As the store's thread does it: what fails because the store is away is tried again later."""
        chores, self.chores = self.chores, []
        for chore in chores:
            try:
                chore()
            except StoreUnavailable:
                self.chores.append(chore)


def a_row(tag: str, **fields) -> SubscriptionRow:
    values = {
        "local_tag": tag, "remote_tag": "r", "call_id": "c", "event": "dialog", "event_id": "", "subscriber_id": 1,
        "subscriber": "1001", "resource_id": 2, "resource": "1002", "local_uri": "<sip:1002@d>",
        "remote_uri": "<sip:1001@d>", "remote_target": "sip:1001@192.0.2.9", "next_seq": 1000, "remote_seq": 1,
        "transport": "UDP", "remote_host": "192.0.2.9", "remote_port": 5060, "local_host": "192.0.2.1",
        "local_port": 5060, "connection": "", "node": "n1", "worker": 0, "expires_at": 2e9, "route_set": [],
    }
    return SubscriptionRow(**(values | fields))


class BookTests(unittest.TestCase):
    def setUp(self) -> None:
        self.store, self.rows, self.said = ChoresStore(), MemoryRows(), []
        self.book = SubscriptionBook(self.store, self.rows, self)

    def info(self, line: str) -> None:
        self.said.append(line)

    def test_many_changes_are_one_write(self):
        for index in range(50):
            self.book.changed(a_row(f"t{index}"))
        self.book.removed("t7")
        self.assertEqual(1, len(self.store.chores))
        self.store.work()
        self.assertEqual((49, 1), (len(self.rows.rows), self.rows.writes))

    def test_a_store_that_is_away_loses_nothing_and_brings_nothing_back(self):
        self.rows.away = True
        self.book.changed(a_row("a"))
        self.book.changed(a_row("b"))
        self.store.work()
        self.book.removed("a")
        self.book.changed(a_row("b", next_seq=2000))
        self.rows.away = False
        self.store.work()
        self.assertEqual({"b": 2000}, {tag: row.next_seq for tag, row in self.rows.rows.items()})
        self.assertEqual([], self.store.chores)

    def test_one_that_is_refused_does_not_hurt_the_others(self):
        self.rows.refuse = lambda row: row.local_tag == "t3"
        for index in range(9):
            self.book.changed(a_row(f"t{index}"))
        self.store.work()
        self.assertEqual(8, len(self.rows.rows))
        self.assertEqual(1, len(self.said))

    def test_more_than_one_write_may_hold(self):
        for index in range(1200):
            self.book.changed(a_row(f"t{index}"))
        while self.store.chores:
            self.store.work()
        self.assertEqual((1200, 3), (len(self.rows.rows), self.rows.writes))
