"""What a change of SIP_REALM or SIP_DOMAIN does to the phones: which need their password again, and which would go on
asking for a name that is none of ours any more."""

from __future__ import annotations

from collections.abc import Collection

from django.conf import settings
from django.db.models import Max
from django.utils import timezone

from extensions.models import Binding, DigestCredential
from pbx.checks import is_address, is_of_this_machine
from pbx.diagnosis.server_evidence import OldNameFacts, StaleFacts
from pbx.system.server_address import sip_domain, sip_names

MOST_ROWS = 5000


def stale_for(realm: str) -> StaleFacts:
    """The extensions whose stored credentials were made for another realm.

    :raises django.db.Error: when the database is away."""
    rows = (
        DigestCredential.objects.filter(algorithm__in=list(settings.SIP_DIGEST_ALGORITHMS), extension__hidden=False)
        .exclude(realm=realm).order_by("extension__number").values_list("extension__number", flat=True).distinct()
    )
    return StaleFacts(realm, tuple(rows))


def old_names(domain: str | None = None, aliases: Collection[str] = ()) -> tuple[OldNameFacts, ...]:
    """The names that phones registered under lately, and that would be refused with ``domain`` (None: the one of now)
    and these aliases beside those of now.

    :raises django.db.Error: when the database is away."""
    ours = sip_names(domain or sip_domain()) | {name.lower().strip("[]").rstrip(".") for name in aliases}
    now = timezone.now()
    old = (
        Binding.objects.shown().exclude(domain="").exclude(domain__in=ours).order_by("domain", "extension__number")
        .values_list("domain", "extension__number", "extension_id", "refreshed_at", "expires_at")
    )[:MOST_ROWS]
    rows = [row for row in old if row[4] != row[3]]  # one that signed off does not come back
    newest_good = dict(
        Binding.objects.filter(extension_id__in={row[2] for row in rows}, domain__in=ours).order_by()
        .values_list("extension_id").annotate(Max("refreshed_at"))
    ) if rows else {}
    by_name: dict[str, dict[str, None]] = {}
    for name, number, extension, refreshed, expires in rows:
        good = newest_good.get(extension)
        if expires > now or good is None or good < refreshed:  # else it was given the new name since
            by_name.setdefault(name, {})[number] = None
    return tuple(
        OldNameFacts(name, tuple(numbers)) for name, numbers in by_name.items()
        if not (is_address(name) and is_of_this_machine(name))  # our own addresses are always good
    )
