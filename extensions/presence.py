"""Who is online, as the administrator's pages show it (registrations: RFC 3261 section 10.3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.utils import timezone

from extensions.models import Binding, CredentialState, DigestCredential, Extension
from extensions.states import credential_state
from pbx.system.identity import current_realm

ENDED_SHOWN = 5  # ended registrations listed under the live ones


def add_presence(extensions: Iterable[Extension], now: datetime | None = None) -> list[Extension]:
    """All that a row of the list shows, in two queries and without any secret: what ``with_presence()`` has as columns,
    and ``silent_devices``, those of the devices online that do not answer.

    Of rows that were read already: to put it together in the query of the list took longer than all of this."""
    now = now or timezone.now()
    found = {extension.pk: extension for extension in extensions}
    for extension in found.values():
        extension.devices_online, extension.silent_devices, extension.last_seen = 0, 0, None
    bindings = Binding.objects.filter(extension_id__in=[*found]).values_list(
        "extension_id", "expires_at", "refreshed_at", "unreachable_since"
    )
    for key, expires_at, refreshed_at, unreachable_since in bindings:
        extension = found[key]
        if expires_at > now:
            extension.devices_online += 1
            extension.silent_devices += unreachable_since is not None
        extension.last_seen = max(refreshed_at, extension.last_seen or refreshed_at)
    credentials = defaultdict(list)
    columns = ("extension_id", "algorithm", "username", "realm")
    for row in DigestCredential.objects.filter(extension_id__in=[*found]).values_list(*columns, named=True):
        credentials[row.extension_id].append(row)
    realm, offered = current_realm(), settings.SIP_DIGEST_ALGORITHMS
    for key, extension in found.items():
        state = credential_state(extension.number, credentials[key], realm=realm, offered=offered)
        extension.stored_credential_state = state
    return list(found.values())


def add_password_age(bindings: Iterable[Binding], now: datetime | None = None) -> list[Binding]:
    """What ``with_password_age()`` has as a column, for rows that were read already."""
    now = now or timezone.now()
    found = list(bindings)
    changed: dict[int, datetime] = {}
    credentials = DigestCredential.objects.filter(extension_id__in=[binding.extension_id for binding in found])
    for key, changed_at in credentials.values_list("extension_id", "changed_at"):
        changed[key] = min(changed_at, changed.get(key, changed_at))
    for binding in found:
        changed_at = changed.get(binding.extension_id)
        refreshed_before = changed_at is not None and binding.refreshed_at < changed_at
        binding.has_old_password = refreshed_before and binding.expires_at > now
    return found


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
