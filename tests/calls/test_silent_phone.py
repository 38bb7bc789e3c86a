"""A call to a phone from which nothing at all came back, as it goes on and afterwards."""

from __future__ import annotations

import time

from django.test import TestCase
from django.utils import timezone, translation

from pbx.calls.live import active_calls
from pbx.calls.timeline import steps_of
from pbx.calls.words import why_it_ended
from tests.calls.rows import leg, row, write


class SilentPhoneTests(TestCase):
    def setUp(self):
        english = translation.override("en")
        english.__enter__()
        self.addCleanup(english.__exit__, None, None, None)

    def ended(self, *legs, seconds=30.0):
        start = time.time() - 100
        return write(row(start=start, end=start + seconds, disposition="NO ANSWER", cause="no_answer", legs=[
            leg(**{"state": "failed", "ended_at": start + seconds, **more}) for more in legs
        ]))

    def texts(self, record):
        return [step.text for step in steps_of(record)]

    def test_while_nobody_says_that_it_rings_it_is_called(self):
        write(row(legs=[leg(state="calling")]))
        [live] = active_calls(timezone.now()).calls
        self.assertEqual(("calling", ["Zoiper, 203.0.113.9:5062"]), (live.state, live.devices))

    def test_one_of_two_that_rings_makes_the_call_ring(self):
        write(row(legs=[leg(state="calling"), leg(state="ringing")]))
        [live] = active_calls(timezone.now()).calls
        self.assertEqual(("ringing", 2), (live.state, len(live.devices)))

    def test_afterwards_it_is_said_that_no_answer_came(self):
        record = self.ended({"silent": True})
        self.assertEqual(
            ["1001 calls 1002", "1002: no answer at all from the phone", "end: nobody answered"], self.texts(record)
        )
        self.assertIn("no answer at all", why_it_ended("no_answer", src="1001", dst="1002", legs=record.leg_rows))

    def test_one_that_did_not_ring_does_not_stop_ringing(self):
        self.assertNotIn("1002 stops ringing", self.texts(self.ended({}, seconds=2.0)))

    def test_what_comes_after_the_end_stands_after_it(self):
        start = time.time() - 100
        record = self.ended({"ringing_at": start + 1, "ended_at": start + 32})
        steps = steps_of(record)
        self.assertEqual(sorted(step.at for step in steps), [step.at for step in steps])
        self.assertEqual("1002 stops ringing", steps[-1].text)

    def test_one_phone_that_rang_is_not_called_silent(self):
        record = self.ended({"silent": True}, {"ringing_at": time.time() - 99})
        self.assertIn("rang, but", why_it_ended("no_answer", src="1001", dst="1002", legs=record.leg_rows))
