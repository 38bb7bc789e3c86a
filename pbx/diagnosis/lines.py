"""The short lines of evidence under a verdict, and the pieces its sentences are made of. Times are shown in the time
zone of the PBX; texts from the network stay as they are here and are escaped where they are shown."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from pbx.diagnosis.evidence import AttemptFacts, DeviceFacts
from sipcore.protocol.headers import clean_text

MOST_LINES = 5  # of one kind; what is left is counted
LONGEST = 64  # characters of a text from the network


def shown(text: str) -> str:
    """A text from the network, short and without what no line may hold."""
    return clean_text(text, LONGEST)


def clock(moment: datetime, now: datetime) -> str:
    """The time of day; with the date when it was not today."""
    local = localtime(moment)
    if local.date() == localtime(now).date():
        return date_format(local, "H:i:s")
    return date_format(local, _another_day())


def hour(moment: datetime, now: datetime) -> str:
    """The same for sentences, without the seconds."""
    local = localtime(moment)
    return date_format(local, "H:i" if local.date() == localtime(now).date() else _another_day())


def _another_day() -> str:
    """It stands after "at", "since" and "until": in Russian only a time of day does so in every case."""
    return pgettext("a moment, in the letters of Django's date filter", "H:i, j E")


def place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def phone_name(user_agent: str) -> str:
    return shown(user_agent) or _("a phone that does not say its name")


def duration(seconds: float) -> str:
    """In the largest unit that fits, rounded down."""
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return ngettext("%(n)d second", "%(n)d seconds", whole) % {"n": whole}
    if hours < 2:
        return ngettext("%(n)d minute", "%(n)d minutes", minutes) % {"n": minutes}
    if days < 2:
        return ngettext("%(n)d hour", "%(n)d hours", hours) % {"n": hours}
    return ngettext("%(n)d day", "%(n)d days", days) % {"n": days}


def attempt_lines(attempts: Iterable[AttemptFacts], now: datetime) -> tuple[str, ...]:
    """One line for each row: when, how often, from where, who."""
    rows = list(attempts)
    lines = [_attempt(row, now) for row in rows[:MOST_LINES]]
    if len(rows) > MOST_LINES:
        more = len(rows) - MOST_LINES
        lines.append(
            ngettext("and %(n)d more address", "and %(n)d more addresses", more) % {"n": more}
        )
    return tuple(lines)


def _attempt(row: AttemptFacts, now: datetime) -> str:
    names = {
        "time": clock(row.last_at, now), "place": place(row.source, row.port), "transport": shown(row.transport),
        "phone": phone_name(row.user_agent or row.asked.user_agent), "n": row.count,
    }
    if row.count < 2:
        return _("%(time)s from %(place)s (%(transport)s), %(phone)s") % names
    names["first"] = clock(row.first_at, now)
    return ngettext(
        "%(time)s from %(place)s (%(transport)s), %(phone)s: %(n)d time since %(first)s",
        "%(time)s from %(place)s (%(transport)s), %(phone)s: %(n)d times since %(first)s",
        row.count,
    ) % names


def device_line(device: DeviceFacts, now: datetime) -> str:
    """Who, from where, until when."""
    names = {
        "phone": phone_name(device.user_agent), "place": place(device.source, device.port),
        "transport": shown(device.transport), "since": clock(device.registered_at, now),
        "seen": clock(device.refreshed_at, now), "until": clock(device.expires_at, now),
    }
    if device.signed_off:
        return _("%(phone)s at %(place)s (%(transport)s): signed off at %(until)s") % names
    if not device.lives(now):
        return _("%(phone)s at %(place)s (%(transport)s): last registered at %(seen)s, ended at %(until)s") % names
    return _(
        "%(phone)s at %(place)s (%(transport)s): registered since %(since)s, renewed at %(seen)s, good until %(until)s"
    ) % names
