"""Rules really loaded by nft and iptables, read back and interpreted."""

from __future__ import annotations

import json
import shlex
import sys
import unittest

from tests.support.network_namespaces import Networks, run
from tests.support.pbx import ROOT, clean_environment
from tests.support.processes import run_program
from tests.support.programs import find_program

ASK = """
import json
from pbx.diagnosis.firewall import read_rules, ruling
rules = read_rules()
print(json.dumps([ruling(rules, *one).fate.value for one in (("udp", 5060), ("tcp", 5060), ("udp", 10000))]))
"""
INPUT = "type filter hook input priority 0;"


class FirewallTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.networks = Networks()
        cls.addClassCleanup(cls.networks.close)
        cls.namespace = cls.networks.namespace("wall")

    def told(self) -> list[str]:
        """Of 5060/udp, 5060/tcp and 10000/udp."""
        done = run_program(
            ["ip", "netns", "exec", self.namespace, sys.executable, "-c", ASK], env=clean_environment(), cwd=ROOT,
            seconds=30,
        )
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout)

    def nft(self, rules: str) -> None:
        run("ip", "netns", "exec", self.namespace, "nft", "flush", "ruleset")
        run("ip", "netns", "exec", self.namespace, "nft", "-f", "-", text_in=rules.replace(";", ";\n"))

    def test_nft(self):
        states = "ct state vmap { established : accept, related : accept, invalid : drop };"
        cases = {
            "": ["open", "open", "open"],
            f"table inet f {{ chain i {{ {INPUT} policy drop; iif lo accept; ct state established accept; }}; }}":
                ["closed", "closed", "closed"],
            f"table inet f {{ chain i {{ {INPUT} policy drop; {states} udp dport {{ 5060, 9000-20000 }} accept; }}; }}":
                ["open", "closed", "open"],
            f"table ip f {{ chain i {{ {INPUT} udp dport 5060 drop; }}; }}": ["closed", "open", "open"],
            f"table ip f {{ chain i {{ {INPUT} udp dport 5060 reject; }}; }}": ["closed", "open", "open"],
            f"table inet f {{ chain i {{ {INPUT} udp dport != 5060 drop; }}; }}": ["open", "open", "closed"],
            # Only strangers from there are kept out, or let in: that says nothing about a phone.
            f"table ip f {{ chain i {{ {INPUT} ip saddr 192.0.2.0/24 drop; }}; }}": ["open", "open", "open"],
            f"table ip f {{ chain i {{ {INPUT} policy drop; ip saddr 192.0.2.0/24 udp dport 5060 accept; }}; }}":
                ["unknown", "closed", "closed"],
            # A chain that others jump to; a limit.
            f"table inet f {{ chain more {{ th dport 5060 limit rate 9/second accept; }}; "
            f"chain i {{ {INPUT} policy drop; meta l4proto {{ tcp, udp }} jump more; }}; }}":
                ["unknown", "unknown", "closed"],
            f"table inet f {{ chain sip {{ udp dport 5060 accept; }}; chain i {{ {INPUT} policy drop; goto sip; }}; }}":
                ["open", "closed", "closed"],
            # Of two doors both have to be open.
            f"table ip a {{ chain i {{ {INPUT} udp dport 5060 accept; }}; }}; "
            f"table ip b {{ chain i {{ {INPUT} udp dport 5060 drop; }}; }}": ["closed", "open", "open"],
            # Another hook, another family.
            "table ip f { chain o { type filter hook output priority 0; policy drop; }; }": ["open", "open", "open"],
            f"table ip6 f {{ chain i {{ {INPUT} policy drop; }}; }}": ["open", "open", "open"],
        }
        for rules, wanted in cases.items():
            with self.subTest(rules=rules):
                self.nft(rules)
                self.assertEqual(wanted, self.told())

    @unittest.skipUnless(find_program("iptables"), "iptables is not installed")
    def test_iptables(self):
        cases = {
            "-P INPUT DROP; -A INPUT -i lo -j ACCEPT; -A INPUT -p udp -m udp --dport 5060 -j ACCEPT":
                ["open", "closed", "closed"],
            "-A INPUT -p udp --dport 5060 -j DROP": ["closed", "open", "open"],
            "-P INPUT DROP; -A INPUT -s 10.0.0.0/8 -p udp --dport 5060 -j ACCEPT": ["unknown", "closed", "closed"],
            "-N user; -P INPUT DROP; -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; "
            "-A INPUT -j user; -A user -p udp -m multiport --dports 5060,10000:20000 -m comment "
            "--comment \"phones -p tcp\" -j ACCEPT": ["open", "closed", "open"],
        }
        for rules, wanted in cases.items():
            with self.subTest(rules=rules):
                run("ip", "netns", "exec", self.namespace, "nft", "flush", "ruleset")
                for rule in rules.split("; "):
                    run("ip", "netns", "exec", self.namespace, "iptables", *shlex.split(rule))
                self.assertEqual(wanted, self.told())

    def test_without_root_it_says_that_it_does_not_know(self):
        done = run_program(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", sys.executable, "-c",
             ASK.replace("print(", "print(rules.readable, ")],
            env=clean_environment(PYTHONPATH=str(ROOT)), cwd="/", seconds=30,
        )
        if done.returncode:
            self.skipTest("this Python cannot be run by another user")
        self.assertEqual('False ["unknown", "unknown", "unknown"]', done.stdout.strip())
