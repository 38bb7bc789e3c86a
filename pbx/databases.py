"""Turns DATABASE_URL into Django's settings, with the options a phone system needs."""

from __future__ import annotations

from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

from pbx.early_words import _
from pbx.var_directory import make_private_file

SCHEMES = ("sqlite", "postgres", "postgresql", "pgsql")


def database_settings(url: str, var: Path) -> dict:
    """:raises ImproperlyConfigured: for a URL that is neither of SQLite nor of PostgreSQL, or cannot be read."""
    if not url:
        return _sqlite({"ENGINE": "django.db.backends.sqlite3", "NAME": str(var / "pbx.sqlite3")})
    if url.partition(":")[0].lower() not in SCHEMES:
        raise ImproperlyConfigured(
            _(
                "DATABASE_URL has an unknown scheme: write postgres://USER:PASSWORD@HOST:5432/NAME, "
                "or sqlite:////path/to/file, or take the line out to use SQLite under var/."
            )
        )
    try:
        settings = environ.Env.db_url_config(url)
        if not settings.get("NAME"):
            raise ValueError
    except Exception:  # the URL may hold a password: neither it nor the parser's words are shown
        raise ImproperlyConfigured(
            _(
                "DATABASE_URL cannot be read: write postgres://USER:PASSWORD@HOST:5432/NAME with special characters "
                "of the password percent-encoded, for example %40 for @."
            )
        ) from None
    return _sqlite(settings) if settings["ENGINE"].endswith("sqlite3") else _postgresql(settings)


def _sqlite(settings: dict) -> dict:
    if settings["NAME"] != ":memory:":
        make_private_file(Path(settings["NAME"]))
    # IMMEDIATE: a reader that turns writer inside a transaction would otherwise fail at once, whatever the timeout.
    # FULL: a confirmed registration outlives a power cut.
    settings["OPTIONS"] = {
        "timeout": 20,  # seconds
        "transaction_mode": "IMMEDIATE",
        # 16 MB of pages kept, and up to as much in the journal before it goes into the file, where each page of it is
        # written and synchronised once more: some thousand phones register in turns without reading or moving much.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-16000; "
        "PRAGMA wal_autocheckpoint=4000;",
        **settings.get("OPTIONS", {}),
    }
    settings["CONN_MAX_AGE"] = None  # opening the file anew for each batch of registrations cost more than the batch
    return settings


def _postgresql(settings: dict) -> dict:
    # A connection whose other end vanished without a word is noticed in about 10 s instead of 2 hours.
    settings["OPTIONS"] = {
        "connect_timeout": 5,  # seconds
        "keepalives": 1,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,  # milliseconds
        "options": "-c lock_timeout=5s -c idle_in_transaction_session_timeout=60s",
        **settings.get("OPTIONS", {}),
    }
    settings["CONN_MAX_AGE"] = None
    settings["CONN_HEALTH_CHECKS"] = True
    return settings
