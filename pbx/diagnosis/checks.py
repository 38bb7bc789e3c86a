"""System checks of what a changed setting does to the phones, before they notice. W041 the realm, W042 the domain.

They look into the database, so they run where somebody is about to start the PBX or asks for it, and say nothing
while there is no database yet."""

from __future__ import annotations

import sys

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register
from django.db import Error
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

COMMANDS = ("check", "start", "runsip", "prepare")


@register("pbx")
def check_changed_names(**_options: object) -> list[CheckMessage]:
    if sys.argv[1:2] not in [[name] for name in COMMANDS]:
        return []
    return changed_names()


def changed_names() -> list[CheckMessage]:
    from pbx.diagnosis.causes.renaming import some_numbers
    from pbx.diagnosis.renaming import old_names, stale_for

    found: list[CheckMessage] = []
    try:
        stale = stale_for(settings.SIP_REALM) if settings.SIP_REALM else None
        old = old_names()
    except (Error, ValueError):  # no table yet, or away: others say so
        return []
    if stale is not None and stale.numbers:
        count = len(stale.numbers)
        found.append(Warning(
            ngettext("SIP_REALM was changed: %(count)d phone will have to be given its password again: %(numbers)s.",
                     "SIP_REALM was changed: %(count)d phones will have to be given their password again: %(numbers)s.",
                     count) % {"count": count, "numbers": some_numbers(stale.numbers)},
            hint=_("Take the line SIP_REALM out of .env to go on as before, or set the password of each of them anew."),
            id="pbx.W041",
        ))
    for one in old:
        count = len(one.numbers)
        found.append(Warning(
            ngettext("%(count)d phone uses %(name)s as its server, which is no name of this PBX any more: %(numbers)s.",
                     "%(count)d phones use %(name)s as their server, which is no name of this PBX any more: "
                     "%(numbers)s.", count)
            % {"count": count, "name": one.name, "numbers": some_numbers(one.numbers)},
            hint=_("Add %(name)s to SIP_ALIASES in .env, and they go on working.") % {"name": one.name},
            id="pbx.W042",
        ))
    return found
