"""Makes a database ready: migrations, and on the very first start an administrator and an extension."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import Error, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils.translation import gettext as _

from extensions.audit import log_from_terminal
from extensions.models import Extension
from extensions.passwords import generate_password
from pbx.startup.refusal import Refusal

ADMINISTRATOR = "admin"
FIRST_NUMBER = "1001"


@dataclass(frozen=True)
class FirstLogin:
    """Shown once; nothing keeps the passwords in clear."""

    administrator: str
    administrator_password: str
    extension: Extension | None
    """None where extensions were there already."""
    extension_password: str


def prepare_database() -> None:
    """:raises Refusal: when the database cannot be reached or written."""
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", interactive=False, verbosity=0)
    except Error as error:
        raise Refusal(database_sentence(error)) from None


def database_sentence(error: Error) -> str:
    if connection.vendor == "sqlite":
        return _("The database file %(file)s cannot be used (%(reason)s): give it to this user with chown.") % {
            "file": settings.DATABASES["default"]["NAME"],
            "reason": str(error),
        }
    # The server's words are for its administrator and may name the account: the log of PostgreSQL has them.
    return _("The database of DATABASE_URL does not answer or refuses us: start it, or correct DATABASE_URL in .env.")


def make_first_login() -> FirstLogin | None:
    """The administrator ``admin`` and the extension 1001 on a database that has no administrator yet, else None."""
    User = get_user_model()
    if User.objects.filter(is_superuser=True).exists():
        return None
    # Both hashes are slow by intent: they are computed before the transaction opens.
    administrator_password, extension_password = generate_password(), generate_password()
    administrator = User(username=free_name(), is_staff=True, is_superuser=True)
    administrator.set_password(administrator_password)
    extension = Extension(number=FIRST_NUMBER)
    extension.set_password(extension_password)
    with transaction.atomic():
        if User.objects.filter(is_superuser=True).exists():
            return None
        administrator.save()
        if Extension.objects.exists():
            extension = None
        else:
            extension.save()
            log_from_terminal("prepare", [extension], [], [])
    return FirstLogin(
        administrator.get_username(), administrator_password, extension, extension_password if extension else ""
    )


def administrator_name() -> str:
    """The oldest administrator's."""
    names = get_user_model().objects.filter(is_superuser=True, is_active=True).order_by("pk")
    return names.values_list("username", flat=True).first() or ADMINISTRATOR


def free_name() -> str:
    taken = set(get_user_model().objects.values_list("username", flat=True))
    return next(name for name in (ADMINISTRATOR, *(f"{ADMINISTRATOR}{n}" for n in range(2, 1000))) if name not in taken)


def write_private(path: Path, text: str) -> None:
    """A file that only its owner reads, written anew."""
    write_private_bytes(path, text.encode())


def write_private_bytes(path: Path, data: bytes) -> None:
    """As ``write_private``."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
