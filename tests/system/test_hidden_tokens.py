"""No log line holds the secret part of a link that phones open."""

from __future__ import annotations

import http.client
import io
import logging
import os
import unittest

from django.conf import settings
from django.test import Client, TestCase

from pbx.hidden_tokens import HideTokens, without_tokens
from pbx.web_server import command
from tests.support.pbx import ROOT
from tests.support.processes import PATIENCE, Program, free_port, scratch_directory, wait_until

TOKEN = "s3cr3t-t0ken_0123456789abcdef"


class MaskTests(unittest.TestCase):
    def test_the_token_goes_and_the_rest_stays(self):
        for text, shown in (
            (f"Not Found: /p/{TOKEN}/", "Not Found: /p/…/"),
            (f"Gone: /phone/{TOKEN}", "Gone: /phone/…"),
            (f'"GET /p/{TOKEN}/state/?x=1 HTTP/1.1" 200 "https://pbx.test/p/{TOKEN}/"',
             '"GET /p/…/state/?x=1 HTTP/1.1" 200 "https://pbx.test/p/…/"'),
            ("Not Found: /admin/1/phone-link/", "Not Found: /admin/1/phone-link/"),
            ("nothing / p / here", "nothing / p / here"),
        ):
            self.assertEqual(without_tokens(text), shown)

    def test_arguments_that_do_not_fit_are_left_to_logging(self):
        record = logging.LogRecord("x", logging.INFO, "", 1, "%d /p/abc", ("no number",), None)
        self.assertTrue(HideTokens().filter(record))


class DjangoLogTests(TestCase):
    def test_a_refused_link_is_logged_without_its_token(self):
        handlers = [handler for handler in logging.getLogger("django").handlers if handler.filters]
        self.assertTrue(handlers)
        self.assertIn("hide_tokens", settings.LOGGING["handlers"]["stderr"]["filters"])
        written = io.StringIO()
        before = handlers[0].setStream(written)
        self.addCleanup(handlers[0].setStream, before)
        for path in (f"/phone/{TOKEN}/", f"/p/{TOKEN}/", f"/p/{TOKEN}/no/such/"):
            Client().get(path)
        self.assertIn("/phone/…/", written.getvalue())
        self.assertNotIn(TOKEN, written.getvalue())


class AccessLogTests(unittest.TestCase):
    def test_gunicorns_access_log_has_no_token(self):
        directory, port = scratch_directory("web"), free_port()
        web = Program(
            [*command(), "--access-logfile", "-", "--log-level", "info"],
            log_path=directory / "web.log", cwd=ROOT, name="gunicorn",
            env={**os.environ, "WEB_HOST": "127.0.0.1", "WEB_PORT": str(port), "VAR_DIR": str(directory)},
        )
        self.addCleanup(web.stop)
        web.wait_for(r"Listening at", PATIENCE)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("GET", f"/phone/{TOKEN}", headers={"Referer": f"http://127.0.0.1/p/{TOKEN}/"})
        connection.getresponse().read()
        wait_until(lambda: "/phone/…" in web.log, "its line")
        self.assertNotIn(TOKEN, web.log)
