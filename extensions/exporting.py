"""Exports extensions as a table that ``importextensions`` reads again. It holds no secrets."""

from __future__ import annotations

import csv
from typing import TextIO

from extensions.csv_tables import harmless_cell
from extensions.models import Extension

COLUMNS = ("number", "name", "enabled", "max_devices", "ring_seconds", "media_from_anywhere", "language")


def write_extensions(output: TextIO) -> int:
    """Write all extensions, ordered by number, and return how many there were."""
    writer = csv.writer(output, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    count = 0
    for extension in Extension.objects.order_by("number").iterator(chunk_size=2000):
        count += 1
        writer.writerow([
            harmless_cell(extension.number),
            harmless_cell(extension.display_name),
            "yes" if extension.enabled else "no",
            extension.max_devices,
            extension.ring_seconds,
            "yes" if extension.media_from_anywhere else "no",
            extension.language,
        ])
    return count
