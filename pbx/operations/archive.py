"""The file of a backup: a zip with the database, what it is (``manifest.json``), the secret key and ``.env``.

It is worth as much as the passwords of all phones, and so has mode 0600."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

from django.utils.translation import gettext as _

from pbx.startup.refusal import Refusal

FORMAT = 1
MANIFEST, DATABASE, SECRET_KEY, DOTENV = "manifest.json", "database", "secret-key", "env"


@dataclass(frozen=True)
class Manifest:
    version: str
    engine: str
    """As Django's ``connection.vendor``."""
    made_at: str
    migrations: tuple[str, ...]
    """``app.name`` of each that the database had."""
    format: int = FORMAT


def write_archive(path: Path, manifest: Manifest, database: Path, more: dict[str, bytes]) -> None:
    """``path`` must not exist yet. :raises OSError: when it cannot be written, or the disk is full."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "r+b") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
            archive.writestr(MANIFEST, json.dumps(asdict(manifest), indent=1))
            archive.write(database, DATABASE)
            for name, content in more.items():
                archive.writestr(name, content)
        file.flush()
        os.fsync(file.fileno())


class Archive:
    """A backup that was read through and is whole.

    :raises Refusal: when it is not one, or damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise zipfile.BadZipFile
                self.names = frozenset(archive.namelist())
                told = json.loads(archive.read(MANIFEST))
            self.manifest = Manifest(
                version=str(told["version"]), engine=str(told["engine"]), made_at=str(told["made_at"]),
                migrations=tuple(map(str, told["migrations"])), format=int(told["format"]),
            )
            if DATABASE not in self.names:
                raise KeyError(DATABASE)
        except OSError as error:
            raise Refusal(
                _("%(file)s cannot be read: %(reason)s.") % {"file": path, "reason": error.strerror or error}
            ) from None
        except (zipfile.BadZipFile, zlib.error, LookupError, ValueError, TypeError, EOFError, RuntimeError):
            raise Refusal(
                _("%(file)s is no backup of the PBX, or it is damaged: take another one.") % {"file": path}
            ) from None

    def read(self, name: str) -> bytes | None:
        """A small member, None when the backup has none of that name."""
        if name not in self.names:
            return None
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(name)

    def extract_database(self, path: Path) -> None:
        """Into a new file of mode 0600, on the disk when this returns."""
        with (
            zipfile.ZipFile(self.path) as archive,
            archive.open(DATABASE) as source,
            os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file,
        ):
            while block := source.read(1 << 20):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
