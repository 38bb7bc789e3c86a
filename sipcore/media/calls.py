"""What the commands of the ``ng`` protocol mean in the relay.

    Call      one Call-ID
    Branch    one device that is offered the call (``via-branch``), and the caller towards it
    Side      one of the two parties of a branch
    Medium    one ``m=`` line of a side: the pair of ports that faces this party

Each branch has caller-side ports of its own, as in rtpengine, opened when that device first answers; the branches that
lose are deleted by the PBX. Later offers find their branch by the two tags and keep the ports.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .bencode import Encodable
from .errors import MediaRefused
from .figures_out import branch_figures
from .ng import Message, text, words
from .ports import Ports, bind_address, plain_address
from .rewrite import Place, family_of, places, read, rewrite
from .stream import Loop, Stream

MAX_CALLS = 2000
MAX_BRANCHES = 32
Reply = dict[str, Encodable]


@dataclass(slots=True)
class Medium:
    """``place`` is what the party has last said of it; ``listens`` is in force, ``will_listen`` after the answer."""

    place: Place | None = None
    rtp: Stream | None = None
    rtcp: Stream | None = None
    port: int = 0
    address: str = ""  # advertised to the party
    listens: bool = True
    will_listen: bool = True


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

    def streams(self) -> Iterator[Stream]:
        for branch in self.branches:
            for side in branch.sides:
                for medium in side.media:
                    if medium.rtp is not None and medium.rtcp is not None:
                        yield medium.rtp
                        yield medium.rtcp


class Calls:
    """``addresses``: what is advertised where the command does not say, by family."""

    def __init__(self, loop: Loop, ports: Ports, addresses: dict[str, str]) -> None:
        self._loop = loop
        self._ports = ports
        self._addresses = addresses
        self._bound: dict[str, str] = {}
        self.calls: dict[str, Call] = {}

    def offer(self, message: Message, wall: float) -> Reply:
        """Raises MediaRefused and BadMessage."""
        call_id, from_tag = _required(message, "call-id"), _required(message, "from-tag")
        session = read(_sdp(message))
        call = self.calls.get(call_id)
        if call is None:
            if len(self.calls) >= MAX_CALLS:
                raise MediaRefused("Parallel session limit reached")
            call = Call(call_id, wall, self._loop.now)
        branch = _find_for_offer(call, from_tag, text(message, "to-tag"), text(message, "via-branch"))
        made = branch is None
        if branch is None:
            if len(call.branches) >= MAX_BRANCHES:
                raise MediaRefused("Too many branches")
            branch = Branch(text(message, "via-branch"), (Side(from_tag), Side()))
            call.branches.append(branch)
        sender, receiver = branch.pair(from_tag) or branch.sides
        if text(message, "media echo", "media-echo") in ("backwards", "backward"):
            branch.echo = sender
        call.touched = self._loop.now
        self.calls[call_id] = call
        try:
            return self._pass(session, message, branch, sender, receiver)
        except MediaRefused:
            if made:
                self._remove(call, [branch])
            raise

    def answer(self, message: Message) -> Reply:
        """Raises MediaRefused and BadMessage."""
        call = self._call(message)
        from_tag, to_tag = _required(message, "from-tag"), _required(message, "to-tag")
        session = read(_sdp(message))
        branch = _find_for_answer(call, from_tag, to_tag, text(message, "via-branch"))
        if branch is None:
            raise MediaRefused("Invalid dialogue association")
        receiver, sender = branch.pair(from_tag) or branch.sides
        sender.tag = sender.tag or to_tag
        call.touched = self._loop.now
        reply = self._pass(session, message, branch, sender, receiver)
        for side in branch.sides:
            for medium in side.media:
                self._listen(medium, medium.will_listen)
        return reply

    def delete(self, message: Message) -> Reply:
        """Unknown calls are a warning, as in rtpengine."""
        call = self.calls.get(_required(message, "call-id"))
        tag, name = text(message, "from-tag"), text(message, "via-branch")
        going = [] if call is None else [
            branch for branch in call.branches if (branch.name == name if name else not tag or branch.pair(tag))
        ]  # fmt: skip
        if call is None or not going:
            return {"warning": "Call-ID not found or tags didn't match"}
        figures = self.figures(call, going)
        self._remove(call, going)
        return figures

    def query(self, message: Message) -> Reply:
        call = self._call(message)
        return self.figures(call, call.branches)

    def figures(self, call: Call, branches: list[Branch]) -> Reply:
        return branch_figures(call, branches, self._loop.now)

    def forget_idle(self, seconds: float) -> list[str]:
        """End calls without a packet or command for so long: the PBX has lost them. Gives their ids."""
        old = self._loop.now - seconds
        gone = [call for call in self.calls.values() if call.touched < old and all(s.last < old for s in call.streams())]
        for call in gone:
            self._remove(call, list(call.branches))
        return [call.call_id for call in gone]

    def close(self) -> None:
        for call in list(self.calls.values()):
            self._remove(call, list(call.branches))

    # A description passes from one side to the other

    def _pass(self, session, message: Message, branch: Branch, sender: Side, receiver: Side) -> Reply:  # type: ignore[no-untyped-def]
        told = places(session)
        advertised = self._advertised(message, family_of(session), receiver)
        trusted = _received_from(message)
        anywhere = "media-from-anywhere" in words(message, "flags")
        for side in (sender, receiver):
            side.media += [Medium() for _ in range(len(told) - len(side.media))]
        for index, place in enumerate(told):
            mine, theirs = sender.media[index], receiver.media[index]
            refused = place.rejected or (theirs.place is not None and theirs.place.rejected and mine.rtp is None)
            if refused and not place.rejected:
                refused = False  # rejected before, offered anew
            mine.place = place
            mine.will_listen = place.listens
            if refused:
                self._close(mine)
                self._close(theirs)
                continue
            if theirs.rtp is not None and theirs.address != advertised:
                self._close(theirs)
            if theirs.rtp is None:
                self._open(theirs, advertised)
            if mine.place is not None and mine.rtp is not None:
                self._describe(mine, place, trusted, anywhere)
            self._link(branch, sender, mine, theirs)
        self._late_describe(sender, told, trusted, anywhere)
        ports = [0 if place.rejected else receiver.media[index].port for index, place in enumerate(told)]
        return {"sdp": rewrite(session, advertised, ports)}
