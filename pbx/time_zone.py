"""The machine's time zone by its IANA name."""

from __future__ import annotations

import os
import zoneinfo
from pathlib import Path

FALLBACK = "Asia/Tashkent"


def machine_time_zone(localtime: Path = Path("/etc/localtime"), timezone_file: Path = Path("/etc/timezone")) -> str:
    candidates = [os.environ.get("TZ", "").lstrip(":")]
    try:
        candidates.append(str(localtime.resolve()).partition("/zoneinfo/")[2])
        candidates.append(timezone_file.read_text("ascii").strip())
    except (OSError, UnicodeDecodeError):
        pass
    for name in candidates:
        if not name:
            continue
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            continue
        return name
    return FALLBACK
