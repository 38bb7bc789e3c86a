"""The guard's rules. Pure: time is an argument (seconds since 1970), and everything that is kept has a limit.

Only what was proven to come from its address counts: the nonce of a refused request was valid for its source, so a
forged source blocks nobody.

- One number from one address that fails again and again is slowed, and only blocked when it hammers.
- Many different numbers from one address are guessing: the address is blocked, but for the numbers that are known
  good there. Whether any are is asked of the store when it matters; until it has answered, nothing from there is
  looked up.
- A number that has no password yet counts like one that does not exist: else it could be told from that with
  patience. Nobody is locked out by it, since no phone can use such a number, and giving it a password pardons it. But
  for the block of an address half of the numbers must be real guesses: an office whose extensions still wait for
  their passwords is no attacker.
- Devices that are registered there now are not slowed with a neighbour that has their number and an old password."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sipcore.guard.blocklist import Blocklist
from sipcore.guard.blocks import (
    ADMINISTRATOR,
    GUESSING,
    NUMBERS_KEPT,
    REMEMBERED,
    SPARED_KEPT,
    WRONG_PASSWORD,
    Block,
    KnownDevice,
    source_key,
)
from sipcore.guard.failures import PAIRS_OF_A_SOURCE, Failures, Mark, Pair, Sender, Source, marks_of

GUESSES = frozenset(("wrong_password", "unknown_extension"))
UNPROVABLE = frozenset(("no_credential", "stale_credential"))
"""There is nothing that a password could be compared with."""

SLOWED = GUESSES | UNPROVABLE | {"disabled"}
"""Causes that slow; ``disabled`` alone, which only the right password brings about, never leads to a block."""

PUT_OFF = "rate_limited"
"""The cause of a try that was not looked at: each counts for hammering."""

DELAYS = (5.0, 10.0, 20.0, 30.0, 60.0)
"""Seconds for which a number is not evaluated, after each failure too many."""

ASKING_DELAY = 2.0
"""Seconds after which to come back, while the store is asked who is known good."""

KNOWN_SECONDS = 60.0
"""How long the store's answer counts."""

MOST_GOOD = 20_000
"""Addresses behind proxies whose good numbers are remembered."""

READ_A_SECOND = 20
"""Messages of blocked addresses that are read for the evidence; in a flood the others are only counted."""


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """``failures`` of one number in a row until it is slowed, ``numbers`` failed until their address is blocked; 0
    switches that off. ``hammering``: tries of one number within ``window`` until it is blocked. Times in seconds."""

    failures: int = 10
    numbers: int = 6
    hammering: int = 100
    window: float = 600.0
    first_block: float = 600.0
    longest_block: float = 86400.0


class Guard:
    """``trusted`` tells of an address that the guard never slows and never blocks of itself."""

    def __init__(self, limits: GuardLimits | None = None, trusted: Callable[[str], bool] = lambda host: False) -> None:
        self.limits = limits or GuardLimits()
        self.blocks = Blocklist()
        self.failures = Failures()
        self._trusted = trusted
        self._second, self._read = 0, 0
        self._good: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()
        self.questions: set[str] = set()
        """Sources of which the store must be asked who is known good; :attr:`ask` is called when one is added."""
        self.ask: Callable[[], None] = lambda: None
        self.made: list[Block] = []
        """Blocks made since the shell last looked; not yet stored."""
        self.touched: dict[tuple[str, str], Block] = {}
        """Stored blocks that changed since the shell last looked."""

    # What a request may do

    def has_nothing(self, host: str) -> bool:
        """Whether nobody failed or is blocked there: then no other question about it needs to be asked."""
        key = source_key(host)
        return not self.blocks.any_at(key) and self.failures.get(key) is None

    def has_blocks(self, host: str) -> bool:
        """Whether there is anything to ask :meth:`bars` about: one look for all who never did wrong."""
        return self.blocks.any_at(source_key(host))

    def has_failures(self, host: str) -> bool:
        return self.failures.get(source_key(host)) is not None

    def shuts_out(self, host: str, now: float) -> Block | None:
        """The block that keeps out everything from there, whatever it says: it need not even be read."""
        return self.blocks.shuts_out(source_key(host), now)

    def may_read(self, now: float) -> bool:
        """Whether a message of a blocked address may be read for the evidence."""
        if int(now) != self._second:
            self._second, self._read = int(now), 0
        self._read += 1
        return self._read <= READ_A_SECOND

    def bars(self, sender: Sender, now: float) -> Block | None:
        """The block that keeps this request out; it must not be answered."""
        key = source_key(sender.host)
        block = self.blocks.bars(key, sender.number, now)
        if block is None or not block.number or block.reason == ADMINISTRATOR:
            return block
        source = self.failures.source(key)
        if now - source.asked_at > KNOWN_SECONDS:
            self._ask(key)  # after a restart: if it may pass, its repetition does
        return None if source.knows(sender) else block

    def tried(self, block: Block, number: str, user_agent: str, now: float) -> None:
        """A request was kept out."""
        block.tried(number, user_agent, now)
        self.touched[block.source, block.number] = block

    def delay(self, sender: Sender, now: float) -> float:
        """Seconds for which these credentials are not looked at; 0: go on."""
        key = source_key(sender.host)
        source = self.failures.get(key)
        if source is None:
            return 0.0
        pair = source.pairs.get(sender.number)
        slow = pair is not None and pair.slow_until > now
        if not (source.asking or slow) or source.knows(sender):
            return 0.0
        if pair is None or not slow:
            return ASKING_DELAY
        self._count_try(key, sender, pair, now)
        return pair.slow_until - now

    def hammers(self, sender: Sender, now: float) -> bool:
        """Whether a try of these that :meth:`delay` has put off counts for a block."""
        source = self.failures.get(source_key(sender.host))
        pair = source.pairs.get(sender.number) if source is not None else None
        return pair is not None and pair.guesses and pair.slow_until > now

    # What became of it

    def failed(self, sender: Sender, cause: str, now: float) -> None:
        """Its credentials were refused for ``cause``, and its nonce was valid for its source."""
        key = source_key(sender.host)
        if cause not in SLOWED or self._trusted(sender.host) or self.blocks.bars(key, sender.number, now):
            return
        pair = self.failures.failed(key, sender.number, now)
        source = self.failures.source(key)
        if now - pair.failed_at > self.limits.window:
            pair.failures = 0
        pair.failures += 1
        pair.failed_at = now
        pair.guesses, pair.unprovable = cause in GUESSES | UNPROVABLE, cause in UNPROVABLE
        pair.remember_marks(sender.marks)
        over = pair.failures - self.limits.failures
        if self.limits.failures and over >= 0:
            pair.slow_until = now + DELAYS[min(over, len(DELAYS) - 1)]
            if now - source.asked_at > KNOWN_SECONDS:
                self._ask(key)
        self._count_try(key, sender, pair, now)
        if pair.guesses and self._guesses_many(source, now):
            if now - source.asked_at > KNOWN_SECONDS:
                source.asking = True
                self._ask(key)
            else:
                self._block_source(key, source, sender.user_agent, now)

    def failed_elsewhere(self, sender: Sender, cause: str, now: float) -> None:
        """The same seen by another worker, which tells of the block that may come of it; here it only holds."""
        made = len(self.made)
        if cause == PUT_OFF:
            self.delay(sender, now)
        else:
            self.failed(sender, cause, now)
        del self.made[made:]

    def succeeded(self, sender: Sender, now: float) -> None:
        """It showed the right password."""
        key = source_key(sender.host)
        if not sender.port:
            self._remember_good(key, sender.number)
        source = self.failures.get(key)
        if source is not None:
            self.failures.forget_numbers(key, [sender.number])
            source.known.setdefault(sender.number, set()).update(sender.marks)
        whole = self.blocks.spare(key, sender.number, now)
        if whole is not None:
            self.touched[key, ""] = whole

    def known(self, sources: Iterable[str], devices: Iterable[KnownDevice], now: float) -> None:
        """The store's answer: who is known good at these sources."""
        good: dict[str, dict[str, set[Mark]]] = {key: {} for key in sources}
        self.questions -= good.keys()
        for device in devices:
            if device.source in good:
                good[device.source].setdefault(device.number, set()).update(marks_of(device.call_id, device.port))
        for key, numbers in good.items():
            source = self.failures.get(key)
            if source is None:
                continue
            for number in self._good.get(key, ()):
                numbers.setdefault(number, set())
            source.known, source.asked_at, source.asking = numbers, now, False
            # Another worker, or an administrator, may have been first: made again it would last twice as long.
            whole = self.blocks.get(key, "")
            if (whole is None or whole.until <= now) and self._guesses_many(source, now):
                self._block_source(key, source, "", now)

    # What an administrator did

    def loaded(self, blocks: Iterable[Block]) -> None:
        """Blocks from the store, of before a start or of another process."""
        self.blocks.take_up(blocks)

    def lift(self, key: str, number: str) -> None:
        """Forget a block and what led to it."""
        self.blocks.lift(key, number)
        self.touched.pop((key, number), None)
        self.made = [block for block in self.made if (block.source, block.number) != (key, number)]
        if number:
            self.failures.forget_numbers(key, [number])
        else:
            self.failures.forget_source(key)

    def pardon(self, numbers: Iterable[str]) -> None:
        """These numbers were repaired (a new password): they begin anew everywhere, at once."""
        repaired = set(numbers)
        self.blocks.pardon(repaired)
        self.failures.forget_everywhere(repaired)
        self.made = [block for block in self.made if self.blocks.get(block.source, block.number) is block]

    # Time

    def sweep(self, now: float) -> None:
        """Forget what matters no more; once a second."""
        self.failures.forget_older(now - self.limits.window)
        self.blocks.sweep(now)

    def clock_set(self, moved: float) -> None:
        """The clock of this machine was set by so many seconds: what lasts, lasts as long as before."""
        self.failures.clock_set(moved)
        self.blocks.clock_set(moved)

    # Inside

    def _ask(self, key: str) -> None:
        if key not in self.questions:
            self.questions.add(key)
            self.ask()

    def _remember_good(self, key: str, number: str) -> None:
        """Behind a proxy: the store knows phones by the proxy's address only."""
        numbers = self._good.setdefault(key, OrderedDict())
        self._good.move_to_end(key)
        numbers[number] = None
        numbers.move_to_end(number)
        if len(numbers) > PAIRS_OF_A_SOURCE:
            numbers.popitem(last=False)
        if len(self._good) > MOST_GOOD:
            self._good.popitem(last=False)

    def _guesses_many(self, source: Source, now: float) -> bool:
        most = self.limits.numbers
        if not 0 < most <= len(source.pairs):
            return False
        guessed = source.guessed(now - self.limits.window)
        real = sum(not source.pairs[number].unprovable for number in guessed)
        return len(guessed) >= most and 2 * real >= most

    def _count_try(self, key: str, sender: Sender, pair: Pair, now: float) -> None:
        if now - pair.tries_from > self.limits.window:
            pair.tries, pair.tries_from = 0, now
        pair.tries += 1
        if pair.guesses and self.limits.failures and pair.tries >= self.limits.hammering:
            until = now + self.limits.first_block
            self._new(Block(
                key, sender.number, WRONG_PASSWORD, now, until, failures=pair.tries, numbers=[sender.number],
                user_agent=sender.user_agent,
            ))
            pair.tries = 0

    def _block_source(self, key: str, source: Source, user_agent: str, now: float) -> None:
        guessed = source.guessed(now - self.limits.window)
        seconds, before = self.limits.first_block, self.blocks.get(key, "")
        if before is not None and before.reason == GUESSING and now - before.until < REMEMBERED:
            seconds = min(2 * (before.until - before.since), self.limits.longest_block)
        self._new(Block(
            key, "", GUESSING, now, now + seconds, failures=sum(source.pairs[number].failures for number in guessed),
            numbers=guessed[-NUMBERS_KEPT:], spared=set(sorted(source.known)[:SPARED_KEPT]), user_agent=user_agent,
        ))
        self.failures.forget_numbers(key, guessed)

    def _new(self, block: Block) -> None:
        self.blocks.keep(block)
        self.made.append(block)
