"""``manage.py siplog``, beside a real ``runsip``: what it shows of real phones, in a terminal of any kind."""

from __future__ import annotations

import io
import os
import pty
import signal
import sys
import time
import unittest
from dataclasses import asdict
from unittest.mock import patch

from django.core.management import CommandError, call_command
from django.test import TestCase
from django.utils import timezone

from pbx.diagnosis.management.commands import siplog
from pbx.diagnosis.models import Attempt, CallTrace, Watch, WatchedMessage
from pbx.diagnosis.watching import Watching
from sipcore.evidence.facts import WireMessage
from tests.calls.rows import ended, write
from tests.calls_flow.real import RealCase
from tests.extensions.rows import make_extension
from tests.support.caller import Fault
from tests.support.cases import PASSWORD
from tests.support.pbx import ROOT, clean_environment
from tests.support.processes import Program, wait_until


class RealSiplog(RealCase):
    def siplog(self, *arguments: str) -> str:
        return self.pbx.manage("siplog", *arguments)

    def shows(self, text: str, *arguments: str) -> str:
        """The ladder, as soon as it has this text: evidence is written once a second."""
        found: list[str] = []

        def there() -> bool:
            found.append(self.siplog(*arguments))
            return text in found[-1]

        wait_until(there, f"{text!r} in siplog {arguments}", 30, pause=0.3)
        return found[-1]

    def test_a_wrong_password(self):
        number = self.new_extension()
        phone = self.world.phone(number, register=False, password="not it")
        self.addCleanup(phone.close)
        with self.assertRaises(Fault):
            phone.register()
        out = self.shows("403 Forbidden", number)
        lines = out.splitlines()
        self.assertTrue(lines[0].startswith(f"Registration of {number}  "), lines[0])
        place = out.index
        self.assertLess(place("Step 1 of 2: the phone knocks."), place("Normal, step 1 of 2: we ask for the password."))
        self.assertLess(place("Step 2 of 2: the phone proves"), place("Refused: wrong password."))
        self.assertIn("▶│", out)
        self.assertIn("│◀", out)
        self.assertNotIn("\x1b", out, "no colours where no terminal is")
        self.assertNotIn("WWW-Authenticate", out)
        whole = self.siplog(number, "--messages")
        self.assertIn("WWW-Authenticate: Digest", whole)
        for secret in ("not it", PASSWORD):
            self.assertNotIn(secret, whole)
        for language, words in (("uz", "parol"), ("ru", "парол")):
            self.assertIn(words, self.siplog(number, "--language", language))

    def test_a_call_that_was_refused_by_its_id_and_by_call_id(self):
        a, b = self.phones()
        call = a.invite(b.number)
        b.respond(b.expect("INVITE"), 603, "Decline")
        call.refused(603)
        uniqueid = self.record(a, b)["uniqueid"]
        out = self.shows("603 Decline", "--call", uniqueid)
        self.assertTrue(out.startswith(f"Call from {a.number} to {b.number}  "), out)
        self.assertIn(f"Somebody pressed “decline” on {b.number}.", out)
        self.assertEqual(out, self.siplog("--call", call.dialog.call_id))

    def test_following_shows_what_comes_and_ends_with_its_watch(self):
        number = self.new_extension()
        program = Program(
            [sys.executable, "manage.py", "siplog", number, "--follow"], env=self.pbx.env, cwd=ROOT,
            log_path=self.pbx.directory / "siplog.log", name="siplog",
        )
        self.addCleanup(program.terminate)
        program.wait_for(rf"Watching {number}")

        def watches() -> list:
            return self.pbx.store.rows("SELECT * FROM diagnosis_watch WHERE number = %s", number)

        self.assertEqual(1, len(watches()))
        # The engine reads once a second what is watched.
        phone = self.world.phone(number)
        self.addCleanup(phone.close)

        def registers_again() -> bool:
            phone.register()
            return "Registered until" in program.log

        wait_until(registers_again, "a registration in the terminal", 30, pause=1.0)
        self.assertIn("Step 2 of 2: the phone proves its password.", program.log)
        os.kill(program.pid, signal.SIGINT)
        self.assertEqual(0, program.wait(20))
        self.assertNotIn("Traceback", program.log)
        self.assertEqual([], watches())

    def test_a_terminal_gets_colours(self):
        number = self.new_extension()
        phone = self.world.phone(number, register=False, password="not it")
        self.addCleanup(phone.close)
        with self.assertRaises(Fault):
            phone.register()
        self.shows("403 Forbidden", number)
        self.assertIn("\x1b[", in_a_terminal(self.pbx.env, number))
        self.assertNotIn("\x1b[", in_a_terminal({**self.pbx.env, "NO_COLOR": "1"}, number, "--no-color"))


def in_a_terminal(env: dict[str, str], *arguments: str) -> str:
    """What is written to a terminal of 80 columns."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(sys.executable, [sys.executable, "manage.py", "siplog", *arguments],
                  {**env, "TERM": "xterm", "COLUMNS": "80"})
    written = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        written += data
    os.waitpid(pid, 0)
    os.close(terminal)
    return written.decode("utf-8", "replace")


def run(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("siplog", *arguments, stdout=out, stderr=err, language="en")
    return out.getvalue(), err.getvalue()


def wire(text: str, at: float | None = None, sent: bool = False) -> dict:
    at = time.time() if at is None else at
    return asdict(WireMessage(at, sent, "UDP", "192.0.2.1:5060", "203.0.113.9:5062", len(text), text))


def failure(*messages: dict, number: str = "1001") -> None:
    now = timezone.now()
    Attempt.objects.create(number=number, source="203.0.113.9", port=5062, transport="UDP", cause="malformed",
                           first_at=now, last_at=now, messages=list(messages))


class TerminalTests(TestCase):
    def test_nothing_kept(self):
        with self.assertRaisesMessage(CommandError, "There is no extension 4242"):
            run("4242")
        make_extension("1001")
        self.assertIn("No message is kept.", run("1001")[0])
        write(ended("pbx1-1.1"))
        self.assertIn("No message of this call is kept", run("--call", "pbx1-1.1")[0])

    def test_what_is_asked_must_be_one_thing(self):
        for arguments in ((), ("1001", "--call", "x")):
            with self.assertRaisesMessage(CommandError, "Give a number"):
                run(*arguments)
        for id in ("nix", "a\0b", "x" * 9000, "\ud800"):
            with self.assertRaisesMessage(CommandError, "There is no call with the ID"):
                run("--call", id)
        for number in ("", "x" * 65, "a\0b", "@"):
            with self.assertRaisesMessage(CommandError, "is no number"):
                run(number)

    def test_no_phone_can_write_to_the_terminal(self):
        bad = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\x08"  # the store keeps no NUL
        failure(wire(f"REGISTER sip:{bad}@x SIP/2.0\r\nTo: <sip:{bad}@x>\r\nCall-ID: {bad}\r\nUser-Agent: {bad}\r\n"
                     f"CSeq: 1 REGISTER\r\n\r\n{bad}"),
                wire(f"SIP/2.0 403 {bad}\r\nCSeq: 1 {bad}\r\nServer: {bad}\r\n\r\n", sent=True))
        out, _err = run("1001", "--messages")
        for character in bad[0] + "\x07\x9b\u202e\x08":
            self.assertNotIn(character, out)

    def test_narrow_and_wide(self):
        failure(wire("OPTIONS sip:x SIP/2.0\r\nCSeq: 1 OPTIONS\r\nTo: <sip:1001@x>\r\n\r\n"))
        for columns in ("20", "60", "80", "400"):
            with self.subTest(columns), patch.dict(os.environ, {"COLUMNS": columns}):
                widest = max(map(len, run("1001")[0].splitlines()))
                self.assertLessEqual(widest, max(50, min(int(columns), 140)))

    def test_a_terminal_without_arrows(self):
        failure(wire("OPTIONS sip:x SIP/2.0\r\nCSeq: 1 OPTIONS\r\nTo: <sip:1001@x>\r\n\r\n"))
        raw = io.BytesIO()
        out = io.TextIOWrapper(raw, encoding="ascii")
        call_command("siplog", "1001", "--language", "ru", stdout=out)
        out.flush()
        self.assertIn(b"OPTIONS", raw.getvalue())
        self.assertIn(b">|", raw.getvalue())


class FollowTests(TestCase):
    """The waiting is taken away: each look into the database is preceded by what a phone does meanwhile."""

    def follow(self, *steps, arguments=("1001", "--follow")) -> str:
        todo = list(steps)

        def meanwhile(_seconds: float) -> None:
            if not todo:
                raise KeyboardInterrupt
            todo.pop(0)()

        with patch.object(siplog.time, "sleep", meanwhile):
            return run(*arguments)[0]

    def came(self, text: str, call_id: str = "a", sent: bool = False):
        def write_it() -> None:
            self.assertTrue(Watch.objects.filter(number="1001", until__gt=timezone.now()).exists())
            message = wire(text, sent=sent)
            WatchedMessage.objects.create(number="1001", call_id=call_id, at=timezone.now(), message=message)

        return write_it

    def test_each_message_once_and_repetitions_counted(self):
        knock = "REGISTER sip:x SIP/2.0\r\nCall-ID: a\r\nCSeq: 1 REGISTER\r\nTo: <sip:1001@x>\r\n\r\n"
        asked = "SIP/2.0 401 Unauthorized\r\nCall-ID: a\r\nCSeq: 1 REGISTER\r\nTo: <sip:1001@x>\r\n\r\n"
        out = self.follow(self.came(knock), self.came(asked, sent=True), lambda: None, self.came(knock))
        self.assertEqual(1, out.count("Step 1 of 2: the phone knocks."))
        self.assertEqual(1, out.count("we ask for the password"))
        self.assertEqual(1, out.count("Registration of 1001"))
        self.assertIn("1001 → PBX: REGISTER (sent 1 more time)", out)
        self.assertFalse(Watch.objects.exists())

    def test_two_conversations_have_their_own_heads(self):
        ping = "OPTIONS sip:x SIP/2.0\r\nCall-ID: {0}\r\nCSeq: 1 OPTIONS\r\nFrom: <sip:1001@x>\r\n\r\n"
        out = self.follow(self.came(ping.format("a")), self.came(ping.format("b")))
        self.assertEqual(2, out.count("OPTIONS, phone 1001"))

    def test_an_administrators_watch_goes_on(self):
        until = timezone.now() + siplog.timedelta(minutes=7)
        Watch.objects.create(number="1001", until=until, by="root")
        self.follow(lambda: None)
        watch = Watch.objects.get()
        self.assertEqual((until, "root"), (watch.until, watch.by))

    def test_a_watch_that_somebody_began_meanwhile_is_theirs(self):
        with Watching(["1001"], "me"):
            Watch.objects.update(by="root")
        self.assertEqual("root", Watch.objects.get().by)

    def test_a_living_call_is_followed_to_its_end(self):
        call = write(ended("pbx1-1.1", end=None, cause=""))

        def ring() -> None:
            CallTrace.objects.create(uniqueid="pbx1-1.1", messages=[
                wire("INVITE sip:1002@x SIP/2.0\r\nCall-ID: a\r\nCSeq: 1 INVITE\r\nFrom: <sip:1001@x>\r\n\r\n"),
            ])

        def end() -> None:
            call.end, call.cause = timezone.now() - siplog.LAST_WORDS, "normal"
            call.save()

        out = self.follow(ring, end, arguments=("--call", "pbx1-1.1", "--follow"))
        self.assertIn("1001 calls 1002.", out)
        self.assertFalse(Watch.objects.exists())


class EnvironmentTests(unittest.TestCase):
    def test_without_a_database_it_says_so(self):
        from tests.support.processes import run_program

        done = run_program(
            [sys.executable, "manage.py", "siplog", "1001"], cwd=ROOT,
            env=clean_environment(DATABASE_URL="postgres://nobody@127.0.0.1:1/none"), seconds=60,
        )
        self.assertEqual(1, done.returncode)
        self.assertNotIn("Traceback", done.stderr)
        self.assertIn("database", done.stderr)
