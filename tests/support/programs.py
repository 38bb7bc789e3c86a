"""Finding the programs the tests drive: a missing one is a skip that names its Debian package, in CI a failure."""

from __future__ import annotations

import glob
import os
import shutil
import unittest

# Debian keeps the PostgreSQL server and Kamailio where an ordinary account's PATH does not look.
EXTRA_PLACES = (*sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True), "/usr/sbin", "/usr/local/sbin")


class ProgramMissing(AssertionError):
    """A program is absent where it must not be: in CI."""


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def find_program(name: str) -> str | None:
    """The full path of ``name``, or None."""
    found = shutil.which(name)
    if found:
        return found
    return shutil.which(name, path=os.pathsep.join(EXTRA_PLACES))


def require_program(name: str, package: str) -> str:
    """The full path of ``name``. Raises ``unittest.SkipTest`` naming the Debian package where it is absent,
    and ``ProgramMissing`` (a failure) with ``CI=true``: a CI that silently skips proves nothing."""
    found = find_program(name)
    if found:
        return found
    sentence = f"{name} is not installed (apt-get install --no-install-recommends {package})"
    if in_ci():
        raise ProgramMissing(sentence)
    raise unittest.SkipTest(sentence)
