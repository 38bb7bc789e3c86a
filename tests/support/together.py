"""Test cases that mostly wait, played side by side:

    class CallTests(TogetherCase): ...

The tests of a class that were selected are all begun in ``setUpClass``, a few at a time, each in a thread; each then
reports what came of it when its turn comes. So they share one ``runsip``, and the class takes as long as its longest
tests, not as long as their sum."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import ClassVar

from tests.support.cases import PbxCase


class TogetherCase(PbxCase):
    """Tests clean up with ``self.at_end``, not with ``addCleanup``."""

    at_once: ClassVar[int] = 5
    selected: ClassVar[list[TogetherCase]]
    _lock: ClassVar[threading.Lock]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.selected, cls._lock = [], threading.Lock()

    def __init__(self, methodName: str = "runTest") -> None:
        super().__init__(methodName)
        self._played: Future[None] | None = None
        if methodName.startswith("test"):
            type(self).selected.append(self)

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.prepare()
        players = ThreadPoolExecutor(cls.at_once, thread_name_prefix=cls.__name__)
        cls.addClassCleanup(players.shutdown)
        for test in cls.selected:
            scenario = getattr(test, test._testMethodName)
            test._played = players.submit(test._play, scenario)
            setattr(test, test._testMethodName, test._played.result)

    @classmethod
    def prepare(cls) -> None:
        """What all tests of the class need, once the server runs."""

    def _play(self, scenario) -> None:
        with ExitStack() as self.at_end:
            scenario()

    def new_extension(self) -> str:
        with self._lock:
            return super().new_extension()
