"""The realm: made once, at the first ``migrate``, and kept (RFC 3261 22.1: realms are globally unique)."""

from __future__ import annotations

import ipaddress
import secrets
import time

from django.conf import settings
from django.db import connections

CACHE_SECONDS = 5.0
_cached: tuple[str, float] | None = None


def current_realm() -> str:
    """The realm inside every HA1 that is made now.

    :raises django.db.Error: when the database is away and the setting SIP_REALM is empty."""
    global _cached
    if settings.SIP_REALM:
        return settings.SIP_REALM
    now = time.monotonic()
    if _cached is not None and now < _cached[1]:
        return _cached[0]
    realm = _identity("default").realm
    _cached = (realm, now + CACHE_SECONDS)
    return realm


def forget_cached_realm() -> None:
    global _cached
    _cached = None


def first_realm() -> str:
    """The domain of this moment if it is a name, else something no one else has."""
    domain = settings.SIP_DOMAIN.lower()
    try:
        ipaddress.ip_address(domain.strip("[]"))
    except ValueError:
        if "." in domain:
            return domain
    return f"pbx-{secrets.token_hex(4)}"


def make_identity(sender, using, **kwargs) -> None:
    """``post_migrate``: by then the table is there, unless the app was migrated back to nothing."""
    from pbx.system.models import Identity

    connection = connections[using]
    forget_cached_realm()
    if Identity._meta.db_table in connection.introspection.table_names():
        _identity(using)


def _identity(using: str):
    from pbx.system.models import Identity

    identity, _made = Identity.objects.using(using).get_or_create(pk=1, defaults={"realm": first_realm()})
    return identity
