"""The numbers on the first page of the admin."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest

from extensions.models import CredentialState, Extension


@dataclass(frozen=True, slots=True)
class Overview:
    total: int
    online: int
    without_password: int  # enabled, but no phone can sign in: the password is missing or stale
    disabled: int


def overview(request: HttpRequest) -> Overview | None:
    """None for someone who may not see extensions."""
    if not request.user.has_perm("extensions.view_extension") and not request.user.has_perm(
        "extensions.change_extension"
    ):
        return None
    extensions = Extension.objects.with_presence()
    return Overview(
        total=Extension.objects.count(),
        online=extensions.filter(devices_online__gt=0).count(),
        without_password=extensions.filter(enabled=True).exclude(
            stored_credential_state=CredentialState.READY
        ).count(),
        disabled=Extension.objects.filter(enabled=False).count(),
    )
