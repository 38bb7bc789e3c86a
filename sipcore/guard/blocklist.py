"""The blocks of one SIP process. Times are seconds since 1970, as arguments."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from sipcore.guard.blocks import ADMINISTRATOR, MOST_BLOCKS, REMEMBERED, SPARED_KEPT, Block


class Blocklist:
    """By ``source_key`` and number, in force or remembered."""

    def __init__(self) -> None:
        self._blocks: dict[str, dict[str, Block]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Block]:
        return (block for blocks in self._blocks.values() for block in blocks.values())

    def any_at(self, key: str) -> bool:
        return key in self._blocks

    def get(self, key: str, number: str) -> Block | None:
        """Also one that has ended."""
        blocks = self._blocks.get(key)
        return blocks.get(number) if blocks is not None else None

    def shuts_out(self, key: str, now: float) -> Block | None:
        """The block in force that keeps out everything from there, whatever number it is of."""
        blocks = self._blocks.get(key)
        whole = blocks.get("") if blocks is not None else None
        if whole is None or whole.until <= now:
            return None
        return whole if whole.reason == ADMINISTRATOR or not whole.spared else None

    def bars(self, key: str, number: str, now: float) -> Block | None:
        """The block in force that keeps this number out there."""
        blocks = self._blocks.get(key)
        if blocks is None:
            return None
        whole = blocks.get("")
        if whole is not None and whole.until > now and (
            whole.reason == ADMINISTRATOR or number not in whole.spared
        ):
            return whole
        one = blocks.get(number) if number else None
        return one if one is not None and one.until > now else None

    def spare(self, key: str, number: str, now: float) -> Block | None:
        """This number is good there: the block of the whole address, if one is in force, lets it pass from now on."""
        whole = self.get(key, "")
        if whole is None or whole.until <= now or number in whole.spared or len(whole.spared) >= SPARED_KEPT:
            return None
        whole.spared.add(number)
        return whole

    def keep(self, block: Block) -> None:
        blocks = self._blocks.setdefault(block.source, {})
        self._count += block.number not in blocks
        blocks[block.number] = block

    def take_up(self, stored: Iterable[Block]) -> None:
        """Blocks as they are stored; of one that is here already, what was tried here is newer."""
        for block in stored:
            here = self.get(block.source, block.number)
            if here is not None and abs(here.since - block.since) < 1.0 and abs(here.until - block.until) < 1.0:
                here.spared |= block.spared
            else:
                self.keep(block)

    def lift(self, key: str, number: str) -> None:
        blocks = self._blocks.get(key)
        if blocks is None or blocks.pop(number, None) is None:
            return
        self._count -= 1
        if not blocks:
            del self._blocks[key]

    def pardon(self, numbers: set[str]) -> None:
        """The guard's blocks of these numbers end, and those of whole addresses where they were tried let them
        pass."""
        for key, blocks in list(self._blocks.items()):
            whole = blocks.get("")
            if whole is not None and len(whole.spared) < SPARED_KEPT:
                whole.spared |= numbers.intersection(whole.numbers)
            for number in numbers & blocks.keys():
                if blocks[number].reason != ADMINISTRATOR:
                    self.lift(key, number)

    def sweep(self, now: float) -> None:
        """Once a minute, or when there are too many, forget those that matter no more."""
        if int(now) % 60 and self._count <= MOST_BLOCKS:
            return
        gone = [block for block in self if block.until <= now - REMEMBERED]
        surplus = self._count - len(gone) - MOST_BLOCKS
        if surplus > 0:
            kept = (block for block in self if block.until > now - REMEMBERED)
            gone += heapq.nsmallest(surplus, kept, key=lambda block: block.until)
        for block in gone:
            self.lift(block.source, block.number)

    def clock_set(self, moved: float) -> None:
        for block in self:
            block.since += moved
            block.until += moved
