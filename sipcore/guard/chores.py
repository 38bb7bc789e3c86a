"""The guard and its store: loading, saving, and what administrators ask for, all in the store's thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from sipcore.clock import Clock
from sipcore.guard.blocks import Block, GuardRequest, GuardStore, KnownDevice
from sipcore.guard.guard import Guard
from sipcore.log import Log
from sipcore.ports import StoreRejected, StoreUnavailable
from sipcore.store import Queue

OVERLAP = 1000
"""Ids read again each time: one that was taken earlier may be committed later."""

SWEEP_SECONDS = 300.0
ASK_SECONDS = 1.0
"""Between two questions who is known good, so that a flood from many addresses asks about all of them at once."""


class GuardChores:
    """Called in the loop; ``in_loop`` brings what the store's thread has found back there."""

    def __init__(
        self,
        guard: Guard,
        stored: GuardStore,
        queue: Queue,
        clock: Clock,
        in_loop: Callable[[Callable[[], None]], None],
        log: Log,
    ) -> None:
        self._guard, self._stored, self._queue = guard, stored, queue
        self._clock, self._in_loop, self._log = clock, in_loop, log
        self._loaded = self._at_work = self._asking = self._moved = False
        self._asked_at = float("-inf")
        self._next_sweep = clock.now() + SWEEP_SECONDS
        self._seen: set[int] = set()
        self._newest = 0
        self.tell: Callable[[list[Block]], None] = lambda blocks: None
        """Tells other workers of new blocks: they hold everywhere."""
        guard.ask = self._ask

    def load(self) -> None:
        """Take up the blocks of before the start, before the first packet is read. When the store is away they are
        taken up as soon as it is back."""
        with suppress(StoreUnavailable):
            self._guard.loaded(self._load())

    def started(self) -> None:
        if not self._loaded:
            self._queue.call(lambda: self._in_loop(partial(self._guard.loaded, self._load())))

    def _load(self) -> list[Block]:
        self._newest = self._stored.last_request()
        self._seen = {request.id for request in self._stored.requests(self._newest - OVERLAP)}
        blocks = self._stored.load(self._clock.wall())
        self._loaded = True
        return blocks

    def every_second(self) -> None:
        now = self._clock.wall()
        self._guard.sweep(now)
        if self._guard.questions:
            self._ask()
        if self._at_work or not self._loaded:
            return
        new = [_copy(block) for block in self._announced()]
        if new:
            self.tell(new)
        if self._moved:
            self._moved, new = False, [_copy(block) for block in self._guard.blocks]
        tried = [_copy(block) for block in self._guard.touched.values()]
        self._guard.touched = {}
        sweep = self._clock.now() >= self._next_sweep
        if sweep:
            self._next_sweep = self._clock.now() + SWEEP_SECONDS
        self._at_work = True
        self._queue.call(partial(self._work, new, tried, sweep, now))

    def clock_set(self, moved: float) -> None:
        """The clock of this machine was set: blocks last as long as before, in the store too."""
        self._guard.clock_set(moved)
        self._moved = True

    def _work(self, new: Sequence[Block], tried: Sequence[Block], sweep: bool, now: float) -> None:
        try:
            if new:
                self._saved(new)
            if tried:
                self._stored.update(tried)
            self._take_requests()
            if sweep:
                self._stored.sweep(now)
        except StoreUnavailable:
            raise  # it is done again
        except BaseException:
            self._at_work = False
            raise
        self._at_work = False

    def _saved(self, new: Sequence[Block]) -> None:
        try:
            self._stored.save(new)
        except StoreRejected:
            self._log.warning("A block could not be stored; it holds until this process ends")

    def _announced(self) -> list[Block]:
        made, self._guard.made = self._guard.made, []
        for block in made:
            until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(block.until))
            numbers = ", ".join(block.numbers[-6:])
            if block.number:
                why = f"number {block.number} only, {block.failures} tries with a wrong password"
            else:
                why = f"guessed at many numbers ({numbers})"
                if block.spared:
                    why += f"; {len(block.spared)} numbers that are known good there go on"
            self._log.warning(f"Blocked {block.source} until {until}: {why}")
        return made

    # Who is known good there?

    def _ask(self) -> None:
        now = self._clock.now()
        if self._asking or now - self._asked_at < ASK_SECONDS:
            return  # every_second() asks again
        self._asking, self._asked_at = True, now
        sources = frozenset(self._guard.questions)

        def question() -> None:
            try:
                found = self._stored.known_at(sources, self._clock.wall())
            except StoreUnavailable:
                raise
            except BaseException:
                self._asking = False
                raise
            self._in_loop(partial(answer, found))

        def answer(found: list[KnownDevice]) -> None:
            self._asking = False
            self._guard.known(sources, found, self._clock.wall())

        self._queue.call(question)

    # What administrators ask for

    def _take_requests(self) -> None:
        """Each is taken once; one whose id is lower than that of another may still come after it."""
        requests = [r for r in self._stored.requests(self._newest - OVERLAP) if r.id not in self._seen]
        if not requests:
            return
        now = self._clock.wall()
        if any(request.action == "pardon" for request in requests):
            blocks = self._stored.load(now)  # it has been noted in them where these numbers were tried
        else:
            changed = {request.source for request in requests if request.action == "block"}
            blocks = [block for source in sorted(changed) for block in self._stored.load(now, source)]
        # Only now: had the store been away, they would have to be read again.
        self._newest = max(self._newest, *(request.id for request in requests))
        self._seen = {id for id in self._seen if id > self._newest - OVERLAP} | {request.id for request in requests}
        self._in_loop(partial(self._carry_out, requests, blocks))

    def _carry_out(self, requests: Sequence[GuardRequest], blocks: Sequence[Block]) -> None:
        repaired = {request.number for request in requests if request.action == "pardon"}
        if repaired:
            self._guard.pardon(repaired)
        for request in requests:
            if request.action == "unblock":
                self._guard.lift(request.source, request.number)
                whom = f"{request.source} {request.number}".rstrip()
                self._log.info(f"No longer blocked: {whom}, an administrator lifted it")
        self._guard.loaded(blocks)


def _copy(block: Block) -> Block:
    """For the other thread."""
    return replace(block, numbers=list(block.numbers), spared=set(block.spared))
