"""What the engine writes of a call, without any database."""

from __future__ import annotations

import unittest

from sipcore.calls.records import CallRow, LegRow, MediaRow, legs_from_json, media_from_json


class CallRowTests(unittest.TestCase):
    def row(self, **more) -> CallRow:
        return CallRow("u", "pbx1", "1001", "1002", "1001", 1000.5, **more)

    def test_lengths_are_whole_seconds_and_never_negative(self):
        call = self.row(answer=1010.0, end=1070.9)
        self.assertEqual((call.duration, call.billsec), (70, 60))
        self.assertEqual((self.row().duration, self.row(answer=1010.0).billsec), (0, 0))
        self.assertEqual((self.row(end=1030.5).duration, self.row(end=1030.5).billsec), (30, 0))
        self.assertEqual(self.row(end=10.0).duration, 0)

    def test_legs_and_media_survive_json(self):
        call = self.row(
            legs=[LegRow("1002", "Zoiper “5”", "answered", 200, "OK", 1.5, 2.5, None, "[2001:db8::1]:5060", "Z")],
            media=[MediaRow("1001", "1002", 5, 800, 1, 2.25, 1.0, 2.0, 7)],
        )
        self.assertEqual(legs_from_json(call.legs_as_json()), call.legs)
        self.assertEqual(media_from_json(call.media_as_json()), call.media)

    def test_what_cannot_be_read_is_left_out(self):
        for text in (None, "", "{", "5", '"x"', "{}", "[1, null, []]", '[{"number": "1"}]', b"\xff"):
            with self.subTest(text):
                self.assertEqual(legs_from_json(text), [])
        later = [{"number": "1002", "device": "Z", "invented_later": 1}]
        self.assertEqual(legs_from_json(later), [LegRow("1002", "Z")])
