"""Each fault of the server is really made, and ``manage.py doctor --json`` names it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import unittest
from pathlib import Path

from tests.diagnosis.doctor_case import ADDRESS, DoctorCase, DoctorOnPostgres, DoctorOnSqlite, SocketPostgresStore
from tests.support.cases import PASSWORD
from tests.support.network_namespaces import inside, run
from tests.support.pbx import ROOT
from tests.support.phone import Phone
from tests.support.postgres import PostgresCluster
from tests.support.processes import run_program, scratch_directory, wait_until

HOLDS_THE_PORT = "import socket,sys; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('0.0.0.0'," \
    "int(sys.argv[1]))); print('ready',flush=True); sys.stdin.readline()"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


class RunningFaults:
    """The server goes on running through these."""

    def test_a_rule_that_drops_the_port(self):
        rules = f"table inet f {{ chain i {{ type filter hook input priority 0; udp dport {self.pbx.port} drop; }}; }}"
        self.nft(rules)
        try:
            codes = self.codes()
        finally:
            self.nft("flush ruleset")
        self.assertEqual("firewall_closed", codes[0])
        self.assertIn("sip_not_answering", codes)  # on loopback too: the rule knows no exception

    def test_a_policy_that_drops_all_but_ssh(self):
        self.nft("table inet f { chain i { type filter hook input priority 0; policy drop; iif lo accept; "
                 "ct state established,related accept; tcp dport 22 accept; }; }")
        try:
            codes = self.codes()
        finally:
            self.nft("flush ruleset")
        self.assertEqual(["firewall_closed"], codes)  # the machine's own packets do come through

    def test_a_firewall_that_lets_phones_in(self):
        self.nft("table inet f { chain i { type filter hook input priority 0; policy drop; iif lo accept; "
                 f"ct state established,related accept; udp dport {{ {self.pbx.port}, 1024-65535 }} accept; "
                 f"tcp dport {self.pbx.port} accept; }}; }}")
        try:
            self.assertEqual([], self.codes())
        finally:
            self.nft("flush ruleset")

    def test_closed_ports_of_sound(self):
        """The phone registers and its call is taken, but nobody hears anything."""
        ports = self.pbx.settings["RTP_PORTS"]
        self.nft(f"table inet f {{ chain i {{ type filter hook input priority 0; udp dport {ports} drop; }}; }}")
        try:
            codes = self.codes()
        finally:
            self.nft("flush ruleset")
        self.assertEqual(["firewall_closed", "no_audio", "no_audio"], codes)

    def nft(self, rules: str) -> None:
        run("ip", "netns", "exec", self.namespace, "nft", "-f", "-", text_in=rules.replace(";", ";\n"))

    def test_a_name_that_leads_nowhere(self):
        codes = self.codes(SIP_DOMAIN="pbx.invalid")
        self.assertEqual("domain_not_resolving", codes[0])
        self.assertIn("restart_needed", codes)  # the server was started with another name

    def test_an_address_of_another_machine(self):
        self.assertEqual("domain_wrong_address", self.codes(SIP_DOMAIN="192.0.2.77")[0])
        self.assertNotIn("domain_wrong_address", self.codes(SIP_DOMAIN="192.0.2.77", EXTERNAL_IP="192.0.2.77"))

    def test_an_address_that_no_phone_can_reach(self):
        for setting in ({"EXTERNAL_IP": "127.0.0.1"}, {"EXTERNAL_IP": "0.0.0.0"}, {"SIP_DOMAIN": "0.0.0.0"}):
            with self.subTest(**setting):
                self.assertIn("advertises_bind_address", self.codes(**setting))

    def test_a_migration_that_waits(self):
        name = self.rows("SELECT name FROM django_migrations WHERE app = 'diagnosis' ORDER BY id DESC")[0]["name"]
        self.pbx.manage("migrate", "diagnosis", "zero", "--verbosity", "0")
        try:
            code, said = self.doctor()
        finally:
            self.pbx.manage("migrate", "--verbosity", "0")
        self.assertEqual("migrations_pending", said["verdicts"][0]["code"])
        self.assertIn("diagnosis.0001_initial", said["verdicts"][0]["evidence"])
        self.assertTrue(name)
        self.assertGreater(code, 0)

    def test_a_disk_that_is_full(self):
        directory = scratch_directory("full")
        run("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(directory))
        try:
            (directory / "ballast").write_bytes(bytes(15 * 2**20))
            self.assertEqual("disk_full", self.codes(VAR_DIR=str(directory))[0])
        finally:
            run("umount", str(directory))

    def test_a_disk_without_room_for_another_file(self):
        directory = scratch_directory("files")
        run("mount", "-t", "tmpfs", "-o", "size=4g,nr_inodes=30", "tmpfs", str(directory))
        try:
            self.assertEqual("disk_full", self.codes(VAR_DIR=str(directory))[0])
        finally:
            run("umount", str(directory))

    def test_packets_that_nobody_took(self):
        """The server is stopped for a moment, and more comes than the kernel keeps."""
        os.kill(self.pbx.program.pid, signal.SIGSTOP)
        try:
            with inside(self.namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
                for _packet in range(30_000):
                    flood.sendto(b"\r\n" * 600, (ADDRESS, self.pbx.port))
        finally:
            os.kill(self.pbx.program.pid, signal.SIGCONT)
        self.assertEqual(["kernel_drops"], self.codes())
        self.pbx.terminate()
        self.start_pbx()

    def test_another_realm(self):
        number, other = self.new_extension(), self.new_extension()
        count = self.rows("SELECT count(*) AS n FROM extensions_extension")[0]["n"]
        code, said = self.doctor("--if", "SIP_REALM=other.example")
        (verdict,) = said["verdicts"]
        self.assertEqual(("realm_changed", 1), (verdict["code"], code))
        self.assertIn(f"{count} phones will have to be given their password again", verdict["what"])
        self.assertIn("realm_changed", self.codes(SIP_REALM="other.example"))
        done = self.manage_in_namespace("check", SIP_REALM="other.example")
        self.assertIn("pbx.W041", done)
        self.assertIn(f"{count} phones", done)
        self.assertNotIn("pbx.W041", self.manage_in_namespace("check"))
        self.assertTrue(number and other)

    def test_another_domain(self):
        number = self.new_extension()
        with inside(self.namespace), Phone((ADDRESS, self.pbx.port), number, PASSWORD, "localhost",
                                           local_host=ADDRESS) as phone:
            self.assertEqual(200, phone.register().status)
        self.assertEqual([], [c for c in self.codes("--if", "SIP_DOMAIN=192.168.77.10") if c == "domain_changed"])
        self.forget_name("localhost", "old.example")
        code, said = self.doctor("--if", "SIP_DOMAIN=192.168.77.10")
        (verdict,) = said["verdicts"]
        self.assertEqual(("domain_changed", 1), (verdict["code"], code))
        self.assertIn("SIP_ALIASES=old.example", verdict["do"])
        self.assertIn(number, verdict["evidence"][0])
        self.assertEqual(0, self.doctor("--if", "SIP_ALIASES=old.example")[0])
        done = self.manage_in_namespace("check")
        self.assertIn("pbx.W042", done)
        self.assertIn("SIP_ALIASES", done)
        self.pbx.manage("shell", "-v", "0", "-c", (
            "from extensions.models import Binding; Binding.objects.all().delete()"
        ))

    def forget_name(self, name: str, other: str) -> None:
        """As if that phone had registered while SIP_DOMAIN was another."""
        self.pbx.manage("shell", "-v", "0", "-c", (
            f"from extensions.models import Binding; Binding.objects.filter(domain={name!r}).update(domain={other!r})"
        ))

    def manage_in_namespace(self, *arguments: str, **environment: str) -> str:
        done = run_program(
            ["ip", "netns", "exec", self.namespace, sys.executable, "manage.py", *arguments],
            env={**self.pbx.env, **environment}, cwd=ROOT, seconds=60,
        )
        return done.stdout + done.stderr

    def test_a_wrong_word(self):
        done = run_program(
            [sys.executable, "manage.py", "doctor", "--if", "SECRET_KEY=x"], env=self.pbx.env, cwd=ROOT, seconds=60
        )
        self.assertEqual(1, done.returncode)
        self.assertIn("SIP_DOMAIN", done.stderr)


class StoppedFaults:
    """The server does not run."""

    @classmethod
    def start_pbx(cls) -> None:
        pass

    def test_a_server_that_was_never_started(self):
        codes = self.codes()
        self.assertEqual(["sip_not_running"], codes)

    def test_a_server_that_was_stopped_or_killed(self):
        for end in ("terminate", "kill9"):
            with self.subTest(end=end):
                self.pbx.start()
                self.wait_for_beat()
                getattr(self.pbx, end)()
                self.assertEqual(["sip_not_running"], self.codes())

    def test_a_port_that_another_program_has(self):
        thief = subprocess.Popen(
            ["ip", "netns", "exec", self.namespace, sys.executable, "-c", HOLDS_THE_PORT, str(self.pbx.port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        try:
            self.assertEqual("ready\n", thief.stdout.readline())
            code, said = self.doctor()
        finally:
            thief.communicate("\n", timeout=30)
        self.assertEqual(["port_taken", "sip_not_running"], [one["code"] for one in said["verdicts"]])
        self.assertIn(str(thief.pid), said["verdicts"][0]["do"])
        self.assertEqual(2, code)


class RunningFaultsOnSqlite(RunningFaults, DoctorOnSqlite):
    pass


class RunningFaultsOnPostgres(RunningFaults, DoctorOnPostgres):
    pass


class StoppedFaultsOnSqlite(StoppedFaults, DoctorOnSqlite):
    pass


class StoppedFaultsOnPostgres(StoppedFaults, DoctorOnPostgres):
    pass


class DatabaseFaults(DoctorCase):
    """A PostgreSQL of its own, to be stopped."""

    @classmethod
    def make_store(cls):
        cls.cluster = PostgresCluster()
        cls.addClassCleanup(cls.cluster.stop)
        return SocketPostgresStore(cls.cluster)

    def test_a_database_that_was_stopped(self):
        self.cluster.halt()
        try:
            code, said = self.doctor()
        finally:
            self.cluster.start()
        self.assertEqual("database_down", said["verdicts"][0]["code"])
        self.assertNotIn("sip_not_running", [one["code"] for one in said["verdicts"]])
        self.assertGreater(code, 0)
        self.assertNotIn(self.cluster.password, str(said))
        wait_until(lambda: self.codes() == [], "the server to be well again", 60)

    @unittest.skipUnless(Path(FAKETIME).exists(), "faketime is not installed")
    def test_a_clock_that_is_wrong(self):
        """Of the machine where the doctor runs, an hour ahead of the database's."""
        codes = self.codes(LD_PRELOAD=FAKETIME, FAKETIME="-1h", DONT_FAKE_MONOTONIC="1")
        self.assertIn("clock_skew", codes)


class NoRelayTests(DoctorOnSqlite):
    """The engine of the sound is set to one that is not there."""

    settings = {"RTPENGINE_URLS": "udp:127.0.0.1:9"}

    def test_it_is_named(self):
        self.assertEqual(["self_call_failed"] * 2, self.codes())


class OtherListeningTests(DoctorOnSqlite):
    """It listens on loopback, and phones are told the machine's address."""

    @classmethod
    def start_pbx(cls) -> None:
        cls.pbx.host = "127.0.0.1"
        cls.pbx.start()
        cls.wait_for_beat()

    def test_it_is_named(self):
        self.assertEqual(["advertises_bind_address"], self.codes())

