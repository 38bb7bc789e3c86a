"""The evidence as plain dataclasses: all that the functions in ``causes`` may know. ``gather`` makes it of the
database; times are aware datetimes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from extensions.states import CredentialState
from sipcore.evidence.facts import Asked, WireMessage


@dataclass(frozen=True, slots=True)
class ExtensionFacts:
    number: str
    enabled: bool
    credential_state: CredentialState
    password_changed_at: datetime | None
    max_devices: int
    created_at: datetime
    former_number: str = ""  # its credentials were made for this one: it was renamed since


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """A binding, living or ended."""

    id: int
    contact: str
    transport: str
    source: str
    port: int
    user_agent: str
    call_id: str
    registered_at: datetime
    refreshed_at: datetime
    expires_at: datetime
    silent_since: datetime | None
    old_password: bool  # registered before the password was changed: will fail at expires_at
    signed_off: bool  # it ended because the phone said so
    domain: str = ""  # the name of ours that it registered under

    def lives(self, now: datetime) -> bool:
        return self.expires_at > now


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """A row of failed attempts; newest first in :class:`NumberEvidence`."""

    id: int
    cause: str
    source: str
    port: int
    transport: str
    first_at: datetime
    last_at: datetime
    count: int
    repeats: int
    proven: bool
    user_agent: str
    sources: tuple[str, ...]
    asked: Asked
    messages: tuple[WireMessage, ...]  # of those causes only that are judged by them
    numbers_from_source: int = 1  # how many different numbers failed from this source lately
    number: str = ""  # as the phone wrote it
    source_known: bool = False  # a phone of this PBX has registered from that address lately


@dataclass(frozen=True, slots=True)
class BlockFacts:
    id: int
    source: str
    number: str  # empty: all numbers from there
    reason: str  # guessing, wrong_password, administrator
    by: str  # empty: the PBX itself
    since: datetime
    until: datetime
    numbers: tuple[str, ...]
    tries: int
    last_try_at: datetime | None
    failures: int = 0  # that led to it
    user_agent: str = ""  # of the last try


@dataclass(frozen=True, slots=True)
class PeriodFacts:
    started_at: datetime
    ended_at: datetime
    ending: str
    source: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What must be true of the server for any phone to register."""

    running: bool
    started_at: datetime | None
    listening: str
    domain: str
    aliases: tuple[str, ...]
    port: int
    realm: str
    algorithms: tuple[str, ...]
    min_expires: int
    domains: frozenset[str] = frozenset()  # every name under which phones may know us
    phones_inside: int = 0  # registered now from private addresses; counted when nothing came from a number
    phones_outside: int = 0


@dataclass(frozen=True, slots=True)
class DialledFacts:
    """The last call to a number that nobody has."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class NumberEvidence:
    """All that is known of one number. ``extension`` None: it is none."""

    number: str
    now: datetime
    server: ServerFacts
    extension: ExtensionFacts | None = None
    devices: tuple[DeviceFacts, ...] = ()  # newest first
    attempts: tuple[AttemptFacts, ...] = ()  # newest first
    nameless: tuple[AttemptFacts, ...] = ()  # lately, from anywhere: a number could not be read (TLS, broken messages)
    blocks: tuple[BlockFacts, ...] = ()
    periods: tuple[PeriodFacts, ...] = ()  # the last 24 hours
    similar: tuple[str, ...] = ()  # numbers of extensions that look like it
    renamed_to: str = ""  # the extension that had this number when its password was set
    dialled: DialledFacts | None = None  # for a number that is no extension
