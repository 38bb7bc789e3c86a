"""The directory of everything this machine must not lose or show: database file, secret key, first log-in."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from pbx.early_words import _


def make_private_directory(path: Path) -> None:
    """:raises ImproperlyConfigured: when it cannot be made or written to."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(path, error) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise _not_writable(path, None)


def make_private_file(path: Path) -> None:
    """An empty file of mode 0600 where there is none yet (SQLite gives its -wal and -shm files the same mode)."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise _not_writable(path, error) from None


def read_or_make_secret_key(path: Path) -> str:
    """The key that signs sessions and nonces. Two processes that start at once get the same one."""
    try:
        key = path.read_text("ascii").strip()
        if key:
            return key
        path.unlink()
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise _not_writable(path, error if isinstance(error, OSError) else None) from None
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(50) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike rename, fails when another process was first
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return path.read_text("ascii").strip()
    except OSError as error:
        raise _not_writable(path, error) from None


def _not_writable(path: Path, error: OSError | None) -> ImproperlyConfigured:
    reason = f" ({error.strerror})" if error is not None and error.strerror else ""
    return ImproperlyConfigured(
        _(
            "%(file)s cannot be written%(reason)s: "
            "give that directory to the user who runs the PBX (chown), or set VAR_DIR to one that is writable."
        )
        % {"file": path, "reason": reason}
    )
