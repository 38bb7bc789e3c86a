"""What is wrong with the server itself: verdicts that stand above those of every phone."""

from __future__ import annotations

from pbx.diagnosis.verdict import Verdict


def server_verdicts(quick: bool) -> list[Verdict]:
    """Problems only, what to fix first first. ``quick``: without network and in well under 50 ms, for ``why`` and the
    front page. Survives a database that is away: ``database_down`` is then among them."""
    return []
