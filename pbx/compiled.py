"""The SIP core as machine code, where ``manage.py compile`` has made it: the same sources, a third faster.

It lies in the Python environment, in a directory named by what it was made of. Sources that were changed since, by an
upgrade or an editor, have another name: they run as they are, until they are compiled again. Standard library only."""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = "sipcore"

INTERPRETED = "PBX_INTERPRETED"
"""An environment variable. With 1 the sources run as they are."""


def home() -> Path:
    """Where all that was compiled for this Python lies."""
    return Path(sysconfig.get_path("platlib")) / "pbx_compiled"


def digest() -> str:
    """Of the sources and of the Python they run in. 3 ms."""
    found = hashlib.sha256(f"{sys.version} {sysconfig.get_config_var('SOABI')}\n".encode())
    for path in sorted((ROOT / CORE).rglob("*.py")):
        source = path.read_bytes()
        found.update(f"{path.relative_to(ROOT).as_posix()} {len(source)}\n".encode())
        found.update(source)
    return found.hexdigest()[:32]


def wanted() -> bool:
    return os.environ.get(INTERPRETED, "") in ("", "0")


def is_made() -> bool:
    """Whether what was compiled of these very sources is there, and wanted."""
    return wanted() and home().is_dir() and (home() / digest()).is_dir()


def use() -> bool:
    """Import the core from there from now on. False, and nothing has been done, where it is not compiled."""
    if not is_made():
        return False
    sys.path.insert(0, str(home() / digest()))
    return True


def is_used() -> bool:
    return str(home()) in str(getattr(sys.modules.get(CORE), "__file__", ""))


def is_stale() -> bool:
    """Whether it was compiled once, from other sources or for another Python."""
    return wanted() and not is_used() and home().is_dir() and any(home().iterdir())
