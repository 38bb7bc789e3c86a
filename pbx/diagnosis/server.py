"""What is wrong with the server itself: verdicts that stand above those of every phone."""

from __future__ import annotations

from collections.abc import Callable

from pbx.diagnosis.causes import renaming, server, server_network
from pbx.diagnosis.server_evidence import ServerEvidence
from pbx.diagnosis.server_gather import gather_server
from pbx.diagnosis.verdict import Verdict

Cause = Callable[[ServerEvidence], Verdict | None]

CHECKS: dict[str, tuple[Cause, ...]] = {
    # In the order of what to fix first; each name is stable and public.
    "database": (server.database_down,),
    "disk": (server.disk_full,),
    "migrations": (server.migrations_pending,),
    "port": (server.port_taken,),
    "process": (server.sip_not_running,),
    "firewall": (server_network.firewall_closed,),
    "address": (server_network.advertises_bind_address,),
    "domain": (server_network.domain_not_resolving, server_network.domain_wrong_address),
    "realm": (renaming.realm_changed,),
    "old_names": (renaming.domain_changed,),
    "clock": (server.clock_skew,),
    "drops": (server.kernel_drops,),
    "rtp_ports": (server_network.rtp_ports_few,),
}


def server_verdicts(quick: bool) -> list[Verdict]:
    """Problems only, what to fix first first. ``quick``: without network and in well under 50 ms, for ``why`` and the
    front page. Survives a database that is away: ``database_down`` is then among them."""
    return [verdict for found in judge(gather_server(quick)).values() for verdict in found]


def judge(evidence: ServerEvidence) -> dict[str, list[Verdict]]:
    """What each check finds; an empty list is a good sign."""
    return {
        name: [verdict for cause in found if (verdict := cause(evidence)) is not None]
        for name, found in CHECKS.items()
    }
