"""The machine's time zone by its IANA name."""

from __future__ import annotations

import os
import zoneinfo
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from pbx.early_words import _

FALLBACK = "Asia/Tashkent"
SYSTEM_ZONES = Path("/usr/share/zoneinfo")


def machine_time_zone(localtime: Path = Path("/etc/localtime"), timezone_file: Path = Path("/etc/timezone")) -> str:
    candidates = [os.environ.get("TZ", "").lstrip(":")]
    try:
        candidates.append(str(localtime.resolve()).partition("/zoneinfo/")[2])
        candidates.append(timezone_file.read_text("ascii").strip())
    except (OSError, UnicodeDecodeError):
        pass
    for name in candidates:
        if name and is_time_zone(name):
            return name
    return FALLBACK


def known_time_zone(name: str) -> str:
    """``name`` itself; "" stays.

    :raises ImproperlyConfigured: when it is not the IANA name of a time zone."""
    if name and not is_time_zone(name):
        raise ImproperlyConfigured(
            _("TIME_ZONE=%(value)s is no time zone: write for example TIME_ZONE=%(example)s in .env, or take it out.")
            % {"value": name[:40], "example": FALLBACK}
        )
    return name


def is_time_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    # Django looks there itself, where there is such a directory.
    return not SYSTEM_ZONES.is_dir() or (SYSTEM_ZONES / name).is_file()
