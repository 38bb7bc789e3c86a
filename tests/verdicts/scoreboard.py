"""The score of the table: which faults were really made, by which client, and what the PBX called them."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass
class Row:
    """One fault. ``made``: it stood as it should when the PBX was asked. ``named``: the codes it answered with."""

    expected: tuple[str, ...]
    client: str
    how: str
    made: bool = False
    named: tuple[str, ...] | None = None
    exact: bool = False  # nothing but the expected codes

    @property
    def right(self) -> bool:
        if not self.made or self.named is None:
            return False
        return self.named == self.expected if self.exact else self.named[:len(self.expected)] == self.expected

    def __str__(self) -> str:
        named = "-" if self.named is None else " ".join(self.named) or "nothing"
        made, right = "made" if self.made else "NOT MADE", "right" if self.right else "WRONG"
        expected = " ".join(self.expected)
        return f"{expected:34} {self.client:26} {made:9} {right:6} {named:44} {self.how}"


class Scoreboard:
    def __init__(self, title: str) -> None:
        self.title = title
        self._rows: list[Row] = []
        self._lock = threading.Lock()

    def row(self, expected: tuple[str, ...], client: str, how: str, *, exact: bool = False) -> Row:
        row = Row(expected, client, how, exact=exact)
        with self._lock:
            self._rows.append(row)
        return row

    def print(self) -> None:
        """Nothing when no row was begun."""
        if not self._rows:
            return
        print(f"\n{self.title}")
        for row in sorted(self._rows, key=lambda row: (row.expected, row.client)):
            print(f"  {row}")
        right = sum(row.right for row in self._rows)
        made = sum(row.made for row in self._rows)
        codes = len({row.expected for row in self._rows})
        print(f"{made} of {len(self._rows)} made, {right} of {len(self._rows)} named right ({codes} different)",
              flush=True)

