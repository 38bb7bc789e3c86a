from __future__ import annotations

import importlib
import re
import unittest
from pathlib import Path

from tests.hardening.past_failures import PAST_FAILURES

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"


class PastFailureTests(unittest.TestCase):
    def test_all_fifty_are_there(self) -> None:
        self.assertEqual(list(range(1, 51)), list(PAST_FAILURES))

    def test_every_test_that_is_named_exists(self) -> None:
        for number, failure in PAST_FAILURES.items():
            for name in failure.tests:
                with self.subTest(number=number, test=name):
                    module, class_name, method = name.rsplit(".", 2)
                    case = getattr(importlib.import_module(module), class_name)
                    self.assertTrue(issubclass(case, unittest.TestCase))
                    self.assertTrue(callable(getattr(case, method, None)))
                    self.assertTrue(method.startswith("test_"))

    def test_what_cannot_occur_is_explained(self) -> None:
        text = SECURITY.read_text("utf-8")
        explained = set(map(int, re.findall(r"(?m)^\| (\d+) \|", text)))
        self.assertEqual({number for number, failure in PAST_FAILURES.items() if not failure.tests} - explained, set())
        self.assertEqual(explained - set(PAST_FAILURES), set())
