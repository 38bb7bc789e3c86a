"""Places for phones, faults in them, and the question to the PBX what is wrong.

All of a class's phones stand around one ``runsip`` that has a public address in a network of the tests' own; each has
a network namespace with an address of its own, so that what one does says nothing about another."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, ClassVar

from tests.support import sipsak
from tests.support.baresip import Baresip
from tests.support.calling import CallCase, tone
from tests.support.cases import PASSWORD
from tests.support.linphone import Linphone
from tests.support.media_engines import rtp_ports
from tests.support.network_namespaces import Networks, Router, run
from tests.support.pbx import ROOT, RunningPbx, SqliteStore
from tests.support.processes import PATIENCE, DeadlinePassed, Program, free_port, run_program, scratch_directory
from tests.support.programs import require_program
from tests.verdicts.scoreboard import Row, Scoreboard

SERVER = "203.0.113.10"
NOBODY = "203.0.113.254"
SIP_PORT = 5060
SCENARIOS = Path(__file__).parent / "scenarios"
LATER = 25.0
"""Seconds within which evidence must have become a verdict."""


@dataclass(frozen=True)
class Host:
    """A machine: where its phones run, and their address there."""

    namespace: str | None
    address: str
    router: Router | None = None
    outside: str = ""  # the router's public address


class Place(CallCase):
    """A ``runsip`` with a public address."""

    networks: ClassVar[Networks]
    internet: ClassVar[str]
    score: ClassVar[Scoreboard]
    title: ClassVar = "Faults made, and what the PBX called them:"
    settings = {"SIP_MIN_EXPIRES": "5", "SIP_KEEPALIVE_INTERVAL": "5", "SIP_SESSION_EXPIRES": "90"}

    @classmethod
    def setUpClass(cls) -> None:
        cls.score = Scoreboard(cls.title)
        cls.addClassCleanup(cls.score.print)
        cls._addresses = itertools.count(20)
        cls._roles = itertools.count(1)
        cls.build_networks()
        super().setUpClass()

    @classmethod
    def build_networks(cls) -> None:
        cls.networks = Networks()
        cls.addClassCleanup(cls.networks.close)
        cls.internet = cls.networks.switch("internet")
        cls.server_namespace = cls.networks.host("server", cls.internet, f"{SERVER}/24", NOBODY)
        cls.place = {"namespace": cls.server_namespace, "host": "0.0.0.0", "port": SIP_PORT}
        cls.server = (SERVER, SIP_PORT)

    def own_pbx(self, host: Host | None, store: Any = None, **settings: str) -> str:
        """From here on the test's PBX is one on this host (None: on this machine), set up long ago. A number of it."""
        first, last = rtp_ports()
        self.pbx = RunningPbx(
            store or SqliteStore(), settings={**self.settings, "RTP_PORTS": f"{first}-{last}", **settings}, start=False,
            **({"namespace": host.namespace, "host": "0.0.0.0", "port": SIP_PORT} if host else {}),
        )
        self.at_end.callback(self.pbx.stop)
        self.server = (host.address, SIP_PORT) if host else self.pbx.server
        self.pbx.create_extensions({"1001": PASSWORD})
        self.execute("DELETE FROM diagnosis_guardaction")  # new numbers are pardoned for a while
        self.pbx.start()
        return "1001"

    # --- machines -----------------------------------------------------------------------------------------

    def public_address(self) -> str:
        with self._lock:
            return f"203.0.113.{next(self._addresses)}"

    def host(self) -> Host:
        """A machine with a public address."""
        address = self.public_address()
        # With a way to everywhere, which leads to nobody: linphonec calls itself offline without.
        return Host(
            self.networks.host(f"h{next(self._roles)}", self.internet, f"{address}/24", NOBODY), address
        )

    def home(self, **router: Any) -> Host:
        """A machine behind a router of its own; for ``router`` see :meth:`Networks.router`."""
        number, outside = next(self._roles), self.public_address()
        switch = self.networks.switch(f"s{number}")
        made = self.networks.router(f"r{number}", self.internet, f"{outside}/24", switch, "192.168.77.1/24", **router)
        namespace = self.networks.host(f"p{number}", switch, "192.168.77.50/24", "192.168.77.1")
        return Host(namespace, "192.168.77.50", made, outside)

    def firewall(self, namespace: str | None, *rules: str) -> None:
        """nft rules for this machine, each after ``add rule inet test``, such as ``out udp dport 9 drop``. ``in`` and
        ``out`` are what comes to and leaves the machine itself, ``through`` what it passes on."""
        assert namespace is not None
        chains = "".join(
            f"add chain inet test {name} {{ type filter hook {hook} priority 5; }}\n"
            for name, hook in (("in", "input"), ("out", "output"), ("through", "forward"))
        )
        lines = "".join(f"add rule inet test {rule}\n" for rule in rules)
        run("ip", "netns", "exec", namespace, "nft", "-f", "-", text_in=f"add table inet test\n{chains}{lines}")

    # --- phones -------------------------------------------------------------------------------------------

    def start_baresip(self, host: Host, number: str, password: str = PASSWORD, *, says: int | None = None,
                      kind: type[Baresip] = Baresip, **options: Any) -> Baresip:
        """It begins to register; whether it succeeds is another question."""
        options.setdefault("domain", self.pbx.domain)
        phone = kind(
            options.pop("server", self.server), number, password, namespace=host.namespace, address=host.address,
            plays=tone(says) if says else None, **options,
        )
        self.at_end.callback(phone.stop)
        return phone

    def start_linphone(self, host: Host, number: str, password: str = PASSWORD, **options: Any) -> Linphone:
        options.setdefault("domain", self.pbx.domain)
        phone = Linphone(options.pop("server", self.server), number, password, namespace=host.namespace, **options)
        self.at_end.callback(phone.stop)
        return phone

    def sipsak(self, host: Host, number: str, password: str = PASSWORD, **options: Any) -> int:
        """Its exit status: 0 when it was registered."""
        contact = f"sip:{number}@{host.address}:5999"
        return sipsak.register(
            self.server, number, password, namespace=host.namespace, contact=contact, local_port=5999, **options
        ).returncode

    def sipp(self, host: Host, scenario: str, number: str, password: str = PASSWORD, *, port: int = SIP_PORT,
             call_id: str = "%u-%p@%s", **words: str) -> Sipp:
        """``call_id`` as sipp's ``-cid_str``. ``words`` take the place of ``${name}`` in the scenario."""
        phone = Sipp(host, self.server, scenario, port=port, call_id=call_id, number=number, password=password, words={
            "number": number, "domain": self.pbx.domain, "contact": f"<sip:{number}@{host.address}:{port}>",
            "expires": "60", "user_agent": "sipp", **words,
        })
        self.at_end.callback(phone.stop)
        return phone

    # --- what an administrator does -----------------------------------------------------------------------

    def administrate(self, lines: str) -> None:
        """Through Django, as the admin pages do."""
        self.pbx.manage("shell", "-c", f"from extensions.models import *\n{lines}")

    def execute(self, statement: str, *values: object) -> None:
        """What no page lets anybody do, straight in the database."""
        store = self.pbx.store
        if isinstance(store, SqliteStore):
            with closing(sqlite3.connect(store.path, timeout=20)) as connection, connection:
                connection.execute(statement.replace("%s", "?"), values)
        else:
            import psycopg

            with psycopg.connect(store.url, connect_timeout=5) as connection:
                connection.execute(statement, values)

    # --- the question ---------------------------------------------------------------------------------------

    def command(self, *arguments: str, **env: str) -> tuple[int, str, str]:
        """Exit status, output and complaints of ``manage.py``, run on the PBX's machine."""
        prefix = ["ip", "netns", "exec", self.pbx.namespace] if self.pbx.namespace else []
        done = run_program(
            [*prefix, sys.executable, "manage.py", *arguments], env={**self.pbx.env, **env}, cwd=ROOT, seconds=90
        )
        return done.returncode, done.stdout, done.stderr

    def why(self, *about: str) -> dict[str, Any]:
        """What ``why --json`` says; its exit status must fit what it says."""
        status, output, complaints = self.command("why", *about, "--json")
        try:
            told = json.loads(output)
        except ValueError:
            raise AssertionError(f"why {about} ended with {status}:\n{output}{complaints}") from None
        self._check_form(told)
        if about[0] != "--call":
            self.assertEqual(set(told), {"number", "language", "verdicts"})
            registered = any(verdict["code"] == "registered" for verdict in told["verdicts"])
            self.assertEqual(status, 0 if registered else 1, told)
        return told

    def _check_form(self, told: dict[str, Any]) -> None:
        for verdict in told["verdicts"]:
            self.assertEqual(
                set(verdict), {"code", "severity", "confidence", "what", "why", "do", "evidence"}, verdict
            )
            self.assertIn(verdict["severity"], ("ok", "info", "warning", "error"), verdict)
            self.assertIn(verdict["confidence"], ("certain", "likely"), verdict)
            self.assertTrue(verdict["what"].strip(), verdict)

    @contextmanager
    def fault(self, expected: str | Sequence[str], client: str, how: str, *, exact: bool = False) -> Iterator[Fault]:
        """The block makes the fault and ends with asking for its name."""
        codes = (expected,) if isinstance(expected, str) else tuple(expected)
        row = self.score.row(codes, client, how, exact=exact)
        fault = Fault(self, row)
        yield fault
        self.assertTrue(fault.asked, "nobody asked the PBX about it")

    def healthy(self, client: str, how: str = "nothing is wrong") -> Any:
        return self.fault("registered", client, how, exact=True)


class Loopback(Place):
    """All on this machine, without networks of its own: for a server whose database is reached by 127.0.0.1."""

    @classmethod
    def build_networks(cls) -> None:
        cls.place = {}

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.server = cls.pbx.server

    def host(self) -> Host:
        with self._lock:
            return Host(None, f"127.0.0.{next(self._addresses)}")


class Fault:
    def __init__(self, case: Place, row: Row) -> None:
        self._case, self._row, self.asked = case, row, False

    def is_named(self, *about: str, seconds: float = LATER) -> dict[str, Any]:
        """The fault is made; ``why NUMBER`` or ``why --call ID`` must name it, as soon as the evidence is there. What
        it told."""
        return self.by(lambda: self._case.why(*about), " ".join(about), seconds)

    def is_found(self, *arguments: str, seconds: float = LATER, **env: str) -> dict[str, Any]:
        """``doctor --json`` must name it first."""

        def ask() -> dict[str, Any]:
            status, output, complaints = self._case.command("doctor", "--json", *arguments, **env)
            try:
                told = json.loads(output)
            except ValueError:
                raise AssertionError(f"doctor ended with {status}:\n{output}{complaints}") from None
            self._case._check_form(told)
            return told

        return self.by(ask, "doctor", seconds)

    def by(self, ask: Callable[[], dict[str, Any]], about: str, seconds: float) -> dict[str, Any]:
        self.asked = self._row.made = True
        told: dict[str, Any] = {}

        def right() -> bool:
            told.clear()
            told.update(ask())
            self._row.named = tuple(verdict["code"] for verdict in told["verdicts"])
            return self._row.right

        from tests.support.processes import wait_until
        try:
            wait_until(right, "", seconds, pause=1.0)
        except DeadlinePassed:
            raise AssertionError(
                f"{about}: {' '.join(self._row.expected)} was made ({self._row.how}), the PBX says "
                f"{' '.join(self._row.named or ())}:\n{json.dumps(told, indent=1, ensure_ascii=False)}\n"
                f"{self._evidence(about)}"
            ) from None
        return told

    def _evidence(self, about: str) -> str:
        try:
            rows = self._case.pbx.store.rows(
                "SELECT number, source, cause, count, repeats, proven, sources, asked FROM diagnosis_attempt "
                "WHERE number = %s OR number = ''", about
            )
        except Exception as error:  # the database may be what is broken
            return f"(no evidence: {error})"
        lines = [line for line in self._case.pbx.log.splitlines() if about in line]
        return "attempts:\n" + "\n".join(map(str, rows)) + "\nlog:\n" + "\n".join(lines[-30:])


class Sipp(Program):
    """One sipp with a scenario of this directory, in a network namespace."""

    def __init__(self, host: Host, server: tuple[str, int], scenario: str, *, port: int, call_id: str, number: str,
                 password: str, words: dict[str, str]) -> None:
        self.directory = scratch_directory("sipp")
        text = Template((SCENARIOS / f"{scenario}.xml").read_text("utf-8")).substitute(words)
        (self.directory / "scenario.xml").write_text(text, encoding="utf-8")
        (self.directory / "numbers.csv").write_text(
            f"SEQUENTIAL\n{number};[authentication username={number} password={password}]\n"
        )
        inside = ["ip", "netns", "exec", host.namespace] if host.namespace else []
        super().__init__([
            *inside, require_program("sipp", "sip-tester"), f"{server[0]}:{server[1]}",
            "-sf", str(self.directory / "scenario.xml"), "-inf", str(self.directory / "numbers.csv"),
            "-i", host.address, "-p", str(port), "-mi", host.address, "-mp", str(free_port(span=2)),
            "-cp", str(free_port()), "-t", "u1", "-m", "1", "-cid_str", call_id, "-nostdin", "-nd",
            "-auth_uri", words["domain"], "-timeout", "60s", "-timeout_error",
            "-trace_msg", "-message_file", str(self.directory / "messages"),
            "-trace_err", "-error_file", str(self.directory / "errors"),
        ], log_path=self.directory / "log", name=f"sipp {scenario}",
            env={"TERM": "dumb", "PATH": os.defpath + ":/usr/sbin:/sbin"}, cwd=self.directory)

    @property
    def messages(self) -> str:
        path = self.directory / "messages"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    @property
    def errors(self) -> str:
        path = self.directory / "errors"
        return path.read_text("utf-8", "replace")[-3000:] if path.exists() else ""

    def played(self, seconds: float = PATIENCE) -> None:
        """To its end, as written."""
        if status := self.wait(seconds):
            raise AssertionError(f"{self.name} ended with {status}: {self.errors}\n{self.messages[-3000:]}")
