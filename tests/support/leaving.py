"""What is done when the test process ends, whichever it is: ``atexit`` is not heard in those of ``--parallel``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.util import Finalize
from pathlib import Path

CLAIMS = Path(tempfile.gettempdir()) / f"pbx-test-ports-{os.getuid()}"


def when_leaving(function: Callable[..., object], *arguments: object, **named: object) -> Finalize:
    """The last registered is the first run. What is returned has ``cancel()``."""
    return Finalize(None, function, arguments, named, exitpriority=1)


def claim_port(port: int) -> bool:
    """Whether this process is the first of all test processes on this machine to ask for that port."""
    CLAIMS.mkdir(exist_ok=True)
    claim = CLAIMS / str(port)
    try:
        owner = int(claim.read_text() or 0)
    except (OSError, ValueError):
        owner = 0
    if owner and not Path(f"/proc/{owner}").exists():
        claim.unlink(missing_ok=True)  # of a run that was killed
    try:
        descriptor = os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(str(os.getpid()))
    when_leaving(_give_back, claim, os.getpid())
    return True


def _give_back(claim: Path, owner: int) -> None:
    with suppress(OSError):
        if claim.read_text() == str(owner):
            claim.unlink()
