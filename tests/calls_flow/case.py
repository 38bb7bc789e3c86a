"""What all scenarios share. ``self.world`` is a real ``runsip`` or the engine in memory."""

from __future__ import annotations

import unittest
from typing import Any

from tests.support.caller import Caller, Dialog, Header, Outbound


class FlowCase(unittest.TestCase):
    """A scenario ends with ``leftovers``: a call must leave nothing behind."""

    world: Any
    in_memory = False

    def phone(self, number: str = "", **how: Any) -> Caller:
        phone = self.world.phone(number, **how)
        self.addCleanup(phone.close)
        return phone

    def phones(self, count: int = 2) -> list[Caller]:
        return [self.phone() for _ in range(count)]

    def devices(self, count: int) -> list[Caller]:
        """Several phones of one extension."""
        first = self.phone()
        return [first, *(self.phone(first.number) for _ in range(count - 1))]

    def connect(
        self, a: Caller, b: Caller, headers: list[Header] | None = None, **answer: Any
    ) -> tuple[Dialog, Dialog]:
        """a calls b and b answers."""
        call = a.invite(b.number, headers=headers or [])
        theirs = b.answer(b.expect("INVITE"), ack=False, **answer)
        ours = call.connected()
        b.expect("ACK")
        return ours, theirs

    def hang_up(self, a: Caller, ours: Dialog, b: Caller, theirs: Dialog) -> None:
        a.bye(ours)
        b.take_bye(theirs)

    def record(self, src: Caller | str = "", dst: Caller | str = "") -> dict[str, Any]:
        """The one record of this call, once it has ended."""
        names = [party.number if isinstance(party, Caller) else party for party in (src, dst)]
        return self.world.ended_record(*names)

    def live(self, src: Caller, dst: Caller, disposition: str) -> dict[str, Any]:
        """The record of a call that goes on."""
        row = self.world.record_that(src.number, dst.number, lambda row: row["disposition"] == disposition)
        self.assertIsNone(row["end"])
        return row

    def ended(
        self, src: Caller | str, dst: Caller | str, cause: str, disposition: str, by: str | None = None
    ) -> dict[str, Any]:
        row = self.record(src, dst)
        self.assertEqual((cause, disposition), (row["cause"], row["disposition"]), row)
        if by is not None:
            self.assertEqual(by, row["hung_up_by"], row)
        return row

    def refused(self, call: Outbound, status: int, reason: str, seconds: float = 5.0) -> None:
        """The code, and words for the phone's display, in the status line and in Reason (RFC 3326)."""
        answer = call.refused(status, seconds)
        self.assertEqual(reason, answer.reason)
        self.assertIn(f'text="{reason}"', answer.one("Reason"))
        self.assertIn(f"cause={status};", answer.one("Reason"))
