"""Who is online, as the administrator's pages show it (registrations: RFC 3261 section 10.3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from extensions.models import Binding, CredentialState, Extension

ENDED_SHOWN = 5  # ended registrations listed under the live ones


def for_list(extensions: QuerySet[Extension], now: datetime | None = None) -> QuerySet[Extension]:
    """All that a row of the list shows, in one query and without any secret: ``with_presence()``, and
    ``silent_devices``, those of the devices online that do not answer."""
    now = now or timezone.now()
    silent = (
        Binding.objects.online(now).filter(extension=OuterRef("pk"), unreachable_since__isnull=False)
        .order_by().values("extension").annotate(n=Count("pk")).values("n")
    )
    return extensions.defer("password").with_presence(now=now).annotate(
        silent_devices=Coalesce(Subquery(silent), Value(0))
    )


@dataclass(frozen=True, slots=True)
class Device:
    """One registration as a person reads it."""

    id: int
    address: str  # host:port its packets come from
    transport: str
    user_agent: str  # what the phone calls itself: text from the network, only ever escaped
    contact: str
    since: datetime
    seen: datetime
    expires: datetime
    online: bool
    silent_since: datetime | None  # it stopped answering the server's pings then
    old_password: bool  # registered before the password changed: fails at ``expires``
    no_password: bool  # the extension has none that fits now: fails at ``expires`` too


def devices_of(extension: Extension, now: datetime | None = None) -> list[Device]:
    """The devices online, newest first, then the last few that ended (two queries)."""
    now = now or timezone.now()
    no_password = extension.credential_state != CredentialState.READY
    online, ended = [], []
    for row in extension.bindings.with_password_age(now).order_by("-refreshed_at", "-pk"):
        is_online = row.expires_at > now
        (online if is_online else ended).append(Device(
            id=row.pk, address=host_and_port(row.remote_host, row.remote_port), transport=row.transport,
            user_agent=row.user_agent, contact=row.contact, since=row.registered_at, seen=row.refreshed_at,
            expires=row.expires_at, online=is_online, silent_since=row.unreachable_since,
            old_password=row.has_old_password, no_password=is_online and no_password,
        ))
    return online + ended[:ENDED_SHOWN]


def host_and_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
