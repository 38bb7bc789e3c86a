"""The SIP log: whole lines, no forged ones, no secrets, and nobody waits for it."""

from __future__ import annotations

import json
import os
import re
import threading
from unittest import TestCase

from sipcore.log import BUFFER_LINES, STRANGER_LINES, SipLog


class LogTests(TestCase):
    def setUp(self):
        self.read_end, self.write_end = os.pipe()
        self.addCleanup(os.close, self.read_end)

    def written(self, log):
        log.close()
        os.close(self.write_end)
        with os.fdopen(os.dup(self.read_end), "rb") as pipe:
            return pipe.read().decode().splitlines()

    def test_a_line_has_time_level_and_prefix(self):
        log = SipLog(self.write_end)
        log.info("Received message from 203.0.113.9:5062: REGISTER 1001 Zoiper")
        [line] = self.written(log)
        self.assertRegex(line, r"\A\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO \[SIP\] Received message from 203")

    def test_a_text_from_the_network_cannot_forge_a_line(self):
        log = SipLog(self.write_end)
        log.info("User-Agent: a\r\n2026-11-22 INFO [SIP] forged\x1b[31m\u2028\u202e\ud800")
        lines = self.written(log)
        self.assertEqual(len(lines), 1)
        self.assertTrue(lines[0].isprintable())

    def test_json_lines_are_json(self):
        log = SipLog(self.write_end, "json")
        log.info('a "quoted" name O‘zbek')
        [line] = self.written(log)
        record = json.loads(line)
        self.assertEqual(record["message"], 'a "quoted" name O‘zbek')
        self.assertEqual(record["level"], "INFO")

    def test_strangers_are_summed_up(self):
        log = SipLog(self.write_end)
        said = sum(log.stranger() for _ in range(10 * STRANGER_LINES))
        log.sum_up()
        lines = self.written(log)
        left_out = sum(int(re.search(r"(\d+) more lines", line)[1]) for line in lines)
        self.assertEqual(said + left_out, 10 * STRANGER_LINES)
        self.assertLessEqual(said, 2 * STRANGER_LINES)  # two seconds at the most

    def test_a_blocked_reader_blocks_nobody_and_the_loss_is_said(self):
        log = SipLog(self.write_end)
        for _ in range(2 * BUFFER_LINES):
            log.info("x" * 100)
            log.flush()
        received = []

        def drain():
            with os.fdopen(os.dup(self.read_end), "rb") as pipe:
                received.append(pipe.read())

        reader = threading.Thread(target=drain)
        reader.start()
        log.close(timeout=10)
        os.close(self.write_end)
        reader.join(10)
        self.assertIn(b"log lines were dropped", received[0])
