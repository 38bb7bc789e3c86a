"""What a SIP process does besides answering: its heartbeat, the list of phones to ping, forgetting old rows.

Called once a second in the loop; whatever needs the database is a chore of the store's thread, and what comes of it
is brought back into the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import Event

from sipcore import systemd
from sipcore.calls.records import CallAction, CallStore
from sipcore.clock import Clock
from sipcore.collector import Collector
from sipcore.core import Core
from sipcore.evidence.facts import EvidenceStore
from sipcore.guard.chores import GuardChores
from sipcore.log import Log
from sipcore.online import silence_over
from sipcore.ports import Binding, BindingId, Directory, StoreUnavailable
from sipcore.store import Queue
from sipcore.subscriptions.subscriptions import Subscriptions
from sipcore.workers import CALLS
from sipcore.workers.calls_elsewhere import SubscriptionsElsewhere

BEAT_SECONDS = 5.0
SWEEP_SECONDS = 60.0
SWEEP_ROWS = 500
KEEP_ENDED_SECONDS = 7 * 24 * 3600.0
"""How long an ended registration stays as "last seen"."""

KEEP_EVIDENCE_SECONDS = 7 * 24 * 3600.0

COMPARE_SHARE = 1 / 60
"""Every phone that is pinged is compared with the database once a minute: it may have been forgotten there."""

COMPARED_AT_ONCE = 200
"""Of 100,000 phones that are 1,700 each second: at once they would hold up the loop, and phones that register."""

LOAD_AFTER = 0.5
"""Seconds after a start; those who are waiting for an answer come first."""

LOAD_SLICE = 50
"""Bindings read and taken into the keep-alive at once after a start, so that neither the loop nor the store's thread
stalls: the first phones are answered meanwhile."""

TOLD_AT_ONCE = 1000
"""Phones that answer no more, or again, or whose connection has ended, written in one chore: a whole network may go."""

FOLLOW_SECONDS = 1.0
"""The store's thread waits at most so long for the loop to follow a clock that was set."""

GOLDEN = 0.6180339887498949
"""Multiples of it lie evenly between whole numbers, however many there will be."""


class Chores:
    """``in_loop`` runs a function in the loop's thread; ``beat`` writes the heartbeat (wall time, seconds).
    ``keep_calls``: seconds after which a call record is deleted, 0 for never."""

    def __init__(
        self,
        core: Core,
        store: Queue,
        directory: Directory,
        clock: Clock,
        log: Log,
        beat: Callable[[float], None],
        in_loop: Callable[[Callable[[], None]], None],
        calls: CallStore,
        keep_calls: float = 0.0,
    ) -> None:
        self._core, self._store, self._directory = core, store, directory
        self._clock, self._log = clock, log
        self._beat, self._in_loop, self._calls, self._keep_calls = beat, in_loop, calls, keep_calls
        self._outstanding: set[str] = set()
        self._next_beat = self._next_sweep = 0.0
        self._load_at: float | None = None
        self._started_at = 0.0
        self._loaded = 0
        self._died: set[BindingId] = set()
        self._revived: set[BindingId] = set()
        self._lost: dict[BindingId, str] = {}
        self._first = core.settings.worker == CALLS
        """What one worker has to do for all is done by the one that has the calls."""
        self.subscriptions: Subscriptions | SubscriptionsElsewhere | None = None
        self.guard: GuardChores | None = None
        self.evidence: EvidenceStore | None = None
        self.collector: Collector | None = None

    def started(self) -> None:
        """Take up the phones that were registered before the start; close the calls that a crash left open."""
        if self._first:
            self._store.call(self._close_orphans)  # before any call of now is written
        self._load_at, self._started_at = self._clock.now() + LOAD_AFTER, self._clock.wall()
        self._next_sweep = self._clock.now() + SWEEP_SECONDS
        if self.guard is not None:
            self.guard.started()
        if self.subscriptions is not None:
            self.subscriptions.load()

    def every_second(self) -> None:
        now = self._clock.now()
        self._log.sum_up()
        systemd.notify("WATCHDOG=1")
        self._core.outage.look(self._store.available)
        self._follow_clock()
        self._tell_reachable()
        self._end_lost()
        calls = self._core.calls
        if self.collector is not None:
            self.collector.every_second(len(self._core.keepalive), calls is not None and bool(calls.calls))
        if calls is not None:
            calls.every_second()
        if now >= self._next_beat:
            self._next_beat = now + BEAT_SECONDS
            self._chore("beat", lambda: self._beat(self._clock.wall()))
        if self._load_at is not None and now >= self._load_at:
            self._load_at = None
            self._load(None)
        if self._first and now >= self._next_sweep:
            self._next_sweep = now + SWEEP_SECONDS
            self._chore("sweep", self._sweeping())
        if self._first:
            self._chore("actions", self._take_actions)
        self.write_evidence()
        self._compare()
        if self.guard is not None:
            self.guard.every_second()
        if self.subscriptions is not None:
            self.subscriptions.every_second()

    def _close_orphans(self) -> None:
        closed = self._calls.close_orphans(self._core.settings.node, self._clock.wall())
        if closed:
            self._log.warning(f"{closed} calls were cut off when this process last ended; their records are closed")

    def _take_actions(self) -> None:
        """What an administrator asked for since: the web and this process meet in the database alone."""
        for asked in self._calls.take_actions(self._core.settings.node):
            self._in_loop(partial(self._hang_up, asked))

    def _hang_up(self, asked: CallAction) -> None:
        if self._core.calls is not None and asked.action == "hangup":
            self._log.info(f"Call {asked.uniqueid}: an administrator hangs up")
            self._core.calls.hang_up(asked.uniqueid, "hung_up_by_administrator", "administrator")

    def _chore(self, name: str, work: Callable[[], bool | None]) -> None:
        """At most one of each kind waits, however long the database is away. ``work`` is done again, after what else
        waits, for as long as it returns True."""
        if name in self._outstanding:
            return
        self._outstanding.add(name)

        def run() -> None:
            try:
                more = work()
            except StoreUnavailable:
                raise  # it is tried again, and counts as waiting until then
            except BaseException:
                self._outstanding.discard(name)
                raise
            if more:
                self._store.call(run)
            else:
                self._outstanding.discard(name)

        self._store.call(run)

    def _load(self, after: BindingId | None) -> None:
        """A slice at a time: a REGISTER that comes in between is served first. Whoever is called before it was taken
        up is found in the database all the same."""

        def load() -> None:
            # Who has come since the start is known already, and may be thousands by now.
            node, wall, started = self._core.settings.node, self._clock.wall(), self._started_at
            living = self._directory.living(node, wall, after, LOAD_SLICE, before=started)
            self._in_loop(lambda: self._take_up(living))

        self._store.call(load)

    def _take_up(self, living: Sequence[Binding]) -> None:
        """Deal the first pings evenly over one interval."""
        now, wall = self._clock.now(), self._clock.wall()
        for binding in living:
            self._loaded += 1
            self._core.watch(binding, now, wall, self._loaded * GOLDEN % 1.0)
        if len(living) == LOAD_SLICE:
            self._load(living[-1].id)

    def _follow_clock(self) -> None:
        moved = self._clock.step()
        if not moved or "clock" in self._outstanding:
            return
        self._log.warning(f"The clock of this machine was set by {moved:+.0f} s; registrations keep their time")

        followed = Event()

        def shift() -> None:
            # In one transaction with the heartbeat: by it the next start sees what has been moved already.
            with self._directory.transaction():
                self._directory.shift_times(self._core.settings.node, moved)
                self._beat(self._clock.wall() + moved)
            self._in_loop(follow)
            # No batch may lie between: what it wrote by the new time would be moved as well, and a phone that has just
            # registered would be forgotten. The loop never waits for this thread.
            followed.wait(FOLLOW_SECONDS)

        def follow() -> None:
            # At once for all, in the loop's thread: nothing there compares a time of before with one of after.
            self._clock.follow(moved)
            self._started_at += moved
            if self._core.calls is not None:
                self._core.calls.clock_set(moved)
            if self.guard is not None:
                self.guard.clock_set(moved)
            if self.subscriptions is not None:
                self.subscriptions.clock_set(moved)
            followed.set()

        self._chore("clock", shift)

    def _tell_reachable(self) -> None:
        keepalive = self._core.keepalive
        self._revived.difference_update(keepalive.died)
        self._died.update(keepalive.died)
        self._died.difference_update(keepalive.revived)
        self._revived.update(keepalive.revived)
        keepalive.died.clear()
        keepalive.revived.clear()
        if not (self._died or self._revived) or "reachable" in self._outstanding:
            return
        died = {self._died.pop() for _ in range(min(len(self._died), TOLD_AT_ONCE))}
        revived = {self._revived.pop() for _ in range(min(len(self._revived), TOLD_AT_ONCE))}
        since = self._clock.wall()

        def mark() -> None:
            if revived:
                self._end_silence(revived, since)
                self._directory.mark_reachable(revived, None)
            if died:
                self._directory.mark_reachable(died, since)
            self._tell_watchers({*revived, *died})
            self._in_loop(self._tell_reachable)  # the others, if there are more

        self._chore("reachable", mark)

    def _end_silence(self, revived: set[BindingId], now: float) -> None:
        """Tell how long they have been silent, before that is forgotten; called in the store's thread."""
        for bindings in self._directory.bindings({id.account_id for id in revived}).values():
            for binding in bindings:
                if binding.id in revived:
                    for period in silence_over(binding, now):
                        self._core.recorder.period_over(period)

    def _end_lost(self) -> None:
        """A phone whose connection has ended cannot be reached until it registers again."""
        self._lost.update(self._core.connections.take_lost())
        if not self._lost or "lost" in self._outstanding:
            return
        lost = dict(self._lost.popitem() for _ in range(min(len(self._lost), TOLD_AT_ONCE)))
        since = self._clock.wall()

        def end() -> None:
            self._directory.end_connections(lost, since)
            self._tell_watchers(lost)
            self._in_loop(self._end_lost)

        self._chore("lost", end)

    def _tell_watchers(self, ids: Iterable[BindingId]) -> None:
        """Presence follows what is stored; called in the store's thread."""
        accounts = {id.account_id for id in ids}
        if self.subscriptions is not None:
            self._in_loop(partial(self.subscriptions.accounts_changed, accounts))

    def write_evidence(self) -> None:
        """Together what has failed since the last time. While the store is away nothing is taken from the recorder,
        which knows its bounds."""
        store = self.evidence
        if store is None or "evidence" in self._outstanding:
            return
        recorder = self._core.recorder
        gathered = recorder.take()

        def write() -> bool:
            if gathered.write(store):
                return True
            watched = store.watched_numbers(self._clock.wall())
            if watched != recorder.watched:
                self._in_loop(partial(recorder.watch, watched))
            return False

        self._chore("evidence", write)

    def _compare(self) -> None:
        ids = self._core.keepalive.slice(COMPARE_SHARE)
        if not ids:
            return

        def compare() -> bool:
            some = ids[-COMPARED_AT_ONCE:]
            gone = set(some) - self._directory.still_there(some, self._clock.wall())
            if gone:
                self._in_loop(partial(self._forget, gone))
            del ids[-COMPARED_AT_ONCE:]
            return bool(ids)

        self._chore("compare", compare)

    def _forget(self, gone: set[BindingId]) -> None:
        for id in gone:
            self._core.keepalive.forget(id)
        if self.subscriptions is not None:
            self.subscriptions.accounts_changed({id.account_id for id in gone})

    def _sweeping(self) -> Callable[[], bool]:
        """One kind of old rows after the other: phones that register are served in between."""
        wall, evidence = self._clock.wall(), self.evidence
        kinds = [lambda: self._directory.sweep(wall - KEEP_ENDED_SECONDS, SWEEP_ROWS)]
        if self._keep_calls:
            kinds.append(lambda: self._calls.sweep_calls(wall - self._keep_calls, SWEEP_ROWS))
        if evidence is not None:
            kinds.append(lambda: evidence.sweep(wall - KEEP_EVIDENCE_SECONDS, SWEEP_ROWS))

        def sweep() -> bool:
            if kinds[-1]() >= SWEEP_ROWS:
                self._next_sweep = 0.0
            kinds.pop()
            return bool(kinds)

        return sweep
