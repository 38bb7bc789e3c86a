"""What calls need from outside: who is who, and an engine that carries the sound."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from sipcore.media.errors import MediaRefused, MediaUnavailable
from sipcore.ports import Binding

__all__ = ["Heard", "Media", "MediaRefused", "MediaUnavailable", "Party", "PartyDirectory", "Side"]


@dataclass(slots=True)
class Party:
    """An extension as somebody to call or to be called by. ``bindings``: its devices that are registered now."""

    account_id: int
    number: str
    display_name: str
    enabled: bool
    ring_seconds: int
    media_from_anywhere: bool
    bindings: list[Binding] = field(default_factory=list)
    hidden: bool = False  # the doctor's: nobody else can call it, and its calls leave no record


class PartyDirectory(Protocol):
    """Raises :class:`~sipcore.ports.StoreUnavailable` when the store is away."""

    def parties(self, numbers: list[str], now: float) -> dict[str, Party]:
        """Those that exist, by the number asked for (which finds them ignoring case), with their living bindings."""


class Side(NamedTuple):
    """How one party of a call is reached. ``advertise``: the address of ours that this party is to send its media to.
    ``signalling``: the address its signalling came from. ``anywhere``: its media may come from another address."""

    advertise: str
    signalling: str
    anywhere: bool = False


class Heard(NamedTuple):
    """What came from one party, by its tag. Times in seconds since 1970, jitter in milliseconds."""

    tag: str
    packets: int
    bytes: int
    lost: int
    jitter_ms: float
    first_at: float | None
    last_at: float | None
    foreign_packets: int


class Media(Protocol):
    """Offer/answer through an engine that puts itself in between (RFC 3264). A call is named by ``call``, a party by
    its tag; a ``branch`` keeps several called devices of one caller apart until one answers. All raise
    :class:`MediaUnavailable` (503 for a new call) or :class:`MediaRefused` (488)."""

    async def offer(
        self, call: str, tag: str, sdp: bytes, *, sender: Side, receiver: Side, to_tag: str = "", branch: str = ""
    ) -> bytes:
        """The offer of ``tag`` as the other party is to see it."""

    async def answer(
        self, call: str, tag: str, to_tag: str, sdp: bytes, *, sender: Side, receiver: Side, branch: str = ""
    ) -> bytes:
        """The answer of ``to_tag`` to the offer of ``tag``, as the offerer is to see it."""

    async def echo(self, call: str, tag: str, sdp: bytes, *, sender: Side) -> bytes:
        """An answer after which the party hears itself."""

    async def available(self, seconds: float) -> bool:
        """Wait, at most so long, until an engine can take calls. Never raises."""

    async def delete(self, call: str, tag: str = "", branch: str = "") -> list[Heard]:
        """Forget the call, or one branch of it. Gives what has been received; never raises."""

    async def heard(self, call: str) -> list[Heard]:
        """What has been received so far; empty for a call that is not known. Never raises."""
