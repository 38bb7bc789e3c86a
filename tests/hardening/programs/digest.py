"""Digest authentication: every abuse that broke others is tried with the credentials of a phone whose password is
known (but for those that guess), with MD5 and with SHA-256. Refused is what gets no 2xx and binds nothing. An honest
phone registers before, between and after."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from unittest import SkipTest

from tests.hardening.conformance.peer import Received, Silence
from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.digesting.forms import abuses
from tests.hardening.programs.digesting.phone import LyingPhone
from tests.hardening.programs.digesting.replays import Replay, replays
from tests.hardening.programs.digesting.variants import variants
from tests.support.pbx import PostgresStore, RunningPbx, SqliteStore, Store

PASSWORDS = {"1001": "a long password 1", "1002": "a long password 2", "1003": "a long password 3"}
GOAL = "every abuse named above refused"
BOTH = "SHA-256,MD5"
HASHED_BY = ("MD5", "SHA-256")
KEY = "the-key-of-this-one-" * 4
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
EVIL = "evil"
"""The user of every Contact that must not be bound."""

SILENCE = 1.0
"""Seconds after which a message that cannot be read has got no answer."""

EVERY = 20
"""After so many abuses an honest phone registers."""


def measure(scale: Scale) -> Iterator[Figure]:
    if not Path(FAKETIME).exists():
        raise SkipTest("libfaketime is missing: apt-get install libfaketime")
    for store in [SqliteStore] if scale.quick else [SqliteStore, PostgresStore]:
        with contextlib.ExitStack() as at_end:
            yield from Trial(scale, store(), at_end).figures()


class Trial:
    """All on one store."""

    contact = f"<sip:{EVIL}@127.0.0.1:9>"

    def __init__(self, scale: Scale, store: Store, at_end: contextlib.ExitStack) -> None:
        self.scale, self.store, self._at_end = scale, store, at_end
        settings = {"SIP_DIGEST_ALGORITHMS": BOTH, "RTPENGINE_URLS": ""}
        self.pbx = at_end.enter_context(RunningPbx(store, settings=settings))
        table = self.pbx.directory / "extensions.csv"
        table.write_text("number,password\n" + "".join(f"{n},{password}\n" for n, password in PASSWORDS.items()))
        self.pbx.manage("importextensions", str(table))
        self._honest_phones = {name: self._phone("1003", name) for name in HASHED_BY}
        self._honest_tries = 0
        self._turned_away: list[str] = []
        self._bound = 0

    def figures(self) -> Iterator[Figure]:
        name = self.store.name
        foreign, early = self._nonces_of_others()
        for algorithm in HASHED_BY:
            phone = self._phone("1001", algorithm)
            tries = self._forms(phone, foreign[algorithm], early[algorithm])
            yield self._figure(f"{name}, {algorithm}: abuses", "refused", GOAL, tries)
            tries = self._spellings(phone)
            yield self._figure(f"{name}, {algorithm}: honest spellings", "taken", "SHA-256 and MD5", tries)
            if algorithm == "MD5" or not self.scale.quick:
                tries = (self._judged(replay) for replay in replays(self.pbx, phone, self.contact))
                yield self._figure(f"{name}, {algorithm}: replays", "refused", GOAL, tries)
        yield self._figure(f"{name}: what is not offered, and too old", "refused", GOAL, self._not_offered())
        self._honest()
        taken = ((f"turned away: {each}", False) for each in self._turned_away)
        fine = (("", True) for _ in range(self._honest_tries - len(self._turned_away)))
        yield self._figure(f"{name}: an honest phone before, between and after", "accepted", "each", chain(fine, taken))

    def _phone(self, number: str, algorithm: str) -> LyingPhone:
        phone = LyingPhone(self.pbx.server, self.pbx.domain, number, PASSWORDS[number], algorithm)
        self._at_end.callback(phone.close)
        return phone

    def _figure(self, what: str, verb: str, goal: str, tries: Iterable[tuple[str, bool]]) -> Figure:
        """Of pairs: what was tried, and whether it went as it must."""
        results = list(tries)
        rows = [row["contact"] for number in PASSWORDS for row in self.pbx.all_bindings(number)]
        bound = sum(EVIL in contact for contact in rows)
        wrong = [name for name, right in results if not right]
        text = f"{len(results) - len(wrong)} of {len(results)} {verb}"
        if wrong:
            text += f"; not: {', '.join(wrong[:8])}{' ...' if len(wrong) > 8 else ''}"
        if bound > self._bound:
            text += f"; {bound - self._bound} strange Contacts bound"
        met = bool(results) and not wrong and bound == self._bound
        self._bound = bound
        return Figure(what, text, goal, met)

    # What is tried

    def _forms(self, phone: LyingPhone, foreign: str, early: str) -> Iterator[tuple[str, bool]]:
        for number, abuse in enumerate(abuses(phone.algorithm, self.scale.seed)):
            if number % EVERY == 0:
                self._honest()
            phone.fresh()
            phone.send(phone.with_lines(self.contact, abuse.lines(phone), abuse.but(phone)))
            try:
                refused = _is_refusal(phone.final(seconds=SILENCE))
            except Silence:
                refused = True
            yield abuse.what, refused
        for what, nonce in (("another PBX", foreign), ("the future, with the right key", early)):
            yield f"nonce of {what}", _is_refusal(phone.ask(phone.signed(self.contact, nonce=f'"{nonce}"')))

    def _spellings(self, phone: LyingPhone) -> Iterator[tuple[str, bool]]:
        for variant in variants(phone.algorithm):
            phone.fresh()
            got = phone.ask(phone.with_lines(phone.contact, variant.lines(phone)))
            yield f"{variant.what} ({got.status})", got.status == 200
        got = phone.register(expires=0)
        yield f"signing off ({got.status})", got.status == 200

    def _nonces_of_others(self) -> tuple[dict[str, str], dict[str, str]]:
        """Of this very PBX when it had another key, and when its clock was three hours ahead."""
        found = []
        for settings in ({"SECRET_KEY": "another-secret-key-" * 4}, {"SECRET_KEY": KEY, **_clock("+3h")}):
            self.pbx.restart(**settings)
            phones = {name: self._phone("1001", name) for name in HASHED_BY}
            for phone in phones.values():
                phone.fresh()
            found.append({name: phone.nonce for name, phone in phones.items()})
        self.pbx.restart(**_clock(""))
        return found[0], found[1]

    def _not_offered(self) -> Iterator[tuple[str, bool]]:
        """Where MD5 alone is offered, and three hours later."""
        phone = self._phone("1001", "MD5")
        phone.fresh()
        self.pbx.restart(SIP_DIGEST_ALGORITHMS="MD5", **_clock("+3h"))
        yield "an expired nonce", _is_refusal(phone.ask(phone.signed(self.contact)))
        phone.fresh()
        phone.algorithm = "SHA-256"
        yield "SHA-256 where MD5 is offered", _is_refusal(phone.ask(phone.signed(self.contact)))
        phone.algorithm = "MD5"
        got = phone.register()
        yield f"(MD5 is taken there: {got.status})", got.status == 200
        self.pbx.restart(SIP_DIGEST_ALGORITHMS=BOTH, **_clock(""))

    def _judged(self, replay: Replay) -> tuple[str, bool]:
        if not self.scale.quick:
            self._honest()
        return replay.what, replay.answer is not None and _is_refusal(replay.answer)

    def _honest(self) -> None:
        for name, phone in self._honest_phones.items():
            self._honest_tries += 1
            got = phone.register()
            if got.status != 200 or not any(f"{phone.host}:{phone.port}" in contact for contact in got.bindings):
                self._turned_away.append(f"{name} ({got.status})")


def _clock(ahead: str) -> dict[str, str]:
    """Settings for a process whose wall clock is so far ahead."""
    library = FAKETIME if ahead else ""
    return {"LD_PRELOAD": library, "FAKETIME": ahead, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def _is_refusal(answer: Received) -> bool:
    return 400 <= answer.status < 500
