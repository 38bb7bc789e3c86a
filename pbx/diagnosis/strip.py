"""The last 24 hours of an extension as a strip: when a phone was there, came and went, did not answer, was gone.

Painted minute by minute, so that whatever rows there are, the strip has a bounded number of stretches that never
overlap; of several phones the best one counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from django.utils import timezone
from django.utils.translation import gettext as _

from pbx.diagnosis.evidence import DeviceFacts, PeriodFacts

MINUTES = 1440
FREE = 100
"""Minutes at either end of the strip without a mark below: there the words would not fit."""

FREE_WHERE_NARROW = 300
"""The same at its end on a telephone."""

MOST_WORDS = 30
"""Stretches told in words, the newest."""
UNSTEADY_STARTS = 4
UNSTEADY_MINUTES = 60
"""So many times online anew within so many minutes is a phone that comes and goes."""

OFFLINE, SILENT, ONLINE, UNSTEADY = "offline", "silent", "online", "unsteady"
_RANK = {OFFLINE: 0, SILENT: 1, ONLINE: 2, UNSTEADY: 3}


@dataclass(frozen=True, slots=True)
class Stretch:
    state: str  # offline, silent, online, unsteady: a stable code
    first: int  # minutes since the strip begins
    minutes: int
    begins: datetime
    ends: datetime

    @property
    def in_words(self) -> str:
        return words_of(self.state)


@dataclass(frozen=True, slots=True)
class Hour:
    """A mark below the strip."""

    at: int  # minutes since the strip begins
    text: str

    @property
    def percent(self) -> str:
        """Of the width, written with a point whatever the language."""
        return f"{100 * self.at / MINUTES:.2f}"

    @property
    def is_late(self) -> bool:
        return self.at > MINUTES - FREE_WHERE_NARROW


@dataclass(frozen=True, slots=True)
class Strip:
    stretches: tuple[Stretch, ...]
    hours: tuple[Hour, ...]

    @property
    def newest(self) -> tuple[Stretch, ...]:
        return self.stretches[::-1][:MOST_WORDS]

    @property
    def was_there(self) -> bool:
        return any(stretch.state != OFFLINE for stretch in self.stretches)

    @property
    def summary(self) -> tuple[Share, ...]:
        """How long in each state, the best state first."""
        return tuple(
            Share(state, sum(stretch.minutes for stretch in self.stretches if stretch.state == state))
            for state in (ONLINE, UNSTEADY, SILENT, OFFLINE)
            if any(stretch.state == state for stretch in self.stretches)
        )

    @property
    def alternative(self) -> str:
        """The strip in a sentence, for those who do not see it."""
        shares = [f"{share.in_words} {share.length}" for share in self.summary]
        return _("The last 24 hours: %(states)s.") % {"states": ", ".join(shares)}


@dataclass(frozen=True, slots=True)
class Share:
    state: str
    minutes: int

    @property
    def in_words(self) -> str:
        return words_of(self.state)

    @property
    def length(self) -> str:
        return length_of(self.minutes)


def words_of(state: str) -> str:
    return {
        ONLINE: _("online"), UNSTEADY: _("comes and goes"), SILENT: _("registered, but does not answer"),
        OFFLINE: _("offline"),
    }[state]


def length_of(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    if not hours:
        return _("%(minutes)d min") % {"minutes": rest}
    if not rest:
        return _("%(hours)d h") % {"hours": hours}
    return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": rest}


def strip_of(periods: Iterable[PeriodFacts], devices: Iterable[DeviceFacts], now: datetime) -> Strip:
    """A registration that is over is told as a period only when the next one begins: until then it is the device. A
    silence is told beside the registration that it was a part of."""
    begin = now - timedelta(minutes=MINUTES)
    spans: list[_Span] = []
    for period in periods:
        silent = period.ending == SILENT
        spans.append(_Span(period.user_agent, silent, period.started_at, min(period.ended_at, now)))
    for device in devices:
        until = min(device.expires_at, now)
        spans.append(_Span(device.user_agent, False, device.registered_at, until))
        if device.silent_since is not None:
            spans.append(_Span(device.user_agent, True, device.silent_since, until))
    spans = [span for span in spans if span.until > begin and span.until > span.since]

    silences: dict[str, set[int]] = {}
    for span in spans:
        if span.is_silent:
            silences.setdefault(span.phone, set()).update(span.minutes(begin))
    minutes = [OFFLINE] * MINUTES
    for span in spans:
        silence = silences.get(span.phone, ())
        for place in span.minutes(begin):
            state = SILENT if place in silence else ONLINE
            if _RANK[state] > _RANK[minutes[place]]:
                minutes[place] = state
    starts = {_minute(span.until if span.is_silent else span.since, begin) for span in spans}
    for first, last in _unsteady(sorted(place for place in starts if 0 < place < MINUTES - 1)):
        for place in range(first, last + 1):
            minutes[place] = UNSTEADY
    return Strip(_stretches(minutes, begin), _hours(begin))


@dataclass(frozen=True, slots=True)
class _Span:
    """A time at which a phone was registered, or silent meanwhile. The phone is known by its name: its address may
    have changed with the silence."""

    phone: str
    is_silent: bool
    since: datetime
    until: datetime

    def minutes(self, begin: datetime) -> range:
        """At least one: what was short is seen too."""
        first = max(0, _minute(self.since, begin))
        return range(first, min(MINUTES, max(_minute(self.until, begin), first + 1)))


def _minute(moment: datetime, begin: datetime) -> int:
    return int((moment - begin).total_seconds() // 60)


def _unsteady(starts: Sequence[int]) -> list[tuple[int, int]]:
    """From the first to the last of starts that follow each other too closely."""
    found: list[tuple[int, int]] = []
    for place in range(len(starts) - UNSTEADY_STARTS + 1):
        first, last = starts[place], starts[place + UNSTEADY_STARTS - 1]
        if last - first > UNSTEADY_MINUTES:
            continue
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return found


def _stretches(minutes: Sequence[str], begin: datetime) -> tuple[Stretch, ...]:
    found, first = [], 0
    for state, run in groupby(minutes):
        length = sum(1 for _minute_ in run)
        starts = begin + timedelta(minutes=first)
        found.append(Stretch(state, first, length, starts, starts + timedelta(minutes=length)))
        first += length
    return tuple(found)


def _hours(begin: datetime) -> tuple[Hour, ...]:
    """Every sixth hour of the local day."""
    local = timezone.localtime(begin).replace(minute=0, second=0, microsecond=0)
    marks = []
    for ahead in range(1, 26):
        moment = local + timedelta(hours=ahead)
        at = _minute(moment, begin)
        if moment.hour % 6 == 0 and FREE < at < MINUTES - FREE:
            marks.append(Hour(at, f"{moment:%H:%M}"))
    return tuple(marks)
