"""The hidden account of ``manage.py doctor``: it registers and calls as a phone would, and then it is gone.

Its number has a character that no number of an extension can have, so that it is never in anybody's way. The engine
takes it from this machine alone; lists, counts, exports and call records know nothing of it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.utils import timezone

from extensions.models import Extension
from extensions.passwords import generate_password
from sipcore.ports import HIDDEN_PREFIX

LIFETIME = timedelta(minutes=10)
"""After so long it is of a run that was killed."""


@contextmanager
def hidden_account() -> Iterator[tuple[str, str]]:
    """Number and password of an account that exists within the block.

    :raises django.db.Error: when the database is away."""
    forget_hidden_accounts()
    password = generate_password()
    account = Extension(number=HIDDEN_PREFIX + secrets.token_hex(8), max_devices=10, hidden=True)
    account.set_password(password)
    account.save()
    try:
        yield account.number, password
    finally:
        account.delete()


def forget_hidden_accounts() -> int:
    """Delete those of runs that were killed; returns how many."""
    old = Extension.everything.filter(hidden=True, created_at__lt=timezone.now() - LIFETIME)
    rows = list(old)
    for row in rows:
        row.delete()
    return len(rows)
