"""Saves many extensions in few statements: what ``save()`` and its signals do, for an import of thousands.

Ten thousand single saves hold the write lock of SQLite for half a minute, and no phone could register meanwhile.
This is the only place that goes round the manager; a test compares its rows with those of ``save()``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.utils import timezone

from extensions.credentials import make_ha1s, renewed_row
from extensions.models import Binding, DigestCredential, Extension
from extensions.repaired import repaired
from pbx.system.identity import current_realm

BATCH = 400  # rows a statement; far below the limit on parameters of SQLite

COLUMNS = ("display_name", "enabled", "max_devices", "ring_seconds", "media_from_anywhere", "language")


class ChangedMeanwhile(Exception):
    """An extension was renamed or deleted between the reading and the writing. Nothing was written."""


@dataclass(slots=True)
class Change:
    """One extension to write, new or read from the database before, with its new secret if it gets one.

    The secret is ``raw`` (its hash is already in ``extension.password``) or ``ha1s``, by algorithm and for the realm
    of now. An algorithm that is not in ``ha1s`` loses its row: it was made of another password."""

    extension: Extension
    raw: str | None = field(default=None, repr=False)
    ha1s: dict[str, str] | None = field(default=None, repr=False)

    @property
    def has_secret(self) -> bool:
        return self.raw is not None or self.ha1s is not None


def save_many(changes: Sequence[Change], columns: Collection[str] = COLUMNS) -> None:
    """Write all of them or none, in one transaction. Of the extensions that are there already only ``columns`` are
    written (never the number), and the password hash of those that get a new secret.

    Raises ChangedMeanwhile, IntegrityError (a number was taken meanwhile) and other database errors."""
    new = [change.extension for change in changes if change.extension.pk is None]
    old = [change for change in changes if change.extension.pk is not None]
    with transaction.atomic():
        for batch in _batches([change.extension for change in old]):
            _lock(batch)
        _overwrite([change.extension for change in old if not change.has_secret], list(columns))
        _overwrite([change.extension for change in old if change.has_secret], [*columns, "password"])
        if "enabled" in columns:
            for batch in _batches([change.extension.pk for change in old if not change.extension.enabled]):
                Binding.objects.filter(extension__in=batch).delete()
        Extension._base_manager.bulk_create(new, batch_size=BATCH)
        for batch in _batches([change for change in changes if change.has_secret]):
            _write_credentials(batch)
        numbers = [change.extension.number for change in changes if change.has_secret]
        if numbers:
            transaction.on_commit(lambda: repaired.send(Extension, numbers=numbers), robust=True)


def _lock(extensions: Sequence[Extension]) -> None:
    numbers = {extension.pk: extension.number for extension in extensions}
    locked = Extension._base_manager.filter(pk__in=numbers).order_by("pk").select_for_update()
    if dict(locked.values_list("pk", "number")) != numbers:
        raise ChangedMeanwhile


def _overwrite(extensions: Sequence[Extension], columns: list[str]) -> None:
    """One statement a batch; all rows are there and locked, so that it never inserts one."""
    if columns:
        Extension._base_manager.bulk_create(
            extensions, batch_size=BATCH, update_conflicts=True, unique_fields=["id"], update_fields=columns
        )


def _write_credentials(batch: Sequence[Change]) -> None:
    realm, now = current_realm(), timezone.now()
    stored: dict[tuple[int, str], DigestCredential] = {
        (row.extension_id, row.algorithm): row
        for row in DigestCredential.objects.filter(extension__in=[change.extension.pk for change in batch])
    }
    rows = []
    for change in batch:
        extension = change.extension
        ha1s = make_ha1s(extension.number, realm, change.raw) if change.raw is not None else change.ha1s
        for algorithm, ha1 in ha1s.items():
            row = stored.pop((extension.pk, algorithm), None)
            rows.append(renewed_row(row, extension, algorithm, realm, ha1, now, change.raw))
    outdated = [row.pk for row in stored.values()]
    if outdated:
        DigestCredential.objects.filter(pk__in=outdated).delete()
    DigestCredential.objects.bulk_create(
        [_without_pk(row) for row in rows if row is not None],
        batch_size=BATCH,
        update_conflicts=True,
        unique_fields=["extension", "algorithm"],
        update_fields=["username", "realm", "ha1", "changed_at"],
    )


def _without_pk(row: DigestCredential) -> DigestCredential:
    """New and stored rows go into one statement, whose conflict is on extension and algorithm."""
    row.pk = None
    return row


def _batches(items: Sequence) -> Iterator[Sequence]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
