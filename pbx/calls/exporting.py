"""Call records as CSV for a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime

from django.db.models import QuerySet
from django.utils import timezone

from extensions.csv_tables import harmless_cell
from pbx.calls.models import CallRecord

COLUMNS = (
    "start", "answer", "end", "src", "dst", "clid", "duration", "billsec", "disposition", "cause", "hung_up_by",
    "uniqueid", "node",
)
READ_AT_ONCE = 2000


class _Line:
    """What ``csv.writer`` writes to, when each line is wanted by itself."""

    def write(self, line: str) -> str:
        return line


def csv_lines(calls: QuerySet[CallRecord]) -> Iterator[str]:
    """A line for the columns, then one for each call, in the order of the queryset; times in the local time zone.
    The mark at the beginning makes Excel read the file as UTF-8."""
    writer = csv.writer(_Line(), lineterminator="\r\n")
    yield "\ufeff" + writer.writerow(COLUMNS)
    for row in calls.values_list(*COLUMNS).iterator(chunk_size=READ_AT_ONCE):
        yield writer.writerow([_cell(value) for value in row])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return timezone.localtime(value).strftime("%Y-%m-%d %H:%M:%S")
    return harmless_cell(str(value)) if isinstance(value, str) else str(value)
