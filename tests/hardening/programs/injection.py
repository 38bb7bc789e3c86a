"""Hostile texts wherever SIP has a place for a text, from strangers, from an extension and from the phones it calls.
Then every place in which a text of a phone may appear is read."""

from __future__ import annotations

import contextlib
import random
import secrets
from collections.abc import Iterator

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.forwarders import Thread
from tests.hardening.programs.injecting import browser, findings, senders
from tests.hardening.programs.injecting.senders import Insider, Reader
from tests.hardening.programs.injecting.texts import TEXTS
from tests.support.pbx import PostgresStore, RunningPbx, SqliteStore, Store
from tests.support.processes import wait_until
from tests.verdicts.hostile import MARK, Page, obeyed_by_terminal

PASSWORD = "into-the-pages-44"
NUMBERS = ("1001", "1002", "1003")


def measure(scale: Scale) -> Iterator[Figure]:
    yield from _house(scale, SqliteStore(), "text")
    if not scale.quick:
        yield from _house(scale, PostgresStore(), "json")


def _house(scale: Scale, store: Store, style: str) -> Iterator[Figure]:
    names = list(TEXTS)
    if scale.quick:
        names = random.Random(scale.seed).sample(names, 4)
    where = f" ({store.name}, log as {style})"
    with contextlib.ExitStack() as at_end:
        settings = {"GUARD_TRUSTED_NETS": "none", "SIP_MIN_EXPIRES": "5", "LOG_FORMAT": style}
        pbx = at_end.enter_context(RunningPbx(store, settings=settings))
        pbx.create_extensions(dict.fromkeys(NUMBERS, PASSWORD))
        readers = _send(pbx, [TEXTS[name] for name in names], at_end)
        _wait_written(pbx)
        yield from _told(pbx, readers, len(names), style, where, scale.of(15, 4))
        yield from _shown(pbx, scale, where)


def _send(pbx: RunningPbx, texts: list[str], at_end: contextlib.ExitStack) -> list[Reader]:
    insider = Insider(pbx.server, pbx.domain, "1002", PASSWORD, "127.0.0.12")
    at_end.callback(insider.close)
    readers = []
    for number, host in (("1001", "127.0.0.11"), ("1003", "127.0.0.13")):
        reader = Reader(pbx.server, number, PASSWORD, pbx.domain, host)
        at_end.callback(reader.close)
        reader.final = 200 if number == "1003" else 486
        if reader.register() != 200:
            raise AssertionError(f"{number} could not register")
        readers.append(reader)
    thread = Thread([*readers])
    thread.start()
    at_end.callback(thread.stop)
    net = secrets.randbelow(200) + 1
    done: list[tuple[str, int]] = []
    for index, text in enumerate(texts):
        for reader in readers:
            reader.text = text
        done += insider.speak(text)
        senders.refused(pbx.server, pbx.domain, text, f"127.3.{net}.{index + 1}")
    talked = sum(method == "BYE" and status == 200 for method, status in done)
    if talked < len(texts) / 2:
        raise AssertionError(f"only {talked} of {len(texts)} calls came about, so nothing was tested: {done}")
    return readers


def _wait_written(pbx: RunningPbx) -> None:
    def count() -> tuple[int, ...]:
        return tuple(
            pbx.store.rows(f"SELECT count(*) AS number FROM {table}")[0]["number"]
            for table in ("diagnosis_attempt", "calls_callrecord", "diagnosis_block")
        )

    before = [(-1, -1, -1)]

    def same() -> bool:
        before.append(count())
        return before[-1] == before[-2]

    wait_until(same, "the evidence to be complete", pause=1.5)


def _log(pbx: RunningPbx, style: str, where: str) -> Figure:
    written = pbx.program.log_path.read_bytes()[pbx.program._seen_from:]
    records, bad = findings.bad_lines(written, style)
    return Figure(f"lines of the log{where}", f"{records}, of which {len(bad)} forged or with control characters"
                  f"{_first(bad)}", "one record one line, 0", not bad and MARK.encode() in written)


def _first(found: list[str]) -> str:
    return f": {'; '.join(found[:3])}" if found else ""


def _told(
    pbx: RunningPbx, readers: list[Reader], texts: int, style: str, where: str, numbers: int
) -> Iterator[Figure]:
    yield _log(pbx, style, where)
    columns, looked_at, dirty = findings.dirty_columns(pbx)
    yield Figure(
        f"texts in all columns of all tables{where}",
        f"{looked_at} in {columns} columns, {len(dirty)} with a control character{_first(dirty)}",
        "none stored", not dirty and looked_at > 100,
    )
    received = [data for reader in readers for data in reader.received]
    bad = senders.obeyed(received)
    marked = sum(MARK.encode() in data for data in received)
    yield Figure(
        f"messages at other phones, {texts} texts{where}",
        f"{len(received)}, {marked} with a text, {len(bad)} with a control character or no UTF-8{_first(bad)}",
        "none", not bad and marked > 0,
    )
    yield from _commands(pbx, where, numbers)


def _commands(pbx: RunningPbx, where: str, most: int) -> Iterator[Figure]:
    rows = pbx.store.rows
    numbers = [row["number"] for row in rows("SELECT DISTINCT number FROM diagnosis_attempt ORDER BY number")]
    numbers = [number for number in numbers if number and not number.startswith("-")][:most]
    calls = [row["uniqueid"] for row in rows("SELECT uniqueid FROM calls_callrecord ORDER BY id")][:most]
    asked = [
        ["calls"], ["calls", "--json"], ["bans"], ["exportextensions"],
        *(["why", number] for number in (*NUMBERS, *numbers)), ["why", "1002", "--json"],
        *(["siplog", number, "--messages"] for number in (*NUMBERS, *numbers)),
        *(["why", "--call", id] for id in calls), *(["siplog", "--messages", "--call", id] for id in calls),
    ]
    answers = findings.said(pbx, asked)
    bad = [
        f"{' '.join(arguments)}: {line[:200]!r}" for arguments, text in zip(asked, answers, strict=True)
        for line in obeyed_by_terminal(text.replace("\r\n", "\n"))
    ]
    shown = sum(MARK in text for text in answers)
    yield Figure(
        f"commands on a terminal{where}",
        f"{len(asked)}, {shown} show a text, {len(bad)} lines that it would obey{_first(bad)}",
        "none", not bad and shown > 3,
    )
    if most < 10:
        return
    bundle = pbx.directory / "bundle.zip"
    pbx.manage("supportbundle", "--output", str(bundle))
    bad = findings.obeyed_in_bundle(bundle.read_bytes())
    found = f"{len(bad)} lines with control characters{_first(bad)}"
    yield Figure(f"the support bundle{where}", found, "none", not bad)


def _shown(pbx: RunningPbx, scale: Scale, where: str) -> Iterator[Figure]:
    seen = findings.pages(pbx, scale.of(80 if isinstance(pbx.store, SqliteStore) else 25, 12))
    broken = [found for page in seen for found in findings.rendered(*page)]
    html = [page for page in seen if "html" in page[2]]
    shown = sum(Page(text).shows_it for *_, text in html)
    yield Figure(f"pages of the administration{where}", f"{len(html)}, {shown} show a text, {len(broken)} times as HTML"
                 f"{_first(broken)}", "nothing rendered as HTML", not broken and shown > 5)
    exports = [(path, text) for path, _, kind, _, text in seen if "csv" in kind]
    cells = [f"{path}: {cell[:60]!r}" for path, text in exports for cell in findings.formulas(text)]
    if not scale.quick and isinstance(pbx.store, SqliteStore):
        paths = [path for path, status, _, _, text in html if status == 200 and MARK in text]
        looked, visible, ran = browser.run(pbx, paths[:60])
        found = f"{looked}, {visible} show a text, {len(ran)} times something ran{_first(ran)}"
        yield Figure(f"the same pages in Chromium{where}", found, "nothing runs, nothing is fetched",
                     not ran and visible > 5)
    found = f"{len(exports)}, {len(cells)} cells that a spreadsheet would run{_first(cells)}"
    yield Figure(f"exports as CSV{where}", found, "none", not cells and bool(exports))
