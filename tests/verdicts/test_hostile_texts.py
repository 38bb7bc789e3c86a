"""What strangers put into display names, user agents, Call-IDs and Contacts reaches every terminal, log and page
harmlessly."""

from __future__ import annotations

import json
import re
import secrets
import socket
import sys
import time

from tests.support.caller import Caller, UdpWire
from tests.support.cases import PASSWORD, OnSqlite
from tests.support.pbx import ROOT
from tests.support.processes import run_program, scratch_directory, wait_until
from tests.verdicts import hostile
from tests.verdicts.hostile import MARK, TEXTS, as_bytes

SAY = """
import contextlib, io, json
from django.core.management import CommandError, call_command

said = []
for arguments in json.load(open(ASKED)):
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            call_command(*arguments, stdout=out, stderr=out)
        except CommandError as refusal:
            out.write(str(refusal))
        except SystemExit:
            pass
    said.append(out.buffer.getvalue().decode("utf-8", "surrogateescape"))
with open(OUT, "w") as file:
    json.dump(said, file)
"""

VISIT = """
import json, sys
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import NoReverseMatch, reverse

person = get_user_model().objects.create_superuser("root", "root@pbx.test", "a-Long-enough-1")
client = Client()
client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
waiting, seen, pages = ["/", "/admin/"], set(), []
for model in admin.site._registry:
    names = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    waiting.append(reverse(names + "_changelist"))
    for one in model._default_manager.all()[:60]:
        waiting.append(reverse(names + "_change", args=[one.pk]))
while waiting and len(pages) < 400:
    path = waiting.pop(0)
    if path in seen:
        continue
    seen.add(path)
    answer = client.get(path)
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    pages.append([path, answer.status_code, answer.get("Content-Type", ""), body.decode("utf-8", "backslashreplace")])
with open(OUT, "w", encoding="utf-8") as file:
    json.dump(pages, file)
"""


class HostileTexts(OnSqlite):
    settings = {"SIP_MIN_EXPIRES": "5"}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.numbers = [f"10{number:02}" for number in range(1, 5 + len(TEXTS))]
        cls.pbx.create_extensions(dict.fromkeys(cls.numbers, PASSWORD))
        cls.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        cls.addClassCleanup(cls.socket.close)
        cls.socket.bind(("127.0.0.1", 0))
        cls.registered = cls.numbers[-1]
        cls.refused: list[str] = []
        for number, (_name, text) in zip(cls.numbers, TEXTS.items(), strict=False):
            cls.send_refused(number, text)
            cls.refused.append(number)
        cls.register_and_call(cls.registered, cls.numbers[-2])
        cls.wait_written()

    @classmethod
    def send(cls, *lines: str | bytes) -> None:
        data = b"\r\n".join(as_bytes(line) if isinstance(line, str) else line for line in lines) + b"\r\n\r\n"
        cls.socket.sendto(data, cls.pbx.server)

    @classmethod
    def send_refused(cls, number: str, text: str) -> None:
        """The text everywhere in REGISTERs that are refused, by name, as a whole or as one header at a time, so that no
        part of it can hide behind another's refusal."""
        quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        word = re.sub(r"[\s<>\"@;,?:\\()\[\]]", ".", text)
        for part in ("agent", "name", "contact", "call_id", "realm", "number", "domain"):
            said = {
                "agent": "Tester", "name": f'"{number}"', "contact": f"<sip:{number}@127.0.0.1:5099>",
                "call_id": secrets.token_hex(6), "realm": "elsewhere", "number": number, "domain": "pbx.test",
            } | {part: {"agent": text, "name": quoted, "contact": f"{quoted} <sip:{word}@127.0.0.1:5099;x={word}>",
                        "call_id": f"{word}@{secrets.token_hex(3)}", "realm": text.replace('"', '\\"'),
                        "number": word, "domain": f"{word}.example"}[part]}
            for cseq in range(1, 4):
                cls.send(
                    f"REGISTER sip:{said['domain']} SIP/2.0",
                    f"Via: SIP/2.0/UDP 127.0.0.1:5099;rport;branch=z9hG4bK{secrets.token_hex(6)}",
                    "Max-Forwards: 70",
                    f"From: {said['name']} <sip:{said['number']}@{said['domain']}>;tag={secrets.token_hex(4)}",
                    f"To: {said['name']} <sip:{said['number']}@{said['domain']}>",
                    f"Call-ID: {said['call_id']}",
                    f"CSeq: {cseq} REGISTER",
                    f"Contact: {said['contact']}",
                    "Expires: 60",
                    f"User-Agent: {said['agent']}",
                    f'Authorization: Digest username="{said["number"]}", realm="{said["realm"]}", nonce="1", '
                    f'uri="sip:{said["domain"]}", response="{"0" * 32}"',
                    "Content-Length: 0",
                )
            time.sleep(0.02)  # a burst of thousands of bytes is not what is tested here

    @classmethod
    def register_and_call(cls, caller: str, callee: str) -> None:
        """A phone with the password, whose every text is hostile, too: it registers, calls, and is called."""
        text = "".join(ch for ch in TEXTS["markup"] + TEXTS["turned"] + TEXTS["wide"] if ch not in '"\\')
        cls.uniqueids = []
        phones = []
        for number in (caller, callee):
            phone = Caller(UdpWire(), cls.pbx.server, number, PASSWORD, cls.pbx.domain)
            cls.addClassCleanup(phone.close)
            answer = phone.ask("REGISTER", f"sip:{phone.domain}", [
                ("To", f"<{phone.aor}>"), ("Contact", f'"{text}" {phone.contact}'), ("Expires", "3600"),
                ("User-Agent", text[:120]),
            ])
            if answer.status != 200:
                raise AssertionError(f"the phone with hostile texts could not register:\n{answer}")
            phones.append(phone)
        ann, ben = phones
        call = ann.invite(callee, from_=f'"{text}" <{ann.aor}>', headers=[("User-Agent", text), ("Subject", text)],
                          call_id=f"{MARK}%s{{0}}'~{secrets.token_hex(4)}")
        ben.respond(ben.expect("INVITE"), 486, "Busy zqx <b>here</b>", [("Warning", f'399 x "{MARK}<script>"')])
        call.refused(486)
        off = cls.numbers[-3]
        ann.invite(off, from_=f'"{text}" <{ann.aor}>').refused(480)

    @classmethod
    def wait_written(cls) -> None:
        wait_until(
            lambda: len(cls.pbx.store.rows('SELECT id FROM calls_callrecord WHERE "end" IS NOT NULL')) >= 2
            and cls.pbx.store.rows("SELECT id FROM diagnosis_attempt"), "the evidence to be written", pause=0.2,
        )
        # Written once a second or so: until two looks find the same.
        before = -1

        def same() -> bool:
            nonlocal before
            (row,) = cls.pbx.store.rows("SELECT count(*) AS number FROM diagnosis_attempt")
            last, before = before, row["number"]
            return last == before

        wait_until(same, "the evidence to be complete", pause=2.5)
        cls.uniqueids = [row["uniqueid"] for row in cls.pbx.store.rows("SELECT uniqueid FROM calls_callrecord")]

    def said(self, *asked: tuple[str, ...]) -> list[str]:
        """What each command writes, to both outputs. They are run in one process: starting each takes a second."""
        directory = scratch_directory("said")
        (directory / "asked").write_text(json.dumps(asked))
        code = SAY.replace("ASKED", repr(str(directory / "asked"))).replace("OUT", repr(str(directory / "out")))
        done = run_program([sys.executable, "manage.py", "shell", "-c", code], env=self.pbx.env, cwd=ROOT, seconds=240)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads((directory / "out").read_text())

    def assert_harmless(self, text: str, where: str) -> None:
        self.assertEqual(hostile.obeyed_by_terminal(text)[:3], [], where)

    def numbers_asked(self) -> list[str]:
        return [*self.refused, self.registered, *(row["number"] for row in self.pbx.store.rows(
            "SELECT DISTINCT number FROM diagnosis_attempt ORDER BY number") if row["number"] not in self.refused)][:30]

    def test_the_log(self):
        # Not through Program.log, which reads only what can be decoded.
        written = self.pbx.program.log_path.read_bytes().decode("utf-8", "surrogateescape")
        self.assertIn(MARK, written)
        self.assert_harmless(written, "the log of runsip")
        for line in written.splitlines():
            self.assertRegex(line, r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ", "a text has forged a line")

    def test_the_database_holds_clean_columns(self):
        for row in self.pbx.store.rows("SELECT number, user_agent, source FROM diagnosis_attempt"):
            for name, text in row.items():
                self.assertNotRegex(text, hostile.OBEYED, name)

    def test_why(self):
        numbers = self.numbers_asked()
        texts = self.said(*(("why", number) for number in numbers if not number.startswith("-")))
        for number, text in zip(numbers, texts, strict=False):
            self.assert_harmless(text, f"why {number}")
        self.assertGreater(sum(MARK in text for text in texts), 3, "they are not shown, so nothing was tested")

    def test_on_a_real_terminal(self):
        done = run_program([sys.executable, "manage.py", "why", self.refused[3]], env=self.pbx.env, cwd=ROOT)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assert_harmless(done.stdout + done.stderr, "why")

    def test_why_in_json(self):
        for text in self.said(*(("why", number, "--json") for number in self.refused)):
            self.assert_harmless(text, text[:80])
            json.loads(text)

    def test_why_of_calls(self):
        self.assertGreaterEqual(len(self.uniqueids), 2)
        for text in self.said(*(("why", "--call", uniqueid) for uniqueid in self.uniqueids)):
            self.assert_harmless(text, "why --call")

    def test_siplog(self):
        numbers = [*self.refused, self.registered]
        for text in self.said(*(("siplog", number) for number in numbers)):
            self.assert_harmless(text, "siplog")
        texts = self.said(*(("siplog", number, "--messages") for number in numbers))
        for text in texts:
            self.assert_harmless(text, "siplog")
        self.assertGreater(sum(MARK in text for text in texts), 3, "they are not shown, so nothing was tested")
        for text in self.said(*(("siplog", "--messages", "--call", uniqueid) for uniqueid in self.uniqueids)):
            self.assert_harmless(text, "siplog --call")

    def test_bans_calls_and_doctor(self):
        for text in self.said(("bans",), ("calls",), ("calls", "--json"), ("doctor",), ("doctor", "--json")):
            self.assert_harmless(text, text[:80])

    def test_every_page_of_the_admin(self):
        out = scratch_directory("pages") / "pages.json"
        code = VISIT.replace("OUT", repr(str(out)))
        done = run_program(
            [sys.executable, "manage.py", "shell", "-c", code], cwd=ROOT, seconds=120,
            env={**self.pbx.env, "ALLOWED_HOSTS": "testserver"},
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        pages = json.loads(out.read_text("utf-8"))
        self.assertGreater(len(pages), 20)
        shown = []
        for path, status, kind, text in pages:
            self.assertLess(status, 500, path)
            if "html" in kind:
                page = hostile.Page(text)
                self.assertEqual(page.broken_out[:3], [], path)
                if page.shows_it:
                    shown.append(path)
        self.assertGreater(len(shown), 5, f"the hostile texts are shown only on {shown}")
