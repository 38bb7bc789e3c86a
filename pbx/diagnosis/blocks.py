"""Blocked addresses as pages and commands know them: which ones hit a number, adding one, lifting one. The side of the
engine is ``guard_store``; the two meet in the rows of ``Block`` and ``GuardAction`` alone."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, TextField
from django.db.models.functions import Cast, Lower
from django.dispatch import receiver
from django.utils import timezone

from extensions.repaired import repaired
from pbx.diagnosis.evidence import BlockFacts
from pbx.diagnosis.models import Attempt, Block, GuardAction
from sipcore.guard.blocks import NUMBER_LIMIT, SPARED_KEPT, source_key

__all__ = ["add", "blocks_for", "lift", "living", "pardon", "source_key"]

MOST_LOOKED_AT = 10_000
MANY = 50
"""Numbers repaired at once above which only those are pardoned that have failed lately: an import of thousands."""

LATELY = timedelta(hours=1)


def living(now: datetime | None = None):
    """Those in force, the newest first."""
    return Block.objects.filter(until__gt=now or timezone.now()).order_by("-since", "-pk")


def blocks_for(number: str, sources: Collection[str], now: datetime | None = None) -> tuple[BlockFacts, ...]:
    """The blocks in force that hit this number: those of the number itself, and those of whole addresses from which
    it has tried or that are among ``sources`` (addresses without ports), unless it goes on there."""
    number = number.lower()
    keys = {source_key(source) for source in sources}
    # Roughly, and by the database: in a flood there are thousands, and this is asked for every page.
    written = Q()
    for spelling in {json.dumps(number), json.dumps(number, ensure_ascii=False)}:
        written |= Q(numbers_text__contains=spelling)
    rows = living(now).annotate(numbers_text=Cast("numbers", TextField()))
    found = []
    for row in rows.filter(Q(number=number) | Q(number="") & (Q(source__in=keys) | written))[:MOST_LOOKED_AT]:
        if not row.number and (number in row.spared or not (number in row.numbers or row.source in keys)):
            continue
        found.append(facts(row))
    # A block of this very number first: it says the most.
    return tuple(sorted(found, key=lambda block: not block.number))


def facts(row: Block) -> BlockFacts:
    return BlockFacts(
        id=row.pk, source=row.source, number=row.number, reason=row.reason, by=row.by, since=row.since,
        until=row.until, numbers=tuple(row.numbers), tries=row.tries, last_try_at=row.last_try_at,
        failures=row.failures, user_agent=row.user_agent,
    )


def lift(block: Block, by: str) -> None:
    """Take it away, for every SIP process within a second or two."""
    with transaction.atomic():
        Block.objects.filter(source=block.source, number=block.number).delete()
        GuardAction.objects.create(action="unblock", source=block.source, number=block.number, by=by[:150])


def add(source: str, number: str, length: timedelta, by: str) -> Block:
    """Block an address, or one number from there, in place of what was blocked there before."""
    now = timezone.now()
    key, number = source_key(source), number.lower()[:NUMBER_LIMIT]
    with transaction.atomic():
        block, _created = Block.objects.update_or_create(
            source=key, number=number,
            defaults={
                "reason": Block.Reason.ADMINISTRATOR, "by": by[:150], "since": now, "until": now + length,
                "failures": 0, "tries": 0, "last_try_at": None, "numbers": [number] if number else [], "spared": [],
            },
        )
        GuardAction.objects.create(action="block", source=key, number=number, by=by[:150])
    return block


@receiver(repaired, dispatch_uid="pbx.diagnosis.blocks.pardon")
def _repaired(sender, numbers: list[str], **_more) -> None:
    pardon(numbers)


def pardon(numbers: Iterable[str]) -> None:
    """These numbers were repaired: what the guard holds against them ends at once. What an administrator blocked stays
    blocked."""
    wanted = {number.lower() for number in numbers}
    if len(wanted) > MANY:
        wanted &= _failed_lately()
    if not wanted:
        return
    with transaction.atomic():
        for names in _slices(sorted(wanted)):
            Block.objects.filter(number__in=names).exclude(reason=Block.Reason.ADMINISTRATOR).delete()
        _spare(wanted)
        GuardAction.objects.bulk_create(
            [GuardAction(action="pardon", number=number) for number in sorted(wanted)], batch_size=100
        )


def _failed_lately() -> set[str]:
    now = timezone.now()
    tried = Attempt.objects.filter(last_at__gt=now - LATELY).values_list("number", flat=True).distinct()
    held = {number for row in living(now)[:MOST_LOOKED_AT] for number in (row.number, *row.numbers)}
    return {number.lower() for number in tried} | held


def _spare(numbers: set[str]) -> None:
    """Blocks of addresses from which they were tried let them pass."""
    tried: dict[str, set[str]] = {}
    for names in _slices(sorted(numbers)):
        rows = Attempt.objects.annotate(lower_number=Lower("number")).filter(lower_number__in=names)
        for number, source in rows.values_list("number", "source"):
            tried.setdefault(source_key(source), set()).add(number.lower())
    blocks = living().filter(number="").exclude(reason=Block.Reason.ADMINISTRATOR).select_for_update()
    for row in blocks[:MOST_LOOKED_AT]:
        passing = numbers & {*row.numbers, *tried.get(row.source, ())}
        if not passing <= set(row.spared):
            row.spared = sorted({*row.spared, *passing})[:SPARED_KEPT]
            row.save(update_fields=["spared"])


def _slices(items: list[str], size: int = 400) -> Iterable[list[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
