"""The evidence about the server itself, as plain dataclasses: all that ``causes.server`` may know."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pbx.diagnosis.firewall import Fate

ALIVE = timedelta(seconds=20)
"""A SIP process says every five seconds that it lives."""


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """The heartbeat of a SIP process."""

    node: str
    pid: int
    started_at: datetime
    beat_at: datetime
    listening: str
    gone: bool = False  # it was on this machine and is not any more, whatever its last beat says

    def lives(self, now: datetime) -> bool:
        return self.beat_at > now - ALIVE and not self.gone


@dataclass(frozen=True, slots=True)
class PortFacts:
    """Who has the SIP port on this machine. ``ours``: it is a ``runsip``. ``program`` empty while ``taken``: whose it
    is cannot be seen."""

    transport: str
    port: int
    taken: bool
    program: str = ""
    pid: int = 0
    ours: bool = False


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """``error``: the kind of the exception, never its text, which may name the account."""

    vendor: str
    error: str = ""
    pending: tuple[str, ...] = ()  # migrations that are not applied, app.name
    ahead_seconds: float | None = None  # its clock against ours


@dataclass(frozen=True, slots=True)
class DiskFacts:
    path: str
    what: str  # "var" or "database"
    free_bytes: int
    total_bytes: int
    free_files: int
    total_files: int


@dataclass(frozen=True, slots=True)
class DropFacts:
    """Packets that the kernel threw away because nobody took them in time, since the sockets were opened."""

    sip: int
    sound: int
    whole_machine: int  # RcvbufErrors of UDP and UDP6, since the machine was started


@dataclass(frozen=True, slots=True)
class FirewallFacts:
    """``readable`` False: not without root. ``program``: which programs were asked."""

    readable: bool
    udp: Fate = Fate.UNKNOWN
    tcp: Fate = Fate.UNKNOWN
    sound: Fate = Fate.UNKNOWN
    because: str = ""
    program: str = ""
    ufw_enabled: bool | None = None  # its own configuration file says so; None: there is no ufw


@dataclass(frozen=True, slots=True)
class NameFacts:
    """What a name leads to, asked from this machine. ``error`` empty: it leads somewhere."""

    name: str
    addresses: tuple[str, ...] = ()
    own: bool = False  # one of them is an address of this machine
    error: str = ""


@dataclass(frozen=True, slots=True)
class StaleFacts:
    """Credentials that a realm does not fit: these phones need their password again."""

    realm: str
    numbers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OldNameFacts:
    """Phones that registered under a name which is none of ours any more."""

    name: str
    numbers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerEvidence:
    """``None`` and empty: not asked, or not to be known."""

    now: datetime
    port: int
    domain: str
    domain_is_set: bool
    external_ip: str
    own_address: str
    rtp_ports: tuple[int, int] | None
    max_calls: int
    database: DatabaseFacts
    processes: tuple[ProcessFacts, ...] = ()
    ports: tuple[PortFacts, ...] = ()
    disks: tuple[DiskFacts, ...] = ()
    drops: DropFacts | None = None
    firewall: FirewallFacts | None = None
    domain_leads: NameFacts | None = None
    external_leads: NameFacts | None = None
    synchronised: bool | None = None  # the kernel's word on whether the clock follows a time server
    made_at: datetime | None = None  # the newest file of this program
    stale: StaleFacts | None = None
    old_names: tuple[OldNameFacts, ...] = field(default=())
    own_media: bool = True  # the relay of our own, not an rtpengine
