"""The load of the benchmark: ``phones.c``, or the slower Python of ``tests/support/loadgen.py`` without a compiler.

    with make_phones(server=("127.0.0.1", port), domain="pbx.test", first=20000, count=9000, password="secret") as load:
        report = load.run("register")                             # 200 under way at once, each phone once
        report = load.run("refresh", rate=2000, requests=6000)    # so many a second, whatever the server does"""

from __future__ import annotations

import json
import select
import subprocess
import unittest
from collections import Counter
from pathlib import Path
from typing import Any

from tests.bench.compiled import compiled
from tests.support.loadgen import LoadGenerator, LoadReport
from tests.support.processes import DeadlinePassed
from tests.support.programs import find_program

SOURCE = Path(__file__).with_name("phones.c")
HOW = "no C compiler (apt-get install --no-install-recommends gcc libc6-dev)"

MARGIN = 10.0
"""Seconds beyond those of a phase in which its report has to come."""


class Phones:
    """One process that plays ``count`` phones. A context manager. Raises ``unittest.SkipTest`` without a compiler."""

    def __init__(
        self, *, server: tuple[str, int], domain: str, first: int, count: int, password: str, window: int = 200,
        sockets: int = 64,
    ) -> None:
        """``sockets``: how many source ports the phones have, by which a server of several processes divides them."""
        program = compiled(SOURCE)
        if program is None:
            raise unittest.SkipTest(HOW)
        setpriv = find_program("setpriv")
        self._window = window
        self._process = subprocess.Popen(
            [
                *([setpriv, "--pdeathsig=KILL", "--"] if setpriv else []), str(program), server[0],
                str(server[1]), domain, str(first), str(count), password, str(sockets),
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            start_new_session=True,  # as the servers: Linux divides the processors among sessions first (autogroup)
        )
        self._listen(MARGIN)

    def __enter__(self) -> Phones:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(
        self, phase: str, seconds: float = 60.0, *, window: int = 0, rate: float = 0.0, requests: int = 0
    ) -> LoadReport:
        """Play one phase (``phones.c`` lists them), at most ``seconds`` long: what is unfinished then is a failure.
        With ``rate`` (registrations a second) latencies count from the planned instant."""
        words = [phase, f"seconds={seconds}", f"window={window or self._window}", f"rate={rate}"]
        if requests:
            words.append(f"requests={requests}")
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(words).encode() + b"\n")
        self._process.stdin.flush()
        said = self._listen(seconds + MARGIN)
        said.pop("kind")
        latencies = [microseconds / 1e6 for microseconds in said.pop("latencies_us")]
        return LoadReport(**said | {"answers": Counter(said["answers"]), "latencies": latencies})

    def _listen(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            raise DeadlinePassed(f"the phones said nothing for {seconds:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the phones ended with {self._process.wait(MARGIN)}")
        return json.loads(line)

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


class SlowPhones(LoadGenerator):
    """The same for machines without a compiler: no open loop, and often the limit itself."""

    def run(
        self, phase: str, seconds: float = 60.0, *, window: int = 0, rate: float = 0.0, requests: int = 0
    ) -> LoadReport:
        if rate or window or requests:
            raise unittest.SkipTest(f"the phones in Python play no such phase: {HOW}")
        return super().run(phase, seconds)


def make_phones(
    *, server: tuple[str, int], domain: str, first: int, count: int, password: str, window: int = 200
) -> Phones | SlowPhones:
    kind = Phones if compiled(SOURCE) else SlowPhones
    return kind(server=server, domain=domain, first=first, count=count, password=password, window=window)
