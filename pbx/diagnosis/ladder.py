"""SIP messages as an arrow diagram: who said what to whom, each arrow in plain words.

    ladder_of(messages)           of any messages that belong together
    ladders_of_number("1001")     of one phone, the newest first: failures, and what was said while it was watched
    ladder_of_call(record)        both sides of a call, None when nothing of it was kept"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from django.utils.translation import gettext as _

from pbx.calls.models import CallRecord
from pbx.diagnosis.captions import Told, caption_of
from pbx.diagnosis.models import Attempt, CallTrace, WatchedMessage
from pbx.diagnosis.sip_text import SipText, messages_from_json, read, user_of
from sipcore.evidence.facts import WireMessage

MOST_LADDERS = 10
MOST_ARROWS = 80
FIRST_ARROWS = 20
"""Of a longer ladder the middle is left out, and so many stay of its beginning."""

MOST_CALLED = 3
"""Columns for called phones; more of them share the last one."""

PAUSE = 30.0
"""Seconds of silence after which a new ladder begins, unless it is a call: a phone keeps the Call-ID of its
registrations for days."""

MOST_READ = 400
"""Watched messages, of one number."""

MOST_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Column:
    """``detail``: its address and application."""

    label: str
    detail: str = ""

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True, slots=True)
class Arrow:
    """``source`` and ``target`` are places in ``Ladder.columns``; ``after`` seconds since the first arrow. ``text`` is
    the scrubbed message: text from the network, only ever escaped. ``repeated``: how often it came or went again."""

    at: datetime
    after: float
    source: int
    target: int
    label: str
    caption: str
    tone: str  # normal, good or bad
    text: str
    repeated: int = 0
    way: str = ""  # 1001 → PBX
    size: int = 0  # bytes on the wire

    @property
    def moment(self) -> datetime:
        return self.at

    @property
    def place(self) -> str:
        """Names of style: from where to where."""
        return f"pbx-from-{self.source}-to-{self.target} pbx-{'right' if self.target > self.source else 'left'}"


@dataclass(frozen=True, slots=True)
class Ladder:
    """``left_out``: arrows in the middle that are not shown. ``attempts``: the rows of failures that it is of."""

    title: str
    started: datetime
    columns: tuple[Column, ...]
    arrows: tuple[Arrow, ...]
    key: str = ""  # the same each time this ladder is made
    left_out: int = 0
    ended: datetime | None = None  # the last message of it
    attempts: tuple[int, ...] = ()


def ladder_of(
    messages: Iterable[WireMessage], cause: str = "", title: str = "", most: int = MOST_ARROWS
) -> Ladder:
    """``cause``: why it failed, where that is known; it explains the refusal among the messages. Raises ValueError
    when there is no message."""
    texts = [read(message) for message in sorted(messages, key=lambda message: message.at)]
    if not texts:
        raise ValueError("no messages")
    columns, lane_of = _columns(texts)
    first = texts[0].message.at
    us = next(place for place, column in enumerate(columns) if column is PBX)
    told = Told(cause)
    place_of: dict[tuple[object, ...], int] = {}
    arrows: list[tuple[SipText, int]] = []
    for text in texts:
        known = place_of.get(text.repeats_as)
        if known is not None:
            arrows[known] = (arrows[known][0], arrows[known][1] + 1)
        else:
            place_of[text.repeats_as] = len(arrows)
            arrows.append((text, 0))
    _find_the_refusal(told, arrows)
    names = [_("PBX") if column is PBX else column.label for column in columns]
    drawn = []
    for text, repeated in arrows:
        lane = lane_of(text)
        ends = (us, lane) if text.sent else (lane, us)
        caption = caption_of(told, text, repeated, columns[lane].label)
        drawn.append(Arrow(
            _moment(text.message.at), max(0.0, text.message.at - first), *ends, _label(text), caption.text,
            caption.tone, text.message.text, repeated, f"{names[ends[0]]} → {names[ends[1]]}", text.message.size,
        ))
    left_out = max(0, len(drawn) - most)
    if left_out:
        del drawn[FIRST_ARROWS : FIRST_ARROWS + left_out]
    shown = tuple(replace(PBX, label=_("PBX")) if column is PBX else column for column in columns)
    return Ladder(
        title or _title(texts), _moment(first), shown, tuple(drawn), _key(texts[0]), left_out,
        _moment(texts[-1].message.at),
    )


def ladders_of_number(number: str) -> list[Ladder]:
    """The newest first, at most ``MOST_LADDERS``."""
    attempts = Attempt.objects.filter(number__iexact=number).order_by("-last_at", "-pk")[:MOST_ATTEMPTS]
    groups = [_Group(messages_from_json(row.messages), row.cause, (row.pk,)) for row in attempts]
    watched = WatchedMessage.objects.filter(number=number.lower()).order_by("-at", "-pk")[:MOST_READ]
    watched_messages = messages_from_json([row.message for row in reversed(watched)])
    groups = _without_doubles([*_conversations(watched_messages), *groups])
    groups.sort(key=lambda group: max(message.at for message in group.messages), reverse=True)
    return [
        replace(ladder_of(group.messages, group.cause), attempts=group.attempts) for group in groups[:MOST_LADDERS]
    ]


def ladder_of_call(record: CallRecord) -> Ladder | None:
    messages = messages_of_call(record)
    if not messages:
        return None
    title = _("Call from %(src)s to %(dst)s") % {"src": record.src, "dst": record.dst}
    return ladder_of(messages, record.cause, title)


def messages_of_call(record: CallRecord) -> tuple[WireMessage, ...]:
    trace = CallTrace.objects.filter(uniqueid=record.uniqueid).first()
    return messages_from_json(trace.messages) if trace is not None else ()


def conversations(messages: Iterable[WireMessage]) -> list[tuple[WireMessage, ...]]:
    """What belongs together: one Call-ID, and outside of calls no long silence within."""
    return [group.messages for group in _conversations(messages)]


class _Group(NamedTuple):
    """Messages of one ladder. ``cause`` and ``attempts``: of the failure that it is of, if it is of one."""

    messages: tuple[WireMessage, ...]
    cause: str = ""
    attempts: tuple[int, ...] = ()


def _conversations(messages: Iterable[WireMessage]) -> list[_Group]:
    groups: list[list[WireMessage]] = []
    last_of: dict[str, tuple[list[WireMessage], bool]] = {}
    for message in messages:
        text = read(message)
        group, is_call = last_of.get(text.call_id, ([], False))
        if not group or (not is_call and message.at - group[-1].at > PAUSE):
            group, is_call = [], False
            groups.append(group)
        group.append(message)
        last_of[text.call_id] = group, is_call or text.method == "INVITE"
    return [_Group(tuple(group)) for group in groups]


def _without_doubles(groups: list[_Group]) -> list[_Group]:
    """A failure of a phone that is watched is kept twice: as a failure, with its cause, and among the watched."""
    kept: list[_Group] = []
    for group in groups:
        moments = {(message.at, message.sent) for message in group.messages}
        same = next((place for place, other in enumerate(kept)
                     if any((message.at, message.sent) in moments for message in other.messages)), None)
        if not group.messages:
            continue
        if same is None:
            kept.append(group)
        else:
            other = kept[same]
            longer = max(other.messages, group.messages, key=len)
            kept[same] = _Group(longer, other.cause or group.cause, other.attempts + group.attempts)
    return kept


PBX = Column("PBX")


def _columns(texts: Sequence[SipText]):
    """The columns, and a function that gives a message its lane: the caller at the left, the PBX, the called ones."""
    lanes: dict[str, SipText] = {}
    for text in texts:
        lanes.setdefault(text.call_id, text)
    caller = next((text.call_id for text in texts if not text.sent and not text.status), texts[0].call_id)
    called = [call_id for call_id in lanes if call_id != caller]
    columns = [_column(texts, caller), PBX, *(_column(texts, one) for one in called[:MOST_CALLED])]
    if len(called) > MOST_CALLED:
        rest = len(called) - MOST_CALLED
        columns[-1] = Column(f"{columns[-1].label} +{rest}", columns[-1].detail)
    place_of = {call_id: min(place, MOST_CALLED + 1) for place, call_id in enumerate(called, 2)} | {caller: 0}
    return columns, lambda text: place_of[text.call_id]


def _column(texts: Sequence[SipText], call_id: str) -> Column:
    own = [text for text in texts if text.call_id == call_id]
    number = next((text.phone for text in own if text.phone), "")
    agent = next((text.user_agent for text in own if not text.sent and text.user_agent), "")
    detail = ", ".join(part for part in (agent, own[0].message.remote) if part)
    return Column(number or own[0].message.remote or "?", detail)


def _find_the_refusal(told: Told, arrows: Sequence[tuple[SipText, int]]) -> None:
    """The last answer of ours that is no success is what the cause is about."""
    for text, _repeated in reversed(arrows):
        if text.sent and text.status >= 300:
            told.refusal = text
            return


def _label(text: SipText) -> str:
    if not text.method:
        return "?"
    return f"{text.status} {text.reason}".strip() if text.status else text.method


def _title(texts: Sequence[SipText]) -> str:
    first = next((text for text in texts if text.method), texts[0])
    request = next((text for text in texts if text.method and not text.status), first)
    names = {"number": first.phone, "method": request.method or "?", "other": user_of(request.uri) or "?"}
    if request.method == "REGISTER":
        return _("Registration of %(number)s") % names
    if request.method == "INVITE" and not request.in_dialog:
        src = user_of(request.headers.get("from", ""))
        dst = user_of(request.headers.get("to", "")) if request.sent else names["other"]
        return _("Call from %(src)s to %(dst)s") % {"src": src, "dst": dst}
    if not names["number"]:
        return _("%(method)s from %(address)s") % {**names, "address": first.message.remote}
    return _("%(method)s, phone %(number)s") % names


def _key(first: SipText) -> str:
    return hashlib.blake2s(f"{first.call_id} {first.message.at}".encode("utf-8", "replace"), digest_size=6).hexdigest()


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(min(max(seconds, 0.0), 2**36), UTC)
