"""Who changed which extension: Django's LogEntry. The administration writes it by itself; here a terminal does so too,
and the page of an extension reads it."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.utils.translation import gettext as _

from extensions.models import Extension

TERMINAL = "manage.py"
"""User of the entries that a command wrote. Nobody signs in by it; it is in no list of administrators."""

SHOWN = 10
BATCH = 400


@dataclass(frozen=True, slots=True)
class Change:
    at: datetime
    who: str
    what: str


def changes_of(extension: Extension) -> list[Change]:
    """The newest first, at most ``SHOWN``."""
    kind = ContentType.objects.get_for_model(Extension)
    entries = LogEntry.objects.filter(content_type=kind, object_id=str(extension.pk))
    return [
        Change(entry.action_time, _who(entry), _what(entry))
        for entry in entries.select_related("user").order_by("-action_time", "-pk")[:SHOWN]
    ]


def log_from_terminal(
    command: str, made: Iterable[Extension], changed: Iterable[Extension], fields: Collection[str]
) -> None:
    """Note that ``manage.py COMMAND`` made and changed these; ``fields``: English names of what it set."""
    user = _terminal()
    kind = ContentType.objects.get_for_model(Extension)
    by = {"by": _system_user(), "command": command}

    def entry(extension: Extension, flag: int, what: dict) -> LogEntry:
        return LogEntry(
            user=user, content_type=kind, object_id=str(extension.pk), object_repr=str(extension)[:200],
            action_flag=flag, change_message=json.dumps([what, by]),
        )

    LogEntry.objects.bulk_create([
        *(entry(extension, ADDITION, {"added": {}}) for extension in made),
        *(entry(extension, CHANGE, {"changed": {"fields": list(fields)}}) for extension in changed),
    ], batch_size=BATCH)


def keep_entries_of(user: User) -> None:
    """Before that administrator is deleted: what he did stays, with his name. Django would delete it with him."""
    by = {"by": user.get_username()}
    entries = list(LogEntry.objects.filter(user=user))
    for entry in entries:
        entry.user = _terminal()
        entry.change_message = json.dumps([*_parts(entry), by])
    LogEntry.objects.bulk_update(entries, ["user", "change_message"], batch_size=BATCH)


def _terminal() -> User:
    return User.objects.get_or_create(username=TERMINAL, defaults={"is_active": False, "password": "!"})[0]


def _parts(entry: LogEntry) -> list[dict]:
    """Its message as Django's JSON; one in plain words becomes a part of that."""
    try:
        parts = json.loads(entry.change_message)
    except ValueError:
        parts = None
    if isinstance(parts, list) and all(isinstance(part, dict) for part in parts):
        return parts
    return [{"changed": {"fields": [entry.change_message]}}] if entry.change_message else []


def _who(entry: LogEntry) -> str:
    if entry.user.get_username() != TERMINAL:
        return entry.user.get_username()
    by = next((part for part in _parts(entry) if "by" in part), {"by": TERMINAL})
    if "command" not in by:
        return by["by"]
    return _("%(user)s, by manage.py %(command)s") % {"user": by["by"], "command": by["command"]}


def _what(entry: LogEntry) -> str:
    return entry.get_change_message() or _("Changed.")


def _system_user() -> str:
    """Who typed it: behind sudo the person, not root."""
    if person := os.environ.get("SUDO_USER"):
        return person
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return str(os.getuid())
