"""A block in plain words, for the verdict, the admin list and ``manage.py bans``."""

from __future__ import annotations

from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pbx.diagnosis.evidence import BlockFacts
from pbx.diagnosis.lines import clock, shown
from sipcore.guard.blocks import ADMINISTRATOR, WRONG_PASSWORD

NUMBERS_SHOWN = 6


def why_blocked(block: BlockFacts) -> str:
    """One sentence: who blocked it, and for what."""
    if block.reason == ADMINISTRATOR:
        if block.by:
            return _("The administrator %(name)s blocked it.") % {"name": shown(block.by)}
        return _("An administrator blocked it.")
    if block.reason == WRONG_PASSWORD:
        return ngettext(
            "The PBX blocked it by itself: a phone there tried the number %(number)s with a wrong password %(count)d "
            "time within ten minutes.",
            "The PBX blocked it by itself: a phone there tried the number %(number)s with a wrong password %(count)d "
            "times within ten minutes.",
            block.failures,
        ) % {"number": shown(block.number), "count": block.failures}
    return _(
        "The PBX blocked it by itself: somebody there tried many different numbers that do not exist or whose password "
        "was wrong (%(numbers)s). That is how strangers guess passwords."
    ) % {"numbers": numbers_of(block)}


def numbers_of(block: BlockFacts) -> str:
    """The last few that were tried."""
    names = ", ".join(shown(number) for number in block.numbers[-NUMBERS_SHOWN:])
    return f"… {names}" if len(block.numbers) > NUMBERS_SHOWN else names or "–"


def tries_since(block: BlockFacts, now: datetime) -> str:
    if not block.tries or block.last_try_at is None:
        return _("Nothing has come from there since.")
    return ngettext(
        "Since then %(count)d message came from there, the last one at %(time)s; it got no answer.",
        "Since then %(count)d messages came from there, the last one at %(time)s; they got no answer.",
        block.tries,
    ) % {"count": block.tries, "time": clock(block.last_try_at, now)}
