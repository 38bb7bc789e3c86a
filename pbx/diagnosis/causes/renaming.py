"""What a change of SIP_REALM or SIP_DOMAIN does to the phones."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from pbx.diagnosis.server_evidence import ServerEvidence
from pbx.diagnosis.verdict import Severity, Stage, Verdict

NAMED = 10  # numbers written out in a sentence


def realm_changed(evidence: ServerEvidence) -> Verdict | None:
    stale = evidence.stale
    if stale is None or not stale.numbers:
        return None
    count = len(stale.numbers)
    return Verdict(
        "realm_changed", Severity.ERROR,
        ngettext("With SIP_REALM=%(realm)s, %(count)d phone will have to be given its password again.",
                 "With SIP_REALM=%(realm)s, %(count)d phones will have to be given their password again.", count)
        % {"realm": stale.realm, "count": count},
        _("The realm is a part of what is stored in place of the password. With another realm no stored password fits, "
          "although nobody has mistyped anything."),
        _("Take the line SIP_REALM out of .env to go on as before. Or set the password of each of these extensions "
          "anew, in the administration or with manage.py setpassword; the same password may be given again."),
        (some_numbers(stale.numbers),), stopped_at=Stage.PASSWORD,
    )


def domain_changed(evidence: ServerEvidence) -> Verdict | None:
    if not evidence.old_names:
        return None
    names = ",".join(old.name for old in evidence.old_names)
    count = len({number for old in evidence.old_names for number in old.numbers})
    return Verdict(
        "domain_changed", Severity.WARNING,
        ngettext("%(count)d phone uses %(names)s as its server, which is no name of this PBX.",
                 "%(count)d phones use %(names)s as their server, which is no name of this PBX.", count)
        % {"count": count, "names": names},
        _("They registered under that name before SIP_DOMAIN was changed to %(domain)s. They will be refused when they "
          "register the next time.") % {"domain": evidence.domain},
        _("Add it in .env: SIP_ALIASES=%(names)s, and start the PBX again: then they go on working. Or write the new "
          "name into each of these phones.") % {"names": names},
        tuple(f"{old.name}: {some_numbers(old.numbers)}" for old in evidence.old_names), stopped_at=Stage.OUR_PORT,
    )


def some_numbers(numbers: tuple[str, ...]) -> str:
    if len(numbers) <= NAMED:
        return ", ".join(numbers)
    return _("%(numbers)s and %(count)d more") % {
        "numbers": ", ".join(numbers[:NAMED]), "count": len(numbers) - NAMED,
    }
