"""A ``runsip`` whose clock can be set while it runs: libfaketime on this process alone, its monotonic clock untouched,
as when somebody sets the clock of a machine."""

from __future__ import annotations

import glob
import unittest
from collections.abc import Mapping

from tests.support.pbx import RunningPbx, Store
from tests.support.processes import scratch_directory

LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class ClockedPbx(RunningPbx):
    """``moved``: by how many seconds its clock is ahead of the real one; the commands beside it see the same."""

    def __init__(self, store: Store, settings: Mapping[str, str]) -> None:
        found = glob.glob(LIBRARIES)
        if not found:
            raise unittest.SkipTest("libfaketime is missing: apt install libfaketime")
        self._file = scratch_directory("clock") / "offset"
        self.moved = 0
        self.set_clock(0)
        super().__init__(store, settings={
            **settings, "LD_PRELOAD": found[0], "FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        })

    def set_clock(self, seconds: int) -> None:
        self.moved = seconds
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self._file)  # never half a line
