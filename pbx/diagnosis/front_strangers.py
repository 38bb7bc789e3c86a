"""What the front page says of strangers: calm sentences, nothing has to be done."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.contrib.auth.models import User
from django.db.models import Count
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pbx.diagnosis.front_item import Item, list_button
from pbx.diagnosis.guessers import DAY, Guesser, Guessers
from pbx.diagnosis.lines import hour, shown
from pbx.diagnosis.models import Attempt, Block
from pbx.diagnosis.networks import is_private
from pbx.diagnosis.repairs import Button
from pbx.diagnosis.verdict import Severity


def of_guesser(guesser: Guesser, user: User, now: datetime) -> Item:
    names = {
        "address": guesser.source, "count": guesser.count, "numbers": _listed(guesser),
        "time": hour(guesser.until, now) if guesser.until else "",
    }
    what = ngettext(
        "%(address)s guessed at %(count)d number: %(numbers)s.",
        "%(address)s guessed at %(count)d numbers: %(numbers)s.", guesser.count,
    ) % names
    if guesser.until:
        what += " " + _("It is blocked until %(time)s; nothing has to be done.") % names
    else:
        what += " " + _("It was refused; nothing has to be done.")
    do = ""
    if is_private(guesser.source):
        do = _("It is an address inside: if a phone or a program of yours tries these numbers there, put them right.")
    found = urlencode({"q": guesser.source.partition("/")[0].rstrip(":")})  # all addresses of a network begin so
    page = reverse("admin:diagnosis_attempt_changelist")
    return Item("guessing", Severity.INFO, what, do=do, button=list_button(user, f"{page}?{found}"))


def _listed(guesser: Guesser) -> str:
    names = ", ".join(shown(number) for number in guesser.numbers)
    return f"… {names}" if guesser.count > len(guesser.numbers) else names or "–"


def of_strangers(user: User, now: datetime, told: list[str], strangers: Guessers) -> Iterable[Item]:
    tried = Attempt.objects.filter(extension__isnull=True, last_at__gt=now - DAY)
    tried = tried.exclude(number__in=["", *told]).exclude(source__in=strangers.told)
    found = tried.aggregate(numbers=Count("number", distinct=True), addresses=Count("source", distinct=True))
    if found["numbers"]:
        yield Item("unknown_extension", Severity.INFO, _(
            "Numbers that are no extensions were tried in the last 24 hours and refused (numbers: %(numbers)d, "
            "addresses: %(addresses)d). Strangers try this on every server; nothing has to be done."
        ) % found, button=list_button(user, f"{reverse('admin:diagnosis_attempt_changelist')}?whose=unknown"))


def of_blocks(user: User, now: datetime, strangers: Guessers) -> Iterable[Item]:
    """But for those that are told already."""
    count = Block.objects.filter(until__gt=now).exclude(number="", source__in=strangers.told).count()
    if count:
        yield Item("blocked", Severity.INFO, ngettext(
            "%(count)d address is blocked now.", "%(count)d addresses are blocked now.", count
        ) % {"count": count}, button=(
            Button(_("Show"), reverse("admin:diagnosis_block_changelist"))
            if user.has_perm("diagnosis.view_block") else None
        ))
