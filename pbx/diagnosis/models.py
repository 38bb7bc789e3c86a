"""What the diagnosis is made from: failed attempts, times of being online, messages of calls and of watched phones,
blocked addresses, and the links of the outside-in test. Written by the engine (``pbx.diagnosis.store``) but for the
watches, the links and the lifting of blocks. Every table is bounded."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from extensions.models import Extension
from pbx.diagnosis.visible import visible


class Attempt(models.Model):
    """Failed attempts of one number from one source by one cause, counted: ``sipcore.evidence.facts.Attempt``.
    ``extension`` is empty for a number that is none. ``asked`` and ``messages`` are of the latest one."""

    extension = models.ForeignKey(Extension, models.CASCADE, null=True, related_name="attempts")
    number = models.CharField(_("number"), max_length=64, blank=True)
    source = models.CharField(_("address"), max_length=45)
    port = models.PositiveIntegerField(_("port"))
    transport = models.CharField(_("transport"), max_length=8)
    cause = models.CharField(_("reason"), max_length=32)
    proven = models.BooleanField(default=False)
    count = models.PositiveIntegerField(_("attempts"), default=1)
    repeats = models.PositiveIntegerField(default=0)
    first_at = models.DateTimeField(_("first"))
    last_at = models.DateTimeField(_("last"))
    user_agent = models.CharField(_("phone"), max_length=128, blank=True)
    sources = models.JSONField(default=list)
    asked = models.JSONField(default=dict)
    messages = models.JSONField(default=list)

    class Meta:
        verbose_name = _("failed attempt")
        verbose_name_plural = _("failed attempts")
        default_permissions = ("view",)
        constraints = [models.UniqueConstraint(fields=["number", "source", "cause"], name="attempt_group")]
        indexes = [
            models.Index(fields=["extension", "last_at"], name="attempt_extension"),
            models.Index(fields=["last_at"], name="attempt_last"),
            models.Index(fields=["source", "last_at"], name="attempt_source"),
        ]

    def __str__(self):
        return f"{self.number} {self.source} {self.cause}"


class OnlinePeriod(models.Model):
    """A time at which a phone of this extension was online, or silent while registered, and which is over. The one
    that is going on is the binding itself."""

    class Ending(models.TextChoices):
        EXPIRED = "expired", _("not renewed")
        SIGNED_OFF = "signed_off", _("signed off")
        CONNECTION_LOST = "connection_lost", _("connection lost")
        SILENT = "silent", _("did not answer")

    # Without the database's own check, which would lock each extension for each row: a power cut writes one for every
    # phone. A row that comes just as its extension is deleted is seen by nobody, and swept when it is old.
    # Nor with an index of its own: that of period_extension begins with it.
    extension = models.ForeignKey(
        Extension, models.CASCADE, related_name="online_periods", db_constraint=False, db_index=False
    )
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    ending = models.CharField(max_length=16, choices=Ending)
    source = models.CharField(max_length=64, blank=True)
    user_agent = models.CharField(max_length=128, blank=True)

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["extension", "ended_at"], name="period_extension")]

    def __str__(self):
        return f"{self.extension_id} {self.started_at:%H:%M}-{self.ended_at:%H:%M}"


class CallTrace(models.Model):
    """The messages of a call that failed, had no sound, or was watched."""

    uniqueid = models.CharField(max_length=64, unique=True)
    updated_at = models.DateTimeField(default=timezone.now)
    messages = models.JSONField(default=list)

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["updated_at"], name="trace_updated")]

    def __str__(self):
        return self.uniqueid


class Watch(models.Model):
    """An administrator watches a phone: until then every message of it is kept. ``number`` in lower case."""

    number = models.CharField(max_length=64, unique=True)
    until = models.DateTimeField()
    by = models.CharField(max_length=150, blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self):
        return self.number


class WatchedMessage(models.Model):
    """One message of a watched phone: ``sipcore.evidence.facts.WireMessage`` as JSON."""

    number = models.CharField(max_length=64)
    call_id = models.CharField(max_length=255, blank=True)
    at = models.DateTimeField()
    message = models.JSONField()

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["number", "at"], name="watched_number")]

    def __str__(self):
        return f"{self.number} {self.at:%H:%M:%S}"


class Block(models.Model):
    """An address, or one number from it, that the guard answers no more until then. ``number`` empty: all of it."""

    class Reason(models.TextChoices):
        GUESSING = "guessing", _("guessed at many numbers")
        WRONG_PASSWORD = "wrong_password", _("the same wrong password again and again")
        ADMINISTRATOR = "administrator", _("blocked by an administrator")

    source = models.CharField(_("address"), max_length=45)
    number = models.CharField(_("number"), max_length=64, blank=True)
    reason = models.CharField(_("reason"), max_length=16, choices=Reason)
    by = models.CharField(_("blocked by"), max_length=150, blank=True)  # empty: the guard
    since = models.DateTimeField(_("since"))
    until = models.DateTimeField(_("until"))
    failures = models.PositiveIntegerField(_("failures"), default=0)
    numbers = models.JSONField(_("numbers"), default=list)  # the last few that were tried
    spared = models.JSONField(default=list)  # those that go on: known good there, or repaired since
    tries = models.PositiveIntegerField(_("tries since"), default=0)
    last_try_at = models.DateTimeField(_("last try"), null=True)
    user_agent = models.CharField(_("phone"), max_length=128, blank=True)

    class Meta:
        verbose_name = _("blocked address")
        verbose_name_plural = _("blocked addresses")
        default_permissions = ("view", "delete")
        constraints = [models.UniqueConstraint(fields=["source", "number"], name="block_once")]
        indexes = [models.Index(fields=["until"], name="block_until")]

    def __str__(self):
        return visible(f"{self.source} {self.number}".strip())


class GuardAction(models.Model):
    """A request to the guard of every SIP process (``sipcore.guard.blocks.GuardRequest``): "unblock", "block", and
    "pardon" for a number that was repaired. Rows are read by their ``id`` and swept with time."""

    action = models.CharField(max_length=16, default="unblock")
    source = models.CharField(max_length=45, blank=True)
    number = models.CharField(max_length=64, blank=True)
    by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()

    def __str__(self):
        return f"{self.action} {self.source} {self.number}".strip()


class ProbeLink(models.Model):
    """A link of the outside-in test: to be opened on a phone in another network. Only the hash of the token is kept."""

    extension = models.ForeignKey(Extension, models.CASCADE, related_name="probe_links")
    token_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    by = models.CharField(max_length=150, blank=True)
    opened_at = models.DateTimeField(null=True)
    opened_from = models.CharField(max_length=45, blank=True)

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["expires_at"], name="probe_expires")]

    def __str__(self):
        return f"{self.extension_id} {self.created_at:%Y-%m-%d %H:%M}"
