"""Imports extensions from a table: everything is checked first, then hashed, then written at once or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import override

from extensions.audit import log_from_terminal
from extensions.bulk import Change, save_many
from extensions.csv_tables import TableRow, original_cell
from extensions.hashers import hash_extension_password
from extensions.models import CredentialState, Extension
from extensions.passwords import generate_password, password_warning, validate_password

COLUMNS = (
    "number", "name", "password", "ha1", "ha1_sha256", "enabled", "max_devices", "ring_seconds", "media_from_anywhere",
    "language",
)
REQUIRED = ("number",)
# Column of the table -> field of the model.
FIELDS = {"name": "display_name"} | {
    column: column for column in ("enabled", "max_devices", "ring_seconds", "media_from_anywhere", "language")
}
YES, NO = ("yes", "1", "true"), ("no", "0", "false")
MAX_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class BadLine:
    line: int
    reason: str  # never holds a password or an HA1


class BadLines(Exception):
    """Nothing was imported. ``lines`` has every bad line, in the order of the file."""

    def __init__(self, lines: list[BadLine]) -> None:
        super().__init__(len(lines))
        self.lines = lines


@dataclass(slots=True)
class Plan:
    """What an import is going to do."""

    changes: list[Change] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)  # fields of the model that the table sets
    fields: list[str] = field(default_factory=list)  # the same as people name them, in English, with the password
    without_credential: list[str] = field(default_factory=list)  # numbers that no phone will be able to use
    weak: list[str] = field(default_factory=list)  # numbers whose password is accepted but weak
    generated: list[str] = field(default_factory=list)  # numbers whose password was generated
    created: int = 0
    updated: int = 0


def plan_import(columns: Collection[str], rows: Iterable[TableRow], *, update: bool, generate: bool) -> Plan:
    """Check every row against the rules and the extensions that are there. ``update`` allows to change those;
    ``generate`` gives a password to whoever would be without a credential. Raises BadLines. Reads, writes nothing."""
    stored = {extension.number.lower(): extension for extension in _stored()}
    plan = Plan(columns=[FIELDS[column] for column in columns if column in FIELDS], fields=_named(columns))
    bad: list[BadLine] = []
    seen: dict[str, int] = {}
    for count, row in enumerate(rows, start=1):
        if count > MAX_ROWS:
            bad.append(BadLine(row.line, _("More than %(limit)d extensions in one file.") % {"limit": MAX_ROWS}))
            break
        reasons = list(_plan_row(plan, row, stored, seen, update=update, generate=generate))
        bad.extend(BadLine(row.line, str(reason)) for reason in reasons)
    if bad:
        raise BadLines(bad)
    return plan


def carry_out(plan: Plan, before_commit: Callable[[], None] = lambda: None) -> None:
    """Hash the passwords (seconds for thousands) and then write everything in one short transaction, with who did it.
    ``before_commit`` is called between the two. Raises what ``save_many`` raises, with nothing written."""
    changes = [change for change in plan.changes if change.raw is not None]
    # PBKDF2 runs outside Python's global lock: threads use every core.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashes = pool.map(hash_extension_password, (change.raw for change in changes), chunksize=64)
        for change, encoded in zip(changes, hashes, strict=True):
            change.extension.password = encoded
    before_commit()
    extensions = [change.extension for change in plan.changes]
    made = [extension for extension in extensions if extension.pk is None]
    changed = [extension for extension in extensions if extension.pk is not None]
    with transaction.atomic():
        save_many(plan.changes, plan.columns)
        log_from_terminal("importextensions", made, changed, plan.fields)


def _stored() -> Iterable[Extension]:
    # The state is asked for with the rows: importing over 10,000 extensions takes one query.
    return Extension.objects.order_by().with_presence().iterator(chunk_size=2000)


def _named(columns: Collection[str]) -> list[str]:
    with override(None):
        named = [str(Extension._meta.get_field(FIELDS[column]).verbose_name) for column in columns if column in FIELDS]
    return [*named, "password"] if {"password", "ha1", "ha1_sha256"} & set(columns) else named


def _plan_row(plan, row, stored, seen, *, update: bool, generate: bool):
    """Add the change of one row to the plan, or yield the reasons why it is bad."""
    if row.too_many:
        yield _("There are more cells than columns: a name with a comma has to stand in quotation marks.")
        return
    number = original_cell(row.cells["number"].strip())
    extension = stored.get(number.lower())
    if number and number.lower() in seen:
        yield _("The number %(number)s is already on line %(line)d.") % {
            "number": number[:32], "line": seen[number.lower()]
        }
        return
    seen[number.lower()] = row.line
    if extension is not None and not update:
        yield _("There is already an extension %(number)s. To change it, add --update.") % {
            "number": extension.number
        }
        return
    if extension is not None and extension.number != number:
        yield _("There is an extension %(number)s: write its number with the same capital and small letters.") % {
            "number": extension.number
        }
        return
    extension = extension or Extension(number=number)
    reasons = [*_set_fields(extension, row.cells), *_field_errors(extension)]
    change = Change(extension)
    reasons += _set_secret(change, row.cells)
    yield from reasons
    if reasons:
        return
    _complete(plan, change, generate=generate)


def _complete(plan: Plan, change: Change, *, generate: bool) -> None:
    extension = change.extension
    number = extension.number
    if change.ha1s is not None and not set(settings.SIP_DIGEST_ALGORITHMS) <= set(change.ha1s):
        plan.without_credential.append(number)  # a phone may answer the challenge that has no HA1
    elif not change.has_secret and (extension.pk is None or extension.credential_state != CredentialState.READY):
        if generate:
            change.raw = generate_password()
            plan.generated.append(number)
        else:
            plan.without_credential.append(number)
    elif change.raw is not None and password_warning(change.raw):
        plan.weak.append(number)
    plan.changes.append(change)
    if extension.pk is None:
        plan.created += 1
    else:
        plan.updated += 1


def _set_fields(extension: Extension, cells: dict[str, str]):
    """What the file says stands, also an empty name; an empty answer or number says nothing."""
    if "name" in cells:
        extension.display_name = original_cell(cells["name"].strip())
    if "language" in cells:
        extension.language = cells["language"].strip().lower()
    for column in ("enabled", "media_from_anywhere"):
        if answer := cells.get(column, "").strip().lower():
            setattr(extension, column, answer in YES)
            if answer not in YES + NO:
                yield _("%(column)s is yes or no.") % {"column": column}
    for column in ("max_devices", "ring_seconds"):
        if number := cells.get(column, "").strip():
            if re.fullmatch("[0-9]{1,4}", number):
                setattr(extension, column, int(number))
            else:
                yield _("%(column)s is a whole number.") % {"column": column}


def _field_errors(extension: Extension):
    try:
        extension.clean_fields(exclude=["password"])
    except ValidationError as error:
        for name, messages in error.message_dict.items():
            label = {field: column for column, field in FIELDS.items()}.get(name, name)
            yield from (f"{label}: {message}" for message in messages)


def _set_secret(change: Change, cells: dict[str, str]):
    raw = cells.get("password", "")
    ha1s = {"MD5": cells.get("ha1", "").strip().lower(), "SHA-256": cells.get("ha1_sha256", "").strip().lower()}
    ha1s = {algorithm: ha1 for algorithm, ha1 in ha1s.items() if ha1}
    if raw and ha1s:
        yield _("Give a password or an HA1, not both.")
    elif raw:
        try:
            validate_password(raw, change.extension.number)
        except ValidationError as error:
            yield from error.messages
        change.raw = raw
    elif ha1s:
        if "MD5" not in ha1s:
            yield _("An ha1_sha256 needs the ha1 (MD5) beside it.")
        for algorithm, digits, column in (("MD5", 32, "ha1"), ("SHA-256", 64, "ha1_sha256")):
            if algorithm in ha1s and not re.fullmatch(f"[0-9a-f]{{{digits}}}", ha1s[algorithm]):
                yield _("%(column)s has to be %(digits)d hexadecimal digits.") % {"column": column, "digits": digits}
        change.ha1s = ha1s
        change.extension.password = ""  # the hash would be of another password
