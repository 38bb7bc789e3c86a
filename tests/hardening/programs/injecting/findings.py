"""Where the texts may have gone: the log, every column of every table, the commands, the exports, and every page."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterator

from tests.support.pbx import ROOT, RunningPbx, SqliteStore
from tests.support.processes import run_program, scratch_directory
from tests.verdicts.hostile import MARK, OBEYED, Page

MESSAGES = {"messages", "message"}
"""JSON columns that hold whole SIP messages, which have lines; any other text is one line."""

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ \[SIP\] \S")

VISIT = """
import json, re
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

client = Client()
people = get_user_model().objects
person = people.create_superuser("visitor", "visitor@pbx.test", "a-Long-enough-1")
client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
waiting, seen, pages = ["/", "/admin/", reverse("admin:calls_callrecord_export")], set(), []
for model in admin.site._registry:
    names = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    listed = reverse(names + "_changelist")
    waiting += [listed, listed + "?q=MARK", listed + "?q=%3Cscript%3E"]
    for one in model._default_manager.order_by("-pk")[:MOST]:
        waiting.append(reverse(names + "_change", args=[one.pk]))
        waiting.append(reverse(names + "_history", args=[one.pk]))
while waiting and len(pages) < 3 * MOST:
    path = waiting.pop(0)
    if path in seen:
        continue
    seen.add(path)
    answer = client.get(path)
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    kind = answer.get("Content-Type", "")
    text = body.decode("utf-8", "backslashreplace")
    pages.append([path, answer.status_code, kind, answer.get("Content-Security-Policy", ""), text])
    if answer.status_code in (301, 302):
        waiting.append(answer["Location"])
    if "html" in kind:
        for target in re.findall(r'(?:href|data-[a-z-]*url|src)="(/[^"#]*)', text):
            target = target.replace("&amp;", "&")
            if not re.search(r"/static/|/logout|/delete|/jsi18n", target) and target.count("?") < 2:
                waiting.append(target)
with open(OUT, "w", encoding="utf-8") as file:
    json.dump(pages, file)
"""

SAY = """
import contextlib, io, json
from django.core.management import CommandError, call_command

said = []
for arguments in json.load(open(ASKED)):
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape", write_through=True)
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


def bad_lines(log: bytes, style: str) -> tuple[int, list[str]]:
    """How many records there are, and those that are not one line of their own, or that a terminal would obey."""
    lines = log.decode("utf-8", "surrogateescape").split("\n")
    bad = []
    for line in filter(None, lines):
        forged = _bad_record(line) if style == "json" else not LINE.match(line)
        if forged or OBEYED.search(line) or re.search("[\ud800-\udfff]", line):
            bad.append(line[:300])
    return len(lines) - 1, bad


def _bad_record(line: str) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return True
    if set(record) != {"time", "level", "logger", "message"}:
        return True
    return any(OBEYED.search(str(value)) for value in record.values())


def dirty_columns(pbx: RunningPbx) -> tuple[int, int, list[str]]:
    """How many columns of text there are, how many texts were looked at, and those with a control character."""
    columns = texts = 0
    dirty: list[str] = []
    for table, column in _columns(pbx):
        columns += 1
        for row in pbx.store.rows(f'SELECT "{column}" AS value FROM "{table}"'):
            for text in _strings(row["value"]):
                texts += 1
                if column in MESSAGES:
                    text = text.replace("\n", " ")
                if OBEYED.search(text) or re.search("[\n\ud800-\udfff]", text):
                    dirty.append(f"{table}.{column}: {text[:120]!r}")
    return columns, texts, dirty


def _columns(pbx: RunningPbx) -> Iterator[tuple[str, str]]:
    rows = pbx.store.rows
    if isinstance(pbx.store, SqliteStore):
        for table in rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"):
            for column in rows(f"SELECT name, type FROM pragma_table_info('{table['name']}')"):
                if re.search("(?i)char|text|json|blob|^$", column["type"]):
                    yield table["name"], column["name"]
        return
    for row in rows(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
        "AND data_type IN ('character varying', 'text', 'json', 'jsonb', 'bytea')"
    ):
        yield row["table_name"], row["column_name"]


def _strings(value: object) -> Iterator[str]:
    """A text, or all texts within JSON."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _run(pbx: RunningPbx, code: str) -> None:
    done = run_program(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", code], cwd=ROOT, seconds=300,
        env={**pbx.env, "ALLOWED_HOSTS": "testserver"},
    )
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)


def said(pbx: RunningPbx, asked: list[list[str]]) -> list[str]:
    """What each command writes, to both outputs."""
    directory = scratch_directory("said")
    (directory / "asked").write_text(json.dumps(asked))
    _run(pbx, SAY.replace("ASKED", repr(str(directory / "asked"))).replace("OUT", repr(str(directory / "out"))))
    return json.loads((directory / "out").read_text())


def pages(pbx: RunningPbx, most: int) -> list[tuple[str, int, str, str, str]]:
    """Every page that an administrator can reach: path, status, content type, policy, text."""
    out = scratch_directory("pages") / "pages.json"
    _run(pbx, VISIT.replace("OUT", repr(str(out))).replace("MOST", str(most)).replace("MARK", MARK))
    return [tuple(page) for page in json.loads(out.read_text("utf-8"))]


def rendered(path: str, status: int, kind: str, policy: str, text: str) -> list[str]:
    """What of a page is made of a text: elements, attributes, scripts."""
    if status >= 500:
        return [f"{path}: status {status}"]
    if "html" not in kind:
        return []
    found = [f"{path}: {broken}" for broken in Page(text).broken_out]
    if "script-src" not in policy and "default-src 'self'" not in policy:
        found.append(f"{path}: no policy")
    return found


def formulas(text: str) -> list[str]:
    """Cells of an export that a spreadsheet would run."""
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    return [cell for row in rows for cell in row if re.match("[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]", cell)]


def obeyed_in_bundle(data: bytes) -> list[str]:
    found = []
    with zipfile.ZipFile(io.BytesIO(data)) as bundle:
        for name in bundle.namelist():
            text = bundle.read(name).decode("utf-8", "surrogateescape").replace("\r\n", "\n")
            found += [f"{name}: {line[:200]!r}" for line in text.split("\n") if OBEYED.search(line)]
    return found
