"""./check-sip-connection.sh beside a real runsip in a network namespace: what it finds, and that it says it in three
languages, without root and without a virtual environment."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import sys
import unittest
from pathlib import Path
from typing import ClassVar

from tests.support.caller import Caller, Fault, UdpWire
from tests.support.cases import PASSWORD, OnSqlite, PbxCase
from tests.support.network_namespaces import Networks, inside, run
from tests.support.pbx import ROOT, SqliteStore, clean_environment
from tests.support.processes import Program, run_program, scratch_directory, wait_until
from tests.support.programs import require_program

SCRIPT = ROOT / "check-sip-connection.sh"
SERVER, PHONE = "203.0.113.10", "203.0.113.20"
BARE = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8"}
KEY = re.compile(r"^@([\w.]+)$")


class Report:
    def __init__(self, text: str, status: int) -> None:
        self.text, self.status = text, status
        self.codes = re.findall(r"^  !!  (\w+):", text, re.MULTILINE)

    def __str__(self) -> str:
        return f"status {self.status}\n{self.text}"


def script(*arguments: str, namespace: str = "", as_nobody: bool = False, program: Path = SCRIPT, **environment: str):
    command = [str(program), *arguments]
    if as_nobody:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    if namespace:
        command = ["ip", "netns", "exec", namespace, *command]
    done = run_program(command, env={**BARE, **environment}, seconds=120.0)
    # bash itself complains of a locale that this machine does not have, before it reads the script.
    assert not re.sub(r"bash: warning: setlocale: .*\n", "", done.stderr), done.stderr
    return Report(done.stdout, done.returncode)


def shell(lines: str, **environment: str) -> str:
    """What ``lines`` print, with the functions of the script at hand."""
    done = run_program(["bash", "-c", f". {shlex.quote(str(SCRIPT))}\n{lines}"], env={**BARE, **environment})
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.strip()


class WithServer(PbxCase):
    networks: ClassVar[Networks]

    @classmethod
    def setUpClass(cls) -> None:
        require_program("nft", "nftables")
        cls.networks = Networks()
        cls.addClassCleanup(cls.networks.close)
        internet = cls.networks.switch("internet")
        cls.server_place = cls.networks.host("server", internet, f"{SERVER}/24")
        cls.phone_place = cls.networks.host("phone", internet, f"{PHONE}/24")
        run("ip", "-n", cls.server_place, "route", "add", "default", "dev", "lan")
        cls.place = {"namespace": cls.server_place, "host": "0.0.0.0", "port": 5060}
        super().setUpClass()

    def tearDown(self) -> None:
        run("ip", "netns", "exec", self.server_place, "nft", "flush", "ruleset")

    def check(self, *arguments: str, **options) -> Report:
        return script(*arguments, namespace=self.server_place, **{"SIP_DOMAIN": SERVER, **options})

    def phone(self, number: str, password: str = PASSWORD) -> Caller:
        with inside(self.phone_place):
            wire = UdpWire(PHONE)
        phone = Caller(wire, (SERVER, 5060), number, password, self.pbx.domain)
        self.addCleanup(phone.close)
        return phone

    def firewall(self, rules: str) -> None:
        run("ip", "netns", "exec", self.server_place, "nft", "-f", "-", text_in=f"flush ruleset\n{rules}")

    def restart(self) -> None:
        """With an empty log."""
        self.pbx.terminate()
        self.pbx.program.log_path.write_bytes(b"")
        self.pbx.start()


class RunningTests(WithServer, OnSqlite):
    def test_all_is_well(self):
        self.restart()
        self.assertEqual(self.phone(self.new_extension()).register().status, 200)
        wait_until(lambda: "200 OK" in self.pbx.log, "the log")
        report = self.check()
        self.assertEqual((report.codes, report.status), ([], 0), str(report))
        for words in ("The SIP process runs", "UDP port 5060 is open", "TCP port 5060 is open", "5060/udp is let in",
                      "registrations confirmed 1", f"{SERVER} leads to this machine", "SIP/2.0 200",
                      "No problem found", "manage.py why"):
            self.assertIn(words, report.text)

    def test_a_log_without_a_message_is_the_network(self):
        self.restart()
        self.check()  # its own question is no phone
        report = self.check()
        self.assertEqual((report.codes, report.status), (["nothing_received"], 1), str(report))
        self.assertIn(SERVER, report.text)

    def test_a_wrong_password_is_the_password(self):
        self.restart()
        number = self.new_extension()
        for _try in range(2):
            self.refused(number)
        self.refused("4999")
        wait_until(lambda: "cause=unknown_extension" in self.pbx.log, "the log")
        report = self.check()
        self.assertEqual(report.codes, ["wrong_password"], str(report))
        self.assertIn("Refused 3", report.text)
        self.assertIn(f"setpassword {number}", report.text)

    def refused(self, number: str) -> None:
        with self.assertRaisesRegex(Fault, "403 Forbidden"):
            self.phone(number, "not-it").register()

    def test_a_closed_port_is_the_firewall(self):
        self.firewall("table inet filter { chain input { type filter hook input priority 0; policy accept; "
                      "udp dport 5060 drop; udp dport 10000-20000 drop; }; }")
        report = self.check()
        self.assertEqual(report.codes.count("firewall_closed"), 2, str(report))
        self.assertIn("udp dport 5060 drop", report.text)

    def test_without_ufw(self):
        hidden = ["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null /usr/sbin/ufw && exec "$0"', str(SCRIPT)]
        command = hidden if Path("/usr/sbin/ufw").exists() else [str(SCRIPT)]
        done = run_program(
            ["ip", "netns", "exec", self.server_place, *command], env={**BARE, "SIP_DOMAIN": SERVER}, seconds=120.0
        )
        self.assertNotIn("ufw", done.stdout)
        self.assertIn("5060/udp is let in", done.stdout)

    def test_a_domain_that_leads_elsewhere_nowhere_or_to_the_phone_itself(self):
        for settings, code in (
            ({"SIP_DOMAIN": "198.51.100.9"}, "domain_wrong_address"),
            ({"SIP_DOMAIN": "no-such-name.invalid"}, "domain_not_resolving"),
            ({"SIP_DOMAIN": "0.0.0.0"}, "advertises_bind_address"),
            ({"SIP_DOMAIN": "127.0.0.1"}, "advertises_bind_address"),
            ({"SIP_DOMAIN": SERVER, "EXTERNAL_IP": "0.0.0.0"}, "advertises_bind_address"),
        ):
            with self.subTest(settings):
                self.assertIn(code, self.check(**settings).codes)
        for settings in ({"SIP_DOMAIN": "198.51.100.9", "EXTERNAL_IP": "198.51.100.9"}, {"SIP_DOMAIN": ""}):
            with self.subTest(settings):
                self.assertFalse([code for code in self.check(**settings).codes if "domain" in code])

    def test_without_root_it_says_what_it_does_not_see(self):
        # Its user may not look into this directory either: the program lies where everybody may.
        directory = scratch_directory("public")
        directory.chmod(0o755)
        copy = directory / SCRIPT.name
        shutil.copy(SCRIPT, copy)
        report = self.check(as_nobody=True, program=copy)
        self.assertIn("sudo ./check-sip-connection.sh", report.text)
        self.assertIn("The firewall", report.text)
        self.assertIn("can be read by its user or root only", report.text)
        self.assertIn("The SIP process runs", report.text)
        self.assertIn("SIP/2.0 200", report.text)
        self.assertEqual((report.codes, report.status), ([], 0), str(report))

    def test_in_the_language_of_the_terminal(self):
        for environment, words in (
            ({"LANG": "uz_UZ.UTF-8"}, "SIP jarayoni ishlayapti"), ({"LANG": "ru_RU.UTF-8"}, "Процесс SIP работает"),
            ({"LANG": "en_US.UTF-8"}, "The SIP process runs"), ({"LANG": "de_DE.UTF-8"}, "The SIP process runs"),
            ({"LANG": "ru_RU.KOI8-R"}, "The SIP process runs"), ({"LC_ALL": "uz_UZ.UTF-8"}, "SIP jarayoni ishlayapti"),
            ({"LANGUAGE_CODE": "ru", "LANG": "uz_UZ.UTF-8"}, "Процесс SIP работает"),
        ):
            with self.subTest(environment):
                self.assertIn(words, self.check(**environment).text)
        self.assertIn("Процесс SIP работает", self.check("--language", "ru").text)

    def test_another_program_on_the_port(self):
        with inside(self.server_place), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
            thief.bind(("0.0.0.0", 5070))
            report = self.check(SIP_PORT="5070")
        self.assertIn("port_taken", report.codes)
        self.assertIn(str(os.getpid()), report.text)


class StoppedTests(WithServer, OnSqlite):
    def test_a_server_that_does_not_run(self):
        self.pbx.terminate()
        report = self.check()
        self.assertEqual((report.codes, report.status), (["sip_not_running"], 1), str(report))
        self.assertIn("manage.py start", report.text)

    def test_one_that_hangs_does_not_answer(self):
        self.restart()
        self.pbx.signal(signal.SIGSTOP)
        try:
            report = self.check()
        finally:
            self.pbx.signal(signal.SIGCONT)
        self.assertIn("sip_not_answering", report.codes, str(report))


class ManagedTests(unittest.TestCase):
    """Who started it, and where its log is then."""

    def setUp(self) -> None:
        self.networks = Networks()
        self.addCleanup(self.networks.close)
        self.place = self.networks.host("server", self.networks.switch("lan"), f"{SERVER}/24")
        self.store = SqliteStore()
        self.addCleanup(self.store.remove)
        self.store.fill()
        self.directory = scratch_directory("managed")

    def start(self, script_text: str, *arguments: str) -> Program:
        """A shell in the server's namespace, with the environment of a PBX."""
        program = Program(
            ["ip", "netns", "exec", self.place, "bash", "-c", script_text, "bash", *arguments],
            log_path=self.directory / "output.log", cwd=ROOT, name="manager", env=clean_environment(
                DATABASE_URL=self.store.url, VAR_DIR=str(self.directory / "var"), SIP_DOMAIN=SERVER, SIP_PORT="5060",
                RTP_PORTS="10000-10100",
            ),
        )
        self.addCleanup(program.stop)
        return program

    def check(self, **environment: str) -> Report:
        return script(namespace=self.place, **{"SIP_DOMAIN": SERVER, **environment})

    def wait_for_port(self) -> None:
        def listens() -> bool:
            return ":5060" in run("ip", "netns", "exec", self.place, "ss", "-Hlnut", "sport = :5060")

        wait_until(listens, "the port")

    def test_manage_py_start(self):
        self.start('exec "$@"', sys.executable, "manage.py", "start")
        self.wait_for_port()
        report = self.check()
        self.assertIn("managed by manage.py start", report.text)
        self.assertIn(f"The log is read from {self.directory}/output.log", report.text)

    def test_pm2(self):
        # PM2 itself calls its process so, and copies what comes through a pipe into these files.
        logs = self.directory / "pm2" / "logs"
        logs.mkdir(parents=True)
        daemon = self.directory / "daemon.py"
        daemon.write_text(
            "import signal, subprocess, sys\n"
            "child = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)\n"
            "signal.signal(signal.SIGTERM, lambda *_: child.terminate())\n"
            "with open(sys.argv[1], 'wb', buffering=0) as log:\n"
            "    for line in child.stderr: log.write(line)\n"
        )
        self.start(
            'exec -a "PM2 v5.3.0: God Daemon (/root/.pm2)" "$@"', sys.executable, str(daemon),
            str(logs / "pbx-system-error.log"), sys.executable, "manage.py", "start",
        )
        self.wait_for_port()
        report = self.check(PM2_HOME=str(self.directory / "pm2"))
        self.assertIn("managed by PM2", report.text)
        self.assertIn("pm2/logs/pbx-system-error.log", report.text)
        self.assertIn("nothing_received", report.codes)

    def test_a_unit_of_systemd(self):
        places = map(Path, ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"))
        group = next((place for place in places if os.access(place / "cgroup.procs", os.W_OK)), None)
        if group is None:
            self.skipTest("no control group to be had")
        group /= f"pbx-test{os.getpid()}.service"
        group.mkdir()
        self.addCleanup(group.rmdir)
        self.addCleanup(wait_until, lambda: not (group / "cgroup.procs").read_text(), "it is empty")
        server = self.start('exec "$@" 2> >(cat >/dev/null)', sys.executable, "manage.py", "runsip")
        self.wait_for_port()
        (group / "cgroup.procs").write_text(str(server.pid))
        fake = self.directory / "bin"
        fake.mkdir()
        journal = fake / "journalctl"
        journal.write_text(
            f"#!/bin/sh\necho '{LogTests.STAMP}Received message from 203.0.113.9:5060: REGISTER 1 x'\n"
            f"echo '{LogTests.STAMP}Response sent successfully to 203.0.113.9:5060: 200 OK'\n"
        )
        journal.chmod(0o755)
        report = self.check(PATH=f"{fake}:{BARE['PATH']}")
        self.assertIn(f"managed by systemd ({group.name})", report.text)
        self.assertIn(f"journalctl -u {group.name}", report.text)
        self.assertIn("registrations confirmed 1", report.text)


CHAIN = "type filter hook input priority 0; policy"
RULESETS = {
    "none": "",
    "accept all": f"table inet f {{ chain i {{ {CHAIN} accept; }}; }}",
    "drop all": f"table inet f {{ chain i {{ {CHAIN} drop; }}; }}",
    "usual server": f"""table inet f {{ chain i {{ {CHAIN} drop;
        ct state established,related accept
        ct state invalid drop
        iif "lo" accept
        meta l4proto {{ icmp, ipv6-icmp }} accept
        tcp dport {{ 22, 80 }} accept
        udp dport {{ 53, 5000-5100 }} counter accept comment "telephones accept drop"
    }}; }}""",
    "usual server, forgotten": f"""table inet f {{ chain i {{ {CHAIN} drop;
        ct state {{ established, related }} counter packets 0 bytes 0 accept
        iifname "lo" accept
        tcp dport 5060 accept
        log prefix "udp dport 5060 accept" level info
    }}; }}""",
    "only tcp is dropped": f"table ip f {{ chain i {{ {CHAIN} accept; tcp dport 5060 drop; }}; }}",
    "jump": f"""table inet f {{
        chain phones {{ udp dport 5060 accept; return; }}
        chain i {{ {CHAIN} drop; ip protocol udp jump phones; }}; }}""",
    "jump that drops": f"""table inet f {{
        chain bad {{ udp dport != 53 drop; }}
        chain i {{ {CHAIN} accept; meta l4proto 17 goto bad; }}; }}""",
    "verdict map": f"""table inet f {{ chain i {{ {CHAIN} drop;
        ct state vmap {{ established : accept, related : accept, invalid : drop }}
        fib daddr type broadcast drop
        th dport 5060 accept; }}; }}""",
    "reject": f"""table inet f {{ chain i {{ {CHAIN} accept;
        udp dport 5060-5061 reject with icmp port-unreachable; }}; }}""",
    "second table": f"""table inet a {{ chain i {{ {CHAIN} accept; }}; }}
        table ip b {{ chain i {{ type filter hook prerouting priority -300; policy accept;
        udp dport 5060 drop; }}; }}""",
    "IPv6 only": f"table ip6 f {{ chain i {{ {CHAIN} drop; }}; }}",
    "other interface": f"""table inet f {{ set office {{ type ipv4_addr; elements = {{ 192.0.2.7,
        192.0.2.8 }}; }}
        chain i {{ {CHAIN} drop; ip saddr @office udp dport 5060 accept; }}; }}""",
    "icmp and tcp only": f"""table inet f {{ chain i {{ {CHAIN} drop; ct state new tcp dport 5060 accept
        icmp type echo-request accept
    }}; }}""",
}
IPTABLES = {
    "iptables": ["-P INPUT DROP", "-A INPUT -i lo -j ACCEPT",
                 "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                 "-A INPUT -p udp -m multiport --dports 53,5060:5070 -m comment --comment 'a b' -j ACCEPT"],
    "iptables closed": ["-N PHONES", "-A PHONES -p udp --dport 5060 -j DROP", "-A INPUT -p udp -j PHONES"],
    "iptables open": ["-P INPUT DROP", "-N PHONES", "-A INPUT -p udp -g PHONES",
                      "-A PHONES -p udp --dport 5000:6000 -j ACCEPT"],
}


class FirewallTests(unittest.TestCase):
    """What the script reads from the rules, against what really becomes of a packet."""

    @classmethod
    def setUpClass(cls) -> None:
        require_program("nft", "nftables")
        cls.networks = Networks()
        cls.addClassCleanup(cls.networks.close)
        lan = cls.networks.switch("lan")
        cls.server = cls.networks.host("server", lan, f"{SERVER}/24")
        cls.phone = cls.networks.host("phone", lan, f"{PHONE}/24")

    def setUp(self) -> None:
        run("ip", "netns", "exec", self.server, "nft", "flush", "ruleset")

    def arrives(self) -> bool:
        with inside(self.server):
            ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with inside(self.phone):
            mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with ear, mouth:
            ear.bind(("0.0.0.0", 5060))
            ear.settimeout(1.0)
            mouth.sendto(b"hello", (SERVER, 5060))
            try:
                return ear.recv(100) == b"hello"
            except TimeoutError:
                return False

    def ruling(self, reader: str) -> str:
        program = f". {SCRIPT}; {reader}; ruling udp 5060; echo $VERDICT"
        done = run_program(["ip", "netns", "exec", self.server, "bash", "-c", program], env=BARE)
        self.assertEqual(done.stderr, "")
        return done.stdout.strip()

    def test_rules_of_nft(self):
        for name, rules in RULESETS.items():
            with self.subTest(name):
                run("ip", "netns", "exec", self.server, "nft", "-f", "-", text_in=f"flush ruleset\n{rules}")
                found, really = self.ruling("read_nft < <(nft list ruleset)"), self.arrives()
                if name == "other interface":
                    self.assertEqual((found, really), ("unsure", False))
                else:
                    self.assertEqual(found, "open" if really else "closed")

    def test_rules_of_iptables(self):
        require_program("iptables", "iptables")
        for name, rules in IPTABLES.items():
            with self.subTest(name):
                self.setUp()
                for rule in rules:
                    run("ip", "netns", "exec", self.server, "iptables", *shlex.split(rule))
                expected = "open" if self.arrives() else "closed"
                self.assertEqual(self.ruling("read_iptables < <(iptables -S)"), expected)
                self.assertIn(self.ruling("read_nft < <(nft list ruleset 2>/dev/null)"), (expected, "unsure"))

    def test_status_of_ufw(self):
        head = "Status: active\nLogging: on (low)\nDefault: deny (incoming), allow (outgoing), disabled (routed)\n\n"
        for rules, expected in (
            ("", "closed"), ("5060/udp                   ALLOW IN    Anywhere", "open"),
            ("5060                       ALLOW IN    Anywhere", "open"),
            ("5060/tcp                   ALLOW IN    Anywhere", "closed"),
            ("5000:6000/udp              ALLOW IN    Anywhere", "open"),
            ("5060/udp (v6)              ALLOW IN    Anywhere (v6)", "closed"),
            ("5060/udp                   ALLOW IN    192.168.0.0/16", "unsure"),
            ("5060/udp                   DENY IN     Anywhere\n5060/udp   ALLOW IN    Anywhere", "closed"),
            ("Anywhere                   ALLOW IN    Anywhere", "open"),
            ("SIP                        ALLOW IN    Anywhere", "unsure"),
            ("5060/udp                   ALLOW OUT   Anywhere", "closed"),
        ):
            with self.subTest(rules):
                self.assertEqual(shell(f'ufw_ruling {shlex.quote(head + rules)} udp 5060; echo "$VERDICT"'), expected)


class LogTests(unittest.TestCase):
    """Logs as they come, and as nobody should send them."""

    STAMP = "2026-11-23 01:00:00,001 INFO [SIP] "

    def report(self, *lines: str, **environment: str) -> Report:
        path = scratch_directory("log") / "sip.log"
        path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
        return script(str(path), **environment)

    def figures(self, *lines: str) -> list[str]:
        path = scratch_directory("log") / "sip.log"
        path.write_text("".join(f"{line}\n" for line in lines))
        return shell(f"OWN=192.0.2.10; summarise <{path}").split()

    def test_what_is_counted(self):
        phone = "203.0.113.9:5060"
        self.assertEqual(
            self.figures(
                f"{self.STAMP}Received message from {phone}: REGISTER 1001 Zoiper",
                f"{self.STAMP}Sending 401 challenge to {phone}",
                f"{self.STAMP}Response sent successfully to {phone}: 401 Unauthorized",
                f"{self.STAMP}Received message from {phone}: REGISTER 1001 Zoiper",
                f"{self.STAMP}Response sent successfully to {phone}: 200 OK",
                f"{self.STAMP}Received message from 127.0.0.1:999: OPTIONS - check",
                f"{self.STAMP}Response sent successfully to 127.0.0.1:999: 200 OK",
                f"{self.STAMP}Received message from 192.0.2.10:5062: REGISTER 1002 x",
                f"{self.STAMP}Response sent successfully to 192.0.2.10:5062: 200 OK",
                f"{self.STAMP}Received message from [2001:db8::1]:5060: REGISTER 1003 x",
                f"{self.STAMP}Registration refused: number=1003 source=2001:db8::1 cause=disabled",
                "Received message from somebody else's log",
                # what the doctor does as a phone
                f"{self.STAMP}Received message from 192.0.2.10:7000: REGISTER ~doctor-7a PBX doctor",
                f"{self.STAMP}Sending 401 challenge to 192.0.2.10:7000",
                f"{self.STAMP}Response sent successfully to 192.0.2.10:7000: 401 Unauthorized",
                f"{self.STAMP}Received message from 192.0.2.10:7000: REGISTER ~doctor-7a PBX doctor",
                f"{self.STAMP}Response sent successfully to 192.0.2.10:7000: 200 OK",
                f"{self.STAMP}Received message from 192.0.2.10:7000: INVITE *43 PBX doctor",
            ),
            ["3", "1", "1", "4", "1", "1", "1", "disabled", "1003"],
        )

    def test_a_log_of_json_lines(self):
        def line(message: str) -> str:
            return f'{{"time": "2026-11-23 01:00:00.001", "level": "INFO", "logger": "sip", "message": "{message}"}}'

        self.assertEqual(
            self.figures(
                line("Received message from 203.0.113.9:5060: REGISTER 1001 Zoiper"),
                line("Response sent successfully to 203.0.113.9:5060: 200 OK"),
                line("Registration refused: number=1001 source=203.0.113.9 cause=wrong_password"),
            ),
            ["1", "0", "0", "1", "1", "0", "1", "wrong_password", "1001"],
        )

    def test_causes_and_silence(self):
        came = f"{self.STAMP}Received message from 203.0.113.9:5060: REGISTER 1001 x"
        asked = [f"{self.STAMP}Sending 401 challenge to 203.0.113.9:5060",
                 f"{self.STAMP}Response sent successfully to 203.0.113.9:5060: 401 Unauthorized"]
        self.assertIn("challenge_unanswered", self.report(came, *asked).codes)
        self.assertIn("reply_lost", self.report(came).codes)
        for cause in ("wrong_password", "unknown_extension", "disabled", "no_credential", "stale_credential", "blocked",
                      "too_many_devices", "wrong_domain", "nonce_loop"):
            with self.subTest(cause):
                refused = f"{self.STAMP}Registration refused: number=1001 source=203.0.113.9 cause={cause}"
                report = self.report(came, *asked, refused)
                self.assertIn(cause, report.codes)
                self.assertNotIn("{", report.text)

    def test_nothing_hostile_reaches_the_terminal(self):
        evil = "\x1b[31m\x1b]0;owned\x07\u202e$(touch /tmp/owned)`id`'\";&\\n"
        report = self.report(
            f"{self.STAMP}Received message from {evil}: REGISTER {evil}",
            f"{self.STAMP}Registration refused: number={evil} source={evil} cause=wrong_password{evil}",
            f"{self.STAMP}Registration refused: number=-rf&{{do}} source=x cause={'z' * 9000}",
            "\udcff\udcfe" * 2000,
            LANGUAGE_CODE=evil, SIP_DOMAIN=f"x{evil}", EXTERNAL_IP=evil, SIP_PORT=f"5060{evil}", RTP_PORTS=evil,
        )
        for character in ("\x1b", "\x07", "\u202e"):
            self.assertNotIn(character, report.text)
        self.assertFalse(os.path.exists("/tmp/owned"))
        self.assertLess(max(map(len, report.text.splitlines())), 600)

    def test_files_and_options_that_are_none(self):
        for argument in ("/no/such/file", "--nonsense"):
            done = run_program([str(SCRIPT), argument], env=BARE)
            self.assertEqual(done.returncode, 125)
            self.assertTrue(done.stderr)
        for language in ("uz", "ru", "en"):
            done = run_program([str(SCRIPT), "1002", "--language", language], env=BARE)
            self.assertEqual(done.returncode, 125)
            self.assertIn("python3 manage.py why 1002", done.stderr)
        for language, words in (("uz", "Ishlatish"), ("ru", "Использование"), ("en", "Usage")):
            done = run_program([str(SCRIPT), "--help", "--language", language], env=BARE)
            self.assertEqual(done.returncode, 0)
            self.assertIn(words, done.stdout)


class SettingTests(unittest.TestCase):
    def test_the_environment_wins_over_the_file(self):
        directory = scratch_directory("env")
        copy = directory / SCRIPT.name
        shutil.copy(SCRIPT, copy)
        (directory / ".env").write_text(
            '# SIP_DOMAIN=no\nSIP_DOMAIN = no\nexport SIP_DOMAIN="pbx.example.uz" # comment\nSIP_PORT=5070 # other\n'
            "EXTERNAL_IP='203.0.113.5'\nSIP_ALIASES="
        )
        names = "SIP_DOMAIN SIP_PORT EXTERNAL_IP SIP_ALIASES"
        program = f". {copy}; for name in {names}; do setting $name none; echo; done"
        done = run_program(["bash", "-c", program], env={**BARE, "SIP_PORT": "5080"})
        self.assertEqual(done.stdout.split(), ["pbx.example.uz", "5080", "203.0.113.5", "none"])


class TextTests(unittest.TestCase):
    """Every key in three languages, with the same values; every key that is used is there, and none for nothing."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.source = SCRIPT.read_text("utf-8")
        table = cls.source.partition("<<'TEXTS'\n")[2].partition("\nTEXTS\n")[0]
        cls.texts: dict[str, list[str]] = {}
        for line in table.splitlines():
            if found := KEY.match(line):
                key = found[1]
                assert key not in cls.texts, key
                cls.texts[key] = []
            else:
                cls.texts[key].append(line)
        cls.code = cls.source.partition("\nTEXTS\n")[2]

    def test_three_languages_with_the_same_values(self):
        for key, (english, uzbek, russian) in self.texts.items():
            with self.subTest(key):
                values = set(re.findall(r"\{\w+\}", english))
                for text in (uzbek, russian):
                    self.assertEqual(set(re.findall(r"\{\w+\}", text)), values)
                    self.assertNotEqual(text, english)
                self.assertRegex(russian, "[а-яё]")
                self.assertNotRegex(uzbek, "[а-яёА-ЯЁ]")
                self.assertNotRegex(uzbek, r"[oOgG]['’ʻ`]|\w'\w")

    def test_every_key_is_used_and_every_used_one_is_there(self):
        heads = {key.partition(".")[0] for key in self.texts if "." in key}
        code = re.sub(r'"\$\{TEXT\[[^"]*', "", self.code)
        used = set(re.findall(rf"(?<![\w./-])((?:{'|'.join(heads)})\.[\w.]*\w)", code)) | {"do", "more", "help"}
        computed = {key for key in self.texts if key.startswith("cause.")}
        self.assertEqual(used - set(self.texts), set())
        self.assertEqual(set(self.texts) - used - computed, set())

    def test_shellcheck(self):
        program = require_program("shellcheck", "shellcheck")
        done = run_program([program, str(SCRIPT)])
        self.assertEqual(done.returncode, 0, done.stdout)
