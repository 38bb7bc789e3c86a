"""The recorder: sees every message, understands none until something fails.

:meth:`Recorder.received` and :meth:`Recorder.sent` are called for each message and must stay at a microsecond or two;
all else is called for what is worth a thought. Nothing waits here for the store: :meth:`Recorder.take` hands over what
has come together since, at most a bounded lot of it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Container, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial

from sipcore.authentication import is_from_here
from sipcore.clock import Clock
from sipcore.evidence.asked import asked_of, number_of, read_request
from sipcore.evidence.challenges import LOST, LOST_SECONDS, Challenges, Key, Open
from sipcore.evidence.conversations import KEPT_OF_ONE, Conversation, Entry, Pool, call_id_of, key_of
from sipcore.evidence.facts import Period
from sipcore.evidence.failures import Failures
from sipcore.evidence.gathered import Gathered, RawTrace, RawWatched
from sipcore.naming import place
from sipcore.ports import HIDDEN_PREFIX
from sipcore.protocol.errors import SipError
from sipcore.protocol.flow import Flow
from sipcore.protocol.message import Request

MEGABYTE = 1024 * 1024

SMALLEST = 24
"""Bytes below which a packet is a keep-alive and no message."""

NONCE_LOOP = 5
"""Stale nonces in a row that are no coincidence."""

REMEMBERED = 4_000
"""Repetitions, and nonces found stale, that are counted at once."""

LOOP_SECONDS = 3600.0
"""After which a nonce that is stale again does not belong to those before."""

MOST_PERIODS, MOST_TRACES, MOST_WATCHED = 5_000, 100, 500
"""That wait for the store; what comes then is lost."""

WATCHED_BYTES = 256 * 1024
"""Of messages of watched phones in one writing; the others follow with the next one."""

TAMPERED = 64
"""Bytes of a body that a router may have added or taken by writing its own address into it without correcting the
Content-Length. More are missing for another reason."""


_new_entry: Callable[[tuple[float, bool, Flow, bytes, int]], Entry] = partial(tuple.__new__, Entry)  # for each message


@dataclass(slots=True, eq=False)
class StaleNonces:
    """In a row, of one Call-ID. ``sources``: the last different addresses they came from; ``last``: monotonic."""

    last: float
    count: int = 0
    sources: list[str] = field(default_factory=list)


class Recorder:
    """``known``: addresses from which a phone was registered once; their messages are kept apart from those of
    strangers, whatever these send. ``source``: the address of the phone that sent a request, also behind a proxy."""

    def __init__(self, clock: Clock, known: Container[str], source: Callable[[Request, Flow], str]) -> None:
        self._clock, self._known, self._source = clock, known, source
        self._phones = Pool(24 * MEGABYTE, 30_000, 300.0)
        self._strangers = Pool(1 * MEGABYTE, 1_000, 60.0)
        self._settled = Pool(6 * MEGABYTE, 20_000, 120.0)  # what went well goes first, and alone
        self._calls = Pool(32 * MEGABYTE, 10_000, 6 * 3600.0)
        self._by_id = (self._phones.by_id, self._settled.by_id, self._calls.by_id, self._strangers.by_id)
        self._current: Conversation | None = None
        self._data = b""
        self._challenges = Challenges()
        self._failures = Failures()
        self._repeats: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how often, and when first
        self._stale: OrderedDict[bytes, StaleNonces] = OrderedDict()
        self._periods: deque[Period] = deque(maxlen=MOST_PERIODS)
        self._traces: OrderedDict[str, RawTrace] = OrderedDict()
        self._watching: dict[bytes, tuple[str, Conversation]] = {}
        self.watched: frozenset[str] = frozenset()

    # Every message

    def received(self, data: bytes, flow: Flow) -> None:
        """One message came, or one packet that is none."""
        self._data = data
        if len(data) < SMALLEST:
            self._current = None
            return
        host = flow.remote[0]
        conversation = self._found(call_id := call_id_of(data, host))
        if conversation is None:
            if data.startswith(b"SIP/2.0 "):
                self._current = None  # to a ping of ours, or to nothing
                return
            conversation = Conversation(call_id)
            (self._phones if host in self._known else self._strangers).put(conversation)
        self._current = conversation
        self._add(conversation, False, data, flow, self._clock.wall())

    def sent(self, data: bytes, flow: Flow) -> None:
        """One message goes out. A request of ours is kept when its Call-ID is known (see :meth:`link`)."""
        if len(data) < SMALLEST:
            return
        conversation = self._found(call_id_of(data, flow.remote[0]))
        if conversation is not None:
            self._add(conversation, True, data, flow, self._clock.wall())

    def came(self, call_id: bytes, data: bytes, flow: Flow, wall: float) -> Conversation:
        """:meth:`received` for a message of a known source whose Call-ID is read, at most LONGEST_ID bytes. ``wall`` in
        seconds since 1970."""
        conversation = self._found(call_id)
        if conversation is None:
            conversation = Conversation(call_id)
            self._phones.put(conversation)
        self._add(conversation, False, data, flow, wall)
        return conversation

    def went(self, conversation: Conversation, data: bytes, flow: Flow, wall: float) -> None:
        """:meth:`sent` for an answer to what came just now."""
        self._add(conversation, True, data, flow, wall)

    # What came of it

    def challenge_sent(self, key: Key, flow: Flow, transaction: str, data: bytes, now: float) -> None:
        """:meth:`challenged` for a usual REGISTER of a known source; ``key``: its Call-ID and its number."""
        lost = self._challenges.sent(key, flow, transaction, data, known=True, now=now)
        request = read_request(data) if lost is not None else None
        if lost is not None and request is not None:
            self._answer_lost(request, flow, lost)

    def challenge_answered(self, key: Key) -> None:
        """:meth:`authenticated` for one whose key is known."""
        self._challenges.answered(key)

    def challenged(self, request: Request, flow: Flow, stale: bool) -> None:
        """A REGISTER is answered with 401. The first one is step one of two and no failure."""
        if stale:
            self._nonce_was_stale(request, flow)
            return
        now = self._clock.now()
        data, known = self._data[:KEPT_OF_ONE], flow.remote[0] in self._known
        lost = self._challenges.sent(_key(request), flow, request.transaction_key, data, known=known, now=now)
        if lost is not None:
            self._answer_lost(request, flow, lost)

    def _answer_lost(self, request: Request, flow: Flow, lost: Open) -> None:
        first = lost.repeats == LOST
        self._fail(request, flow, "reply_lost", count=int(first), repeats=LOST if first else 1)

    def authenticated(self, request: Request) -> None:
        """A REGISTER has shown credentials for our realm, good or bad."""
        self._challenges.answered(_key(request))

    def refused(
        self, request: Request | None, flow: Flow, cause: Enum | str, *, proven: bool = False, fault: str = ""
    ) -> None:
        """It failed. ``cause``: a code of the diagnosis; ``proven``: it did know the password; ``fault``: what is
        wrong with the message, a fixed English phrase. ``request`` None: it was not read."""
        code = str(cause.value) if isinstance(cause, Enum) else cause
        again = False
        if request is not None:
            if request.method == "REGISTER":
                self.authenticated(request)
            again = bool(request.transaction_key) and self._repetition(request.transaction_key, -1) > 0
        self._fail(
            request, flow, code, count=0 if again else 1, repeats=1 if again else 0, proven=proven, fault=fault
        )

    def malformed(self, request: Request | None, flow: Flow, error: SipError, data: bytes) -> None:
        """It could not be understood; ``request``: what could be read of it."""
        if request is not None and request.method == "REGISTER":
            self.authenticated(request)  # whatever was wrong with it, the phone did not leave our challenge unanswered
        wanted = (request.get("Content-Length") or "").strip() if request is not None else ""
        missing = int(wanted) - len(_body(data)) if wanted.isascii() and wanted.isdigit() and len(wanted) < 7 else 0
        tampered = error.reason == "Bad Content-Length" and 0 < missing <= TAMPERED and bool(_body(data))
        self._fail(
            request, flow, "alg_tampering" if tampered else "malformed",
            fault=error.reason, data=data, conversation=self._current,
        )  # fmt: skip

    def overlong(self, request: Request, flow: Flow) -> None:
        """More came than its Content-Length says: look whether it is as if a router had put its address in."""
        surplus = _body(self._data)[len(request.body) :]
        if surplus.strip(b"\r\n\0 \t") and len(surplus) <= TAMPERED:  # some phones end their messages with blanks
            self._fail(request, flow, "alg_tampering", fault="Body Longer Than Content-Length", data=self._data)

    def repeated(self, request: Request, flow: Flow) -> None:
        """The same REGISTER again after we had answered it: the answer may not have arrived."""
        count = self._repetition(request.transaction_key, 0)
        if count >= LOST:
            self._fail(request, flow, "reply_lost", count=int(count == LOST), repeats=LOST if count == LOST else 1)

    def accepted(self, request: Request, periods: Iterable[Period]) -> Conversation | None:
        """200: nothing is written but the ``periods`` that are over with it. Returns where its messages are kept."""
        call_id = _bytes(request.get("Call-ID") or "")
        if self._stale:
            self._stale.pop(call_id, None)
        conversation = self._found(call_id)
        if conversation is not None and conversation.pool is not self._settled:
            self._settled.put(conversation)
        self._periods.extend(periods)
        return conversation

    def period_over(self, period: Period) -> None:
        """A time of being online or silent has ended. From any thread."""
        self._periods.append(period)

    # Calls

    def link(self, call_id: str, number: str) -> None:
        """This Call-ID is the leg of ``number`` in a call: all its messages are kept until :meth:`release`. To be
        called before the first request of a leg of ours is sent."""
        conversation = self._found(key := _bytes(call_id))
        if conversation is None:
            conversation = Conversation(key)
            conversation.last = self._clock.wall()
        conversation.number = number
        if conversation.pool is not self._calls:
            self._calls.put(conversation)
        self._watch(number, conversation)

    def release(self, call_ids: Iterable[str]) -> None:
        """The call is over and nobody will ask for its messages again."""
        for call_id in call_ids:
            conversation = self._calls.by_id.get(_bytes(call_id))
            if conversation is not None:
                self._settled.put(conversation)

    def trace_calls(self, uniqueid: str, call_ids: Collection[str]) -> None:
        """Write down for a call what has been said under these Call-IDs until now. The last time told counts."""
        found = [self._found(_bytes(call_id)) for call_id in call_ids]
        entries = [(one.number, entry) for one in found if one is not None for entry in one.entries]
        self._traces.pop(uniqueid, None)
        self._traces[uniqueid] = RawTrace(uniqueid, entries)
        if len(self._traces) > MOST_TRACES:
            self._traces.popitem(last=False)

    def last_heard(self, call_ids: Collection[str]) -> float:
        """When the newest message under these Call-IDs came or went, in seconds since 1970; 0 for none."""
        found = (self._found(_bytes(call_id)) for call_id in call_ids)
        return max((one.last for one in found if one is not None), default=0.0)

    # A phone that is being watched

    def about(self, request: Request) -> None:
        """A request came while some number is watched: is it of one of those?"""
        if self._current is not None:
            self._watch(number_of(request), self._current)

    def watch(self, numbers: frozenset[str]) -> None:
        """The numbers that are watched from now on, in lower case."""
        self.watched = numbers
        self._watching = {key: one for key, one in self._watching.items() if one[0] in numbers}

    # Time

    def take(self) -> Gathered:
        """Once a second: what has failed or ended since. What is taken is the store's to write."""
        now, wall = self._clock.now(), self._clock.wall()
        for late in self._challenges.overdue(now):
            request = read_request(late.data)
            cause = "challenge_unanswered"
            if late.shows_credentials and request is not None and asked_of(request).digest_realm:
                cause = "wrong_realm"  # those for ours would have closed it
            self._fail(request, late.flow, cause, count=late.tries, repeats=late.repeats)
        for pool in (self._phones, self._strangers, self._settled, self._calls):
            pool.age(wall)
        while self._repeats and next(iter(self._repeats.values()))[1] < now - LOST_SECONDS:
            self._repeats.popitem(last=False)
        while self._stale and next(iter(self._stale.values())).last < now - LOOP_SECONDS:
            self._stale.popitem(last=False)
        periods = [self._periods.popleft() for _ in range(len(self._periods))]  # another thread may add to them
        traces = list(self._traces.values())
        self._traces.clear()
        return Gathered(self._failures.take(), periods, traces, self._take_watched(wall))

    @property
    def kept_bytes(self) -> int:
        """Of messages, in memory, with what each takes beside its own."""
        return sum(pool.bytes for pool in (self._phones, self._strangers, self._settled, self._calls))

    # Inside

    def _found(self, call_id: bytes) -> Conversation | None:
        phones, settled, calls, strangers = self._by_id
        return phones.get(call_id) or settled.get(call_id) or calls.get(call_id) or strangers.get(call_id)

    def _add(self, conversation: Conversation, sent: bool, data: bytes, flow: Flow, wall: float) -> None:
        size = len(data)
        if size > KEPT_OF_ONE:
            data = data[:KEPT_OF_ONE]
        pool = conversation.pool
        if pool is not None:
            pool.add(conversation, _new_entry((wall, sent, flow, data, size)))

    def _fail(
        self, request: Request | None, flow: Flow, cause: str, *, count: int = 1, repeats: int = 0,
        proven: bool = False, sources: tuple[str, ...] = (), data: bytes = b"", fault: str = "",
        conversation: Conversation | None = None,
    ) -> None:  # fmt: skip
        if request is not None and is_from_here(flow) and _is_doctors(request):
            return  # what goes wrong there the doctor tells itself
        if conversation is None and request is not None:
            conversation = self._found(_bytes(request.get("Call-ID") or ""))
        source = flow.remote[0]
        if request is not None:
            with suppress(SipError):
                source = self._source(request, flow)
        self._failures.add(
            request, flow, source, cause, self._clock.wall(), conversation, known=flow.remote[0] in self._known,
            count=count, repeats=repeats, proven=proven, sources=sources, data=data, fault=fault,
        )  # fmt: skip

    def _repetition(self, transaction: str, before_the_first: int) -> int:
        """How often this transaction has been seen, this time included."""
        before, first = self._repeats.get(transaction) or (before_the_first, self._clock.now())
        self._repeats[transaction] = before + 1, first
        if len(self._repeats) > REMEMBERED:
            self._repeats.popitem(last=False)
        return before + 1

    def _nonce_was_stale(self, request: Request, flow: Flow) -> None:
        self.authenticated(request)
        call_id, now = _bytes(request.get("Call-ID") or ""), self._clock.now()
        loop = self._stale.get(call_id)
        if loop is None:
            loop = self._stale[call_id] = StaleNonces(now)
            if len(self._stale) > REMEMBERED:
                self._stale.popitem(last=False)
        self._stale.move_to_end(call_id)
        loop.last = now
        loop.count += 1
        source = place(flow)
        if source not in loop.sources:
            loop.sources = [*loop.sources[-7:], source]
        if loop.count >= NONCE_LOOP:
            first = loop.count == NONCE_LOOP
            self._fail(
                request, flow, "nonce_loop", count=NONCE_LOOP if first else 1, sources=tuple(loop.sources)
            )

    def _watch(self, number: str, conversation: Conversation) -> None:
        if (lower := number.lower()) in self.watched:
            self._watching[conversation.call_id] = (lower, conversation)

    def _take_watched(self, wall: float) -> list[RawWatched]:
        taken: list[RawWatched] = []
        room = WATCHED_BYTES
        for key, (number, conversation) in list(self._watching.items()):
            new: list[Entry] = []
            for entry in conversation.entries[conversation.told : conversation.told + MOST_WATCHED - len(taken)]:
                room -= len(entry.data)
                if room < 0:
                    break
                new.append(entry)
            conversation.told += len(new)
            call_id = key.decode("utf-8", "replace")
            taken += [RawWatched(number, call_id, conversation.number, entry) for entry in new]
            if conversation.pool is None:
                del self._watching[key]
        return taken


def _is_doctors(request: Request) -> bool:
    try:
        return (request.from_.uri.user or "").startswith(HIDDEN_PREFIX)
    except SipError:
        return False


def _key(request: Request) -> tuple[bytes, bytes]:
    try:
        return _bytes(request.call_id), _bytes((request.to.uri.user or "").lower())
    except SipError:
        return b"", b""


def _bytes(call_id: str) -> bytes:
    return key_of(call_id.encode("utf-8", "surrogateescape"))


def _body(data: bytes) -> bytes:
    return data.partition(b"\r\n\r\n")[2]
