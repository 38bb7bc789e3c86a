"""Keeps the HA1 cache and the registrations in step with the extension, in the transaction of its save or delete."""

from __future__ import annotations

from django.db import transaction
from django.db.models.signals import post_save, pre_delete, pre_save
from django.dispatch import receiver

from extensions.credentials import refresh_credentials
from extensions.models import Extension


def _lock(extension: Extension, using: str) -> str | None:
    """Lock the stored row until the transaction ends and return its number, None if there is no row. The engine
    locks the rows of a batch as well: either its registration is there to be ended, or it sees the change."""
    if extension.pk is None:
        return None
    rows = Extension.objects.using(using).filter(pk=extension.pk).order_by()
    return rows.select_for_update().values_list("number", flat=True).first()


@receiver(pre_save, sender=Extension)
def remember_number(sender, instance: Extension, using: str, raw: bool = False, **_more) -> None:
    """Note what the number was, so that a rename is seen whoever made the last change to the row."""
    if not raw:  # a fixture brings its own rows
        instance._stored_number = _lock(instance, using)


@receiver(post_save, sender=Extension)
def refresh_cache(sender, instance: Extension, using: str, raw: bool = False, **_more) -> None:
    """Make the HA1 rows when a password was set; end the registrations of a renamed or disabled extension."""
    if raw:
        return
    renamed = instance._stored_number not in (None, instance.number)
    if renamed or not instance.enabled:
        instance.bindings.using(using).delete()
    instance.forget_reads()
    password = instance._raw_password
    if password is not None:
        refresh_credentials(instance, password)
        # Only after the commit: if the transaction is rolled back, the next save makes the rows.
        transaction.on_commit(lambda: instance.forget_raw_password(password), using=using)


@receiver(pre_delete, sender=Extension)
def lock_deleted(sender, instance: Extension, using: str, **_more) -> None:
    """Credentials and registrations go by cascade. Without the lock, one that the engine adds in the middle would
    make the delete fail."""
    _lock(instance, using)
