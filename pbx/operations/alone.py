"""Who uses the database: each process that serves says so by a lock, and what replaces the database has it alone.

A lock of the kernel ends with its process, whatever ended it: no stale file can be in the way. Other machines on the
same PostgreSQL are seen by their heartbeats, a forgotten shell on a SQLite file by SQLite's own lock."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TextIO

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext as _

from pbx.operations.ownership import leave_to_owner
from pbx.startup.refusal import Refusal

LIVELY = 15.0  # seconds; runsip's heartbeat comes every five
_held: list[TextIO] = []


def announce_running() -> None:
    """Hold the database in use until this process ends.

    :raises Refusal: while it is being replaced, and when it was moved elsewhere."""
    if connection.vendor == "sqlite" and was_moved():
        raise Refusal(
            _(
                "The database was moved to PostgreSQL: write its DATABASE_URL into .env. To go back to the old SQLite "
                "file instead, and lose what came since, delete %(file)s."
            )
            % {"file": moved_mark()}
        )
    file = _lock_file()
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise Refusal(_("The database is being restored or moved: wait until that has ended.")) from None
    _held.append(file)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Nobody serves from the database, and nobody can begin to.

    :raises Refusal: when somebody does."""
    with _lock_file() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal(
                _(
                    "The PBX is running, nothing was changed. Stop it (Ctrl-C where it was started, or sudo systemctl "
                    "stop pbx-sip pbx-web) and run the same command again."
                )
            ) from None
        if connection.vendor == "sqlite":
            refuse_open_file(Path(settings.DATABASES["default"]["NAME"]))
        else:
            _refuse_other_machines()
        yield


def refuse_open_file(path: Path) -> None:
    """:raises Refusal: when any process has this SQLite file open. Without one, all of it is in the one file then."""
    connection.close()
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=2, isolation_level=None)) as file:
            file.execute("PRAGMA journal_mode=DELETE")  # leaving WAL works for the only user of a file
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            return  # a damaged file is one to be replaced
        raise Refusal(
            _("Another program has the database file %(file)s open, nothing was changed: end that program first.")
            % {"file": path}
        ) from None
    except sqlite3.DatabaseError:
        return


def _refuse_other_machines() -> None:
    """A heartbeat that was just written may be the last one of a process that has ended: is there another?"""
    first = _beats()
    if not first:
        return
    deadline = time.monotonic() + LIVELY
    while time.monotonic() < deadline:
        for node, beat_at in _beats().items():
            if node not in first or beat_at > first[node]:
                raise Refusal(
                    _("A SIP process still runs on the machine %(machine)s, nothing was changed: stop it there first.")
                    % {"machine": node[0]}
                )
        time.sleep(0.5)


def _beats() -> dict[tuple[str, int], datetime]:
    from pbx.system.models import SipProcess

    try:
        lately = SipProcess.objects.filter(beat_at__gt=timezone.now() - timedelta(seconds=LIVELY))
        return {(node, worker): at for node, worker, at in lately.values_list("node", "worker", "beat_at")}
    except DatabaseError:
        return {}  # no tables yet
    finally:
        connection.close()


def _lock_file() -> TextIO:
    path = settings.VAR_DIR / "running.lock"
    try:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+", encoding="ascii")
        leave_to_owner(file.fileno())
    except OSError as error:
        raise Refusal(_("%(file)s cannot be written: %(reason)s.") % {"file": path, "reason": error.strerror}) from None
    return file


# --- the old SQLite file after a move ------------------------------------------------------------------------


def moved_mark() -> Path:
    return settings.VAR_DIR / "database-moved"


def was_moved() -> bool:
    """Whether the SQLite file of the settings is one whose content has gone to PostgreSQL."""
    try:
        return moved_mark().read_text("utf-8").strip() == _name_of_file()
    except OSError:
        return False


def mark_moved() -> None:
    moved_mark().write_text(_name_of_file() + "\n", "utf-8")
    leave_to_owner(moved_mark())


def forget_move() -> None:
    moved_mark().unlink(missing_ok=True)


def _name_of_file() -> str:
    return os.path.realpath(settings.DATABASES["default"]["NAME"])
