"""One ``start`` at a time for one var/."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TextIO

from django.utils.translation import gettext as _

from pbx.startup.refusal import Refusal


def take_instance_lock(path: Path, address: str) -> TextIO:
    """Hold the returned file open for as long as the PBX runs.

    :raises Refusal: when another ``start`` holds it."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = file.read(20).strip() or "?"
        file.close()
        raise Refusal(
            _("The PBX is already running here (process %(pid)s): its administration is at %(address)s")
            % {"pid": pid, "address": address}
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
