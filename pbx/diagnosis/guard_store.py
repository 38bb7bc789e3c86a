"""Where the SIP engine keeps its blocks (``sipcore.guard.blocks.GuardStore``): plain synchronous functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import F, Q

from extensions.models import Binding
from pbx.diagnosis.models import Block as Row
from pbx.diagnosis.models import GuardAction
from pbx.store_access import unit_of_work
from sipcore.guard.blocks import (
    MOST_BLOCKS,
    NUMBERS_KEPT,
    REMEMBERED,
    SPARED_KEPT,
    Block,
    GuardRequest,
    KnownDevice,
    source_key,
)
from sipcore.protocol.headers import clean_text

READ_AT_ONCE = 400
"""Names in one IN list: SQLite's limit is 999 parameters."""

REQUESTS_AT_ONCE = 5000
MOST_KNOWN = 20_000
GOOD = timedelta(days=7)
"""How long after its last registration a phone counts as known good; ended bindings are kept as long."""

KEEP_REQUESTS = timedelta(days=1)
COLUMNS = ("reason", "by", "since", "until", "failures", "numbers", "spared", "tries", "last_try_at", "user_agent")


class DjangoGuardStore:
    @unit_of_work
    def load(self, now: float, source: str | None = None) -> list[Block]:
        rows = Row.objects.filter(until__gt=_moment(now - REMEMBERED))
        if source is not None:
            rows = rows.filter(source=source)
        return [_block(row) for row in rows.order_by("-until")[:MOST_BLOCKS]]

    @unit_of_work
    def shift_times(self, seconds: float) -> None:
        """The clock was set while nobody ran: blocks last as long as before."""
        by = timedelta(seconds=seconds)
        Row.objects.update(since=F("since") + by, until=F("until") + by)

    @unit_of_work
    def last_request(self) -> int:
        return GuardAction.objects.order_by("-pk").values_list("pk", flat=True).first() or 0

    @unit_of_work
    def requests(self, after: int) -> list[GuardRequest]:
        rows = GuardAction.objects.filter(pk__gt=after).order_by("pk")
        return [GuardRequest(*row) for row in rows.values_list("pk", "action", "source", "number")[:REQUESTS_AT_ONCE]]

    @unit_of_work
    def save(self, blocks: Sequence[Block]) -> None:
        newest = {(block.source, block.number): block for block in blocks}
        rows = [_row(newest[key]) for key in sorted(newest)]  # sorted: two writers cannot deadlock
        with transaction.atomic():
            Row.objects.bulk_create(
                rows, batch_size=50, update_conflicts=True, unique_fields=["source", "number"], update_fields=COLUMNS
            )
            GuardAction.objects.bulk_create(
                [GuardAction(action="block", source=row.source, number=row.number) for row in rows], batch_size=100
            )

    @unit_of_work
    def update(self, blocks: Sequence[Block]) -> None:
        changed = {(block.source, block.number): block for block in blocks}
        with transaction.atomic():
            for sources in _slices(sorted({source for source, _number in changed})):
                rows = [
                    row for row in Row.objects.filter(source__in=sources).select_for_update().order_by("pk")
                    if (row.source, row.number) in changed
                ]
                for row in rows:
                    _take_over(row, changed[row.source, row.number])
                Row.objects.bulk_update(
                    rows, ["tries", "last_try_at", "numbers", "spared", "user_agent"], batch_size=50
                )

    @unit_of_work
    def known_at(self, sources: Collection[str], now: float) -> list[KnownDevice]:
        found: list[KnownDevice] = []
        moment = _moment(now)
        for hosts in _slices([source for source in sources if ":" not in source]):
            found += _known(Q(remote_host__in=hosts), moment)
        if any(":" in source for source in sources):
            found += [device for device in _known(Q(remote_host__contains=":"), moment) if device.source in sources]
        return found

    @unit_of_work
    def sweep(self, now: float) -> None:
        moment = _moment(now)
        Row.objects.filter(until__lt=_moment(now - REMEMBERED)).delete()
        GuardAction.objects.filter(created_at__lt=moment - KEEP_REQUESTS).delete()
        surplus = list(Row.objects.order_by("-until").values_list("pk", flat=True)[MOST_BLOCKS:])
        for pks in _slices(surplus):
            Row.objects.filter(pk__in=pks).delete()


def _known(where: Q, now: datetime) -> Iterable[KnownDevice]:
    rows = Binding.objects.filter(where, refreshed_at__gt=now - GOOD).order_by("-refreshed_at")
    for host, number, call_id, port, expires_at in rows.values_list(
        "remote_host", "extension__number", "call_id", "remote_port", "expires_at"
    )[:MOST_KNOWN]:
        lives = expires_at > now
        yield KnownDevice(source_key(host), number.lower(), call_id if lives else "", port if lives else 0)


def _block(row: Row) -> Block:
    return Block(
        source=row.source, number=row.number, reason=row.reason, since=row.since.timestamp(),
        until=row.until.timestamp(), by=row.by, failures=row.failures, numbers=list(row.numbers),
        spared=set(row.spared), tries=row.tries,
        last_try_at=row.last_try_at.timestamp() if row.last_try_at else None, user_agent=row.user_agent,
    )


def _row(block: Block) -> Row:
    row = Row(
        source=clean_text(block.source, 45), number=clean_text(block.number, 64), reason=block.reason, by=block.by,
        since=_moment(block.since), until=_moment(block.until), failures=block.failures,
    )
    _take_over(row, block)
    return row


def _take_over(row: Row, block: Block) -> None:
    """What is counted while it lasts. Another process counts as well: the higher number is the nearer one."""
    row.tries = max(row.tries, block.tries)
    row.last_try_at = _moment(block.last_try_at) if block.last_try_at is not None else row.last_try_at
    row.numbers = [clean_text(number, 64) for number in block.numbers][-NUMBERS_KEPT:]
    row.spared = sorted({*row.spared, *(clean_text(number, 64) for number in block.spared)})[:SPARED_KEPT]
    row.user_agent = clean_text(block.user_agent, 128)


def _slices(items: Sequence) -> Iterable[Sequence]:
    for start in range(0, len(items), READ_AT_ONCE):
        yield items[start : start + READ_AT_ONCE]


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
