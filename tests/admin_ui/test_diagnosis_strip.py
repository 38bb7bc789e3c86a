"""The strip of the last 24 hours: what it says for the rows that the engine writes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.test import SimpleTestCase

from pbx.diagnosis.evidence import DeviceFacts, PeriodFacts
from pbx.diagnosis.strip import MINUTES, strip_of

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def hours(count: float) -> datetime:
    return NOW - timedelta(hours=count)


def period(began: float, ended: float, ending: str = "expired") -> PeriodFacts:
    return PeriodFacts(hours(began), hours(ended), ending, "203.0.113.9:5062", "Zoiper")


def device(
    registered: float, expires: float = -1, silent: float | None = None, phone: str = "Zoiper"
) -> DeviceFacts:
    return DeviceFacts(
        1, "sip:1001@192.168.1.7", "UDP", "203.0.113.9", 5062, phone, "c", hours(registered), hours(registered),
        hours(expires), None if silent is None else hours(silent), False, False,
    )


class StripTests(SimpleTestCase):
    def states(self, periods=(), devices=()) -> list[tuple[str, int]]:
        return [(one.state, one.minutes) for one in strip_of(periods, devices, NOW).stretches]

    def test_never_there(self):
        self.assertEqual(self.states(), [("offline", MINUTES)])
        self.assertFalse(strip_of((), (), NOW).was_there)

    def test_online_all_day_and_longer(self):
        self.assertEqual(self.states(devices=[device(100)]), [("online", MINUTES)])

    def test_came_and_went(self):
        self.assertEqual(self.states([period(20, 10)]), [("offline", 240), ("online", 600), ("offline", 600)])

    def test_a_silent_phone(self):
        self.assertEqual(
            self.states(devices=[device(10, silent=2)]), [("offline", 840), ("online", 480), ("silent", 120)]
        )

    def test_a_silence_that_is_over_is_a_hole_in_the_registration_around_it(self):
        self.assertEqual(
            self.states([period(5, 4, "silent")], [device(24)]), [("online", 1140), ("silent", 60), ("online", 240)]
        )

    def test_a_registration_that_ended_and_has_no_period_yet(self):
        self.assertEqual(
            self.states(devices=[device(3, expires=1)]), [("offline", 1260), ("online", 120), ("offline", 60)]
        )

    def test_of_two_phones_the_better_one_counts(self):
        devices = [device(10, silent=2), device(1, phone="Linphone")]
        self.assertEqual(self.states(devices=devices)[-2:], [("silent", 60), ("online", 60)])

    def test_one_that_comes_and_goes(self):
        periods = [period(5 - place / 6, 4.95 - place / 6) for place in range(6)]
        self.assertEqual([state for state, _minutes in self.states(periods)].count("unsteady"), 1)
        calm = [period(20 - 3 * place, 19 - 3 * place) for place in range(6)]
        self.assertNotIn("unsteady", [state for state, _minutes in self.states(calm)])

    def test_it_always_covers_the_day_whatever_the_rows(self):
        for periods in ([period(30, -3)], [period(1, 2)], [period(24, 24)], [period(0, 0)],
                        [period(place / 10, place / 20) for place in range(300)]):
            self.assertEqual(sum(minutes for _state, minutes in self.states(periods)), MINUTES)

    def test_the_words(self):
        strip = strip_of([period(20, 10)], (), NOW)
        self.assertEqual(strip.alternative, "The last 24 hours: online 10 h, offline 14 h.")
        self.assertEqual([hour.text[-2:] for hour in strip.hours], ["00"] * len(strip.hours))
