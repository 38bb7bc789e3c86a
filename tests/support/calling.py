"""Test cases in which phones call each other and listen."""

from __future__ import annotations

import functools
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import sound
from tests.support.baresip import Baresip
from tests.support.cases import PASSWORD
from tests.support.linphone import Linphone
from tests.support.listening import Mark
from tests.support.processes import PATIENCE, scratch_directory, wait_until
from tests.support.together import TogetherCase

LOW, MIDDLE, HIGH = 440, 1000, 1500
"""Hertz: what the first, second and third phone of a test say."""

_making = threading.Lock()


@functools.cache
def _tones() -> Path:
    return scratch_directory("tones")


def tone(frequency: int) -> Path:
    """A WAV file of four minutes."""
    with _making:
        path = _tones() / f"{frequency}.wav"
        return path if path.exists() else sound.make_tone(path, frequency, 240)


@dataclass
class Record:
    """One row of the call records."""

    row: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            value = self.row[name]
        except KeyError:
            raise AttributeError(name) from None
        return json.loads(value) if name in ("legs", "media") and isinstance(value, str) else value

    @property
    def outcome(self) -> tuple[str, str]:
        return self.row["disposition"], self.row["cause"]

    def heard_from(self, number: str) -> dict[str, Any]:
        """The media figures of one direction."""
        (figures,) = [one for one in self.media if one["from_number"] == number]
        return figures


class CallCase(TogetherCase):
    def baresip(self, says: int | None = None, number: str | None = None, **options) -> Baresip:
        """A registered phone, with a number of its own if none is given. ``says``: its tone, in hertz."""
        options.setdefault("domain", self.pbx.domain)
        options.setdefault("plays", tone(says) if says else None)
        phone = Baresip(self.pbx.server, number or self.new_extension(), PASSWORD, **options)
        self.at_end.callback(phone.stop)
        phone.wait_registered()
        return phone

    def linphone(self, says: int | None = None, number: str | None = None, **options) -> Linphone:
        options.setdefault("domain", self.pbx.domain)
        options.setdefault("plays", tone(says) if says else None)
        options.setdefault("route", True)
        phone = Linphone(self.pbx.server, number or self.new_extension(), PASSWORD, **options)
        self.at_end.callback(phone.stop)
        phone.wait_registered()
        return phone

    def expect_talk(
        self, one: Baresip | Linphone, says: int, other: Baresip | Linphone, answers: int, seconds: float = 1.0
    ) -> None:
        """From now on each hears the other's tone."""
        first, second = one.ear.mark(), other.ear.mark()
        self._expect(one, answers, first, seconds)
        self._expect(other, says, second, seconds)

    def _expect(self, phone: Baresip | Linphone, frequency: int, mark: Mark, seconds: float) -> None:
        phone.ear.wait_tone(frequency, mark, seconds=seconds)

    def records(self, src: str, dst: str, count: int = 1, seconds: float = PATIENCE) -> list[Record]:
        """The records of the calls from one number to another, oldest first, once ``count`` of them have ended."""

        def found() -> list[dict[str, Any]]:
            return self.pbx.store.rows(
                'SELECT * FROM calls_callrecord WHERE src = %s AND dst = %s AND "end" IS NOT NULL ORDER BY id', src, dst
            )

        wait_until(lambda: len(found()) >= count, f"the record of a call from {src} to {dst}", seconds, pause=0.1)
        return [Record(row) for row in found()]

    def record(self, src: str, dst: str, seconds: float = PATIENCE) -> Record:
        return self.records(src, dst, 1, seconds)[0]

    def living_calls(self, number: str) -> int:
        (row,) = self.pbx.store.rows(
            'SELECT count(*) AS living FROM calls_callrecord WHERE "end" IS NULL AND (src = %s OR dst = %s)',
            number, number,
        )
        return row["living"]
