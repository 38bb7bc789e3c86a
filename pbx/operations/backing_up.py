"""Makes a backup while everything runs: the database as of one moment, with what a full restore needs beside it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from django.utils.translation import gettext as _

from pbx import __version__
from pbx.operations import postgres_tools
from pbx.operations.archive import DOTENV, SECRET_KEY, Manifest, write_archive
from pbx.operations.ownership import leave_to_owner
from pbx.startup.refusal import Refusal
from pbx.var_directory import make_private_directory


def stamp() -> str:
    return f"{timezone.localtime():%Y%m%d-%H%M%S}"


def default_path(prefix: str = "pbx") -> Path:
    """In ``var/backups``, which only the PBX's user can open."""
    directory = settings.VAR_DIR / "backups"
    make_private_directory(directory)
    leave_to_owner(directory)
    return directory / f"{prefix}-{stamp()}.zip"


def secret_key_file() -> Path:
    return settings.VAR_DIR / "secret-key"


def make_backup(path: Path) -> Manifest:
    """Write ``path`` whole or not at all; an existing file is never overwritten.

    :raises Refusal: with the one sentence.
    :raises django.db.Error: when the database is away."""
    if path.exists():
        raise Refusal(_("%(file)s is there already: choose another name.") % {"file": path})
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".pbx-backup-") as scratch:
            database, part = Path(scratch, "database"), Path(scratch, "part")
            manifest = Manifest(__version__, connection.vendor, timezone.now().isoformat(), applied_migrations())
            if not manifest.migrations:
                raise Refusal(_("The database is still empty: there is nothing to back up."))
            if connection.vendor == "sqlite":
                copy_sqlite(Path(settings.DATABASES["default"]["NAME"]), database)
            else:
                postgres_tools.dump(database)
            write_archive(part, manifest, database, beside_the_database())
            if path.parent == settings.VAR_DIR / "backups":
                leave_to_owner(part)
            os.rename(part, path)
    except OSError as error:
        raise Refusal(
            _("%(file)s cannot be written: %(reason)s.") % {"file": path, "reason": error.strerror or error}
        ) from None
    return manifest


def applied_migrations() -> tuple[str, ...]:
    return tuple(sorted(f"{app}.{name}" for app, name in MigrationRecorder(connection).applied_migrations()))


def copy_sqlite(source: Path, target: Path) -> None:
    """All pages in one step are one reading transaction: with WAL nobody who writes waits for it.

    :raises Refusal: when the copy does not pass SQLite's own check."""
    with (
        contextlib.closing(sqlite3.connect(source, timeout=20)) as reading,
        contextlib.closing(sqlite3.connect(target, isolation_level=None)) as writing,
    ):
        reading.backup(writing, pages=-1)
        writing.execute("PRAGMA journal_mode=DELETE")
    if not is_sound(target):
        raise Refusal(_("The database file %(file)s is damaged: restore an earlier backup.") % {"file": source})


def is_sound(path: Path) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
    except sqlite3.DatabaseError:
        return False


def beside_the_database() -> dict[str, bytes]:
    """The secret key, where it is not one of the settings, and ``.env``."""
    found = {}
    with contextlib.suppress(OSError):
        key = secret_key_file().read_bytes()
        if key.decode("ascii", "replace").strip() == settings.SECRET_KEY:
            found[SECRET_KEY] = key
    with contextlib.suppress(OSError):
        found[DOTENV] = (settings.BASE_DIR / ".env").read_bytes()
    return found
