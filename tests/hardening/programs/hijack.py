"""Registrations, identities, dialogs and answers of others: each attack is tried by a stranger and by somebody who has
an extension of his own, from other addresses than the phones'. It succeeds when a phone, the database or the wire shows
that it did; what the PBX answers does not matter."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.hijacking import answers, dialogs, elsewhere, identity, registrations, takeovers
from tests.hardening.programs.hijacking.house import PASSWORDS, House
from tests.hardening.programs.wiretap import Wiretap
from tests.support.pbx import RunningPbx, SqliteStore

KINDS = (registrations, identity, dialogs, answers, takeovers, elsewhere)


def measure(scale: Scale) -> Iterator[Figure]:
    with contextlib.ExitStack() as at_end:
        pbx = at_end.enter_context(RunningPbx(SqliteStore()))
        pbx.create_extensions(PASSWORDS)
        tap = None
        with contextlib.suppress(PermissionError):
            tap = at_end.enter_context(Wiretap(pbx.port))
        house = House(pbx, scale, tap, at_end)
        for kind in KINDS:
            for tally in kind.attack(house):
                yield tally.figure()
