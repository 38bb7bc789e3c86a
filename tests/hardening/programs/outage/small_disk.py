"""A disk of a few megabytes that can be filled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from unittest import SkipTest

from tests.support.leaving import when_leaving
from tests.support.pbx import SqliteStore
from tests.support.processes import run_program, scratch_directory

CHUNK = 64 * 1024


class SmallDisk:
    """A tmpfs, a context manager. Needs root; raises ``SkipTest`` where mounting is refused."""

    def __init__(self, megabytes: int) -> None:
        self.path = scratch_directory("small-disk")
        done = run_program(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(self.path)])
        if done.returncode:
            raise SkipTest(f"a small tmpfs cannot be mounted here (it needs root): {done.stderr.strip()}")
        self._at_the_end = when_leaving(self.remove)

    def __enter__(self) -> SmallDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def sqlite(self) -> SqliteStore:
        """A database on it."""
        store = SqliteStore()
        store.path = self.path / "pbx.sqlite3"
        store.url = f"sqlite:///{store.path}"
        return store

    @contextlib.contextmanager
    def filled(self) -> Iterator[None]:
        """To the last byte; what others give back meanwhile is taken too."""
        filling = self.path / "filling"
        with filling.open("wb", buffering=0) as file:
            size = CHUNK
            while size:
                try:
                    file.write(b"\0" * size)
                except OSError:
                    size //= 2
        try:
            yield
        finally:
            filling.unlink()

    def remove(self) -> None:
        """Also while somebody still has a file open there."""
        self._at_the_end.cancel()
        run_program(["umount", "-l", str(self.path)])
        with contextlib.suppress(OSError):
            Path(self.path).rmdir()
