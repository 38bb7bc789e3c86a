"""Clients who are slow on purpose, at the real web process."""

from __future__ import annotations

import contextlib
import http.client
import socket
import unittest

from pbx.web_server import command, threads, workers
from tests.support.pbx import ROOT, SqliteStore, clean_environment
from tests.support.processes import PATIENCE, Program, free_port, scratch_directory

UNFINISHED = (
    b"GET /p/x/ HTTP/1.1\r\nHost: local",
    b"POST /p/x/ HTTP/1.1\r\nHost: localhost\r\nCookie: csrftoken=a\r\nContent-Length: 500\r\n\r\nhalf",
)


class SlowClientTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        directory, cls.port, store = scratch_directory("slow"), free_port(), SqliteStore()
        cls.addClassCleanup(store.remove)
        store.fill()
        cls.web = Program(
            command(), log_path=directory / "web.log", cwd=ROOT, name="gunicorn",
            env=clean_environment(
                DATABASE_URL=store.url, VAR_DIR=str(directory / "var"), WEB_PORT=str(cls.port),
                DJANGO_SETTINGS_MODULE="pbx.settings", GUNICORN_CMD_ARGS="--log-level info",
            ),
        )
        cls.addClassCleanup(cls.web.stop)
        cls.web.wait_for("Listening at", PATIENCE)

    def page(self) -> int:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=2 * PATIENCE)) as link:
            link.request("GET", "/admin/login/")
            return link.getresponse().status

    def connect(self, count: int) -> list[socket.socket]:
        made = []
        for _ in range(count):
            made.append(socket.create_connection(("127.0.0.1", self.port), 2 * PATIENCE))
            self.addCleanup(made[-1].close)
        return made

    def test_connections_that_say_nothing_take_no_thread(self):
        silent = self.connect(5 * workers * threads)
        self.assertEqual(200, self.page())
        self.assertEqual(b"", silent[0].recv(1), "it should be closed")

    def test_unfinished_requests_are_given_up(self):
        for words in UNFINISHED:
            with self.subTest(words):
                links = self.connect(2 * workers * threads)
                for link in links:
                    link.sendall(words)
                self.assertEqual(200, self.page())
        self.assertNotIn("Traceback", self.web.log)
