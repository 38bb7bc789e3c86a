"""The table of one-time provisioning links; ``extensions.provisioning`` makes and uses them."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.utils import timezone


class ProvisioningLink(models.Model):
    """A link from which one phone fetches its settings, once. Kept after use so that the page can say who used it."""

    class State(models.TextChoices):
        WAITING = "waiting"
        USED = "used"
        EXPIRED = "expired"

    extension = models.ForeignKey("extensions.Extension", models.CASCADE, related_name="provisioning_links")
    token_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    used_from = models.CharField(max_length=45, blank=True)

    def __str__(self):
        return f"{self.created_at:%Y-%m-%d %H:%M}"

    def state(self, now: datetime | None = None) -> State:
        if self.used_at is not None:
            return self.State.USED
        return self.State.WAITING if self.expires_at > (now or timezone.now()) else self.State.EXPIRED
