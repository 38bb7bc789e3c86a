from __future__ import annotations

from unittest.mock import patch

from sipcore.calls import switchboard
from tests.calls_flow import flows_setup
from tests.engine.calls_in_memory import InMemory


class SetupInMemory(InMemory, flows_setup.SetupFlows):
    def test_ended_dialogs_are_known_for_a_while(self) -> None:
        a, b = self.phones()
        dialogs = []
        for _ in range(2):
            ours, theirs = self.connect(a, b)
            self.hang_up(a, ours, b, theirs)
            dialogs.append(theirs)
            self.world.pass_time(20)
        for dialog, status in zip(dialogs, (481, 200), strict=True):  # 40 and 20 seconds after the end
            self.assertEqual(status, b.final(b.request(dialog, "BYE")).status)

    def test_not_more_ended_dialogs_than_a_few_are_known(self) -> None:
        with patch.object(switchboard, "MAX_MORTAL", 3):
            a, b = self.phones()
            dialogs = []
            for _ in range(4):
                ours, theirs = self.connect(a, b)
                self.hang_up(a, ours, b, theirs)
                dialogs.append(theirs)
            self.assertEqual(3, len(self.world.board._mortal))
            self.assertEqual(481, b.final(b.request(dialogs[0], "BYE")).status)
            self.assertEqual(200, b.final(b.request(dialogs[3], "BYE")).status)
