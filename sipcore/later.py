"""When somebody who is sent away shall come back: each at another time, or all would be sent away together again."""

from __future__ import annotations

import random


def retry_after(least: int, most: int) -> tuple[str, str]:
    """The Retry-After header (RFC 3261 section 20.33), somewhere from ``least`` to ``most`` seconds."""
    return "Retry-After", str(random.randint(least, most))
