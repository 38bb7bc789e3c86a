"""Two workers are killed without warning in the middle of a morning's registrations, or stopped."""

from __future__ import annotations

from tests.durability import test_kill


class KillWithWorkers(test_kill.KillOnPostgres):
    settings = {"SIP_WORKERS": "2"}


class CleanStopWithWorkers(test_kill.CleanStopOnPostgres):
    settings = {"SIP_WORKERS": "2"}
