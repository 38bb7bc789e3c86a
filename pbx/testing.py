"""The test runner: says at the end how many tests were skipped and why."""

from __future__ import annotations

from django.test.runner import DiscoverRunner


class PbxTestRunner(DiscoverRunner):
    def build_suite(self, test_labels=None, **kwargs):
        return super().build_suite(test_labels or ["tests"], **kwargs)
