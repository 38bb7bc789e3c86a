"""One row for each call, with Asterisk's CDR column names, and what administrators ask of calls that are going on."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from sipcore.calls.records import LegRow, MediaRow, legs_from_json, media_from_json


class CallQuerySet(models.QuerySet):
    def living(self) -> CallQuerySet:
        """Calls that are going on."""
        return self.filter(end__isnull=True)

    def without_details(self) -> CallQuerySet:
        """For lists: the two wide columns are not read."""
        return self.defer("legs", "media")


class CallRecord(models.Model):
    """Written by the engine only (``pbx.calls.store``). ``end`` empty: the call is going on."""

    class Disposition(models.TextChoices):
        ANSWERED = "ANSWERED", _("answered")
        NO_ANSWER = "NO ANSWER", _("no answer")
        BUSY = "BUSY", _("busy")
        FAILED = "FAILED", _("failed")
        CONGESTION = "CONGESTION", _("congestion")

    uniqueid = models.CharField(max_length=64, unique=True)
    node = models.CharField(_("machine"), max_length=32)
    src = models.CharField(_("from"), max_length=80)
    dst = models.CharField(_("to"), max_length=80)
    clid = models.CharField(_("caller"), max_length=160, blank=True)
    start = models.DateTimeField(_("start"))
    answer = models.DateTimeField(_("answered"), null=True)
    end = models.DateTimeField(_("end"), null=True)
    duration = models.PositiveIntegerField(_("duration"), default=0)  # seconds, once it has ended
    billsec = models.PositiveIntegerField(_("talk time"), default=0)  # seconds, once it has ended
    disposition = models.CharField(_("result"), max_length=16, choices=Disposition)
    cause = models.CharField(_("reason"), max_length=32, blank=True)
    hung_up_by = models.CharField(_("hung up by"), max_length=16, blank=True)
    sip_call_id = models.CharField(max_length=255, blank=True)
    legs = models.JSONField(default=list)
    media = models.JSONField(default=list)

    objects = CallQuerySet.as_manager()

    class Meta:
        verbose_name = _("call")
        verbose_name_plural = _("Call Detail Records")
        ordering = ["-start", "-id"]
        default_permissions = ("view",)
        indexes = [
            # The totals of the list are read from this index alone, and its first column orders the list.
            models.Index(fields=["start", "disposition", "billsec"], name="call_start"),
            models.Index(fields=["src", "start"], name="call_src"),
            models.Index(fields=["dst", "start"], name="call_dst"),
            models.Index(fields=["start"], condition=Q(end__isnull=True), name="call_living"),
        ]

    def __str__(self):
        return f"{self.src} → {self.dst}"

    @property
    def lives(self) -> bool:
        return self.end is None

    @property
    def leg_rows(self) -> list[LegRow]:
        return legs_from_json(self.legs)

    @property
    def media_rows(self) -> list[MediaRow]:
        return media_from_json(self.media)

    @property
    def caller_name(self) -> str:
        """The name in ``"Front desk" <1001>``; empty when there is none besides the number."""
        name = self.clid.partition("<")[0].strip().strip('"')
        return "" if name == self.src else name

    def talk_seconds(self, now: datetime) -> float:
        """Seconds since the answer, until the end or ``now``; 0 when nobody answered."""
        return max(0.0, ((self.end or now) - self.answer).total_seconds()) if self.answer else 0.0


class ActiveCall(CallRecord):
    """The same rows in the menu once more: those that are going on."""

    class Meta:
        proxy = True
        verbose_name = _("active call")
        verbose_name_plural = _("Active Calls")
        default_permissions = ("view",)
        permissions = [("hangup_activecall", _("Can hang up active calls"))]


class CallAction(models.Model):
    """A request to act on a call; the engine of that machine takes it within a second and deletes the row."""

    uniqueid = models.CharField(max_length=64)
    node = models.CharField(max_length=32)
    action = models.CharField(max_length=16, default="hangup")
    by = models.CharField(max_length=150)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("request")
        verbose_name_plural = _("requests")
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["uniqueid", "action"], name="call_action_once")]
        indexes = [models.Index(fields=["node"], name="call_action_node")]

    def __str__(self):
        return f"{self.action} {self.uniqueid}"


def ask_to_hang_up(call: CallRecord, by: str) -> None:
    """Ask the machine that has this call to end it; asking twice is asking once."""
    CallAction.objects.get_or_create(
        uniqueid=call.uniqueid, action="hangup", defaults={"node": call.node, "by": by[:150]}
    )
