"""Makes the rows of the HA1 cache (RFC 7616 section 3.4.2)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.utils import timezone

from pbx.system.identity import current_realm
from sipcore.protocol.digest import ALGORITHMS, make_ha1

if TYPE_CHECKING:
    from extensions.models import DigestCredential, Extension


def refresh_credentials(extension: Extension, raw: str) -> None:
    """Write the HA1 rows of a password, always one for each algorithm, for the number and the realm of now.
    Called by the ``post_save`` signal inside its transaction."""
    realm, now = current_realm(), timezone.now()
    stored = {row.algorithm: row for row in extension.credentials.all()}
    for algorithm, ha1 in make_ha1s(extension.number, realm, raw).items():
        row = renewed_row(stored.get(algorithm), extension, algorithm, realm, ha1, now, raw)
        if row is not None:
            row.save()


def make_ha1s(number: str, realm: str, raw: str) -> dict[str, str]:
    """The HA1 of a password by algorithm."""
    return {algorithm: make_ha1(algorithm, number, realm, raw) for algorithm in ALGORITHMS}


def renewed_row(
    stored: DigestCredential | None,
    extension: Extension,
    algorithm: str,
    realm: str,
    ha1: str,
    now: datetime,
    raw: str | None,
) -> DigestCredential | None:
    """The row to write, or None when ``stored`` is right as it is.

    ``changed_at`` moves only where the password itself became another one, which is seen by making the old HA1 from
    ``raw`` (None when only an HA1 is known): a phone that knows the password needs nothing new after a change of the
    realm."""
    from extensions.models import DigestCredential

    number = extension.number
    if stored is None:
        return DigestCredential(
            extension=extension, algorithm=algorithm, username=number, realm=realm, ha1=ha1, changed_at=now
        )
    if (stored.username, stored.realm, stored.ha1) == (number, realm, ha1):
        return None
    if raw is None or make_ha1(algorithm, stored.username, stored.realm, raw) != stored.ha1:
        stored.changed_at = now
    stored.username, stored.realm, stored.ha1 = number, realm, ha1
    return stored
