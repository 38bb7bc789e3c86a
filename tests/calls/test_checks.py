"""The setting of this room."""

from __future__ import annotations

from django.test import SimpleTestCase, override_settings

from pbx.calls.checks import check_call_records_days


class SettingTests(SimpleTestCase):
    def test_days_to_keep_call_records(self):
        for days, wrong in ((0, False), (30, False), (36_500, False), (-1, True), (36_501, True)):
            with self.subTest(days), override_settings(CALL_RECORDS_DAYS=days):
                self.assertEqual([message.id for message in check_call_records_days()], ["pbx.E040"] * wrong)
