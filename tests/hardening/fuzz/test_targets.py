"""Each target with seeded inputs, seconds in all; ``FUZZ=long`` takes new ones each time, and 50 times as many.

A failure prints its input: put it into ``kept``, with what it was."""

from __future__ import annotations

import os
import signal
import threading
import unittest
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, Phase, given, settings

from tests.hardening.fuzz.kept import KEPT
from tests.hardening.fuzz.targets import TARGETS, Target

LONG = os.environ.get("FUZZ") == "long"
STALL = 5.0
"""Seconds of this process's own work. No input of 64 KB takes a thousandth of it; what takes longer has no end."""


class Stalled(AssertionError):
    pass


@contextmanager
def bounded() -> Iterator[None]:
    """Ends what does not end by itself. It measures nothing: others on the machine cost this process no work."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stalled(_number: int, _frame: object) -> None:
        raise Stalled(f"{STALL:g} seconds of work for one input")

    before = signal.signal(signal.SIGVTALRM, stalled)
    signal.setitimer(signal.ITIMER_VIRTUAL, STALL)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def take(target: Target, data: bytes) -> None:
    with bounded():
        target.run(data)


class FuzzTests(unittest.TestCase):
    def fuzz(self, name: str) -> None:
        target = TARGETS[name]

        @settings(
            max_examples=target.examples * (50 if LONG else 1),
            derandomize=not LONG,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )
        @given(target.inputs)
        def run(data: bytes) -> None:
            take(target, data)

        run()

    def test_message(self) -> None:
        self.fuzz("message")

    def test_via(self) -> None:
        self.fuzz("via")

    def test_address(self) -> None:
        self.fuzz("address")

    def test_lists(self) -> None:
        self.fuzz("lists")

    def test_uri(self) -> None:
        self.fuzz("uri")

    def test_authorization(self) -> None:
        self.fuzz("authorization")

    def test_challenge(self) -> None:
        self.fuzz("challenge")

    def test_sdp(self) -> None:
        self.fuzz("sdp")

    def test_framing(self) -> None:
        self.fuzz("framing")

    def test_bencode(self) -> None:
        self.fuzz("bencode")

    def test_subscribe(self) -> None:
        self.fuzz("subscribe")

    def test_scrub(self) -> None:
        self.fuzz("scrub")

    def test_ladder(self) -> None:
        self.fuzz("ladder")

    def test_asked(self) -> None:
        self.fuzz("asked")

    def test_transactions(self) -> None:
        self.fuzz("transactions")

    def test_engine(self) -> None:
        self.fuzz("engine")

    def test_call(self) -> None:
        self.fuzz("call")

    def test_no_target_is_left_out(self) -> None:
        self.assertEqual([], [name for name in TARGETS if not hasattr(self, f"test_{name}")])


class SeedTests(unittest.TestCase):
    def test_every_seed_as_it_stands(self) -> None:
        for name, target in TARGETS.items():
            for data in target.seeds:
                with self.subTest(target=name, data=data):
                    take(target, data)


class KeptTests(unittest.TestCase):
    def test_what_once_broke_something(self) -> None:
        for name, what, data in KEPT:
            with self.subTest(target=name, what=what):
                take(TARGETS[name], data)
