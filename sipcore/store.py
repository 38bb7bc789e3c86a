"""The one thread that owns the database connection.

Whatever arrived while it was busy is its next batch: no timer and no size to tune, no delay when idle, the
largest batches under load. The waiting list is bounded; phones that refresh go before those that register anew."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from sipcore.ports import StoreUnavailable
from sipcore.registrar import Busy, Decision, Registration

T = TypeVar("T")

BATCH_LIMIT, BESIDE = 300, 100
"""Requests in one transaction, and first registrations in one that phones wait for that refresh: it bounds how long the
database's locks are held and how long those phones wait, not how much is taken on."""

OF_THE_NEW = 0.75
"""Of the waiting list, what first registrations may fill: the rest is kept for phones that refresh."""

CHORES_AT_ONCE = 50
"""Other questions (calls, heartbeat) answered between two batches."""

RETRY_PAUSE = 0.2
"""Seconds between two tries while the store is away."""


BUSY_PAUSE = 0.02
"""Seconds before asking again for an extension that an administrator is saving."""


@dataclass(slots=True, eq=False)
class Job:
    """A REGISTER on its way through the store. ``abandoned``: already answered with 503. ``refreshes``: a phone is
    registered where it comes from."""

    asked: Registration
    transaction: Any
    request: Any
    arrived: float
    refreshes: bool = False
    abandoned: bool = False
    decision: Decision | None = field(default=None)


class Queue(Protocol):
    """What waits for the database: registrations, which are done in batches, and everything else."""

    available: bool

    def has_room(self, job: Job, beside: int = 0) -> bool:
        """False when the waiting list is full for this one: it must be refused with 503 at once. ``beside``: so many
        are to be submitted with it."""

    def submit(self, *jobs: Job) -> None:
        """Those that came at once together: else the first would be a batch of its own, and the others wait for it."""

    def call(self, chore: Callable[[], None]) -> None:
        """Run something else on the connection, between two batches. Its exceptions are told as bugs; a store
        that is away makes it be tried again later, so it must be something that can be done twice."""

    async def ask(self, question: Callable[[], T], seconds: float) -> T:
        """Run something on the connection and await what comes of it. Raises
        :class:`~sipcore.ports.StoreUnavailable` when the store is away for ``seconds``, else what the question
        raises."""


class Store:
    """See :class:`Queue`. ``work`` turns a list of registrations into their decisions and may raise
    :class:`~sipcore.ports.StoreUnavailable`; ``done`` is called in the thread with the jobs decided; ``broken``
    with an exception nobody expected (those jobs are left to their time-out, so the phone gets 503)."""

    def __init__(
        self,
        work: Callable[[Sequence[Registration]], list[Decision]],
        done: Callable[[list[Job]], None],
        broken: Callable[[BaseException], None],
        limit: int,
        breather: float = 0.0,
    ) -> None:
        self._work, self._done, self._broken = work, done, broken
        self._limit = limit
        self._breather = breather
        self._refreshing: deque[Job] = deque()
        self._new: deque[Job] = deque()
        self._questions: deque[Callable[[], None]] = deque()
        self._chores: deque[Callable[[], None]] = deque()
        # Free while there may be something to do: a lock alone wakes the thread at once, and it looks by itself for
        # what there is. A condition would take the interpreter twice more before it does.
        self._work_waits = threading.Lock()
        self._work_waits.acquire()
        self._end = threading.Lock()  # free when all ends
        self._end.acquire()
        self._in_hand = 0
        self._worker = threading.Thread(target=self._run, name="store", daemon=True)
        self.available = True

    def start(self) -> None:
        self._worker.start()

    @property
    def waiting(self) -> int:
        """Requests accepted and not yet decided."""
        return len(self._refreshing) + len(self._new) + self._in_hand

    def has_room(self, job: Job, beside: int = 0) -> bool:
        waiting = len(self._refreshing) + len(self._new) + beside
        return waiting < (self._limit if job.refreshes else self._limit * OF_THE_NEW)

    def submit(self, *jobs: Job) -> None:
        for waiting, refreshes in ((self._refreshing, True), (self._new, False)):
            waiting.extend([job for job in jobs if job.refreshes is refreshes])
        self._wake()

    def call(self, chore: Callable[[], None]) -> None:
        self._chores.append(chore)
        self._wake()

    async def ask(self, question: Callable[[], T], seconds: float) -> T:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: BaseException | None) -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)  # type: ignore[arg-type]

        def chore() -> None:
            if answer.done():
                return  # nobody waits any more
            try:
                result = question()
            except StoreUnavailable:
                raise
            except Exception as error:
                loop.call_soon_threadsafe(settle, None, error)
            else:
                loop.call_soon_threadsafe(settle, result, None)

        self._questions.append(chore)  # before the chores, which nobody waits for: what they write gathers
        self._wake()
        late = loop.call_later(seconds, settle, None, StoreUnavailable("time-out"))
        try:
            return await answer
        finally:
            late.cancel()

    def stop(self, timeout: float) -> None:
        """Let the thread finish what it has in hand; at most ``timeout`` seconds."""
        if self._end.locked():
            self._end.release()
        self._wake()
        self._worker.join(timeout)

    def _wake(self) -> None:
        if self._work_waits.locked():
            with suppress(RuntimeError):  # somebody else was faster
                self._work_waits.release()

    def _pause(self, seconds: float) -> bool:
        """Whether all ends. (An event would take the interpreter longer, from the loop that is about to answer.)"""
        ends = self._end.acquire(timeout=seconds)
        if ends:
            self._end.release()
        return ends

    def _run(self) -> None:
        while True:
            while not (self._refreshing or self._new or self._questions or self._chores):
                if not self._end.locked():
                    return
                self._work_waits.acquire()
            batch: list[Job] = []
            if self._refreshing:
                # Those that are new have their share, however many refresh: else they would be left waiting for good.
                self._take(self._refreshing, batch, BATCH_LIMIT - min(BESIDE, len(self._new)))
            if self._new:
                self._take(self._new, batch, min(BATCH_LIMIT, len(batch) + BESIDE) if batch else BATCH_LIMIT)
            self._in_hand = len(batch)
            if batch:
                self._settle(batch)
            for waiting in (self._questions, self._chores):
                for _ in range(min(len(waiting), CHORES_AT_ONCE)):
                    if waiting:  # they are left undone when all ends
                        self._do(waiting.popleft())

    def _settle(self, batch: list[Job]) -> None:
        try:
            decisions = self._work([job.asked for job in batch])
        except StoreUnavailable:
            self.available = False
            self._put_back(batch)
            self._in_hand = 0
            if self._pause(RETRY_PAUSE):
                self._refreshing.clear()  # the core answers what is left with 503
                self._new.clear()
            return
        except Exception as error:  # a bug of ours must cost these requests and not the thread
            self._broken(error)
            self._in_hand = 0
            return
        self.available = True
        decided: list[Job] = []
        busy: list[Job] = []
        for job, decision in zip(batch, decisions, strict=True):
            job.decision = decision
            (busy if isinstance(decision, Busy) else decided).append(job)
        if busy:
            self._put_back(busy)
        self._done(decided)
        self._in_hand = 0
        if busy and not decided:
            self._pause(BUSY_PAUSE)
        elif self._breather:
            # SQLite has one writer: without a pause, back-to-back batches starve the web's writes.
            self._pause(self._breather)

    @staticmethod
    def _take(jobs: deque[Job], batch: list[Job], most: int) -> None:
        while jobs and len(batch) < most:
            job = jobs.popleft()
            if not job.abandoned:
                batch.append(job)

    def _put_back(self, jobs: list[Job]) -> None:
        for job in reversed(jobs):
            (self._refreshing if job.refreshes else self._new).appendleft(job)

    def _do(self, chore: Callable[[], None]) -> None:
        try:
            chore()
        except StoreUnavailable:
            self.available = False
            self._chores.append(chore)
            if self._pause(RETRY_PAUSE):
                self._questions.clear()
                self._chores.clear()
        except Exception as error:
            self._broken(error)
        else:
            self.available = True
