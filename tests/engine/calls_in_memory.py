"""The scenarios of ``tests.calls_flow`` on the engine alone."""

from __future__ import annotations

from tests.calls_flow.case import FlowCase
from tests.engine.calls_under_test import CallWorld

GIVE_UP = 70.0
"""Seconds on the engine's clock after which a call has left nothing behind: 64*T1 twice, and a little."""


class InMemory(FlowCase):
    in_memory = True
    settings: dict = {}

    def setUp(self) -> None:
        super().setUp()
        self.world = CallWorld(**self.settings)
        self.addCleanup(self.world.close)

    def tearDown(self) -> None:
        self.world.pass_time(GIVE_UP)
        left = self.world.leftovers()
        self.assertEqual([], left)
        super().tearDown()
