"""The numbers on the first page of the admin."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db.models import Count, F, Q
from django.http import HttpRequest

from extensions.models import Binding, CredentialState, DigestCredential, Extension
from pbx.system.identity import current_realm


@dataclass(frozen=True, slots=True)
class Overview:
    total: int
    online: int
    missing: int  # enabled, but no phone can sign in: there is no password
    stale: int  # enabled, and its password has to be given again
    disabled: int
    answering: int  # registrations, but for those of phones that do not answer


def overview(request: HttpRequest) -> Overview | None:
    """None for someone who may not see extensions."""
    if not request.user.has_perm("extensions.view_extension") and not request.user.has_perm(
        "extensions.change_extension"
    ):
        return None
    extensions = Extension.objects.aggregate(total=Count("pk"), disabled=Count("pk", filter=Q(enabled=False)))
    return Overview(
        **extensions,
        **Binding.objects.shown().online().aggregate(
            online=Count("extension", distinct=True), answering=Count("pk", filter=Q(unreachable_since=None))
        ),
        **without_password(extensions["total"] - extensions["disabled"]),
    )


def without_password(enabled: int | None = None) -> dict[str, int]:
    """``missing`` and ``stale`` of :class:`Overview`, in this order. Nearly always all that are ``enabled`` have a
    password that fits, which is told by one count."""
    extensions = Extension.objects.filter(enabled=True)
    if all(
        count == (extensions.count() if enabled is None else enabled)
        for count in (
            DigestCredential.objects.filter(
                algorithm=algorithm, realm=current_realm(), username=F("extension__number"), extension__enabled=True,
                extension__hidden=False,
            ).count()
            for algorithm in settings.SIP_DIGEST_ALGORITHMS
        )
    ):
        return {"missing": 0, "stale": 0}
    return {
        "missing": extensions.in_credential_state(CredentialState.MISSING).count(),
        "stale": extensions.in_credential_state(CredentialState.STALE).count(),
    }
