"""The test runner of ``manage.py test``: says at the end what was skipped and why, and closes with one plain line."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import unittest
from collections import defaultdict
from collections.abc import Iterable
from typing import ClassVar

from django.conf import settings
from django.core.signals import request_finished
from django.test.runner import DiscoverRunner, ParallelTestSuite
from django.test.utils import override_settings
from django.utils import translation

from pbx.compiled import is_used

LANES = 4
"""Processes that share the tests: most of these wait for phones and routers, so there may be more than processors."""

LONGEST = ("tests.verdicts", "tests.clients", "tests.calls_flow", "tests.durability", "tests.diagnosis")
"""Rooms with the longest classes: begun first, so that none of them is left to one process at the end."""


class PbxTestRunner(DiscoverRunner):
    """``--postgres`` runs the same suite on a temporary PostgreSQL of its own; ``--compiled`` with the core that
    ``manage.py compile`` has made; ``--parallel 1`` in one process."""

    def __init__(self, postgres: bool = False, compiled: bool = False, parallel: int = 0, **kwargs):
        if compiled and not is_used():
            sys.exit("These sources are not compiled: python3 manage.py compile")
        alone = (
            multiprocessing.get_start_method() != "fork" or kwargs.get("pdb") or kwargs.get("debug_mode")
            or not os.access("/dev/shm", os.W_OK)  # the processes share what they count there
        )
        super().__init__(parallel=1 if alone else parallel or LANES, **kwargs)
        self.postgres = postgres

    @classmethod
    def add_arguments(cls, parser):
        super().add_arguments(parser)
        parser.add_argument(
            "--postgres", action="store_true", help="Run on a temporary PostgreSQL server, started for this run."
        )
        parser.add_argument(
            "--compiled", action="store_true",
            help="Use the core that 'manage.py compile' has made; with --exclude-tag looks-inside.",
        )  # fmt: skip

    def run_tests(self, test_labels, **kwargs):
        if self.postgres:
            return run_on_postgres()
        return super().run_tests(test_labels, **kwargs)

    def build_suite(self, test_labels=None, **kwargs):
        return super().build_suite(test_labels or ["tests"], **kwargs)

    def setup_test_environment(self, **kwargs):
        super().setup_test_environment(**kwargs)
        # The texts that the tests look for are English, whatever the terminal speaks; so are those of the processes
        # that they start.
        os.environ["LANGUAGE_CODE"] = "en"
        override_settings(LANGUAGE_CODE="en").enable()
        # A page that was asked for in another language leaves it active in this thread, for the tests after it.
        request_finished.connect(forget_language)
        # Administrators' passwords only: a slow hash would be most of the suite's time.
        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

    def suite_result(self, suite, result, **kwargs):
        passed, failed, skipped = count(result)
        print_skipped(result)
        print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
        return super().suite_result(suite, result, **kwargs)


class Lanes(ParallelTestSuite):
    """The parts of the suite, given to the processes by their numbers: these were forked, so they have them already,
    and not every test can be pickled."""

    def __init__(self, subsuites, *args, **kwargs):
        Part.known = [Part(number, tests) for number, tests in enumerate(sorted(subsuites, key=rank))]
        super().__init__(Part.known, *args, **kwargs)


class Part(unittest.TestSuite):
    known: ClassVar[list[Part]] = []

    def __init__(self, number: int, tests: Iterable[unittest.TestCase]):
        super().__init__(tests)
        self.number = number

    def __reduce__(self):
        return part_of, (self.number,)


def rank(tests: Iterable[unittest.TestCase]) -> int:
    name = next((test.id() for test in tests), "")
    return next((place for place, room in enumerate(LONGEST) if name.startswith(f"{room}.")), len(LONGEST))


def part_of(number: int) -> Part:
    return Part.known[number]


PbxTestRunner.parallel_test_suite = Lanes


def forget_language(**_signal: object) -> None:
    translation.deactivate()


def run_on_postgres() -> int:
    """The same command once more in a process of its own whose DATABASE_URL leads to a temporary server; returns its
    exit status."""
    from tests.support.postgres import PostgresCluster

    cluster = PostgresCluster(keep_durable=False)
    try:
        arguments = [argument for argument in sys.orig_argv[1:] if argument != "--postgres"]
        return subprocess.run(
            [sys.executable, *arguments], env={**os.environ, "DATABASE_URL": cluster.url}, check=False
        ).returncode
    finally:
        cluster.stop()


def count(result: unittest.TestResult) -> tuple[int, int, int]:
    """Passed, failed (errors too) and skipped. A test with several failed sub-tests is one test; a class whose
    set-up failed or was skipped counts once, although none of its tests ran."""
    failed_tests, failed_setups = set(), 0
    for test, _trace in [*result.failures, *result.errors]:
        if hasattr(test, "test_case"):  # a sub-test
            failed_tests.add(test.test_case.id())
        elif isinstance(test, unittest.TestCase):
            failed_tests.add(test.id())
        else:
            failed_setups += 1
    failed_tests |= {test.id() for test in result.unexpectedSuccesses}
    skipped_tests = {test.id() for test, _why in result.skipped if isinstance(test, unittest.TestCase)} - failed_tests
    skipped_setups = sum(not isinstance(test, unittest.TestCase) for test, _why in result.skipped)
    run = result.testsRun
    if sys.version_info[:3] == (3, 12, 1):
        run += len(skipped_tests)  # this one version does not count them
    passed = run - len(failed_tests) - len(skipped_tests)
    return max(passed, 0), len(failed_tests) + failed_setups, len(skipped_tests) + skipped_setups


def print_skipped(result: unittest.TestResult) -> None:
    reasons: dict[str, list[str]] = defaultdict(list)
    for test, why in result.skipped:
        reasons[why].append(test.id())
    if reasons:
        print("\nSkipped tests:")
    for why, tests in sorted(reasons.items()):
        others = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
        print(f"  {len(tests):4} {why} ({tests[0]}{others})")
