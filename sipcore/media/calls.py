"""What the commands of the ``ng`` protocol mean in the relay.

Each branch has caller-side ports of its own, as in rtpengine, opened when that device first answers; the branches that
lose are deleted by the PBX. Later offers find their branch by the two tags and keep the ports.
"""

from __future__ import annotations

from sipcore.protocol.sdp import Session

from .bencode import Encodable
from .call import Branch, Call, Medium, Side
from .counts import call_counts
from .errors import MediaError, MediaRefused
from .ng import Message, octets, text, words
from .ports import Ports, bind_address, plain_address
from .rewrite import family_of, places, read, rewrite
from .stream import Loop, Stream

MAX_CALLS = 2000
MAX_BRANCHES = 32
MOST_PAIRS = 40
"""Pairs of ports of one call after which further devices are offered its first medium only, which is the sound."""

Reply = dict[str, Encodable]


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
            return self._pass(session, message, branch, sender, receiver, frugal=call.pairs >= MOST_PAIRS)
        except MediaError:
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
        return self._pass(session, message, branch, sender, receiver, answer=True)

    def delete(self, message: Message) -> Reply:
        """Unknown calls are a warning, as in rtpengine."""
        call = self.calls.get(_required(message, "call-id"))
        tag, name = text(message, "from-tag"), text(message, "via-branch")
        going = [] if call is None else [
            branch for branch in call.branches if (branch.name == name if name else not tag or branch.pair(tag))
        ]  # fmt: skip
        if call is None or not going:
            return {"warning": "Call-ID not found or tags didn't match"}
        figures = call_counts(call, going, self._loop.now, brief="brief" in words(message, "figures"))
        self._remove(call, going)
        return figures

    def query(self, message: Message) -> Reply:
        call = self._call(message)
        return call_counts(call, call.branches, self._loop.now)

    def forget_idle(self, seconds: float) -> list[str]:
        """End calls without a packet or command for so long: the PBX has lost them. Gives their ids."""
        old = self._loop.now - seconds
        silent = [call for call in self.calls.values() if call.touched < old]
        gone = [call for call in silent if all(stream.last < old for stream in call.streams())]
        for call in gone:
            self._remove(call, list(call.branches))
        return [call.call_id for call in gone]

    def close(self) -> None:
        for call in list(self.calls.values()):
            self._remove(call, list(call.branches))

    # A description passes from one side to the other

    def _pass(
        self, session: Session, message: Message, branch: Branch, sender: Side, receiver: Side, *,
        answer: bool = False, frugal: bool = False,
    ) -> Reply:  # fmt: skip
        told = places(session)
        advertised = self._advertised(message, family_of(session), receiver)
        trusted = _received_from(message)
        anywhere = "media-from-anywhere" in words(message, "flags")
        for side in (sender, receiver):
            side.media += [Medium() for _ in range(len(told) - len(side.media))]
        ports: list[int] = []
        for place, mine, theirs in zip(told, sender.media, receiver.media, strict=False):
            if frugal and theirs.rtp is None and any(ports):
                place = place._replace(rejected=True)
            mine.place, mine.trusted, mine.anywhere = place, trusted, anywhere
            if place.rejected or (answer and theirs.place is not None and theirs.place.rejected):
                self._close(mine)
                self._close(theirs)
                ports.append(0)
                continue
            if theirs.address != advertised:
                self._close(theirs)
            if theirs.rtp is None:
                self._open(theirs, advertised)
            _describe(mine)
            _link(branch, sender, mine, receiver, theirs)
            if answer:
                _listen(mine)
                _listen(theirs)
            ports.append(theirs.port)
        return {"sdp": rewrite(session, advertised, ports)}

    def _advertised(self, message: Message, family: str, receiver: Side) -> str:
        """What the receiver is told: what the command says, what it was told before, our own of the right family."""
        address = text(message, "media address", "media-address")
        if address:
            try:
                return plain_address(address)
            except ValueError:
                raise MediaRefused("bad media address") from None
        wanted = text(message, "address family", "address-family")
        known = next((medium.address for medium in receiver.media if medium.rtp is not None), "")
        if known and wanted in ("", "IP6" if ":" in known else "IP4"):
            return known
        wanted = wanted or _family_heard(receiver) or family
        if wanted not in self._addresses:
            raise MediaRefused(f"No address of family {'IP6' if wanted == 'IP6' else 'IP4'}")
        return self._addresses[wanted]

    def _open(self, medium: Medium, advertised: str) -> None:
        bound = self._bound.get(advertised)
        if bound is None:
            bound = self._bound[advertised] = bind_address(advertised)
        rtp, rtcp, medium.port = self._ports.open(bound, self._loop.now)
        medium.address = advertised
        medium.rtp = Stream(self._loop, rtp, bound, medium.port)
        medium.rtcp = Stream(self._loop, rtcp, bound, medium.port + 1, medium.rtp)
        self._loop.add_own(advertised, bound)
        if medium.place is not None:
            _describe(medium)

    def _close(self, medium: Medium) -> None:
        if medium.rtp is None or medium.rtcp is None:
            return
        medium.rtp.close()
        medium.rtcp.close()
        self._ports.free(medium.port, self._loop.now)
        medium.rtp = medium.rtcp = None
        medium.port = 0

    def _remove(self, call: Call, branches: list[Branch]) -> None:
        for branch in branches:
            call.branches.remove(branch)
            for side in branch.sides:
                for medium in side.media:
                    self._close(medium)
        if not call.branches:
            self.calls.pop(call.call_id, None)

    def _call(self, message: Message) -> Call:
        call = self.calls.get(_required(message, "call-id"))
        if call is None:
            raise MediaRefused("Unknown call-id")
        return call


def _describe(medium: Medium) -> None:
    """Tell the open ports what their phone has said. A phone that cannot be reached now hears nothing at once; one that
    only does not want to, after the answer (a refused re-INVITE changes nothing)."""
    place, rtp, rtcp = medium.place, medium.rtp, medium.rtcp
    if place is None or rtp is None or rtcp is None:
        return
    rtp.plain = place.plain
    rtp.untouchable = place.encrypted
    rtp.media, rtp.rates = place.media, None
    rtp.describe(place.rtp, medium.trusted, medium.anywhere, place.talks)
    rtcp.describe(place.rtcp, medium.trusted, medium.anywhere, place.talks)
    rtp.hold(rtp.held or place.zero)
    rtcp.hold(place.zero)


def _listen(medium: Medium) -> None:
    if medium.place is not None and medium.rtp is not None and medium.rtcp is not None:
        medium.rtp.hold(not medium.place.listens)
        medium.rtp.settle()
        medium.rtcp.settle()


def _link(branch: Branch, sender: Side, mine: Medium, receiver: Side, theirs: Medium) -> None:
    """Both ways, once both have ports; with an echo the phone's media back to it, and RTCP nowhere."""
    for side, medium, other in ((sender, mine, theirs), (receiver, theirs, mine)):
        if medium.rtp is None or medium.rtcp is None:
            continue
        if branch.echo is not None:
            medium.rtp.lead_to(medium.rtp if side is branch.echo else None)
            medium.rtcp.lead_to(None)
        elif other.rtp is not None and other.rtcp is not None:
            medium.rtp.lead_to(other.rtp)
            medium.rtcp.lead_to(other.rtcp)


def _find_for_offer(call: Call, from_tag: str, to_tag: str, name: str) -> Branch | None:
    """The branch of a later offer in a dialog, or None for a device that is offered the call for the first time."""
    of_tag = [branch for branch in call.branches if branch.pair(from_tag) is not None]
    if to_tag:
        for branch in call.branches:
            if branch.pair(from_tag) is not None and branch.pair(to_tag) is not None:
                return branch
        for branch in call.branches:  # the answer has not come, but its sender's own offer (UPDATE)
            if branch.pair(to_tag) is not None and not branch.sides[1].tag and name in ("", branch.name):
                branch.sides[1].tag = from_tag
                return branch
        of_tag = [branch for branch in of_tag if not branch.sides[1].tag]
    if name:
        return next((branch for branch in of_tag if branch.name == name), None)
    return of_tag[0] if len(of_tag) == 1 else None


def _find_for_answer(call: Call, from_tag: str, to_tag: str, name: str) -> Branch | None:
    for branch in call.branches:
        if branch.pair(from_tag) is not None and branch.pair(to_tag) is not None:
            return branch
    waiting = [branch for branch in call.branches if branch.pair(from_tag) is not None and not branch.sides[1].tag]
    if name:
        return next((branch for branch in waiting if branch.name == name), None)
    return waiting[0] if len(waiting) == 1 else None


def _family_heard(side: Side) -> str:
    """The family of the party's signalling, or of its own description."""
    for medium in side.media:
        place = medium.trusted or (medium.place.rtp[0] if medium.place and medium.place.rtp else "")
        if place:
            return "IP6" if ":" in place else "IP4"
    return ""


def _received_from(message: Message) -> str:
    found = words(message, "received-from", "received from")
    if not found:
        return ""
    try:
        return plain_address(found[1])
    except (IndexError, ValueError):
        raise MediaRefused("bad received-from") from None


def _required(message: Message, name: str) -> str:
    value = text(message, name)
    if not value:
        raise MediaRefused(f"No {name} in message")
    return value


def _sdp(message: Message) -> bytes:
    sdp = octets(message, "sdp")
    if sdp is None:
        raise MediaRefused("No SDP body in message")
    return sdp
