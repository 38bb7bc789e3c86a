"""A watch that a command holds: begun, renewed while it runs, and gone with it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from django.db import DatabaseError
from django.utils import timezone

from pbx.diagnosis.models import Watch

WATCH_TIME = timedelta(minutes=10)
RENEW_AFTER = timedelta(minutes=2)


class Watching:
    """``numbers`` are watched between ``with`` and its end. Who watched one of them before goes on doing so as long as
    was asked then."""

    def __init__(self, numbers: Iterable[str], by: str) -> None:
        self._numbers = sorted({number.lower()[:64] for number in numbers if number})
        self._by = by[:150]
        self._before: dict[str, tuple[datetime, str]] = {}
        self._renewed: datetime | None = None

    def __enter__(self) -> Watching:
        rows = Watch.objects.filter(number__in=self._numbers, until__gt=timezone.now())
        self._before = {row.number: (row.until, row.by) for row in rows}
        self.renew()
        return self

    def renew(self) -> None:
        """Cheap to call often."""
        now = timezone.now()
        if self._renewed is not None and now - self._renewed < RENEW_AFTER:
            return
        self._renewed = now
        for number in self._numbers:
            until = max(now + WATCH_TIME, self._before.get(number, (now, ""))[0])
            Watch.objects.update_or_create(number=number, defaults={"until": until, "by": self._by})

    def __exit__(self, *_: object) -> None:
        with suppress(DatabaseError):
            for number in self._numbers:
                until, by = self._before.get(number, (timezone.now(), ""))
                mine = Watch.objects.filter(number=number, by=self._by)
                if until > timezone.now():
                    mine.update(until=until, by=by)
                else:
                    mine.delete()
