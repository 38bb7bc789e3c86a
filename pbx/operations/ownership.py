"""Root may run these commands for the PBX's user: what they make under var/ must be that user's."""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings


def leave_to_owner(path: Path | int) -> None:
    """Give the file (or open descriptor) to whom var/ belongs, where we are root and it is not ours."""
    if os.geteuid() == 0:
        owner = os.stat(settings.VAR_DIR)
        os.chown(path, owner.st_uid, owner.st_gid)
