"""The composition root."""

from __future__ import annotations

import os

from django.core.management.base import CommandError
from django.test import SimpleTestCase, TestCase, override_settings

from sipcore.log import SipLog
from sipcore.management.commands.runsip import SipServerProcess, rtp_ports


class NodeTests(TestCase):
    @override_settings(SIP_NODE="pbx.example.com")
    def test_a_host_name_with_dots_is_one_name_in_rows_branches_and_heartbeat(self):
        """Else a restart does not find the registrations and calls of the time before."""
        log = SipLog(os.open(os.devnull, os.O_WRONLY))
        self.addCleanup(log.close)
        process = SipServerProcess("pbx.test", "pbx.test", log)
        engine = process.server._core.settings.node
        self.assertEqual({process._node, process._board.settings.node}, {engine})
        self.assertTrue(process._board.token().startswith(engine))


class PortsTests(SimpleTestCase):
    def test_a_range_is_read(self):
        self.assertEqual(rtp_ports("10000-20000"), (10000, 20000))

    def test_what_is_no_range_is_refused_with_the_remedy(self):
        for text in ("", "10000", "20000-10000", "1-100", "10000-70000", "a-b", "10000-10001", "٣٠٠٠-٥٠٠٠"):
            with self.assertRaisesMessage(CommandError, "RTP_PORTS=10000-20000"):
                rtp_ports(text)
