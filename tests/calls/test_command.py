"""``manage.py calls``."""

from __future__ import annotations

import io
import json
import time
from unittest.mock import patch

from django.core.management import CommandError, call_command
from django.test import TestCase
from django.utils import timezone

from pbx.calls.management.commands import calls as command
from pbx.calls.models import CallAction, CallRecord
from pbx.calls.store import DjangoCallStore
from pbx.system.heartbeat import beat
from tests.calls.rows import NODE, ended, leg, row, write


def run(*arguments: str) -> tuple[str, str]:
    """What it writes to standard output, and to standard error."""
    out, err = io.StringIO(), io.StringIO()
    call_command("calls", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def beats() -> None:
    now = timezone.now()
    beat(NODE, 0, 1, "udp", now, now)


class ListTests(TestCase):
    def test_nobody(self):
        beats()
        self.assertEqual(run(), ("Nobody is on the phone.\n", ""))
        self.assertEqual(run("--language", "ru"), ("Сейчас никто не разговаривает.\n", ""))
        self.assertEqual(json.loads(run("--json")[0]), [])

    def test_no_sip_server_is_another_thing_than_no_call(self):
        out, _err = run()
        self.assertIn("No SIP server is running", out)
        self.assertNotIn("Nobody is on the phone", out)

    def test_living_calls_newest_first(self):
        beats()
        now = time.time()
        write(row("pbx1-1.1", start=now - 70, answer=now - 65, legs=[leg(state="answered")]),
              row("pbx1-1.2", src="1003", start=now - 3, legs=[leg(), leg(remote="198.51.100.7:5060")]),
              ended("pbx1-1.3"))
        out, err = run()
        lines = out.splitlines()
        self.assertEqual(len(lines), 3)
        for part in ("pbx1-1.2", "1003", "ringing", "0:0", "203.0.113.9:5062; Zoiper, 198.51.100.7:5060"):
            self.assertIn(part, lines[1])
        for part in ("pbx1-1.1", "talking", "1:05"):
            self.assertIn(part, lines[2])
        self.assertEqual(err, "")

    def test_json_is_for_programs(self):
        now = time.time()
        write(row(start=now - 70, answer=now - 65, legs=[leg(state="answered")]))
        found = json.loads(run("--json")[0])
        self.assertEqual(
            {name: found[0][name] for name in ("uniqueid", "src", "dst", "state", "duration", "billsec")},
            {"uniqueid": "pbx1-1.1", "src": "1001", "dst": "1002", "state": "talking", "duration": 70, "billsec": 65},
        )

    def test_a_server_that_gives_no_sign_of_life_is_said(self):
        write(row())
        self.assertIn("runsip", run()[1])

    def test_a_phone_cannot_write_to_the_terminal(self):
        call = write(row())
        # Past the store, which would have cleaned it.
        CallRecord.objects.filter(pk=call.pk).update(
            dst="\x1b[2J\n9", legs=[{"number": "1002", "device": "x", "user_agent": "\x1b]0;owned\x07"}]
        )
        out, _err = run()
        self.assertNotIn("\x1b", out)
        self.assertEqual(len(out.splitlines()), 2)


class HangUpTests(TestCase):
    def setUp(self):
        hurry = patch.object(command, "PATIENCE", 0.0)
        hurry.start()
        self.addCleanup(hurry.stop)

    def test_an_id_that_is_unknown_or_over(self):
        write(ended("over"))
        for id, text in (("nix", "There is no call nix"), ("over", "ended at"), ("", "There is no call"),
                         ("a\0b", "There is no call"), ("x" * 9000, "There is no call"),
                         ("\ud800", "There is no call")):
            with self.subTest(id[:10]), self.assertRaisesMessage(CommandError, text):
                run("--hangup", id)
        self.assertFalse(CallAction.objects.exists())

    def test_without_a_server_it_says_so_and_the_request_stands(self):
        write(row())
        with self.assertRaisesMessage(CommandError, "no sign of life"):
            run("--hangup", "pbx1-1.1")
        self.assertEqual(len(DjangoCallStore().take_actions(NODE)), 1)

    def test_a_server_that_is_slow(self):
        beats()
        write(row())
        with self.assertRaisesMessage(CommandError, "has not ended yet"):
            run("--hangup", "pbx1-1.1")

    def test_listing_and_ending_are_two_things(self):
        with self.assertRaises(CommandError):
            run("--json", "--hangup", "x")


class HangUpWithEngineTests(TestCase):
    def test_it_waits_for_the_end_and_says_so(self):
        beats()
        call = row()
        write(call)
        store, taken = DjangoCallStore(), []

        def meanwhile(_seconds: float) -> None:
            """What the engine does while the command waits."""
            taken.extend(store.take_actions(NODE))
            call.end, call.cause, call.hung_up_by = time.time(), "hung_up_by_administrator", "administrator"
            store.write_calls([call])

        with patch.object(command.time, "sleep", meanwhile):
            out, _err = run("--hangup", "pbx1-1.1")
        self.assertEqual([(action.uniqueid, action.action) for action in taken], [("pbx1-1.1", "hangup")])
        self.assertEqual(out, "The call from 1001 to 1002 has ended.\n")
