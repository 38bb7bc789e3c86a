"""A call in the relay.

Call      one Call-ID
Branch    one device that is offered the call (``via-branch``), and the caller towards it
Side      one of the two parties of a branch
Medium    one ``m=`` line of a side: the pair of ports that faces this party
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .rewrite import Place
from .stream import Stream


@dataclass(slots=True)
class Medium:
    """``place``, ``trusted`` and ``anywhere`` are what the party has last said, and from where; ``address`` is
    advertised to it."""

    place: Place | None = None
    trusted: str = ""
    anywhere: bool = False
    rtp: Stream | None = None
    rtcp: Stream | None = None
    port: int = 0
    address: str = ""


@dataclass(slots=True, eq=False)
class Side:
    tag: str = ""  # "" until it has answered
    media: list[Medium] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Branch:
    """``sides``: the caller, the device."""

    name: str  # via-branch
    sides: tuple[Side, Side]
    echo: Side | None = None

    def pair(self, tag: str) -> tuple[Side, Side] | None:
        """The side of this tag and the other one."""
        near, far = self.sides
        return (near, far) if near.tag == tag else (far, near) if far.tag == tag else None


@dataclass(slots=True, eq=False)
class Call:
    call_id: str
    created: float  # seconds since 1970
    touched: float  # monotonic seconds: the last command
    branches: list[Branch] = field(default_factory=list)

    @property
    def pairs(self) -> int:
        """Pairs of ports that are open for it."""
        return sum(1 for _ in self.streams()) // 2

    def streams(self) -> Iterator[Stream]:
        for branch in self.branches:
            for side in branch.sides:
                for medium in side.media:
                    if medium.rtp is not None and medium.rtcp is not None:
                        yield medium.rtp
                        yield medium.rtcp
