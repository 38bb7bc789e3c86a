from __future__ import annotations

from unittest.mock import patch

from sipcore.calls import switchboard
from tests.calls_flow import flows_setup
from tests.engine.calls_in_memory import InMemory


class SetupInMemory(InMemory, flows_setup.SetupFlows):
    def test_the_first_news_of_a_call_are_written_at_once_and_what_follows_together(self) -> None:
        a, b = self.phones()
        self.world.pass_time(1)
        before = self.world.directory.calls.count("write_calls")
        a.invite(b.number)
        invite = b.expect("INVITE")
        self.world.pass_time(0.01)
        self.assertEqual(["calling"], [leg["state"] for leg in self.world.records(a.number)[0]["legs"]])
        b.ring(invite)
        b.respond(invite, 486)
        b.expect("ACK")
        self.assertEqual("BUSY", self.world.ended_record(a.number)["disposition"])
        self.assertEqual(2, self.world.directory.calls.count("write_calls") - before)

    def test_what_is_not_written_yet_is_written_before_the_process_ends(self) -> None:
        a, b = self.phones()
        a.invite(b.number)
        b.ring(b.expect("INVITE"))
        self.world.loop.run_until_complete(self.world.board.stop(0.0))
        self.world.pass_time(0.001)
        self.assertEqual(["pbx_stopped"], [row["cause"] for row in self.world.records(a.number)])

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
