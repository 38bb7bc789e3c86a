"""Puts a backup in the place of the database, and keeps what was there."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.utils.translation import gettext as _

from pbx import __version__
from pbx.operations import postgres_tools
from pbx.operations.alone import alone, forget_move
from pbx.operations.archive import DOTENV, FORMAT, SECRET_KEY, Archive, Manifest
from pbx.operations.backing_up import (
    applied_migrations,
    default_path,
    is_sound,
    make_backup,
    secret_key_file,
    stamp,
)
from pbx.operations.ownership import leave_to_owner
from pbx.startup.preparation import write_private_bytes
from pbx.startup.refusal import Refusal
from pbx.system.identity import forget_cached_realm

ENGINES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@dataclass(frozen=True)
class Restored:
    manifest: Manifest
    kept: Path | None
    """What was there before; None where nothing was."""
    dotenv: Path | None
    """The settings of the backup, where they differ from those of now."""


def restore(path: Path) -> Restored:
    """:raises Refusal: with the one sentence; the database is then as it was.
    :raises django.db.Error: when the database is away."""
    archive = Archive(path)
    check_fits(archive.manifest)
    try:
        with alone():
            kept = _restore_sqlite(archive) if connection.vendor == "sqlite" else _restore_postgresql(archive)
            forget_cached_realm()
            _restore_secret_key(archive)
            _bring_up_to_date(kept)
            return Restored(archive.manifest, kept, _lay_down_dotenv(archive))
    except OSError as error:
        raise Refusal(
            _("%(file)s cannot be written: %(reason)s.")
            % {"file": error.filename or settings.VAR_DIR, "reason": error.strerror or error}
        ) from None


def check_fits(manifest: Manifest) -> None:
    """:raises Refusal: for a backup of another kind of database, or of a newer version than this one."""
    if manifest.engine != connection.vendor:
        raise Refusal(
            _(
                "The backup is of %(theirs)s and this PBX uses %(ours)s: change DATABASE_URL in .env, restore, "
                "and then move from SQLite to PostgreSQL with manage.py movedatabase."
            )
            % {
                "theirs": ENGINES.get(manifest.engine, manifest.engine[:40]),
                "ours": ENGINES.get(connection.vendor, connection.vendor),
            }
        )
    disk = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    known = {f"{app}.{name}" for app, name in disk}
    known |= {f"{app}.{name}" for migration in disk.values() for app, name in migration.replaces}
    if manifest.format > FORMAT or not set(manifest.migrations) <= known:
        raise Refusal(
            _(
                "The backup was made by a newer version of the PBX (%(theirs)s, here is %(ours)s): install that "
                "version first."
            )
            % {"theirs": manifest.version[:40], "ours": __version__}
        )


def _restore_sqlite(archive: Archive) -> Path | None:
    database = Path(settings.DATABASES["default"]["NAME"])
    fresh = database.with_name(f"{database.name}.restoring")
    fresh.unlink(missing_ok=True)
    try:
        archive.extract_database(fresh)
        leave_to_owner(fresh)
        if not is_sound(fresh):
            raise Refusal(
                _("%(file)s is no backup of the PBX, or it is damaged: take another one.") % {"file": archive.path}
            )
        kept = _put_aside(database)
        os.rename(fresh, database)
    finally:
        fresh.unlink(missing_ok=True)
    directory = os.open(database.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    forget_move()
    return kept


def _bring_up_to_date(kept: Path | None) -> None:
    try:
        call_command("migrate", interactive=False, verbosity=0)
    except DatabaseError as error:
        raise Refusal(
            _(
                "The backup was restored, but the migrations failed (%(kind)s): run manage.py prepare. What was there "
                "before is kept in %(file)s"
            )
            % {"kind": type(error).__name__, "file": kept or "-"}
        ) from None
    finally:
        connection.close()


def _put_aside(database: Path) -> Path | None:
    """A second name for the file, so that at no moment there is none. Beside a damaged one may lie what SQLite had not
    put into it yet: that goes along, or it would be taken for a part of the new file."""
    if not database.exists() or not database.stat().st_size:
        return None
    aside = database.with_name(f"{database.name}.before-restore-{stamp()}")
    for ending in ("-wal", "-shm", "-journal"):
        part = Path(f"{database}{ending}")
        if part.exists():
            os.rename(part, f"{aside}{ending}")
    os.link(database, aside)
    return aside


def _restore_postgresql(archive: Archive) -> Path | None:
    kept = None
    if applied_migrations():
        kept = default_path("before-restore")
        make_backup(kept)
    with tempfile.TemporaryDirectory(dir=settings.VAR_DIR, prefix=".pbx-restore-") as scratch:
        dump = Path(scratch, "database.sql")
        archive.extract_database(dump)
        postgres_tools.replace_by(dump, Path(scratch))
    return kept


def _restore_secret_key(archive: Archive) -> None:
    key, path = archive.read(SECRET_KEY), secret_key_file()
    if key is None or (path.exists() and path.read_bytes() == key):
        return
    if path.exists():
        os.rename(path, path.with_name(f"{path.name}.before-restore-{stamp()}"))
    write_private_bytes(path, key)
    leave_to_owner(path)


def _lay_down_dotenv(archive: Archive) -> Path | None:
    """Settings of another machine or time are for a person to compare: ``.env`` itself stays as it is."""
    theirs, ours = archive.read(DOTENV), settings.BASE_DIR / ".env"
    if theirs is None or (ours.exists() and ours.read_bytes() == theirs):
        return None
    path = settings.VAR_DIR / "env-from-backup"
    write_private_bytes(path, theirs)
    leave_to_owner(path)
    return path
