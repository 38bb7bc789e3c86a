"""The numbers on the first page of the admin."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest

from extensions.models import CredentialState, Extension


@dataclass(frozen=True, slots=True)
class Overview:
    total: int
    online: int
    missing: int  # enabled, but no phone can sign in: there is no password
    stale: int  # enabled, and its password has to be given again
    disabled: int


def overview(request: HttpRequest) -> Overview | None:
    """None for someone who may not see extensions."""
    if not request.user.has_perm("extensions.view_extension") and not request.user.has_perm(
        "extensions.change_extension"
    ):
        return None
    extensions = Extension.objects.with_presence()
    enabled = extensions.filter(enabled=True)
    return Overview(
        total=Extension.objects.count(),
        online=extensions.filter(devices_online__gt=0).count(),
        missing=enabled.filter(stored_credential_state=CredentialState.MISSING).count(),
        stale=enabled.filter(stored_credential_state=CredentialState.STALE).count(),
        disabled=Extension.objects.filter(enabled=False).count(),
    )
