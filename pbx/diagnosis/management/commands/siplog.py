"""``manage.py siplog 1001``: what a phone and the PBX said to each other; ``--call ID``: of a call; ``--follow``: as it
goes on."""

from __future__ import annotations

import getpass
import shutil
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.translation import gettext as _

from extensions.management.database_command import DatabaseCommand
from extensions.models import Extension
from pbx.calls.models import CallRecord
from pbx.diagnosis.calls import find_call
from pbx.diagnosis.ladder import Ladder, ladder_of, ladder_of_call, ladders_of_number, messages_of_call
from pbx.diagnosis.models import WatchedMessage
from pbx.diagnosis.sip_text import messages_from_json, read
from pbx.diagnosis.terminal import one_line
from pbx.diagnosis.terminal_ladder import Drawing, Line, nothing_kept, repeated_in_words
from pbx.diagnosis.watching import Watching
from pbx.management.language_option import InLanguage
from pbx.system.models import SipProcess
from sipcore.evidence.facts import WireMessage

PAUSE = 0.5
"""Seconds between two looks into the database."""

LAST_WORDS = timedelta(seconds=4)
"""So long after a call's end its messages are still waited for."""

ALIVE = timedelta(seconds=20)
MOST_AT_ONCE, MOST_OF_ONE, MOST_CONVERSATIONS = 500, 400, 100
LONGEST = 64


class Command(InLanguage, DatabaseCommand):
    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Shows what a phone, or both sides of a call, and the PBX said to each other, each message in plain "
                 "words. --follow goes on until Ctrl-C.")

    def add_arguments(self, parser):
        parser.add_argument("number", nargs="?", help=_("the number with which the phone signs in, for example 1001"))
        parser.add_argument("--call", metavar="ID", help=_("the call with this unique ID or SIP Call-ID"))
        parser.add_argument("--follow", action="store_true", help=_("watch the phone, and show messages as they come"))
        parser.add_argument(
            "--messages", action="store_true", help=_("show the messages themselves too, without secrets")
        )

    def handle(self, *, number: str | None, call: str | None, follow: bool, messages: bool, **options):
        if (number is None) == (call is None):
            raise CommandError(_("Give a number, for example `manage.py siplog 1001`, or a call with --call ID."))
        width = shutil.get_terminal_size((100, 24)).columns
        self._drawing = Drawing(width, getattr(self.stdout, "encoding", None) or "utf-8", messages)
        if call is not None:
            self._call(call, follow)
        else:
            self._number(_number(number or ""), follow)

    # what is kept

    def _number(self, number: str, follow: bool) -> None:
        ladders = ladders_of_number(number)
        for ladder in reversed(ladders):
            self._print(self._drawing.ladder(ladder))
            self.stdout.write("")
        if follow:
            self._follow_number(number)
        elif not ladders:
            if not Extension.objects.by_number(number).exists():
                raise CommandError(
                    _("There is no extension %(number)s, and of no phone with this number a message is kept.")
                    % {"number": one_line(number)}
                )
            self.stdout.write(nothing_kept())

    def _call(self, id: str, follow: bool) -> None:
        record = find_call(id)
        if record is None:
            raise CommandError(
                _("There is no call with the ID %(id)s. The IDs are in the list of call records and in its CSV export.")
                % {"id": one_line(id)[:LONGEST]}
            )
        if follow and record.lives:
            self._follow_call(record)
            return
        ladder = ladder_of_call(record)
        if ladder is not None:
            self._print(self._drawing.ladder(ladder))
        else:
            self.stdout.write(_("No message of this call is kept: messages are kept of calls that failed or had no "
                                "sound, and of phones that are watched."))

    # as it goes on

    def _follow_number(self, number: str) -> None:
        shown = Shown(self._drawing)
        newest = WatchedMessage.objects.filter(number=number.lower()).order_by("-pk").values_list("pk", flat=True)
        last = newest.first() or 0
        with self._watching([number]) as watch:
            self._say_following(number)
            while True:
                watch.renew()
                rows = WatchedMessage.objects.filter(number=number.lower(), pk__gt=last).order_by("pk")
                rows = list(rows[:MOST_AT_ONCE])
                if rows:
                    last = rows[-1].pk
                    self._print(shown.more(messages_from_json([row.message for row in rows])))
                time.sleep(PAUSE)

    def _follow_call(self, record: CallRecord) -> None:
        shown = Shown(self._drawing)
        with self._watching([record.src, record.dst]) as watch:
            self._say_following(f"{record.src} → {record.dst}")
            title = _("Call from %(src)s to %(dst)s") % {"src": record.src, "dst": record.dst}
            while True:
                watch.renew()
                over = record.end is not None and timezone.now() > record.end + LAST_WORDS
                if messages := messages_of_call(record):
                    self._print(shown.whole(record.uniqueid, messages, record.cause, title))
                if over:
                    return
                time.sleep(PAUSE)
                record.refresh_from_db()

    def _say_following(self, what: str) -> None:
        self.stderr.write(_("Watching %(what)s. Ctrl-C ends it.") % {"what": one_line(what)}, style_func=_plain)
        if not SipProcess.objects.filter(beat_at__gt=timezone.now() - ALIVE).exists():
            self.stderr.write(_("The SIP server gives no sign of life, so nothing will come. Is runsip running?"))

    @contextmanager
    def _watching(self, numbers: list[str]) -> Iterator[Watching]:
        """Ctrl-C and SIGTERM end it, and the watch with it."""
        before = None
        with suppress(ValueError):  # not in the main thread
            before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            with Watching(numbers, f"manage.py siplog ({_who()})") as watch:
                yield watch
        except KeyboardInterrupt:
            self.stdout.write("")
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)

    def _print(self, lines: Iterable[Line]) -> None:
        styles = {"good": self.style.SUCCESS, "bad": self.style.ERROR, "title": self.style.MIGRATE_HEADING}
        encoding = getattr(self.stdout, "encoding", None) or "utf-8"
        for line in lines:
            text = line.text.encode(encoding, "replace").decode(encoding)
            self.stdout.write(text, style_func=styles.get(line.tone, _plain))
        with suppress(AttributeError):
            self.stdout.flush()


class Shown:
    """What has been printed of each conversation. What comes in addition is given back as lines."""

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing
        self._messages: dict[str, list[WireMessage]] = {}
        self._printed: dict[str, list[int]] = {}
        self._last = ""

    def more(self, messages: Iterable[WireMessage]) -> Iterator[Line]:
        """New messages of a watched phone."""
        grown: dict[str, list[WireMessage]] = {}
        for message in messages:
            grown.setdefault(read(message).call_id, []).append(message)
        for call_id, new in grown.items():
            known = self._messages.setdefault(call_id, [])
            if len(known) + len(new) > MOST_OF_ONE:  # it is shown as if it began anew
                known.clear()
                self._printed.pop(call_id, None)
            known += new
            yield from self.whole(call_id, known)
        while len(self._messages) > MOST_CONVERSATIONS:
            oldest = next(iter(self._messages))
            del self._messages[oldest]
            self._printed.pop(oldest, None)

    def whole(self, key: str, messages: Iterable[WireMessage], cause: str = "", title: str = "") -> Iterator[Line]:
        """All messages of a conversation, of which some may be printed already."""
        ladder = ladder_of(messages, cause, title, most=MOST_OF_ONE)
        counts = [arrow.repeated for arrow in ladder.arrows]
        before = self._printed.get(key, [])
        if counts == before:
            return
        self._printed[key] = counts
        if key != self._last:
            self._last = key
            yield Line("")
            yield from self._drawing.head(ladder)
        yield from self._news(ladder, before)

    def _news(self, ladder: Ladder, before: list[int]) -> Iterator[Line]:
        for place, arrow in enumerate(ladder.arrows):
            if place >= len(before):
                yield from self._drawing.arrow(ladder, arrow)
            elif arrow.repeated > before[place]:
                again = repeated_in_words(arrow.repeated)
                yield Line(f"{one_line(arrow.way)}: {one_line(arrow.label)} {again}", "bad")


def _number(text: str) -> str:
    number = text.strip().removeprefix("sip:").partition("@")[0]
    if not number or len(number) > LONGEST or "\0" in number:
        raise CommandError(_("“%(text)s” is no number.") % {"text": one_line(text)[:LONGEST]})
    return number


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _plain(text: str) -> str:
    return text


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this user id
        return "?"
