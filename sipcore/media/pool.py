"""The client of the media engines: one pool for our own relays and for real rtpengines.

A call stays with the member that took its first offer. A member that does not answer pings gets no new calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sipcore.protocol.errors import SipError
from sipcore.protocol.sdp import Connection, parse_sdp

from . import ng
from .bencode import Decoded, Encodable
from .errors import MediaRefused, MediaUnavailable
from .figures import CallMedia, read_call_media
from .ng import Path

REPEATS = (0.2, 0.4, 0.8)
"""Seconds after which a request is sent again, with the same cookie."""

TIMEOUT = 3.0  # seconds until a request is given up
PING_EVERY = 2.0  # seconds
PING_TIMEOUT = 1.5  # seconds
FORGET_AFTER = 24 * 3600.0  # seconds after which a call that nobody deleted is no longer remembered

NOWHERE = Path()
_DONE, _FAILED = ("ok", b"ok", "pong", b"pong"), ("error", b"error")


@dataclass(slots=True, eq=False)
class _Asked:
    """One request on its way. Times are the loop's."""

    data: bytes
    reply: asyncio.Future[ng.Message]
    until: float  # then it is given up
    again: float  # then it is sent again
    pauses: Iterator[float]


@dataclass(slots=True, eq=False)
class Member:
    """One engine. ``alive`` is what the pings say."""

    url: str
    address: tuple[str, int]
    alive: bool = False
    ours: bool = False  # a relay of our own, which tells which life it lives
    calls: int = 0
    socket: socket.socket | None = None
    instance: str = ""  # which life of the engine this is; changes when it was started again
    waiting: dict[bytes, _Asked] = field(default_factory=dict)


@dataclass(slots=True)
class _Call:
    member: Member
    since: float  # monotonic seconds
    established: bool = False


class NgPool:
    """``lost(url, call_ids)`` is called when a member has lost its calls: it died, or was started again. They have to
    be moved: offered anew, to whichever member lives. ``changed(url, alive)`` when pings begin or cease to be answered.

    An ``async with`` block, or :meth:`start` and :meth:`close`."""

    def __init__(
        self,
        urls: Iterable[str],
        *,
        timeout: float = TIMEOUT,
        ping_every: float = PING_EVERY,
        lost: Callable[[str, list[str]], None] = lambda url, call_ids: None,
        changed: Callable[[str, bool], None] = lambda url, alive: None,
    ) -> None:
        self._members: dict[str, Member] = {}
        self._calls: dict[str, _Call] = {}
        self._timeout = timeout
        self._ping_every = ping_every
        self._lost = lost
        self._changed = changed
        self.key = secrets.token_hex(16)
        """Begins each cookie of ours. Relays that are told it obey nobody else on this machine."""
        self._numbers = itertools.count(1)
        self._pinger: asyncio.Task[None] | None = None
        self._repeating: asyncio.TimerHandle | None = None
        self._begun = asyncio.Event()
        for url in urls:
            self._members[url] = Member(url, ng.parse_url(url))

    async def __aenter__(self) -> NgPool:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Ping all members once, then go on doing so. Dead members are no error."""
        await self._ping_all()
        self._begun.set()
        self._pinger = asyncio.get_running_loop().create_task(self._ping_for_ever())

    async def close(self) -> None:
        """Stop. Calls in the engines are left as they are."""
        if self._pinger is not None:
            self._pinger.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pinger
        if self._repeating is not None:
            self._repeating.cancel()
        for member in self._members.values():
            self._hang_up(member)

    @property
    def alive(self) -> list[str]:
        """The urls of the members that answer."""
        return [member.url for member in self._members.values() if member.alive]

    def set_members(self, urls: Iterable[str]) -> None:
        """Other members from now on; calls of those that are no longer named are ``lost``."""
        wanted = {url: ng.parse_url(url) for url in urls}
        for url in [url for url in self._members if url not in wanted]:
            member = self._members.pop(url)
            self._hang_up(member)
            self._down(member)
        for url, address in wanted.items():
            self._members.setdefault(url, Member(url, address))

    def died(self, url: str) -> None:
        """The supervisor has seen it die: its calls are lost at once, without waiting for a ping."""
        if member := self._members.get(url):
            self._down(member)

    async def started(self, url: str) -> None:
        """The supervisor has started it again."""
        if member := self._members.get(url):
            await self._ping(member)

    def member_of(self, call_id: str) -> str | None:
        """The url of the member that has the call."""
        call = self._calls.get(call_id)
        return call.member.url if call else None

    # Requests. All raise MediaUnavailable and MediaRefused, and ValueError for an address in `path` that is none.

    async def offer(
        self,
        call_id: str,
        from_tag: str,
        sdp: bytes,
        *,
        to_tag: str = "",
        via_branch: str = "",
        path: Path = NOWHERE,
        echo: bool = False,
    ) -> bytes:
        """A description by the party ``from_tag``; gives the one to send on to the other party.

        ``via_branch``: one value for each device that is offered the call (RFC 3261 16.6). ``to_tag``: in a dialog, the
        other party's (re-INVITE, UPDATE). ``echo``: media of this party goes back to it (see :meth:`echo`)."""
        if not self._begun.is_set():  # the first call after a start may come before the engines
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._begun.wait(), self._timeout)
        message: dict[str, Encodable] = {"command": "offer", "call-id": call_id, "from-tag": from_tag}
        message |= {"to-tag": to_tag} if to_tag else {}
        message |= {"via-branch": via_branch} if via_branch else {}
        message |= {"media echo": "backwards"} if echo else {}
        tried: list[Member] = []
        while True:
            call = self._calls.get(call_id) or self._new_call(call_id, tried)
            message |= {} if call.established or call.member.ours else {"drop-traffic": "start"}
            try:
                message |= path.keys(sdp, ours=call.member.ours)
                reply = await self._request(call.member, message)
            except MediaUnavailable:
                if self._calls.get(call_id) is call and call.established:
                    raise
                self._forget(call_id, call)
                tried.append(call.member)
                continue
            except (MediaRefused, ValueError):
                if not call.established:
                    self._forget(call_id, call)
                raise
            call.established = True
            return _sdp(reply)

    async def answer(
        self, call_id: str, from_tag: str, to_tag: str, sdp: bytes, *, via_branch: str = "", path: Path = NOWHERE
    ) -> bytes:
        """The answer by ``to_tag`` to the offer by ``from_tag``; gives the one for the offerer."""
        member = self._member(call_id)
        message: dict[str, Encodable] = {"command": "answer", "call-id": call_id, "from-tag": from_tag}
        message |= {"to-tag": to_tag, **path.keys(sdp, ours=member.ours)}
        message |= {"via-branch": via_branch} if via_branch else {}
        message |= {} if member.ours else {"drop-traffic": "stop"}
        return _sdp(await self._request(member, message))

    async def echo(self, call_id: str, from_tag: str, to_tag: str, sdp: bytes, *, path: Path = NOWHERE) -> bytes:
        """Reflect the media of ``from_tag`` to itself (``*43``); gives the answer for it. ``path`` is of the caller;
        its ``media_address`` is what the caller will be told. Works with both engines (``media echo``)."""
        await self.offer(call_id, from_tag, sdp, path=path, echo=True)
        told = Path(media_address=path.media_address, address_family=path.address_family)
        return await self.answer(call_id, from_tag, to_tag, echo_answer(sdp), path=told)

    async def delete(self, call_id: str, from_tag: str = "", *, via_branch: str = "") -> CallMedia | None:
        """End the call, or with ``via_branch`` the one device that lost. Gives the last figures where the engine has
        them, from our own relays those of RTP alone; None when it knew no such call. Raises MediaUnavailable; the call
        is forgotten all the same."""
        call = self._calls.get(call_id)
        if call is None:
            return None
        if not via_branch:
            self._forget(call_id, call)
        message: dict[str, Encodable] = {"command": "delete", "call-id": call_id}
        message |= {"figures": ["brief"]} if call.member.ours else {"delete delay": 0}
        message |= {"from-tag": from_tag} if from_tag or via_branch else {}
        message |= {"via-branch": via_branch} if via_branch else {}
        figures: Mapping[str, Decoded] = {}
        if not call.member.ours and not via_branch:
            # rtpengine ends a whole call without telling its figures.
            with contextlib.suppress(MediaUnavailable, MediaRefused):
                figures = await self._request(call.member, {"command": "query", "call-id": call_id})
        try:
            reply = await self._request(call.member, message)
        except (MediaUnavailable, MediaRefused):
            if not figures:
                raise
        else:
            figures = figures or reply
        return read_call_media(call_id, figures) if "tags" in figures else None

    async def query(self, call_id: str) -> CallMedia:
        """What has arrived so far, from whom."""
        return read_call_media(
            call_id, await self._request(self._member(call_id), {"command": "query", "call-id": call_id})
        )

    async def calls_of(self, url: str, limit: int = 1000) -> list[str]:
        """Call-IDs that a member has, at most ``limit``: whoever's they are."""
        calls = (await self._request(self._members[url], {"command": "list", "limit": limit})).get("calls")
        found = calls if isinstance(calls, list) else []
        return [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in found]

    async def ping(self, url: str) -> bool:
        """Whether that member answers now."""
        await self._ping(self._members[url])
        return self._members[url].alive

    # Members and calls

    def _new_call(self, call_id: str, tried: list[Member]) -> _Call:
        able = [member for member in self._members.values() if member.alive and member not in tried]
        if not able:
            raise MediaUnavailable("no media engine answers")
        member = min(able, key=lambda one: one.calls)
        member.calls += 1
        call = self._calls[call_id] = _Call(member, time.monotonic())
        return call

    def _forget(self, call_id: str, call: _Call) -> None:
        if self._calls.get(call_id) is call:
            del self._calls[call_id]
            call.member.calls -= 1

    def _member(self, call_id: str) -> Member:
        call = self._calls.get(call_id)
        if call is None:
            raise MediaRefused("Unknown call-id")
        return call.member

    def _down(self, member: Member) -> None:
        """It is dead, or has forgotten everything."""
        was_alive, member.alive, member.instance = member.alive, False, ""
        for asked in member.waiting.values():
            if not asked.reply.done():
                asked.reply.set_exception(MediaUnavailable("the media engine is gone"))
        if was_alive:
            self._changed(member.url, False)
        self._lose_calls(member)

    def _lose_calls(self, member: Member) -> None:
        lost = {call_id: call for call_id, call in self._calls.items() if call.member is member and call.established}
        for call_id, call in lost.items():
            self._forget(call_id, call)
        if lost:
            self._lost(member.url, list(lost))

    async def _ping_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._ping_every)
            await self._ping_all()
            old = time.monotonic() - FORGET_AFTER
            for call_id, call in [(one, call) for one, call in self._calls.items() if call.since < old]:
                self._forget(call_id, call)

    async def _ping_all(self) -> None:
        await asyncio.gather(*(self._ping(member) for member in list(self._members.values())))

    async def _ping(self, member: Member) -> None:
        try:
            reply = await self._request(member, {"command": "ping"}, seconds=PING_TIMEOUT, as_json=False)
            instance = ng.text(reply, "instance")
            member.ours = bool(instance)
            instance = instance or await self._life(member)
        except (MediaUnavailable, MediaRefused, ng.BadMessage):
            if self._members.get(member.url) is member:
                self._down(member)
            return
        if self._members.get(member.url) is not member:
            return
        if member.instance and instance and instance != member.instance:
            self._lose_calls(member)
        member.instance = instance
        if not member.alive:
            member.alive = True
            self._changed(member.url, True)

    async def _life(self, member: Member) -> str:
        """rtpengine does not name its life; one that knows none of our calls has begun a new one."""
        established = [call_id for call_id, call in self._calls.items() if call.member is member and call.established]
        if not member.instance or not established:
            return "1"
        try:
            await self._request(member, {"command": "query", "call-id": established[-1]}, seconds=PING_TIMEOUT)
        except MediaRefused:
            if established[-1] not in self._calls:
                return member.instance  # deleted meanwhile
            others = await self._request(member, {"command": "list", "limit": 1}, seconds=PING_TIMEOUT)
            return str(int(member.instance) + 1) if not others.get("calls") else member.instance
        return member.instance

    # Datagrams

    async def _request(
        self, member: Member, message: Mapping[str, Encodable], *, seconds: float | None = None, as_json: bool = True
    ) -> dict[str, Decoded]:
        """``as_json``: to a relay of ours. Not the ping, which finds out whether it is one."""
        loop = asyncio.get_running_loop()
        cookie = f"{self.key}_{next(self._numbers)}".encode()
        data = ng.pack(cookie, message, as_json=as_json and member.ours)
        if member.socket is None:
            await self._connect(member)
        now = loop.time()
        pauses = iter(REPEATS)
        until = now + (self._timeout if seconds is None else seconds)
        asked = _Asked(data, loop.create_future(), until, min(now + next(pauses), until), pauses)
        member.waiting[cookie] = asked
        try:
            self._send(member, data)
            self._repeat_at(asked.again)
            reply = await asked.reply
        finally:
            del member.waiting[cookie]
            if asked.reply.done() and not asked.reply.cancelled():
                asked.reply.exception()
        result = reply.get("result")
        if result in _DONE:
            return reply
        reason = reply.get("error-reason" if result in _FAILED else "message")
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
        raise MediaRefused(reason[:200] if isinstance(reason, str) else "refused")

    def _repeat_at(self, due: float) -> None:
        """One timer for all that wait: nearly every request is answered long before, and costs none of its own."""
        if self._repeating is not None:
            if self._repeating.when() <= due:
                return
            self._repeating.cancel()
        self._repeating = asyncio.get_running_loop().call_at(due, self._repeat)

    def _repeat(self) -> None:
        self._repeating = None
        now = asyncio.get_running_loop().time()
        for member in list(self._members.values()):
            for asked in list(member.waiting.values()):
                if asked.reply.done():
                    continue
                if now >= asked.until:
                    asked.reply.set_exception(MediaUnavailable("the media engine does not answer"))
                    continue
                if now >= asked.again:
                    asked.again = min(now + next(asked.pauses, asked.until), asked.until)
                    try:
                        self._send(member, asked.data)
                    except MediaUnavailable:  # those that wait have been told
                        break
                self._repeat_at(asked.again)

    async def _connect(self, member: Member) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(*member.address, type=socket.SOCK_DGRAM)
            family, _, _, _, address = found[0]
            opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError:
            raise MediaUnavailable("the media engine's address cannot be resolved") from None
        try:
            opened.connect(address)
        except OSError:
            opened.close()
            raise MediaUnavailable("the media engine's address cannot be reached") from None
        if member.socket is not None:  # another request was faster
            opened.close()
            return
        member.socket = opened
        loop.add_reader(opened, self._readable, member)

    def _hang_up(self, member: Member) -> None:
        if member.socket is not None:
            asyncio.get_running_loop().remove_reader(member.socket)
            member.socket.close()
            member.socket = None

    def _send(self, member: Member, data: bytes) -> None:
        if member.socket is None:
            raise MediaUnavailable("the media engine is gone")
        try:
            member.socket.send(data)
        except BlockingIOError:
            pass  # as if lost; it is repeated
        except OSError as error:
            raise self._unreachable(member, error) from None

    def _readable(self, member: Member) -> None:
        for taken in range(1, 65):
            if member.socket is None:
                return
            try:
                data = member.socket.recv(65_535)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._unreachable(member, error)
                return
            try:
                cookie, reply = ng.unpack(data)
            except ng.BadMessage:
                continue
            asked = member.waiting.get(cookie)
            if asked is not None and not asked.reply.done():
                asked.reply.set_result(reply)
            if taken >= len(member.waiting):
                return  # nothing more can be there, but for repetitions: those wake us again

    def _unreachable(self, member: Member, error: OSError) -> MediaUnavailable:
        """The port is closed: nobody is there. A new socket next time, since a name may have moved."""
        self._hang_up(member)
        self._down(member)
        return MediaUnavailable(f"the media engine cannot be reached: {error.strerror or 'error'}")


def echo_answer(sdp: bytes) -> bytes:
    """The answer of somebody who accepts everything that can be reflected (RFC 3264 6). Raises MediaRefused."""
    try:
        session = parse_sdp(sdp)
    except SipError as error:
        raise MediaRefused(str(error)) from None
    opposite = {"sendonly": "recvonly", "recvonly": "sendonly"}
    directions = [session.direction_of(media) for media in session.media]
    session.remove("sendrecv", "sendonly", "recvonly", "inactive", "group")
    session.connection = None
    for media, direction in zip(session.media, directions, strict=True):
        encrypted = "TLS" in media.protocol  # its handshake cannot be made with itself
        media.port = 0 if media.rejected or encrypted or "RTP/" not in media.protocol else 9
        media.connections = [Connection("IP4", "127.0.0.1")]
        media.remove("rtcp", "rtcp-mux", "candidate", "ice-ufrag", "ice-pwd", "ice-options")
        session.set_direction(media, opposite.get(direction, direction))
        media.attributes[:] = _first_key(media.attributes)
    return session.to_bytes()


def _first_key(attributes: list[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """An answer chooses one `a=crypto` (RFC 4568 5.1.2): the offerer's own first, so that it can read its echo."""
    first = next((at for at, line in enumerate(attributes) if line[0] == "crypto"), 0)
    return [line for at, line in enumerate(attributes) if line[0] != "crypto" or at == first]


def _sdp(reply: Mapping[str, Decoded]) -> bytes:
    sdp = ng.octets(reply, "sdp")
    if sdp is None:
        raise MediaRefused("the media engine has answered without a description")
    return sdp
