"""One row per subscription (RFC 6665): who watches whom, and the dialog over which it is told."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from sipcore.subscriptions.ports import CALL_ID_LIMIT, EVENT_ID_LIMIT, TAG_LIMIT, URI_LIMIT


class Subscription(models.Model):
    """Written by the SIP process alone. ``next_seq``: no NOTIFY above this CSeq has been sent yet."""

    local_tag = models.CharField(max_length=TAG_LIMIT, unique=True)
    remote_tag = models.CharField(max_length=TAG_LIMIT)
    call_id = models.CharField(max_length=CALL_ID_LIMIT)
    event = models.CharField(max_length=32)
    event_id = models.CharField(max_length=EVENT_ID_LIMIT, blank=True)
    subscriber = models.ForeignKey("extensions.Extension", models.CASCADE, related_name="subscriptions")
    resource = models.ForeignKey("extensions.Extension", models.CASCADE, related_name="watchers")
    local_uri = models.CharField(max_length=URI_LIMIT)
    remote_uri = models.CharField(max_length=URI_LIMIT)
    remote_target = models.CharField(max_length=URI_LIMIT)
    route_set = models.JSONField(default=list)
    next_seq = models.BigIntegerField()
    remote_seq = models.BigIntegerField()
    transport = models.CharField(max_length=8)
    remote_host = models.CharField(max_length=45)
    remote_port = models.PositiveIntegerField()
    local_host = models.CharField(max_length=45)
    local_port = models.PositiveIntegerField()
    connection = models.CharField(max_length=32, blank=True)
    node = models.CharField(max_length=32)
    worker = models.PositiveSmallIntegerField(default=0)
    expires_at = models.DateTimeField()

    class Meta:
        verbose_name = _("subscription")
        verbose_name_plural = _("subscriptions")
        default_permissions = ()
        indexes = [models.Index(fields=["node", "expires_at"], name="subscription_node")]

    def __str__(self):
        return f"{self.event} {self.local_tag}"
