"""``manage.py bans``: addresses that the SIP server does not answer; ``--lift`` and ``--add`` change them."""

from __future__ import annotations

import getpass
import ipaddress
import json
from datetime import datetime, timedelta

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from extensions.management.database_command import DatabaseCommand
from extensions.models import Binding
from pbx.calls.live import silent_nodes
from pbx.diagnosis.block_words import tries_since, why_blocked
from pbx.diagnosis.blocks import add, facts, lift, living
from pbx.diagnosis.models import Block
from pbx.management.language_option import InLanguage
from pbx.system.models import SipProcess
from sipcore.guard.blocks import NUMBER_LIMIT, source_key
from sipcore.protocol.headers import clean_text

LONGEST_HOURS = 24 * 365
MOST_LISTED = 1000


class Command(InLanguage, DatabaseCommand):
    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Lists the addresses that the SIP server does not answer. --lift takes a block away, --add makes one.")

    def add_arguments(self, parser):
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--json", action="store_true", help=_("list them as JSON"))
        what.add_argument(
            "--lift", metavar="ADDRESS[/NUMBER]", help=_("answer this address again, or one number from there")
        )
        what.add_argument("--add", metavar="ADDRESS[/NUMBER]", help=_("block this address, or one number from there"))
        parser.add_argument("--hours", type=float, default=24.0, help=_("how long --add blocks (default: 24)"))

    def handle(self, *, json: bool, lift: str | None, add: str | None, hours: float, **_options):
        if lift is not None:
            self._lift(lift)
        elif add is not None:
            self._add(add, hours)
        else:
            self._list(as_json=json)

    def _list(self, *, as_json: bool) -> None:
        now = timezone.now()
        rows = list(living(now)[:MOST_LISTED])
        if as_json:
            self.stdout.write(json.dumps([as_plain_data(row) for row in rows], indent=2))
            return
        if not rows:
            self.stdout.write(_("No address is blocked."))
            return
        for row in rows:
            block = facts(row)
            names = {"address": row.source, "number": _printable(row.number), "time": _local(row.until)}
            if row.number:
                self.stdout.write(_("%(address)s, number %(number)s: blocked until %(time)s") % names)
            else:
                self.stdout.write(_("%(address)s: blocked until %(time)s") % names)
            self.stdout.write(f"  {why_blocked(block)}")
            self.stdout.write(f"  {tries_since(block, now)}")
            if row.spared:
                self.stdout.write("  " + _spared(row))

    def _lift(self, text: str) -> None:
        source, number = read_place(text)
        found = living().filter(source=source)
        if number:
            found = found.filter(number=number)
        rows = list(found)
        if not rows:
            raise CommandError(
                _("%(place)s is not blocked. `manage.py bans` lists what is.") % {"place": _printable(text)}
            )
        for row in rows:
            lift(row, by=_who())
            self.stdout.write(_("%(place)s is not blocked any more.") % {"place": _printable(str(row))})
        self._when()

    def _add(self, text: str, hours: float) -> None:
        source, number = read_place(text)
        if not 0 < hours <= LONGEST_HOURS:
            raise CommandError(_("--hours must be above 0 and at most %(most)d.") % {"most": LONGEST_HOURS})
        row = add(source, number, timedelta(hours=hours), by=_who())
        self.stdout.write(_("%(place)s is blocked until %(time)s.") % {
            "place": _printable(str(row)), "time": _local(row.until),
        })
        registered = _registered(source, number)
        if registered:
            self.stderr.write(_(
                "Phones that are registered from there cannot be called any more, nor call: %(numbers)s"
            ) % {"numbers": ", ".join(registered)})
        self._when()

    def _when(self) -> None:
        nodes = list(SipProcess.objects.values_list("node", flat=True).distinct())
        if not nodes or len(silent_nodes(nodes, timezone.now())) == len(nodes):
            self.stdout.write(_("It takes effect when the SIP server starts."))
        else:
            self.stdout.write(_("It takes effect within two seconds."))


def read_place(text: str) -> tuple[str, str]:
    """The address as it is blocked, and the number in lower case, empty for all. Raises CommandError."""
    address, _slash, number = text.strip().rpartition("/")
    if not address or ("/" not in address and ":" in address and number == "64"):
        address, number = text.strip(), ""
    try:
        ipaddress.ip_address(address.strip("[]").removesuffix("/64"))
    except ValueError:
        raise CommandError(
            _("%(text)s is no address. Write for example 203.0.113.9, or 203.0.113.9/1001 for one number from there.")
            % {"text": _printable(text)}
        ) from None
    number = number.lower()
    if clean_text(number, NUMBER_LIMIT) != number:
        raise CommandError(_("This is no number of a phone: %(text)s") % {"text": _printable(number)})
    return source_key(address.strip("[]")), number


def as_plain_data(row: Block) -> dict[str, object]:
    """Stable names for programs; times in ISO 8601 with their offset."""
    return {
        "address": row.source, "number": row.number, "reason": row.reason, "by": row.by, "since": _iso(row.since),
        "until": _iso(row.until), "failures": row.failures, "numbers": row.numbers, "not_blocked": row.spared,
        "tries": row.tries, "last_try": _iso(row.last_try_at),
    }


def _spared(row: Block) -> str:
    count = len(row.spared)
    return ngettext(
        "%(count)d number goes on working from there: %(numbers)s",
        "%(count)d numbers go on working from there: %(numbers)s",
        count,
    ) % {"count": count, "numbers": _printable(", ".join(row.spared[:10])) + (" …" if count > 10 else "")}


def _registered(source: str, number: str) -> list[str]:
    """The numbers of phones that are registered from there now."""
    rows = Binding.objects.filter(expires_at__gt=timezone.now())
    rows = rows.filter(remote_host__contains=":") if ":" in source else rows.filter(remote_host=source)
    found = rows.values_list("remote_host", "extension__number")[:MOST_LISTED]
    return sorted({
        name for host, name in found if source_key(host) == source and number in ("", name.lower())
    })


def _printable(text: str) -> str:
    return clean_text(text, 200)


def _local(moment: datetime) -> str:
    return timezone.localtime(moment).strftime("%Y-%m-%d %H:%M:%S")


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else timezone.localtime(moment).isoformat(timespec="seconds")


def _who() -> str:
    try:
        return f"manage.py ({getpass.getuser()})"
    except (KeyError, OSError):  # a process whose user has no name
        return "manage.py"
