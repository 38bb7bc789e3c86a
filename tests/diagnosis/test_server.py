"""What is said about the server, from evidence that is hard to make for real, and in every language. The faults that
can be made are made in ``test_doctor_faults``."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest import mock

from django.test import SimpleTestCase, TestCase
from django.utils import timezone
from django.utils.translation import override

from pbx.diagnosis.causes.server_network import listening_addresses
from pbx.diagnosis.firewall import Fate, Rules
from pbx.diagnosis.server import judge, server_verdicts
from pbx.diagnosis.server_evidence import (
    DatabaseFacts,
    DiskFacts,
    DropFacts,
    FirewallFacts,
    NameFacts,
    OldNameFacts,
    PortFacts,
    ProcessFacts,
    ServerEvidence,
    StaleFacts,
)
from pbx.diagnosis.server_gather import gather_server
from pbx.diagnosis.verdict import Confidence
from pbx.system.models import SipProcess

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
GIGABYTE = 2**30
HERE = ProcessFacts("pbx", 77, NOW - timedelta(hours=1), NOW - timedelta(seconds=3), "udp and tcp 0.0.0.0:5060")
WELL = ServerEvidence(
    now=NOW, port=5060, domain="pbx.example.com", domain_is_set=True, external_ip="", own_address="192.168.1.5",
    rtp_ports=(10000, 20000), max_calls=500, database=DatabaseFacts("postgresql", ahead_seconds=0.2), processes=(HERE,),
    ports=(PortFacts("UDP", 5060, True, "python3", 77, True), PortFacts("TCP", 5060, True, "python3", 77, True)),
    disks=(DiskFacts("/var", "var", 50 * GIGABYTE, 100 * GIGABYTE, 10**6, 10**7),), drops=DropFacts(0, 0, 5000),
    firewall=FirewallFacts(True, Fate.OPEN, Fate.OPEN, Fate.OPEN), synchronised=True,
    domain_leads=NameFacts("pbx.example.com", ("192.168.1.5",), True), made_at=NOW - timedelta(days=30),
)
GONE = replace(HERE, gone=True)
FREE = (PortFacts("UDP", 5060, False), PortFacts("TCP", 5060, False))
FOREIGN = (PortFacts("UDP", 5060, True, "asterisk", 99), PortFacts("TCP", 5060, False))
WRONG = {
    "database_down": {"database": DatabaseFacts("postgresql", error="OperationalError")},
    "migrations_pending": {"database": DatabaseFacts("sqlite", pending=("extensions.0009_more",))},
    "disk_full": {"disks": (DiskFacts("/var", "var", 5 * 2**20, 100 * GIGABYTE, 10**6, 10**7),)},
    "port_taken": {"ports": FOREIGN, "processes": ()},
    "sip_not_running": {"ports": FREE, "processes": (GONE,)},
    "firewall_closed": {"firewall": FirewallFacts(True, Fate.CLOSED, Fate.OPEN, Fate.OPEN, "chain input: policy drop")},
    "advertises_bind_address": {"external_ip": "0.0.0.0"},
    "domain_not_resolving": {"domain_leads": NameFacts("pbx.example.com", error="gaierror")},
    "domain_wrong_address": {"domain_leads": NameFacts("pbx.example.com", ("203.0.113.9",))},
    "realm_changed": {"stale": StaleFacts("other", tuple(str(number) for number in range(1001, 1030)))},
    "domain_changed": {"old_names": (OldNameFacts("old.example.com", ("1001", "1002")),)},
    "clock_skew": {"processes": (replace(HERE, beat_at=NOW + timedelta(minutes=5)),)},
    "kernel_drops": {"drops": DropFacts(1234, 0, 5000)},
    "rtp_ports_few": {"rtp_ports": (10000, 10015)},
}


def verdicts(**changes):
    return [verdict for found in judge(replace(WELL, **changes)).values() for verdict in found]


class CauseTests(SimpleTestCase):
    def test_nothing_is_wrong_with_a_good_server(self):
        self.assertEqual([], verdicts())

    def test_each_fault_is_named_alone(self):
        for code, changes in WRONG.items():
            with self.subTest(code=code):
                wanted = [code, "sip_not_running"] if code == "port_taken" else [code]
                self.assertEqual(wanted, [verdict.code for verdict in verdicts(**changes)])

    def test_every_sentence_is_translated(self):
        for code, changes in WRONG.items():
            english = verdicts(**changes)[0]
            for language in ("uz", "ru"):
                with self.subTest(code=code, language=language), override(language):
                    said = verdicts(**changes)[0]
                    for part in ("what", "why", "do"):
                        self.assertNotEqual(getattr(english, part), getattr(said, part))

    def test_variants(self):
        cases = {
            "sip_not_running": [
                {"processes": (), "ports": FREE},
                {"processes": (replace(HERE, beat_at=NOW - timedelta(minutes=5)),)},  # it hangs: it has its port
            ],
            "port_taken": [{"processes": (), "ports": (PortFacts("UDP", 5060, True),)}],  # by whom cannot be seen
            "disk_full": [
                {"disks": (DiskFacts("/var", "var", GIGABYTE, 100 * GIGABYTE, 10**6, 10**7),)},
                {"disks": (DiskFacts("/var", "var", 50 * GIGABYTE, 100 * GIGABYTE, 3, 10**7),)},
            ],
            "clock_skew": [
                {"database": DatabaseFacts("postgresql", ahead_seconds=-90.0)},
                {"made_at": NOW + timedelta(days=400)},
            ],
            "kernel_drops": [{"drops": DropFacts(0, 5000, 0)}],
            "firewall_closed": [
                {"firewall": FirewallFacts(True, Fate.OPEN, Fate.OPEN, Fate.CLOSED)},
                {"firewall": FirewallFacts(True, Fate.OPEN, Fate.CLOSED, Fate.OPEN)},
            ],
            "advertises_bind_address": [
                {"external_ip": "127.0.0.1"}, {"domain": "0.0.0.0"}, {"domain": "127.0.0.1", "domain_is_set": False},
                {"processes": (replace(HERE, listening="udp and tcp 127.0.0.1:5060, udp and tcp [::1]:5060"),)},
            ],
            "domain_not_resolving": [{"external_leads": NameFacts("home.example.net", error="timeout")}],
        }
        for code, changes in cases.items():
            for change in changes:
                with self.subTest(code=code, change=change):
                    self.assertEqual(code, verdicts(**change)[0].code)

    def test_what_is_no_fault(self):
        for change in (
            {"disks": (DiskFacts("/var", "var", 4 * GIGABYTE, 100 * GIGABYTE, 0, 0),)},  # btrfs counts no files
            {"drops": DropFacts(3, 20, 10**6)},
            {"firewall": FirewallFacts(False)},
            {"firewall": FirewallFacts(True, Fate.UNKNOWN, Fate.UNKNOWN, Fate.UNKNOWN)},
            {"synchronised": False},
            {"ports": ()},  # not looked at while it gives signs of life
            {"external_ip": "203.0.113.9", "external_leads": NameFacts("203.0.113.9", ("203.0.113.9",)),
             "domain_leads": NameFacts("pbx.example.com", ("203.0.113.9",))},
            {"domain": "192.168.1.5", "domain_is_set": False, "domain_leads": NameFacts("192.168.1.5", (), False)},
        ):
            with self.subTest(change=change):
                self.assertEqual([], verdicts(**change))

    def test_it_runs_but_cannot_say_so_without_the_database(self):
        codes = [verdict.code for verdict in verdicts(database=DatabaseFacts("postgresql", "OperationalError"),
                                                      processes=())]
        self.assertEqual(["database_down"], codes)

    def test_guesses_say_so(self):
        for code in ("domain_not_resolving", "domain_wrong_address"):
            self.assertIs(Confidence.LIKELY, verdicts(**WRONG[code])[0].confidence)

    def test_the_addresses_of_a_heartbeat(self):
        self.assertEqual(
            [("0.0.0.0", 5060), ("::", 5060)], listening_addresses("udp and tcp 0.0.0.0:5060, udp and tcp [::]:5060")
        )
        self.assertEqual([], listening_addresses("nothing, x:y, :"))


class QuickTests(TestCase):
    def test_it_asks_no_name_server_and_starts_nothing_it_need_not(self):
        now = timezone.now()
        SipProcess.objects.create(node="far-away", pid=1, started_at=now, beat_at=now, version="0",
                                  listening="udp and tcp 0.0.0.0:5060")
        with (
            mock.patch("socket.getaddrinfo", side_effect=AssertionError("asked a name server")),
            mock.patch("pbx.diagnosis.server_gather.udp_port_owner", side_effect=AssertionError("each process")),
            self.settings(SIP_DOMAIN="pbx.example.com", EXTERNAL_IP="home.example.net"),
            self.assertNumQueries(6 if self.is_postgres() else 5),
        ):
            found = server_verdicts(quick=True)
        self.assertEqual([], [one.code for one in found if one.code.startswith(("sip_", "port_", "database", "migr"))])

    def test_pages_that_ask_again_and_again_start_no_program_each_time(self):
        with (
            mock.patch("pbx.diagnosis.server_gather._kept_rules", None),
            mock.patch("pbx.diagnosis.server_gather.read_rules", return_value=Rules(readable=False)) as read,
        ):
            for _time in range(3):
                gather_server(quick=True)
            read.assert_called_once_with()
            gather_server(quick=False)  # the doctor looks anew
        self.assertEqual(read.call_count, 2)

    def is_postgres(self) -> bool:
        from django.db import connection

        return connection.vendor == "postgresql"
