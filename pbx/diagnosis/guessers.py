"""Addresses that guess at numbers: what they sent is told once for each of them, not once for each number."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Count, Max

from extensions.models import Binding
from pbx.diagnosis.evidence import NumberEvidence
from pbx.diagnosis.models import Attempt, Block
from pbx.diagnosis.reading import GUESSED_NUMBERS
from sipcore.guard.blocks import GUESSING, source_key

DAY = timedelta(hours=24)
COUNTED = ("unknown_extension", "wrong_password")
"""Failures at different numbers that make a guesser. Others, such as answers that get lost or passwords that a new
realm made useless, befall all phones of an office at once."""

OF_GUESSES = (
    *COUNTED, "no_credential", "stale_credential", "challenge_unanswered", "wrong_realm", "rate_limited", "blocked",
)
"""What a guesser may meet; whoever knows the password is none."""

MOST = 100
MOST_TOLD = 3
"""Whose numbers are read; the others are only counted."""

MOST_NUMBERS = 8
MOST_BINDINGS = 5000


@dataclass(frozen=True, slots=True)
class Guesser:
    """``source`` is an address, of IPv6 its network. ``numbers``: the last few that were tried, the latest last.
    ``until``: the end of its block, None when none is in force."""

    source: str
    count: int
    numbers: tuple[str, ...]
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Guessers:
    """``trusted``: extensions whose phones have registered from such an address: what they fail at there is theirs."""

    found: tuple[Guesser, ...]  # the newest first
    keys: frozenset[str]
    trusted: frozenset[tuple[int, str]]

    @property
    def told(self) -> list[str]:
        """The addresses of those whose numbers are told one by one."""
        return [one.source for one in self.found[:MOST_TOLD]]

    def made(self, cause: str, proven: bool, source: str, extension: int | None) -> bool:
        """Whether an attempt is one of their guesses."""
        key = source_key(source)
        return cause in OF_GUESSES and not proven and key in self.keys and (extension, key) not in self.trusted

    def without(self, evidence: NumberEvidence, extension: int | None) -> NumberEvidence:
        """The evidence of a number without what they sent."""
        return replace(evidence, attempts=tuple(
            one for one in evidence.attempts if not self.made(one.cause, one.proven, one.source, extension)
        ))


def guessers(now: datetime) -> Guessers:
    """Who failed at ``GUESSED_NUMBERS`` different numbers in 24 hours, or was blocked for it."""
    tried = Attempt.objects.filter(last_at__gt=now - DAY, cause__in=COUNTED).exclude(number="")
    groups = tried.values("source").annotate(n=Count("number", distinct=True), last=Max("last_at")).order_by("-last")
    sources: dict[str, list[str]] = {}
    last_of: dict[str, datetime] = {}
    count_of: dict[str, int] = {}
    for source, count, last in groups.filter(n__gte=GUESSED_NUMBERS).values_list("source", "n", "last")[:MOST]:
        key = source_key(source)
        sources.setdefault(key, []).append(source)
        last_of.setdefault(key, last)
        count_of[key] = max(count_of.get(key, 0), count)
    ended = Block.objects.filter(until__gt=now - DAY, number="", reason=GUESSING).order_by("-since")[:MOST]
    blocks = {row.source: row for row in ended}
    for key, row in blocks.items():
        last_of[key] = max(last_of.get(key, row.since), row.last_try_at or row.since)
        count_of[key] = max(count_of.get(key, 0), len(row.numbers))
    newest = sorted(last_of, key=lambda key: last_of[key], reverse=True)
    found = []
    for place, key in enumerate(newest):
        row = blocks.get(key)
        numbers = _numbers(sources.get(key, ()), now) if place < MOST_TOLD else ()
        found.append(Guesser(
            key, count_of[key], numbers or tuple(row.numbers[-MOST_NUMBERS:] if row else ()),
            row.until if row and row.until > now else None,
        ))
    hosts = [*(source for some in sources.values() for source in some), *blocks]
    return Guessers(tuple(found), frozenset(last_of), _trusted(hosts, frozenset(last_of)))


def _numbers(sources: Collection[str], now: datetime) -> tuple[str, ...]:
    rows = Attempt.objects.filter(source__in=sources, last_at__gt=now - DAY, cause__in=COUNTED).exclude(number="")
    latest = rows.order_by("-last_at").values_list("number", flat=True)[: 3 * MOST_NUMBERS]
    return tuple(dict.fromkeys(number.lower() for number in latest))[:MOST_NUMBERS][::-1]


def _trusted(sources: Collection[str], keys: frozenset[str]) -> frozenset[tuple[int, str]]:
    hosts = {source for source in sources if "/" not in source}
    rows = Binding.objects.filter(remote_host__in=hosts).order_by("-refreshed_at")
    pairs = rows.values_list("extension_id", "remote_host")[:MOST_BINDINGS]
    if any(":" in key for key in keys):
        pairs = [*pairs, *Binding.objects.filter(remote_host__contains=":").order_by("-refreshed_at").values_list(
            "extension_id", "remote_host")[:MOST_BINDINGS]]
    return frozenset((extension, key) for extension, host in pairs if (key := source_key(host)) in keys)
