"""Phones that register again and again, patiently but at once after each answer, and remember what they were told."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from dataclasses import dataclass

from tests.support.pbx import RunningPbx
from tests.support.phone import AnswerFault, NoAnswer, Phone

PAUSE = 0.15  # seconds
PATIENCE = 20.0  # seconds: half of Timer F and more is silence


@dataclass(frozen=True)
class Told:
    """One final answer, or a fault in words."""

    number: str
    at: float
    status: int
    cseq: int
    retry_after: int = 0
    fault: str = ""


class Phones:
    """A context manager: one thread for each number. ``lost``: confirmed registrations that were not on the disk when
    all was over."""

    def __init__(self, pbx: RunningPbx, numbers: list[str], password: str) -> None:
        self._pbx = pbx
        self.told: list[Told] = []
        self.lost: list[str] = []
        self._over = threading.Event()
        self._silent: set[str] = set()
        self._phones = [
            Phone(pbx.server, number, password, pbx.domain, patience=PATIENCE) for number in numbers
        ]
        self._threads = [
            threading.Thread(target=self._live, args=(phone,), name=phone.number, daemon=True)
            for phone in self._phones
        ]

    def __enter__(self) -> Phones:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE + 5)
        self.lost = self._lost()
        for phone in self._phones:
            with contextlib.suppress(AnswerFault, NoAnswer):
                phone.unregister()  # the same numbers come again with other phones
            phone.close()

    def _live(self, phone: Phone) -> None:
        while not self._over.is_set() and phone.number not in self._silent:
            status, retry, fault = 0, 0, ""
            try:
                answer = phone.register()
                status = answer.status
                if status == 503:
                    retry = int(re.match(r"\d+", answer.one("Retry-After"))[0])  # type: ignore[index]
            except (AnswerFault, NoAnswer, OSError) as error:
                fault = str(error).partition("\n")[0]
            self.told.append(Told(phone.number, time.monotonic(), status, phone.cseq, retry, fault))
            self._over.wait(PAUSE)

    def fall_silent(self) -> None:
        """A third of them, for good: what they were told last is not covered up by what they ask later."""
        self._silent.update(phone.number for phone in self._phones[::3])

    def between(self, begin: float, end: float = float("inf")) -> list[Told]:
        return [told for told in list(self.told) if begin <= told.at < end]

    def all_served_since(self, moment: float) -> float | None:
        """Seconds until each of those that still speak had a 200, or None."""
        first: dict[str, float] = {}
        for told in self.between(moment):
            if told.status == 200 and told.number not in self._silent:
                first.setdefault(told.number, told.at)
        speaking = len(self._phones) - len(self._silent)
        return max(first.values()) - moment if len(first) == speaking else None

    def _lost(self) -> list[str]:
        """The row knows the last CSeq."""
        confirmed: dict[str, int] = {}
        for told in self.told:
            if told.status == 200:
                confirmed[told.number] = max(told.cseq, confirmed.get(told.number, 0))
        lost = []
        for number, cseq in confirmed.items():
            rows = self._pbx.bindings(number)
            if not any(row["cseq"] >= cseq for row in rows):
                lost.append(f"{number}: CSeq {cseq}, in the database {[row['cseq'] for row in rows]}")
        return lost
