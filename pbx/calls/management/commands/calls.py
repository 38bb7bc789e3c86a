"""``manage.py calls``: the calls that are going on; ``--hangup ID`` ends one."""

from __future__ import annotations

import getpass
import json
import time
from datetime import datetime

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from extensions.management.database_command import DatabaseCommand
from pbx.calls.durations import clock
from pbx.calls.live import SILENT_AFTER, LiveCall, active_calls, silent_nodes
from pbx.calls.models import CallRecord, ask_to_hang_up
from pbx.calls.words import short_reason
from pbx.management.language_option import InLanguage
from pbx.system.models import SipProcess
from sipcore.protocol.headers import clean_text

PATIENCE = 5.0
"""Seconds to wait for the end of a call; the engine looks once a second."""

LOOK_EVERY = 0.2
MOST_LISTED = 1000


class Command(InLanguage, DatabaseCommand):
    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Lists the calls that are going on. --hangup ends one of them.")

    def add_arguments(self, parser):
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--json", action="store_true", help=_("list them as JSON"))
        what.add_argument("--hangup", metavar="ID", help=_("end the call with this ID"))

    def handle(self, *, json: bool, hangup: str | None, **_options):
        if hangup is not None:
            self._hang_up(hangup)
        else:
            self._list(as_json=json)

    def _list(self, *, as_json: bool) -> None:
        now = timezone.now()
        active = active_calls(now, MOST_LISTED)
        if as_json:
            self.stdout.write(json.dumps([as_plain_data(live, now) for live in active.calls], indent=2))
            return
        if not active.calls:
            if SipProcess.objects.filter(beat_at__gte=now - SILENT_AFTER).exists():
                self.stdout.write(_("Nobody is on the phone."))
            else:
                self.stdout.write(
                    _("No SIP server is running, so nobody can be on the phone. Start it: python3 manage.py start")
                )
            return
        heads = [_("ID"), _("FROM"), _("TO"), _("STATE"), _("DURATION"), _("PHONE")]
        rows = [_cells(live, now) for live in active.calls]
        for line in table([heads, *rows]):
            self.stdout.write(line)
        if active.more:
            self.stdout.write(
                ngettext("and %(count)d older call", "and %(count)d older calls", active.more) % {"count": active.more}
            )
        for node in active.silent_nodes:
            self.stderr.write(_(
                "The SIP server on %(node)s gives no sign of life. Is runsip running? Its calls are shown as it left "
                "them."
            ) % {"node": _printable(node)})

    def _hang_up(self, id: str) -> None:
        names: dict[str, str] = {"id": _printable(id)}
        call = CallRecord.objects.filter(uniqueid=id).first() if _printable(id) == id else None
        if call is None:
            raise CommandError(_("There is no call %(id)s. `manage.py calls` lists those that are going on.") % names)
        names |= {"src": _printable(call.src), "dst": _printable(call.dst)}
        if not call.lives:
            raise CommandError(_("The call %(id)s from %(src)s to %(dst)s ended at %(time)s: %(reason)s.") % {
                **names, "time": _local(call.end), "reason": short_reason(call.cause),
            })
        ask_to_hang_up(call, by=f"manage.py ({_who()})")
        deadline = time.monotonic() + PATIENCE
        while call.lives and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY)
            call.refresh_from_db(fields=["end"])
        if not call.lives:
            self.stdout.write(_("The call from %(src)s to %(dst)s has ended.") % names)
        elif silent_nodes([call.node], timezone.now()):
            raise CommandError(
                _("The call from %(src)s to %(dst)s could not be ended: the SIP server gives no sign of life. When "
                  "runsip starts again, it closes the calls that it left.") % names
            )
        else:
            raise CommandError(
                _("The call from %(src)s to %(dst)s has not ended yet. The request stands: it is carried out as soon "
                  "as the SIP server reads it.") % names
            )


def as_plain_data(live: LiveCall, now: datetime) -> dict[str, object]:
    """Stable names for programs: Asterisk's columns, times in ISO 8601 with their offset, lengths in seconds."""
    call = live.record
    return {
        "uniqueid": call.uniqueid, "node": call.node, "src": call.src, "dst": call.dst, "clid": call.clid,
        "state": live.state, "start": _iso(call.start), "answer": _iso(call.answer),
        "duration": max(0, int((now - call.start).total_seconds())), "billsec": int(call.talk_seconds(now)),
        "phones": live.devices,
    }


def table(rows: list[list[str]]) -> list[str]:
    """Columns under each other, two blanks between."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cells(live: LiveCall, now: datetime) -> list[str]:
    call = live.record
    seconds = (now - (call.answer or call.start)).total_seconds()
    texts = [call.uniqueid, call.src, call.dst, live.state_in_words, clock(seconds), "; ".join(live.devices) or "-"]
    return [_printable(text) for text in texts]


def _printable(text: str) -> str:
    return clean_text(text, 200)


def _local(moment: datetime) -> str:
    return timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S")


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else timezone.localtime(moment).isoformat(timespec="seconds")


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a process whose user has no name
        return "?"
