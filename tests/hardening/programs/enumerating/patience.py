"""With patience: what a stranger gets who goes on and on, from an address that nobody trusts."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.hardening.conformance.peer import Silence
from tests.hardening.programs.enumerating.house import KINDS, At
from tests.support.pbx import RunningPbx

HAMMERING = 101
"""Tries within ten minutes; after 100 a number is blocked at its address."""

BEFORE = 5
"""Unknown numbers that are tried before the one in question; the sixth blocks the address."""

PATIENCE = 8.0
"""Seconds until an address must be blocked."""

SILENCE = 1.0
"""Seconds after which there is no answer."""


def hammer(pbx: RunningPbx) -> Iterator[tuple[str, list[str]]]:
    """One number from one address, again and again: the course of answers for each kind."""
    courses = {}
    for place, (kind, number) in enumerate(KINDS.items()):
        with At(pbx, number, f"127.0.9.{place + 1}") as stranger:
            stranger.learn(stranger.ask(stranger.request("REGISTER")))
            courses[kind] = [_try(stranger, number) for _ in range(HAMMERING)]
    yield from _different("hammering", courses)


def among_unknown(pbx: RunningPbx) -> Iterator[tuple[str, list[str]]]:
    """One number behind five that do not exist: is everything from there blocked afterwards?"""
    courses = {}
    for place, (kind, number) in enumerate(KINDS.items()):
        with At(pbx, number, f"127.0.8.{place + 1}") as stranger:
            stranger.learn(stranger.ask(stranger.request("REGISTER")))
            course = [_try(stranger, str(unknown)) for unknown in range(9000, 9000 + BEFORE)]
            course.append(_try(stranger, number))
            # The store is asked first who is known good there: meanwhile everybody is sent away.
            end = time.monotonic() + PATIENCE
            while (last := _try(stranger, "9100")) != "silence" and time.monotonic() < end:
                time.sleep(0.1)
            courses[kind] = [*course, last, _try(stranger, number)]
    yield from _different("among unknown ones", courses)


def _try(stranger: At, number: str) -> str:
    """What comes of one try with a wrong password; the seconds to wait differ by the moment."""
    stranger.number = number
    stranger.send(stranger.proven())
    try:
        answer = stranger.final(seconds=SILENCE)
    except Silence:
        return "silence"
    return f"{answer.status} {'later' if answer.get('retry-after') else ''}"


def _different(what: str, courses: dict[str, list[str]]) -> Iterator[tuple[str, list[str]]]:
    for kind, course in courses.items():
        if kind != "unknown":
            yield f"{what}: {kind}", [kind] if course != courses["unknown"] else []
    # A course that never ends in silence was no course of somebody who is blocked.
    yield f"{what}: it ends in silence", [] if courses["unknown"][-1] == "silence" else ["unknown"]
