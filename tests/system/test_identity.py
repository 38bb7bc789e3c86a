"""The realm is made once and stays; the address that people type is never the one that a socket binds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from django.core.management import call_command
from django.test import TestCase, override_settings

from pbx.system import server_address
from pbx.system.heartbeat import beat
from pbx.system.identity import current_realm, first_realm, forget_cached_realm
from pbx.system.models import Identity, SipProcess


@override_settings(SIP_REALM="", SIP_DOMAIN="")
class RealmTests(TestCase):
    def setUp(self):
        forget_cached_realm()
        self.addCleanup(forget_cached_realm)

    def test_without_a_domain_it_is_like_no_other(self):
        self.assertRegex(first_realm(), r"\Apbx-[0-9a-f]{8}\Z")
        self.assertNotEqual(first_realm(), first_realm())

    def test_a_domain_that_is_a_name_becomes_the_realm(self):
        with override_settings(SIP_DOMAIN="PBX.Example.com"):
            self.assertEqual("pbx.example.com", first_realm())
        for domain in ("203.0.113.5", "2001:db8::1", "[2001:db8::1]", "localhost"):
            with override_settings(SIP_DOMAIN=domain):
                self.assertRegex(first_realm(), r"\Apbx-[0-9a-f]{8}\Z")

    def test_it_stays_when_the_domain_changes_and_at_every_further_migrate(self):
        realm = current_realm()
        with override_settings(SIP_DOMAIN="new.example.com"):
            call_command("migrate", verbosity=0)
            forget_cached_realm()
            self.assertEqual(realm, current_realm())
        self.assertEqual(1, Identity.objects.count())

    def test_the_setting_overrides_and_leaves_the_stored_one(self):
        realm = current_realm()
        with override_settings(SIP_REALM="asterisk"):
            self.assertEqual("asterisk", current_realm())
        self.assertEqual(realm, current_realm())

    def test_a_change_in_the_database_is_seen_soon(self):
        current_realm()
        with self.assertNumQueries(0):
            current_realm()
        Identity.objects.update(realm="other")
        forget_cached_realm()
        self.assertEqual("other", current_realm())


class ServerAddressTests(TestCase):
    def test_the_domain_is_what_people_type(self):
        with override_settings(SIP_DOMAIN="pbx.example.com", SIP_HOST="0.0.0.0"):
            self.assertEqual("pbx.example.com", server_address.sip_domain())

    def test_without_one_it_is_this_machines_own_address(self):
        with override_settings(SIP_DOMAIN="", SIP_HOST="0.0.0.0"):
            self.assertNotIn(server_address.sip_domain(), ("", "0.0.0.0", "::"))
            self.assertTrue(re.fullmatch(r"[0-9a-f.:]+", server_address.sip_domain()))


class HeartbeatTests(TestCase):
    def test_each_process_has_one_row_and_one_statement_a_beat(self):
        began = datetime(2026, 11, 22, 12, tzinfo=UTC)
        beat("first", 0, 100, "udp 0.0.0.0:5060", began, began)
        beat("second", 0, 100, "udp 0.0.0.0:5060", began, began)
        with self.assertNumQueries(1):
            beat("first", 0, 101, "udp 0.0.0.0:5060", began, began + timedelta(seconds=10))
        rows = SipProcess.objects.order_by("node").values_list("node", "pid", "beat_at")
        self.assertEqual([("first", 101, began + timedelta(seconds=10)), ("second", 100, began)], list(rows))
