"""Each SIP process says that it lives; the web reads how long ago it last did.

With it goes a time that nobody can set, that since the machine was started: after a restart it tells whether the clock
was set meanwhile."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.db.models import F

from pbx import __version__
from pbx.store_access import unit_of_work
from pbx.system.models import SipProcess
from sipcore.clock import STEP

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@unit_of_work
def beat(node: str, worker: int, pid: int, listening: str, started_at: datetime, now: datetime) -> None:
    """Write one heartbeat; ``listening`` is for people, for example ``udp 0.0.0.0:5060``. One statement.

    :raises sipcore.ports.StoreUnavailable: when the database is away."""
    SipProcess.objects.bulk_create(
        [
            SipProcess(
                node=node[:32], worker=worker, pid=pid, listening=listening[:255],
                started_at=started_at, beat_at=now, version=__version__, boot=boot_id(), up_seconds=up_seconds(),
            )
        ],
        update_conflicts=True,
        unique_fields=["node", "worker"],
        update_fields=["pid", "started_at", "beat_at", "listening", "version", "boot", "up_seconds"],
    )


@unit_of_work
def clock_was_set(node: str, worker: int, now: datetime | None = None) -> float:
    """By how many seconds the clock of this machine was set since the last heartbeat; 0 for not at all, and when nobody
    can know because the machine itself was started anew.

    :raises sipcore.ports.StoreUnavailable: when the database is away."""
    last = SipProcess.objects.filter(node=node[:32], worker=worker).first()
    if last is None or not last.boot or last.boot != boot_id():
        return 0.0
    right = last.beat_at + timedelta(seconds=up_seconds() - last.up_seconds)
    moved = ((now or datetime.now(UTC)) - right).total_seconds()
    return moved if abs(moved) > STEP else 0.0


@unit_of_work
def shift_beat(node: str, worker: int, seconds: float) -> None:
    """The last heartbeat, of a process that has ended, in the time of the clock as it was set since."""
    SipProcess.objects.filter(node=node[:32], worker=worker).update(beat_at=F("beat_at") + timedelta(seconds=seconds))


@unit_of_work
def forget_workers(node: str, workers: int) -> None:
    """Heartbeats of workers that there are no more: of before, when there were more than ``workers``."""
    SipProcess.objects.filter(node=node[:32], worker__gte=workers).delete()


def boot_id() -> str:
    """Different after each start of the machine; empty where the kernel does not say."""
    with suppress(OSError):
        return BOOT_ID.read_text("ascii").strip()[:36]
    return ""


def up_seconds() -> float:
    """Since the machine was started, its sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
