"""Makes extensions and registrations for the tests of this room."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from extensions.models import Binding, Extension


def make_extension(number: str = "1001", password: str | None = "test123456", **fields) -> Extension:
    extension = Extension(number=number, **fields)
    if password is not None:
        extension.set_password(password)
    extension.save()
    # Read again: inside a TestCase nothing is ever committed, so the instance would keep its raw password.
    return Extension.objects.get(pk=extension.pk)


def make_binding(extension: Extension, *, key: str = "<urn:uuid:1>", refreshed_at: datetime | None = None,
                 seconds_left: int = 1800, **fields) -> Binding:
    """One registration of ``extension``; a negative ``seconds_left`` makes one that has ended."""
    now = timezone.now()
    values = {
        "contact": "sip:1001@192.168.1.7:5062", "transport": "UDP", "remote_host": "203.0.113.9", "remote_port": 5062,
        "local_host": "192.0.2.1", "local_port": 5060, "node": "test", "call_id": "a84b4c76e66710", "cseq": 1,
        "user_agent": "Zoiper", "nonce": "n", "nc": 1,
    }
    return Binding.objects.create(
        extension=extension, key=key, registered_at=refreshed_at or now, refreshed_at=refreshed_at or now,
        expires_at=now + timedelta(seconds=seconds_left), **{**values, **fields},
    )


def ha1s(extension: Extension) -> dict[str, str]:
    """The stored HA1 of each algorithm."""
    return dict(extension.credentials.order_by("algorithm").values_list("algorithm", "ha1"))
