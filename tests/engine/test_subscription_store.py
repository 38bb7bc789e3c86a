"""Subscriptions in the database of the test run."""

from __future__ import annotations

from django.test import TransactionTestCase

from extensions.models import Extension
from pbx.subscriptions.models import Subscription
from pbx.subscriptions.store import DjangoSubscriptionStore
from sipcore.ports import StoreRejected
from tests.engine.test_subscription_parts import a_row

NOW = 1_800_000_000.0


class StoreTests(TransactionTestCase):
    def setUp(self) -> None:
        self.store = DjangoSubscriptionStore()
        self.one, self.two = (Extension.objects.create(number=number) for number in ("1001", "1002"))

    def row(self, tag: str, **fields):
        ids = {"subscriber_id": self.one.pk, "resource_id": self.two.pk}
        return a_row(tag, **(ids | {"expires_at": NOW + 100.5} | fields))

    def living(self, now: float = NOW):
        return self.store.living_subscriptions("n1", 0, now)

    def test_what_is_written_is_read(self):
        row = self.row("a", route_set=["<sip:p;lr>", "<sip:q;lr>"], event_id="7", connection="c1", transport="TCP")
        self.store.write_subscriptions([row], [])
        self.assertEqual([row], self.living())

    def test_written_again_it_is_still_one(self):
        self.store.write_subscriptions([self.row("a"), self.row("b")], [])
        changed = self.row("a", next_seq=5000, remote_host="2001:db8::1", expires_at=NOW + 500)
        self.store.write_subscriptions([changed], ["b", "never-there"])
        self.assertEqual([changed], self.living())

    def test_the_newest_is_the_first(self):
        for tag in ("a", "b", "c"):
            self.store.write_subscriptions([self.row(tag)], [])
        self.assertEqual(["c", "b", "a"], [row.local_tag for row in self.living()])

    def test_those_of_others_and_the_expired_ones(self):
        others = [self.row("other", node="n2"), self.row("worker", worker=1), self.row("old", expires_at=NOW)]
        self.store.write_subscriptions([self.row("mine"), *others], [])
        self.assertEqual(["mine"], [row.local_tag for row in self.living()])
        self.assertEqual(3, Subscription.objects.count())

    def test_a_disabled_subscriber_watches_nobody(self):
        self.store.write_subscriptions([self.row("a")], [])
        self.one.enabled = False
        self.one.save()
        self.assertEqual([], self.living())

    def test_they_go_with_their_extensions(self):
        self.store.write_subscriptions([self.row("a"), self.row("b", subscriber_id=self.two.pk)], [])
        self.one.delete()
        self.assertEqual(["b"], [row.local_tag for row in self.living()])
        self.two.delete()
        self.assertEqual([], self.living())

    def test_an_extension_that_is_deleted_meanwhile(self):
        with self.assertRaises(StoreRejected):
            self.store.write_subscriptions([self.row("a", subscriber_id=10**6)], [])

    def test_a_renamed_extension(self):
        self.store.write_subscriptions([self.row("a")], [])
        self.two.number = "1003"
        self.two.save()
        self.assertEqual(["1003"], [row.resource for row in self.living()])

    def test_the_clock_is_set(self):
        self.store.write_subscriptions([self.row("a")], [])
        self.store.shift_subscriptions("n1", 3600.0)
        self.assertEqual([NOW + 3700.5], [row.expires_at for row in self.living(NOW + 3650)])

    def test_more_than_a_statement_has_room_for(self):
        rows = [self.row(f"t{index}") for index in range(500)]
        self.store.write_subscriptions(rows, [f"gone{index}" for index in range(2000)])
        self.assertEqual(500, len(self.living()))
