from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Identity(models.Model):
    """The one row that says who this installation is. The realm is inside every HA1: it never changes by itself."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    realm = models.CharField(_("realm"), max_length=255)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = _("identity")
        verbose_name_plural = _("identity")
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="system_identity_single")]

    def __str__(self):
        return self.realm


class SipProcess(models.Model):
    """The heartbeat of one ``runsip`` worker."""

    node = models.CharField(_("machine"), max_length=32)
    worker = models.PositiveSmallIntegerField(default=0)
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    listening = models.CharField(max_length=255)
    version = models.CharField(max_length=32)
    # Which start of this machine it was, and how long ago: what the clock should say later can be told from it. With
    # defaults in the database: a process of the version before may still be writing.
    boot = models.CharField(max_length=36, blank=True, default="", db_default="")
    up_seconds = models.FloatField(default=0.0, db_default=0.0)

    class Meta:
        verbose_name = _("SIP process")
        verbose_name_plural = _("SIP processes")
        constraints = [models.UniqueConstraint(fields=["node", "worker"], name="system_sip_process")]

    def __str__(self):
        return f"{self.node} {self.worker}"
