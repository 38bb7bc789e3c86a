"""Telling which numbers exist: by the bytes of answers, by their course when somebody goes on, and by their time."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable, Iterator

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.enumerating import alike, patience
from tests.hardening.programs.enumerating.by_time import Stopwatch, Times
from tests.hardening.programs.enumerating.house import open_house
from tests.support.pbx import PostgresStore, RunningPbx, SqliteStore, Store

ALIKE = "the same bytes for known and unknown numbers"
AUC = "AUC 0.45-0.55 over 2,000 tries"
GAP = "gap within 20 us"
WIDEST = 20.0  # microseconds
QUICKLY = ("REGISTER", "MESSAGE")


def measure(scale: Scale) -> Iterator[Figure]:
    for make in [SqliteStore] if scale.quick else [SqliteStore, PostgresStore]:
        with contextlib.ExitStack() as at_end:
            store = make()
            pbx = open_house(store, at_end)
            yield from _by_bytes(pbx, store, scale)
            yield from _by_time(pbx, store, scale)
            pbx.restart(GUARD_TRUSTED_NETS="none")
            yield _compared(f"{store.name}: when the guard slows and blocks", patience.hammer(pbx))
            yield _compared(f"{store.name}: one among unknown ones", patience.among_unknown(pbx))


def _by_bytes(pbx: RunningPbx, store: Store, scale: Scale) -> Iterator[Figure]:
    methods = QUICKLY if scale.quick else alike.METHODS
    yield _compared(f"{store.name}: answers, and those to a repetition", alike.compare(pbx, methods, False))
    if not scale.quick:
        asked = alike.ways()
        again = (
            (f"{way}, {method}", _others(alike.courses_of(pbx, method, asked[way], True)))
            for way in ("no credentials", "a wrong password")
            for method in ("REGISTER", "INVITE", "MESSAGE")
        )
        yield _compared(f"{store.name}: what is repeated unasked", again)


def _others(courses: dict[str, alike.Course]) -> list[str]:
    return [kind for kind, course in courses.items() if course.answers != courses["unknown"].answers]


def _compared(what: str, results: Iterable[tuple[str, list[str]]]) -> Figure:
    found = list(results)
    other = [f"{way} ({', '.join(kinds)})" for way, kinds in found if kinds]
    text = f"{len(found) - len(other)} of {len(found)} alike"
    if other:
        text += f"; not: {'; '.join(other[:6])}{' ...' if len(other) > 6 else ''}"
    return Figure(what, text, ALIKE, bool(found) and not other)


def _by_time(pbx: RunningPbx, store: Store, scale: Scale) -> Iterator[Figure]:
    rnd = random.Random(scale.seed)
    watch = Stopwatch(pbx, rnd)
    try:
        for what, method, password in (
            ("a first REGISTER", "REGISTER", False),
            ("REGISTER with a wrong password", "REGISTER", True),
            ("MESSAGE with a wrong password", "MESSAGE", True),
        ):
            times = watch.measure(method, password, scale.of(2000, 200))
            yield from _told(f"{store.name}: {what}", times, rnd)
    finally:
        watch.close()


def _told(what: str, times: Times, rnd: random.Random) -> Iterator[Figure]:
    auc, gap, noise = times.auc, times.gap, times.noise(rnd)
    tries = len(times.known) + len(times.unknown)
    yield Figure(f"{what}, by time", f"AUC {auc:.3f} over {tries}", AUC, 0.45 <= auc <= 0.55, timed=True)
    cause = ""
    if abs(gap) > WIDEST and noise > WIDEST / 3:
        cause = "chance alone moves the medians by more than a third of the goal here: measure on a machine at rest"
    yield Figure(
        f"{what}, medians", f"{gap:+.1f} us (chance alone: {noise:.1f} us)", GAP, abs(gap) <= WIDEST, timed=True,
        cause=cause,
    )  # fmt: skip
