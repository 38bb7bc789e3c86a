"""Gathers the evidence about the server: from /proc, the file system, the database, the firewall's programs and the
resolver. Nothing here raises; what cannot be known stays unknown."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import Error, connection
from django.utils import timezone

from pbx.checks import is_address, is_of_this_machine
from pbx.diagnosis.firewall import Fate, Rules, read_rules, ruling
from pbx.diagnosis.pending_migrations import pending_migrations
from pbx.diagnosis.renaming import old_names, stale_for
from pbx.diagnosis.server_evidence import (
    DatabaseFacts,
    DiskFacts,
    DropFacts,
    FirewallFacts,
    NameFacts,
    PortFacts,
    ProcessFacts,
    ServerEvidence,
)
from pbx.system.models import SipProcess
from pbx.system.port_owner import Owner, tcp_port_owner, udp_port_owner
from pbx.system.server_address import own_address, sip_domain
from sipcore.media.ports import port_range

RESOLVE_SECONDS = 5.0
KEPT = timedelta(days=7)
"""Heartbeats of machines that were taken out of service long ago mean nothing."""

RULES_KEPT = 5.0
"""Seconds. Each page that is open asks every three, and to read the rules a program has to be started."""

STA_UNSYNC = 0x40


def gather_server(quick: bool) -> ServerEvidence:
    """``quick``: without the resolver, without looking at every process of the machine unless it is needed, and with
    the firewall's rules as they were at most ``RULES_KEPT`` ago."""
    now = timezone.now()
    database = _database()
    processes: tuple[ProcessFacts, ...] = ()
    if not database.error:
        processes = _processes(now)
    running = any(process.lives(now) for process in processes)
    try:
        rtp: tuple[int, int] | None = port_range(settings.RTP_PORTS, settings.RTP_WORKERS)
    except ValueError:
        rtp = None
    known = not database.error and not database.pending
    return ServerEvidence(
        now=now,
        port=settings.SIP_PORT,
        domain=sip_domain(),
        domain_is_set=bool(settings.SIP_DOMAIN),
        external_ip=settings.EXTERNAL_IP,
        own_address=own_address(),
        rtp_ports=rtp,
        max_calls=settings.SIP_MAX_CALLS,
        database=database,
        processes=processes,
        ports=() if quick and running else _ports(),
        disks=_disks(),
        drops=_drops(rtp),
        firewall=_firewall(rtp, _rules_of_late() if quick else read_rules()),
        domain_leads=None if quick else name_leads(sip_domain()),
        external_leads=None if quick or not settings.EXTERNAL_IP else name_leads(settings.EXTERNAL_IP),
        synchronised=_synchronised(),
        made_at=_made_at(),
        stale=stale_for(settings.SIP_REALM) if known and settings.SIP_REALM else None,
        old_names=old_names() if known else (),
        own_media=not settings.RTPENGINE_URLS,
    )


def _database() -> DatabaseFacts:
    vendor = connection.vendor
    try:
        pending = pending_migrations()
        return DatabaseFacts(vendor, pending=pending, ahead_seconds=_ahead() if vendor == "postgresql" else None)
    except Error as error:
        if not connection.in_atomic_block:
            with contextlib.suppress(Error):
                connection.close()
        return DatabaseFacts(vendor, error=type(error).__name__)


def _ahead() -> float:
    with connection.cursor() as cursor:
        before = timezone.now()
        cursor.execute("SELECT clock_timestamp()")
        told: datetime = cursor.fetchone()[0]
        after = timezone.now()
    return (told - (before + (after - before) / 2)).total_seconds()


def _processes(now: datetime) -> tuple[ProcessFacts, ...]:
    try:
        rows = list(SipProcess.objects.filter(beat_at__gt=now - KEPT).order_by("-beat_at"))
    except Error:
        return ()
    return tuple(
        ProcessFacts(row.node, row.pid, row.started_at, row.beat_at, row.listening, _is_gone(row)) for row in rows
    )


def _is_gone(row: SipProcess) -> bool:
    """A process of this machine ended less than its last beat ago. Where it cannot be seen because it lives in another
    container, it has a node of its own."""
    if row.node != current_node() or Path(f"/proc/{row.pid}").exists():
        return False
    return not any(port == settings.SIP_PORT for table in ("udp", "udp6") for port, _dropped in _sockets(table))


def current_node() -> str:
    """SIP_NODE as ``runsip`` writes it."""
    return "".join(c if c.isascii() and (c.isalnum() or c == "-") else "-" for c in settings.SIP_NODE)


# The port


def _ports() -> tuple[PortFacts, ...]:
    port = settings.SIP_PORT
    return tuple(
        _port(transport, port, owner(port), tables)
        for transport, owner, tables in (
            ("UDP", udp_port_owner, ("udp", "udp6")), ("TCP", tcp_port_owner, ("tcp", "tcp6")),
        )
    )


def _port(transport: str, port: int, owner: Owner | None, tables: tuple[str, ...]) -> PortFacts:
    if owner is None:
        taken = any(entry[0] == port for table in tables for entry in _sockets(table))
        return PortFacts(transport, port, taken)
    return PortFacts(transport, port, True, owner.name, owner.pid, is_runsip(owner.pid))


def is_runsip(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"runsip" in words


def _sockets(table: str) -> list[tuple[int, int]]:
    """Port and dropped packets of each UDP socket, or port and 0 of each TCP socket that listens."""
    try:
        lines = Path("/proc/net", table).read_text("ascii", "replace").splitlines()[1:]
    except OSError:
        return []
    found = []
    for line in lines:
        fields = line.split()
        with contextlib.suppress(IndexError, ValueError):
            if table.startswith("udp"):
                found.append((int(fields[1].rpartition(":")[2], 16), int(fields[-1])))
            elif fields[3] == "0A":
                found.append((int(fields[1].rpartition(":")[2], 16), 0))
    return found


def _drops(rtp: tuple[int, int] | None) -> DropFacts:
    sip = sound = 0
    for table in ("udp", "udp6"):
        for port, dropped in _sockets(table):
            if port == settings.SIP_PORT:
                sip += dropped
            elif rtp is not None and rtp[0] <= port <= rtp[1]:
                sound += dropped
    return DropFacts(sip, sound, _rcvbuf_errors())


def _rcvbuf_errors() -> int:
    total = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        rows = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Udp:")]
        total += int(rows[1][rows[0].index("RcvbufErrors")])
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/net/snmp6").read_text().splitlines():
            if line.startswith("Udp6RcvbufErrors"):
                total += int(line.split()[1])
    return total


# The disk


def _disks() -> tuple[DiskFacts, ...]:
    places = [(str(settings.VAR_DIR), "var")]
    if connection.vendor == "sqlite":
        places.append((str(Path(str(settings.DATABASES["default"]["NAME"])).parent), "database"))
    elif settings.DATABASES["default"].get("HOST", "") in ("", "localhost", "127.0.0.1", "::1"):
        places.append(("/var/lib/postgresql", "database"))
    found: list[DiskFacts] = []
    devices = set()
    for path, what in places:
        with contextlib.suppress(OSError):
            device = os.stat(path).st_dev
            if device not in devices:
                devices.add(device)
                room = os.statvfs(path)
                found.append(DiskFacts(
                    path, what, room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize, room.f_favail,
                    room.f_files,
                ))
    return tuple(found)


# The firewall


_kept_rules: tuple[float, Rules] | None = None


def _rules_of_late() -> Rules:
    global _kept_rules
    kept, now = _kept_rules, time.monotonic()
    if kept is None or now - kept[0] > RULES_KEPT:
        kept = _kept_rules = now, read_rules()
    return kept[1]


def _firewall(rtp: tuple[int, int] | None, rules: Rules) -> FirewallFacts:
    ufw = _ufw_enabled()
    if not rules.readable:
        return FirewallFacts(False, ufw_enabled=ufw)
    udp, tcp = ruling(rules, "udp", settings.SIP_PORT), ruling(rules, "tcp", settings.SIP_PORT)
    sound = [ruling(rules, "udp", port) for port in rtp or ()]
    closed = next((one for one in (udp, *sound, tcp) if one.fate is Fate.CLOSED), None)
    return FirewallFacts(
        True, udp.fate, tcp.fate,
        next((fate for fate in (Fate.CLOSED, Fate.UNKNOWN) if any(one.fate is fate for one in sound)), Fate.OPEN),
        closed.because if closed else "", rules.program, ufw,
    )


def _ufw_enabled() -> bool | None:
    """Everybody may read whether it is switched on, only root what it lets in."""
    try:
        return "enabled=yes" in Path("/etc/ufw/ufw.conf").read_text("utf-8", "replace").lower()
    except OSError:
        return None


# Names


def name_leads(name: str) -> NameFacts:
    """Ask the resolver, at most ``RESOLVE_SECONDS``."""
    plain = name.strip("[]")
    if is_address(plain):
        return NameFacts(name, (plain,), is_of_this_machine(plain))
    answer: list[tuple[str, ...]] = []
    fault: list[str] = []

    def ask() -> None:
        try:
            found = socket.getaddrinfo(plain, None, type=socket.SOCK_DGRAM)
            answer.append(tuple(dict.fromkeys(str(entry[4][0]) for entry in found)))
        except (OSError, UnicodeError) as error:
            fault.append(type(error).__name__)

    # A resolver that is away keeps its caller for half a minute: a thread of its own is left behind then.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(RESOLVE_SECONDS)
    if not answer:
        return NameFacts(name, error=fault[0] if fault else "timeout")
    return NameFacts(name, answer[0], any(is_of_this_machine(address) for address in answer[0]))


# The clock


def _synchronised() -> bool | None:
    """What the kernel (adjtimex with nothing to set, which everybody may ask) or systemd-timesyncd says."""
    if Path("/run/systemd/timesync/synchronized").exists():
        return True
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        room = (ctypes.c_long * 64)()  # struct timex: modes, offset, freq, maxerror, esterror, status, ...
        if libc.adjtimex(ctypes.byref(room)) < 0:
            return None
        return not ctypes.cast(ctypes.byref(room, 5 * ctypes.sizeof(ctypes.c_long)),
                               ctypes.POINTER(ctypes.c_int))[0] & STA_UNSYNC
    except (OSError, AttributeError):
        return None


def _made_at() -> datetime | None:
    """No clock that goes right shows a time before this program was installed."""
    try:
        return datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    except (OSError, ValueError, OverflowError):
        return None
