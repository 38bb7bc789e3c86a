"""What a phone hears, from the recording it makes: tones, recognised by their frequency, or nothing."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.support import sound
from tests.support.processes import PATIENCE, DeadlinePassed

Mark = Mapping[Path, int]
PURE = 0.8
"""Share of the power that must lie at the tone's frequency. G.711 gives 0.99, linphone's start of a tone less."""
HEADER = 44  # bytes of a WAV file before its samples


class Ear:
    """``recordings`` gives the phone's recordings of now (16 bit, mono): they grow while it hears, and a hold may begin
    a new one. ``rate`` tells at how many hertz the newest samples are recorded, a multiple of 8000."""

    def __init__(
        self, owner: str, recordings: Callable[[], list[Path]], rate: Callable[[], int] = lambda: sound.RATE
    ) -> None:
        self._owner = owner
        self._recordings = recordings
        self._rate = rate

    def mark(self) -> Mark:
        """Up to here: for :meth:`wait_tone`, so that what was heard before does not count."""
        return {path: _count(path) for path in self._recordings()}

    def since(self, mark: Mark | None, seconds: float) -> list[int]:
        """The last samples that were heard after the mark, at 8 kHz."""
        step = max(1, self._rate() // sound.RATE)
        wanted = round(sound.RATE * seconds) * step
        heard: list[int] = []
        for path in reversed(self._recordings()):
            count = _count(path)
            known = (mark or {}).get(path, 0)
            new = min(wanted - len(heard), count - known if known <= count else count)
            if new > 0:
                heard = _read(path, count - new, new) + heard
        return heard[::step]

    def wait_tone(
        self, frequency: float, after: Mark | None = None, *, seconds: float = 1.0, patience: float = PATIENCE
    ) -> None:
        """Until it has heard ``seconds`` of this tone without a break and nothing else, after the mark."""
        deadline = time.monotonic() + patience
        while True:
            heard = self.since(after, seconds)
            loud, share = sound.loud_seconds_in(heard), sound.share_in(heard, frequency)
            if len(heard) >= sound.RATE * seconds and loud >= seconds - 0.2 and share >= PURE:
                return
            if time.monotonic() > deadline:
                raise DeadlinePassed(
                    f"{self._owner} does not hear {frequency:.0f} Hz: of the last {len(heard) / sound.RATE:.1f} s that "
                    f"were recorded {loud:.1f} s were loud, {share:.2f} of that at this frequency"
                )
            time.sleep(0.1)

    def expect_silence(self, seconds: float = 1.0, patience: float = 10.0) -> None:
        """Fails if there are not ``seconds`` on end, before the patience is over, in which nothing is heard."""
        deadline = time.monotonic() + patience
        while True:
            mark = self.mark()
            time.sleep(seconds)
            if sound.loud_seconds_in(self.since(mark, seconds)) <= 0.1:
                return
            if time.monotonic() > deadline:
                raise DeadlinePassed(f"{self._owner} still hears something")


def _count(path: Path) -> int:
    return max(0, path.stat().st_size - HEADER) // 2


def _read(path: Path, first: int, count: int) -> list[int]:
    with path.open("rb") as recording:
        recording.seek(HEADER + 2 * first)
        data = recording.read(2 * count)
    return list(struct.unpack(f"<{len(data) // 2}h", data[:len(data) // 2 * 2]))
