"""Test cases that mostly wait, played side by side:

    class CallTests(TogetherCase): ...

The tests of a class that were selected are all begun in ``setUpClass``, a few at a time, each in a thread; each then
reports what came of it when its turn comes. So they share one ``runsip``, and the class takes as long as its longest
tests, not as long as their sum."""

from __future__ import annotations

import threading
import unittest
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import ClassVar

from tests.support.cases import PbxCase


class TogetherCase(PbxCase):
    """Tests clean up with ``self.at_end``, not with ``addCleanup``."""

    at_once: ClassVar[int] = 5
    selected: ClassVar[list[TogetherCase]]
    _lock: ClassVar[threading.Lock]
    _played: ClassVar[dict[str, Future[None]]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.selected, cls._lock, cls._played = [], threading.Lock(), {}

    def __init__(self, methodName: str = "runTest") -> None:
        super().__init__(methodName)
        if methodName.startswith("test"):
            type(self).selected.append(self)

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.prepare()
        players = ThreadPoolExecutor(cls.at_once, thread_name_prefix=cls.__name__)
        cls.addClassCleanup(players.shutdown)
        for test in cls.selected:
            cls._played[test._testMethodName] = players.submit(test._play, getattr(test, test._testMethodName))

    @classmethod
    def prepare(cls) -> None:
        """What all tests of the class need, once the server runs."""

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        # By name: with ``--parallel`` the tests that are run are copies of those that were selected.
        name = self._testMethodName
        setattr(self, name, lambda: self._played[name].result())
        return super().run(result)

    def _play(self, scenario) -> None:
        with ExitStack() as self.at_end:
            scenario()

    def new_extension(self) -> str:
        with self._lock:
            return super().new_extension()
