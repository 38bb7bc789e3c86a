"""Whether a phone can sign in to an extension at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from django.db import models
from django.utils.translation import gettext_lazy as _


class CredentialState(models.TextChoices):
    READY = "ready", _("ready")
    MISSING = "missing", _("missing")
    STALE = "stale", _("made for another realm or number")


class CredentialRow(Protocol):
    algorithm: str
    username: str
    realm: str


def credential_state(
    number: str, rows: Iterable[CredentialRow], *, realm: str, offered: Sequence[str]
) -> CredentialState:
    """The state of the credentials ``rows`` of the extension ``number``.

    A phone answers the challenge that it likes best, so there has to be a row for each algorithm that is
    ``offered`` (RFC 8760 section 2.4); rows for others do not matter."""
    relevant = {row.algorithm: row for row in rows if row.algorithm in offered}
    if any(row.realm != realm or row.username != number for row in relevant.values()):
        return CredentialState.STALE
    return CredentialState.READY if len(relevant) == len(set(offered)) else CredentialState.MISSING
