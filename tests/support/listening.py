"""What a phone hears, from the recording it makes: tones, recognised by their frequency, or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.support import sound
from tests.support.processes import PATIENCE, DeadlinePassed

Mark = Mapping[Path, int]
PURE = 0.8
"""Share of the power that must lie at the tone's frequency. G.711 gives 0.99, linphone's start of a tone less."""


class Ear:
    """``recordings`` gives the phone's recordings of now: they grow while it hears, and a hold may begin a new one."""

    def __init__(self, owner: str, recordings: Callable[[], list[Path]]) -> None:
        self._owner = owner
        self._recordings = recordings

    def mark(self) -> Mark:
        """Up to here: for :meth:`wait_tone`, so that what was heard before does not count."""
        return {path: len(sound.read(path)) for path in self._recordings()}

    def since(self, mark: Mark | None) -> list[int]:
        """The samples that were heard after the mark."""
        heard: list[int] = []
        for path in self._recordings():
            samples = sound.read(path)
            known = (mark or {}).get(path, 0)
            heard += samples[known:] if known <= len(samples) else samples
        return heard

    def wait_tone(
        self, frequency: float, after: Mark | None = None, *, seconds: float = 1.0, patience: float = PATIENCE
    ) -> None:
        """Until it has heard ``seconds`` of this tone without a break and nothing else, after the mark."""
        deadline = time.monotonic() + patience
        while True:
            heard = self.since(after)
            last = heard[-round(sound.RATE * seconds):]
            loud, share = sound.loud_seconds_in(last), sound.share_in(last, frequency)
            if len(last) >= sound.RATE * seconds and loud >= seconds - 0.2 and share >= PURE:
                return
            if time.monotonic() > deadline:
                raise DeadlinePassed(
                    f"{self._owner} does not hear {frequency:.0f} Hz: of its last {seconds} s {loud:.1f} s were loud, "
                    f"{share:.2f} of that at this frequency; {len(heard) / sound.RATE:.1f} s recorded in all"
                )
            time.sleep(0.1)

    def expect_silence(self, seconds: float = 1.0, patience: float = 10.0) -> None:
        """Fails if there are not ``seconds`` on end, before the patience is over, in which nothing is heard."""
        deadline = time.monotonic() + patience
        while True:
            mark = self.mark()
            time.sleep(seconds)
            heard = self.since(mark)
            if sound.loud_seconds_in(heard) <= 0.1:
                return
            if time.monotonic() > deadline:
                raise DeadlinePassed(f"{self._owner} still hears something")
