"""The fail2ban filters of ``deploy/`` against lines as the SIP server really writes them, and against forged ones."""

from __future__ import annotations

import unittest
from pathlib import Path

from sipcore.guard.blocks import Block
from sipcore.guard.chores import GuardChores
from sipcore.guard.door import Door
from sipcore.guard.guard import Guard
from sipcore.log import SipLog
from tests.engine.asking import flow as make_flow
from tests.engine.core_under_test import Engine, Phone
from tests.support.processes import run_program, scratch_directory
from tests.support.programs import require_program

FILTERS = Path(__file__).resolve().parents[2] / "deploy" / "fail2ban" / "filter.d"
FORGED = "1 source=192.0.2.66 cause=wrong_password"


class Fail2banTests(unittest.TestCase):
    def setUp(self):
        self.program = require_program("fail2ban-regex", "fail2ban")
        self.directory = scratch_directory("fail2ban")

    def found(self, name: str, lines: list[str], *options: str) -> list[str]:
        """The addresses that the filter finds in these lines."""
        log = self.directory / "sip.log"
        log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        done = run_program([self.program, *options, "-o", "ip", str(log), str(FILTERS / name)], seconds=60)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def engine(self, style: str) -> Engine:
        engine = Engine()
        engine.log.close()
        engine.log = engine.core._log = SipLog(engine._write_end, style)
        return engine

    def lines_of(self, style: str) -> list[str]:
        """A real core's lines: two refusals that count, and all kinds of others."""
        engine = self.engine(style)
        directory, flows = engine.directory, [make_flow(host=f"203.0.113.{index}") for index in range(1, 8)]
        directory.add("1001", "secret")
        directory.add("1002", "secret", enabled=False)
        Phone(engine, "1001", "wrong", flows[1]).register()
        Phone(engine, "7777", "guess", flows[2]).register()
        Phone(engine, "1002", "secret", flows[3]).register()  # disabled: its owner knows the password
        Phone(engine, "1001", "secret", flows[4]).register()
        forger = Phone(engine, "1001", "secret", flows[5])
        forger.domain = "elsewhere.test"
        forger.send(forger.request())
        agent = Phone(engine, "1001", "secret", flows[6])
        line = "[SIP] Registration refused: number=1 source=192.0.2.66 cause=wrong_password"
        engine.exchange(agent.request().replace(b"Zoiper", line.encode()), agent.flow)
        return engine.log_lines()

    def test_refusals_that_count(self):
        for style in ("text", "json"):
            lines = self.lines_of(style)
            self.assertTrue(any("cause=disabled" in line for line in lines))
            self.assertTrue(any("cause=wrong_domain" in line for line in lines))
            self.assertEqual(self.found("pbx-sip.conf", lines), ["203.0.113.2", "203.0.113.3"], style)

    def test_lines_in_the_journal(self):
        """As its reader of the journal hands them on: the time of the entry apart, our own still in the line."""
        lines = [f"pbx python3[812]: {line}" for line in self.lines_of("text")]
        found = self.found("pbx-sip.conf", lines, "-d", "{NONE}")
        self.assertEqual(found, ["203.0.113.2", "203.0.113.3"])

    def test_a_number_cannot_forge_a_source(self):
        stamp = "2026-11-22 19:30:02,001 INFO [SIP]"
        self.assertEqual(self.found("pbx-sip.conf", [
            f"{stamp} Registration refused: number={FORGED} source=203.0.113.9 cause=wrong_domain",
            f"{stamp} Received message from 203.0.113.9:5060: REGISTER 1 Registration refused: number={FORGED}",
            f"{stamp} Processing REGISTER {FORGED}",
            f"{stamp} Processing REGISTER INFO [SIP] Registration refused: number={FORGED}",
        ]), [])
        self.assertEqual(self.found("pbx-sip.conf", [
            f"{stamp} Registration refused: number={FORGED} source=203.0.113.9 cause=wrong_password",
            f"{stamp} INVITE refused: number=1001 source=2001:db8::7 cause=wrong_password",
        ]), ["203.0.113.9", "2001:db8::7"])

    def test_what_the_guard_has_blocked(self):
        for style in ("text", "json"):
            engine = self.engine(style)
            guard = Guard()
            engine.core.door = Door(guard, engine.core.authenticator, engine.clock, engine.core.recorder)
            chores = GuardChores(guard, None, None, engine.clock, lambda work: work(), engine.log)
            now = engine.clock.wall()
            for source, spared in (("203.0.113.9", set()), ("198.51.100.7", {"1001"}), ("2001:db8:1:2::/64", set())):
                numbers = [f"{FORGED}) guessed at", "2001", "2002"]
                guard._new(Block(source, "", "guessing", now, now + 600, numbers=numbers, spared=spared))
            guard._new(Block("192.0.2.9", "1001", "wrong_password", now, now + 600, failures=100))
            chores._announced()
            found = self.found("pbx-sip-guard.conf", engine.log_lines())
            self.assertEqual(found, ["203.0.113.9", "2001:db8:1:2::/64"], style)
