"""Registrations, identities, dialogs and answers of others: each attack is tried by a stranger and by somebody who has
an extension of his own, from other addresses than the phones'. It succeeds when a phone, the database or the wire shows
that it did; what the PBX answers does not matter."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import ModuleType

from tests.hardening.programs import Figure, Scale
from tests.hardening.programs.hijacking import answers, dialogs, elsewhere, identity, registrations, takeovers
from tests.hardening.programs.hijacking.house import NONE, PASSWORDS, House
from tests.hardening.programs.wiretap import Wiretap
from tests.support.caller import Fault
from tests.support.pbx import RunningPbx, SqliteStore

KINDS = (registrations, identity, dialogs, answers, takeovers, elsewhere)


def measure(scale: Scale) -> Iterator[Figure]:
    with contextlib.ExitStack() as at_end:
        pbx = at_end.enter_context(RunningPbx(SqliteStore()))
        pbx.create_extensions(PASSWORDS)
        tap = None
        with contextlib.suppress(PermissionError):
            tap = at_end.enter_context(Wiretap(pbx.port))
        present: set[str] = set()
        for kind in KINDS:
            yield from _tried(kind, pbx, scale, tap, present)


def _tried(
    kind: ModuleType, pbx: RunningPbx, scale: Scale, tap: Wiretap | None, present: set[str]
) -> Iterator[Figure]:
    with contextlib.ExitStack() as at_end:
        house = House(pbx, scale, tap, present, at_end)
        try:
            for tally in kind.attack(house):
                yield tally.figure()
        except Fault as fault:  # an attack that succeeded has left the honest phones in a state that they do not know
            name = kind.__name__.rpartition(".")[2]
            yield Figure(f"{name}: the rest, after which the phones were out of step", str(fault)[:300], NONE, False)
