"""Keeps the HA1 cache and the registrations in step with the extension, in the transaction of its save or delete."""

from __future__ import annotations

from django.db import connections, transaction
from django.db.models.signals import post_save, pre_delete, pre_save
from django.dispatch import receiver

from extensions.credentials import refresh_credentials
from extensions.models import Extension
from extensions.repaired import repaired


def _locked(extension: Extension, using: str) -> Extension | None:
    """The stored row, locked until the transaction ends. The engine locks the rows of a batch as well: either its
    registration is there to be ended, or it sees the change."""
    if extension.pk is None:
        return None
    rows = Extension.everything.using(using).filter(pk=extension.pk).order_by()
    return rows.select_for_update().only("number", "enabled", "password").first()


@receiver(pre_save, sender=Extension)
def meet_stored_row(sender, instance: Extension, using: str, update_fields=None, raw: bool = False, **_more) -> None:
    """Take from the stored row what this save does not change: another process may have changed it meanwhile, and
    the HA1 has to be made for the number, and stand beside the hash, that will be in the row."""
    if raw:  # a fixture brings its own rows
        return
    stored = _locked(instance, using)
    instance._stored_number = stored.number if stored else None
    instance._stored_enabled = stored.enabled if stored else None
    if stored is None:
        return
    if instance._raw_password is None:
        instance.password = stored.password  # only set_password() changes it
    if update_fields is not None and "number" not in update_fields:
        instance.number = stored.number
    if update_fields is not None and "enabled" not in update_fields:
        instance.enabled = stored.enabled


@receiver(post_save, sender=Extension)
def refresh_cache(sender, instance: Extension, using: str, raw: bool = False, **_more) -> None:
    """Make the HA1 rows when a password was set; end the registrations of a renamed or disabled extension."""
    if raw:
        return
    renamed = instance._stored_number not in (None, instance.number)
    if renamed or not instance.enabled:
        instance.bindings.using(using).all().delete()
    instance.forget_reads()
    password = instance._raw_password
    if password is not None:
        refresh_credentials(instance, password)
        # Only after the commit: if the transaction is rolled back, the next save makes the rows.
        transaction.on_commit(lambda: instance.forget_raw_password(password), using=using)
    is_repair = password is not None or renamed or (instance.enabled and not instance._stored_enabled)
    if is_repair and not instance.hidden:
        number = instance.number
        transaction.on_commit(lambda: repaired.send(Extension, numbers=[number]), using=using, robust=True)


@receiver(pre_delete, sender=Extension)
def lock_deleted(sender, instance: Extension, using: str, **_more) -> None:
    """Credentials and registrations go by cascade, in the same transaction. Without the lock, a registration that
    the engine adds in the middle would make the delete fail. SQLite has one writer at a time and needs none."""
    if connections[using].features.has_select_for_update:
        _locked(instance, using)
