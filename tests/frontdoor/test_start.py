"""``manage.py start`` as a person types it, with the real processes behind it."""

from __future__ import annotations

import http.client
import os
import pty
import re
import signal
import socket
import sqlite3
import stat
import sys
import unittest
from pathlib import Path

from tests.support.phone import Phone
from tests.support.processes import PATIENCE, Program, free_port, run_program, scratch_directory, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENT = PATIENCE * 3  # migrations on a busy machine


class StartedPbx:
    """One installation: a var/ and two ports of its own."""

    def __init__(self, **settings: str) -> None:
        self.directory = scratch_directory("start")
        self.var = self.directory / "var"
        self.sip_port, self.web_port = free_port(), free_port()
        # The settings of whoever runs the tests must not matter; "" is what an absent line means.
        silent = {"DATABASE_URL": "", "SECRET_KEY": "", "SIP_DOMAIN": "", "SIP_REALM": "", "LANGUAGE_CODE": "en"}
        ours = {
            "VAR_DIR": str(self.var), "SIP_HOST": "127.0.0.1", "SIP_PORT": str(self.sip_port),
            "WEB_HOST": "127.0.0.1", "WEB_PORT": str(self.web_port),
        }
        self.env = {**os.environ, **silent, **ours, **settings}
        self.log = self.directory / "log"

    def start(self) -> Program:
        return Program(
            [sys.executable, "manage.py", "start"], log_path=self.log, env=self.env, cwd=ROOT, name="start",
            death_signal="TERM",
        )

    def run(self, *arguments: str, **settings: str):
        return run_program(
            [sys.executable, "manage.py", *arguments], seconds=PATIENT, env={**self.env, **settings}, cwd=ROOT
        )

    def get(self, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.web_port, timeout=PATIENCE)
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer

    def passwords(self) -> list[tuple[str, str]]:
        with sqlite3.connect(self.var / "pbx.sqlite3", timeout=20) as database:
            return database.execute(
                "SELECT username, password FROM auth_user UNION SELECT number, password FROM extensions_extension"
            ).fetchall()


class FirstStartTests(unittest.TestCase):
    def test_two_starts(self):
        pbx = StartedPbx()
        first = pbx.start()
        self.addCleanup(first.stop)
        first.wait_for("The first passwords are in", PATIENT)

        with self.subTest("the passwords are in a private file and in no log"):
            file = pbx.var / "first-login.txt"
            text = file.read_text()
            admin, phone = re.findall(r"^  Password +(\S+)$", text, re.MULTILINE)
            self.assertGreaterEqual(min(len(admin), len(phone)), 16)
            self.assertNotIn(admin, first.log)
            self.assertNotIn(phone, first.log)
            for path in (pbx.var, *pbx.var.iterdir()):
                self.assertEqual(0, stat.S_IMODE(path.stat().st_mode) & 0o077, f"{path} is open to others")

        with self.subTest("the account card tells what to type"):
            card = dict(re.findall(r"^  (.+?)  +(\S+)$", text.partition("Your first phone")[2], re.MULTILINE))
            self.assertEqual("1001", card["User"])
            self.assertEqual(str(pbx.sip_port), card["Port"])
            self.assertEqual(("UDP", "on", "off", "(empty)"), tuple(
                card[name] for name in ("Transport", "Register", "STUN", "Outbound proxy")
            ))
            self.assertNotEqual("0.0.0.0", card["Server (domain)"])

        with self.subTest("the pages answer"):
            self.assertEqual((302, "/admin/"), (pbx.get("/").status, pbx.get("/").headers["Location"]))
            self.assertEqual(200, pbx.get("/admin/login/").status)
            self.assertEqual(200, pbx.get("/static/admin/css/base.css").status)

        with (
            self.subTest("a phone with the printed settings registers"),
            Phone(("127.0.0.1", pbx.sip_port), card["User"], phone, card["Server (domain)"]) as sip_phone,
        ):
            self.assertEqual(200, sip_phone.register().status)

        with self.subTest("a second start here says that the PBX runs already"):
            again = pbx.run("start")
            self.assertEqual(1, again.returncode)
            self.assertIn(f"already running here (process {first.pid})", again.stderr)
            self.assertIn(f"http://127.0.0.1:{pbx.web_port}/admin/", again.stderr)

        with self.subTest("SIGTERM ends everything"):
            self.assertEqual(0, first.terminate(5))
            wait_until(lambda: self.is_free(pbx.sip_port, pbx.web_port), "both ports are free again", 5)

        with self.subTest("the next start changes no password and shows none"):
            before = pbx.passwords()
            (pbx.var / "first-login.txt").unlink()
            second = pbx.start()
            self.addCleanup(second.stop)
            second.wait_for(rf"Administration: http://127\.0\.0\.1:{pbx.web_port}/admin/", PATIENT)
            self.assertEqual(before, pbx.passwords())
            self.assertNotIn(admin, second.log)
            self.assertNotIn(phone, second.log)
            second.signal(signal.SIGINT)
            self.assertEqual(0, second.wait(5))

    def test_a_person_at_a_terminal_reads_the_passwords_there(self):
        pbx = StartedPbx()
        process, terminal = pty.fork()
        if process == 0:
            os.chdir(ROOT)
            os.execve(sys.executable, [sys.executable, "manage.py", "start"], pbx.env)
        self.addCleanup(os.close, terminal)
        seen = b""
        while not re.search(rb"Outbound proxy +\(empty\)", seen):
            try:
                seen += os.read(terminal, 4096)
            except OSError:
                self.fail(seen.decode())
        self.assertEqual(2, len(re.findall(rb"^  Password +\S{16}\r$", seen, re.MULTILINE)))
        self.assertFalse((pbx.var / "first-login.txt").exists())
        os.write(terminal, b"\x03")  # Ctrl-C
        drain(terminal)
        self.assertEqual(0, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))

    @staticmethod
    def is_free(sip_port: int, web_port: int) -> bool:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sip,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as web,
        ):
            web.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sip.bind(("127.0.0.1", sip_port))
                web.bind(("127.0.0.1", web_port))
            except OSError:
                return False
        return True


def drain(terminal: int) -> None:
    """Read what is still written, so that nobody waits for us; ends when the last writer is gone."""
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:
        pass


class RefusedStartTests(unittest.TestCase):
    def assert_refused(self, done, *words: str) -> None:
        self.assertEqual(1, done.returncode, done.stdout + done.stderr)
        self.assertEqual(1, len(done.stderr.splitlines()), done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_the_sip_port_is_taken(self):
        pbx = StartedPbx()
        for kind, name in ((socket.SOCK_DGRAM, "UDP"), (socket.SOCK_STREAM, "TCP")):
            with self.subTest(protocol=name), socket.socket(socket.AF_INET, kind) as other:
                other.bind(("127.0.0.1", pbx.sip_port))
                if kind == socket.SOCK_STREAM:
                    other.listen()
                self.assert_refused(
                    pbx.run("start"), f"{name} port {pbx.sip_port} is already used by",
                    f"process {os.getpid()}", "stop that",
                    "SIP_PORT in .env",
                )

    def test_the_web_port_is_taken(self):
        pbx = StartedPbx()
        with socket.create_server(("127.0.0.1", pbx.web_port)):
            for command in ("start", "runweb"):
                with self.subTest(command=command):
                    self.assert_refused(
                        pbx.run(command), f"TCP port {pbx.web_port} is already used by", f"process {os.getpid()}",
                        "WEB_PORT",
                    )

    def test_both_ports_are_taken_and_both_are_told(self):
        pbx = StartedPbx()
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
            socket.create_server(("127.0.0.1", pbx.web_port)),
        ):
            other.bind(("127.0.0.1", pbx.sip_port))
            done = pbx.run("start")
        self.assertEqual(1, done.returncode)
        sip, web = done.stderr.splitlines()
        self.assertIn(f"UDP port {pbx.sip_port} is already used by", sip)
        self.assertIn(f"TCP port {pbx.web_port} is already used by", web)

    def test_var_cannot_be_written(self):
        self.assert_refused(StartedPbx(VAR_DIR="/proc/var").run("start"), "/proc/var cannot be written", "VAR_DIR")

    def test_an_address_that_is_not_ours(self):
        self.assert_refused(StartedPbx(SIP_HOST="192.0.2.77").run("start"), "SIP_HOST=192.0.2.77", "SIP_HOST=0.0.0.0")

    def test_the_database_does_not_answer(self):
        url = f"postgres://pbx:topsecret@127.0.0.1:{free_port()}/pbx"
        done = StartedPbx(DATABASE_URL=url).run("start")
        self.assert_refused(done, "DATABASE_URL", "start it")
        self.assertNotIn("topsecret", done.stderr)

    def test_ports_that_are_no_range_start_no_process(self):
        pbx = StartedPbx(RTP_PORTS="20000-10000")
        done = pbx.run("start")
        self.assertEqual(1, done.returncode)
        self.assertEqual(1, done.stderr.count("RTP_PORTS=20000-10000"), done.stderr)
        self.assertIn("RTP_PORTS=10000-20000", done.stderr)
        self.assertFalse((pbx.var / "first-login.txt").exists())

    def test_settings_that_cannot_be_read(self):
        cases = {
            "SIP_PORT": ("abc", "SIP_PORT=abc is not a whole number"),
            "DEBUG": ("perhaps", "DEBUG=perhaps is neither yes nor no"),
            "LOG_FORMAT": ("xml", "LOG_FORMAT=xml is not known"),
            "TIME_ZONE": ("Mars", "TIME_ZONE=Mars is no time zone"),
            "DATABASE_URL": ("mysql://root:topsecret@localhost/pbx", "DATABASE_URL has an unknown scheme"),
        }
        for name, (value, sentence) in cases.items():
            with self.subTest(setting=name):
                done = StartedPbx(**{name: value}).run("start")
                self.assert_refused(done, sentence)
                self.assertNotIn("topsecret", done.stderr)
