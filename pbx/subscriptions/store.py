"""Where the SIP engine keeps subscriptions (``sipcore.subscriptions.ports.SubscriptionStore``): plain synchronous
functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F

from pbx.store_access import unit_of_work
from pbx.subscriptions.models import Subscription
from sipcore.subscriptions.ports import SubscriptionRow

AT_ONCE = 400
"""Names in one IN list: SQLite's limit is 999 parameters."""

_NUMBERS = {"subscriber": "subscriber__number", "resource": "resource__number"}
_ENGINE_FIELDS = [field.name for field in fields(SubscriptionRow)]
_UPDATED = [name for name in _ENGINE_FIELDS if name not in ("local_tag", "subscriber_id", "resource_id", *_NUMBERS)]


class DjangoSubscriptionStore:
    @unit_of_work
    def write_subscriptions(self, changed: Sequence[SubscriptionRow], removed: Collection[str]) -> None:
        tags = sorted(removed)
        with transaction.atomic():
            for start in range(0, len(tags), AT_ONCE):
                Subscription.objects.filter(local_tag__in=tags[start : start + AT_ONCE]).delete()
            if changed:
                Subscription.objects.bulk_create(
                    [_to_record(row) for row in sorted(changed, key=lambda row: row.local_tag)],
                    update_conflicts=True,
                    unique_fields=["local_tag"],
                    update_fields=_UPDATED,
                )

    @unit_of_work
    def living_subscriptions(self, node: str, worker: int, now: float) -> list[SubscriptionRow]:
        mine = Subscription.objects.filter(node=node, worker=worker)
        mine.filter(expires_at__lte=_moment(now)).delete()
        columns = [_NUMBERS.get(name, name) for name in _ENGINE_FIELDS]
        living = mine.filter(subscriber__enabled=True).order_by("-pk").values_list(*columns)
        return [_to_row(values) for values in living.iterator(2000)]

    @unit_of_work
    def shift_subscriptions(self, node: str, seconds: float) -> None:
        Subscription.objects.filter(node=node).update(expires_at=F("expires_at") + timedelta(seconds=seconds))


def _to_row(values: Iterable[Any]) -> SubscriptionRow:
    named = dict(zip(_ENGINE_FIELDS, values, strict=True))
    return SubscriptionRow(**{**named, "expires_at": named["expires_at"].timestamp()})


def _to_record(row: SubscriptionRow) -> Subscription:
    values = {name: value for name, value in asdict(row).items() if name not in _NUMBERS}
    return Subscription(**{**values, "expires_at": _moment(row.expires_at)})


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
