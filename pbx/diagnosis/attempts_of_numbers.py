"""Attempts follow the numbers: those of a number that is given to an extension become that extension's, and those of
its former number are nobody's again."""

from __future__ import annotations

from django.db.models.signals import post_save
from django.dispatch import receiver

from extensions.models import Extension
from pbx.diagnosis.models import Attempt
from pbx.diagnosis.quotas import keep_attempts


@receiver(post_save, sender=Extension)
def follow_number(sender, instance: Extension, using: str, created: bool, raw: bool = False, **_more) -> None:
    if raw or not (created or instance._stored_number != instance.number):
        return
    attempts = Attempt.objects.using(using)
    nobodys = 0
    if not created:
        nobodys = attempts.filter(extension=instance).exclude(number__iexact=instance.number).update(extension=None)
    if attempts.filter(extension=None, number__iexact=instance.number).update(extension=instance) or nobodys:
        keep_attempts({instance.pk}, unknown=bool(nobodys))
