"""The links of the test from outside: an address with a secret in it, for whoever holds the phone, good for half an
hour. Only the SHA-256 of the secret is stored: 192 random bits need no slow hash."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from extensions.models import Extension
from pbx.diagnosis.models import ProbeLink

LIFETIME = timedelta(minutes=30)
KEPT = timedelta(days=1)
"""Ended links are shown for so long, then swept."""


@dataclass(frozen=True, slots=True)
class NewLink:
    link: ProbeLink
    token: str
    """Shown once; nothing keeps it."""


def make_link(extension: Extension, by: str, now: datetime | None = None) -> NewLink:
    """The links of this extension that were made before end: one is good at a time."""
    now = now or timezone.now()
    token = secrets.token_urlsafe(24)
    with transaction.atomic():
        ProbeLink.objects.filter(extension=extension).delete()
        ProbeLink.objects.filter(expires_at__lt=now - KEPT).delete()
        link = ProbeLink.objects.create(
            extension=extension, token_hash=_hash(token), created_at=now, expires_at=now + LIFETIME, by=by[:150]
        )
    return NewLink(link, token)


def find_link(token: str, now: datetime | None = None) -> ProbeLink | None:
    """The link of this token while it is good."""
    found = ProbeLink.objects.select_related("extension").filter(token_hash=_hash(token))
    return found.filter(expires_at__gt=now or timezone.now()).first()


def link_of(extension: Extension) -> ProbeLink | None:
    """The newest, good or ended."""
    return ProbeLink.objects.filter(extension=extension).order_by("-created_at").first()


def revoke(extension: Extension) -> bool:
    """Whether there was a link to end."""
    return ProbeLink.objects.filter(extension=extension, expires_at__gt=timezone.now()).delete()[0] > 0


def note_opened(link: ProbeLink, address: str, now: datetime | None = None) -> None:
    """Keep when it was first opened, and from where it was last. Writes only what is news."""
    if link.opened_at is not None and link.opened_from == address[:45]:
        return
    link.opened_at = link.opened_at or now or timezone.now()
    link.opened_from = address[:45]
    ProbeLink.objects.filter(pk=link.pk).update(opened_at=link.opened_at, opened_from=link.opened_from)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
