"""Each SIP process says that it lives; the web reads how long ago it last did."""

from __future__ import annotations

from datetime import datetime

from pbx import __version__
from pbx.system.models import SipProcess


def beat(node: str, worker: int, pid: int, listening: str, started_at: datetime, now: datetime) -> None:
    """Write one heartbeat; ``listening`` is for people, for example ``udp 0.0.0.0:5060``. One statement.

    :raises django.db.Error: when the database is away."""
    SipProcess.objects.bulk_create(
        [
            SipProcess(
                node=node[:32], worker=worker, pid=pid, listening=listening[:255],
                started_at=started_at, beat_at=now, version=__version__,
            )
        ],
        update_conflicts=True,
        unique_fields=["node", "worker"],
        update_fields=["pid", "started_at", "beat_at", "listening", "version"],
    )
