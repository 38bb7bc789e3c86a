"""A ladder as lines for a terminal: lanes and arrows, each with its words below. Whatever a phone has written, no
terminal obeys it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pbx.diagnosis.ladder import Arrow, Ladder
from pbx.diagnosis.terminal import one_line
from pbx.diagnosis.visible import visible

NARROWEST, WIDEST = 50, 140
WIDEST_LANE, NARROWEST_LANE = 34, 14
TIME = 18
"""Columns for the time of day and the seconds since the beginning."""


@dataclass(frozen=True, slots=True)
class Line:
    """``tone`` as that of an arrow; title, quiet for what is no arrow."""

    text: str
    tone: str = "normal"


@dataclass(frozen=True, slots=True)
class Signs:
    dash: str
    right: str
    left: str
    lane: str


UNICODE, ASCII = Signs("─", "▶", "◀", "│"), Signs("-", ">", "<", "|")


class Drawing:
    """``width`` of the terminal in characters; ``encoding`` decides about the signs."""

    def __init__(self, width: int, encoding: str = "utf-8", messages: bool = False) -> None:
        self._width = min(max(width, NARROWEST), WIDEST)
        self._messages = messages
        try:
            "─▶◀│".encode(encoding)
        except (UnicodeEncodeError, LookupError):
            self._signs = ASCII
        else:
            self._signs = UNICODE

    def ladder(self, ladder: Ladder) -> Iterator[Line]:
        yield from self.head(ladder)
        for place, arrow in enumerate(ladder.arrows):
            if ladder.left_out and place == 20:
                yield Line(" " * TIME + ngettext(
                    "%(count)d message is left out here.", "%(count)d messages are left out here.", ladder.left_out
                ) % {"count": ladder.left_out}, "quiet")
            yield from self.arrow(ladder, arrow)

    def head(self, ladder: Ladder) -> Iterator[Line]:
        yield Line(f"{one_line(ladder.title)}  {localtime(ladder.started):%Y-%m-%d %H:%M:%S}", "title")
        for column in ladder.columns:
            if column.detail:
                yield from self._wrapped(f"{one_line(column.label)}: {one_line(column.detail)}", "quiet", "  ")
        gap, names = self._gap(ladder), ""
        for place, column in enumerate(ladder.columns):
            label = _cut(one_line(column.label), gap - 1)
            start = max(len(names) + (1 if names else 0), TIME + place * gap - len(label) // 2)
            names = names.ljust(start) + label
        yield Line(names, "title")

    def arrow(self, ladder: Ladder, arrow: Arrow) -> Iterator[Line]:
        time = f"{localtime(arrow.at):%H:%M:%S} +{arrow.after:.2f}"
        yield Line(_cut(time, TIME - 1).ljust(TIME) + self._lanes(ladder, arrow), arrow.tone)
        caption = one_line(arrow.caption)
        if arrow.repeated:
            caption += " " + repeated_in_words(arrow.repeated)
        yield from self._wrapped(caption, arrow.tone if arrow.tone == "bad" else "quiet", " " * TIME)
        if self._messages:
            yield from message_lines(arrow.text)

    def _gap(self, ladder: Ladder) -> int:
        room = (self._width - TIME - 4) // max(1, len(ladder.columns) - 1)
        return min(max(room, NARROWEST_LANE), WIDEST_LANE)

    def _lanes(self, ladder: Ladder, arrow: Arrow) -> str:
        gap, signs = self._gap(ladder), self._signs
        low, high = sorted((arrow.source, arrow.target))
        inside = (high - low) * gap - 1
        line = f" {_cut(one_line(arrow.label), inside - 4)} ".center(inside - 1, signs.dash)
        shaft = line + signs.right if arrow.target > arrow.source else signs.left + line
        last = len(ladder.columns) - 1
        drawn = ""
        for place in range(last + 1):
            if place == low:
                drawn += signs.lane + shaft
            elif not low < place < high:  # lanes that an arrow passes are covered by it
                drawn += signs.lane + (" " * (gap - 1) if place < last else "")
        return drawn

    def _wrapped(self, text: str, tone: str, indent: str) -> Iterable[Line]:
        for line in textwrap.wrap(
            text, self._width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        ):
            yield Line(line, tone)


def message_lines(text: str) -> Iterator[Line]:
    """The scrubbed message itself."""
    for line in visible(text).rstrip("\n").split("\n"):
        yield Line(" " * TIME + "  " + line.replace("\t", " "), "quiet")
    yield Line("")


def repeated_in_words(count: int) -> str:
    return ngettext("(sent %(count)d more time)", "(sent %(count)d more times)", count) % {"count": count}


def nothing_kept() -> str:
    return _("No message is kept. Failures are kept by themselves; to see everything, add --follow and switch the "
             "account in the phone off and on.")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: max(0, most - 1)] + "…"

