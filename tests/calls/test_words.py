"""Why a call ended, and what was heard in it, in words."""

from __future__ import annotations

import unittest

from django.utils.translation import override

from pbx.calls.durations import clock
from pbx.calls.words import CAUSES as SHORT
from pbx.calls.words import (
    fact_remedy,
    in_words,
    media_facts,
    short_reason,
    what_to_do,
    why_it_ended,
)
from sipcore.calls.records import CAUSES, MediaRow
from tests.calls.rows import heard, leg


class ReasonTests(unittest.TestCase):
    def setUp(self):
        language = override("en")
        language.__enter__()
        self.addCleanup(language.__exit__, None, None, None)

    def why(self, cause: str, **more) -> str:
        return why_it_ended(cause, src="1001", dst="1002", **more)

    def test_every_cause_has_its_words(self):
        self.assertEqual(set(SHORT), set(CAUSES))
        for cause in CAUSES:
            with self.subTest(cause):
                sentence = self.why(cause)
                self.assertTrue(sentence.endswith("."))
                self.assertNotIn("%(", sentence + what_to_do(cause))
                self.assertNotIn("_", short_reason(cause) + sentence)

    def test_who_hung_up_is_named(self):
        self.assertEqual(self.why("normal", hung_up_by="caller"), "1001 hung up.")
        self.assertEqual(self.why("normal", hung_up_by="callee"), "1002 hung up.")
        self.assertEqual(self.why("normal"), "The call ended normally.")

    def test_a_failure_quotes_what_the_phone_said(self):
        refused = leg(state="failed", code=500, reason="Oops %s")
        self.assertIn("The phone of 1002 answered 500 Oops %s.", self.why("failed", legs=[refused]))

    def test_a_living_call_has_no_reason_and_a_newer_one_is_shown_as_its_code(self):
        self.assertEqual(self.why(""), "")
        self.assertEqual(short_reason("invented_later"), "invented_later")
        self.assertIn("invented_later", self.why("invented_later"))

    def test_a_number_may_be_any_text(self):
        self.assertIn("50%d", why_it_ended("busy", src="x", dst="50%d"))


class FactTests(unittest.TestCase):
    def codes(self, *media: MediaRow, talked: float = 30) -> list[tuple[str, str]]:
        return [(fact.code, fact.number) for fact in media_facts(media, talked)]

    def test_sound_both_ways_is_no_news(self):
        self.assertEqual(self.codes(heard("1001", "1002", 1500), heard("1002", "1001", 1490)), [])

    def test_no_audio_from_one(self):
        self.assertEqual(
            self.codes(heard("1001", "1002", 1500), heard("1002", "1001", 0)), [("no_audio_one_way", "1002")]
        )
        fact = media_facts([heard("1001", "1002", 1500), heard("1002", "1001", 0)], 30)[0]
        with override("en"):
            self.assertTrue(in_words(fact).startswith("No audio from 1002:"))
            self.assertIn("1001 heard nothing", in_words(fact))
            self.assertIn("*43", fact_remedy(fact))

    def test_no_audio_at_all_is_said_once(self):
        self.assertEqual(self.codes(heard("1001", "1002", 0), heard("1002", "1001", 0)), [("no_audio", "1001")])

    def test_nothing_is_said_before_sound_had_time_to_come_or_without_figures(self):
        self.assertEqual(self.codes(heard("1001", "1002", 0), heard("1002", "1001", 0), talked=1), [])
        self.assertEqual(self.codes(), [])

    def test_the_echo_has_one_direction(self):
        self.assertEqual(self.codes(heard("1001", "1001", 0)), [("no_audio_one_way", "1001")])
        self.assertEqual(self.codes(heard("1001", "1001", 50)), [])

    def test_sound_after_a_new_offer_counts_with_that_before(self):
        self.assertEqual(
            self.codes(heard("1001", "1002", 9), heard("1002", "1001", 0), heard("1002", "1001", 700)), []
        )

    def test_media_from_elsewhere_but_not_a_few_strays(self):
        both = [heard("1001", "1002", 1500)]
        self.assertEqual(self.codes(*both, heard("1002", "1001", 1500, foreign=9)), [])
        self.assertEqual(
            self.codes(*both, heard("1002", "1001", 1500, foreign=400)), [("media_from_elsewhere", "1002")]
        )
        self.assertEqual(
            self.codes(*both, heard("1002", "1001", 0, foreign=5)),
            [("no_audio_one_way", "1002"), ("media_from_elsewhere", "1002")],
        )


class ClockTests(unittest.TestCase):
    def test_as_on_a_telephone(self):
        for seconds, text in ((0, "0:00"), (7.9, "0:07"), (754, "12:34"), (3723, "1:02:03"), (360000, "100:00:00"),
                              (-5, "0:00")):
            with self.subTest(seconds):
                self.assertEqual(clock(seconds), text)
