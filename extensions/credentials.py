"""Makes the rows of the HA1 cache. Called by the ``post_save`` signal, inside its transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils import timezone

from pbx.system.identity import current_realm
from sipcore.protocol.digest import ALGORITHMS, make_ha1

if TYPE_CHECKING:
    from extensions.models import Extension


def refresh_credentials(extension: Extension, raw: str) -> None:
    """Write one HA1 row for each algorithm, always all of them, made for the extension's number of now and the
    realm of now. ``changed_at`` moves only where the password itself became another one: a phone that knows it
    needs nothing new after a change of the realm."""
    realm, number, now = current_realm(), extension.number, timezone.now()
    rows = {row.algorithm: row for row in extension.credentials.all()}
    for algorithm in ALGORITHMS:
        ha1 = make_ha1(algorithm, number, realm, raw)
        row = rows.get(algorithm)
        if row is None:
            extension.credentials.create(
                algorithm=algorithm, username=number, realm=realm, ha1=ha1, changed_at=now
            )
        elif (row.username, row.realm, row.ha1) != (number, realm, ha1):
            if make_ha1(algorithm, row.username, row.realm, raw) != row.ha1:
                row.changed_at = now
            row.username, row.realm, row.ha1 = number, realm, ha1
            row.save()
