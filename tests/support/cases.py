"""Test cases that run on SQLite and on PostgreSQL:

    class BaresipTests: ...                                   # the tests, with self.pbx
    class BaresipOnSqlite(BaresipTests, OnSqlite): ...
    class BaresipOnPostgres(BaresipTests, OnPostgres): ...

One ``runsip`` serves all tests of a class; each test takes numbers of its own."""

from __future__ import annotations

import itertools
import unittest
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.support.pbx import PostgresStore, RunningPbx, SqliteStore, Store

PASSWORD = "s3cret-pass"


class PbxCase(unittest.TestCase):
    tags = frozenset({"own-database"})
    """It has nothing to do with the database of ``manage.py test``: ``.ci/run`` runs it once, not on each of them."""
    settings: ClassVar[Mapping[str, str]] = {}
    crowd: ClassVar[bool] = False
    place: ClassVar[Mapping[str, Any]] = {}
    """Where it runs, if not on 127.0.0.1: ``namespace``, ``host``, ``port``."""
    pbx: ClassVar[RunningPbx]
    _numbers: ClassVar[itertools.count[int]]
    _prepared: ClassVar[list[str]]

    @classmethod
    def make_store(cls) -> Store:
        raise unittest.SkipTest("a base class")

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls._numbers, cls._prepared = itertools.count(1001), []
        cls.pbx = RunningPbx(cls.make_store(), crowd=cls.crowd, settings=cls.settings, **cls.place)
        cls.addClassCleanup(cls.pbx.stop)

    def new_extension(self) -> str:
        """A fresh number whose password is ``PASSWORD``. They are imported ten at a time: a ``setpassword`` for each
        takes a second."""
        if not self._prepared:
            numbers = [str(next(self._numbers)) for _ in range(10)]
            self.pbx.create_extensions(dict.fromkeys(numbers, PASSWORD))
            self._prepared.extend(numbers)
        return self._prepared.pop(0)

    def _callTestMethod(self, method):
        """With the server's log beside a failure: without it a failure on another machine tells nothing."""
        try:
            super()._callTestMethod(method)
        except unittest.SkipTest:
            raise
        except Exception as error:
            if hasattr(type(self), "pbx"):
                error.add_note(f"--- the end of runsip's log ---\n{self.pbx.program.tail(60)}")
            raise


class OnSqlite(PbxCase):
    @classmethod
    def make_store(cls) -> Store:
        return SqliteStore()


class OnPostgres(PbxCase):
    @classmethod
    def make_store(cls) -> Store:
        return PostgresStore()
