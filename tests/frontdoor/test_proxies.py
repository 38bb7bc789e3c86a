"""deploy/nginx.conf and deploy/Caddyfile as they are, in front of the real web process: what a stranger reaches, what
an administrator reaches, and that no log of theirs keeps the secret of a link."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import subprocess
import unittest
from pathlib import Path

from pbx.web_server import command
from tests.support.pbx import ROOT, SqliteStore, clean_environment
from tests.support.processes import PATIENCE, Program, free_port, run_program, scratch_directory, wait_until
from tests.support.programs import require_program

TOKEN = "s3cr3t-t0ken_0123456789abcdef"
NAME = "pbx.example.com"


class Proxy:
    """The tests; ``front`` starts the proxy with ``admins`` (a network) in place of the private ones of the file."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.directory = scratch_directory("proxy")
        cls.port, cls.web_port = free_port(), free_port()
        cls.store = SqliteStore()
        cls.addClassCleanup(cls.store.remove)
        cls.store.fill()
        cls.start_web()
        cls.certificate, cls.key = cls.directory / "cert.pem", cls.directory / "key.pem"
        require_program("openssl", "openssl")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
             "2", "-subj", f"/CN={NAME}", "-keyout", str(cls.key), "-out", str(cls.certificate)],
            check=True, capture_output=True,
        )
        cls.proxy: Program | None = None

    @classmethod
    def start_web(cls) -> None:
        cls.web = Program(
            command(), log_path=cls.directory / "web.log", cwd=ROOT, name="gunicorn",
            env=clean_environment(
                DATABASE_URL=cls.store.url, VAR_DIR=str(cls.directory / "var"), WEB_PORT=str(cls.web_port),
                WEB_HTTPS="yes", WEB_PUBLIC_URL=f"https://{NAME}", SIP_DOMAIN=NAME,
                DJANGO_SETTINGS_MODULE="pbx.settings", GUNICORN_CMD_ARGS="--log-level info",
            ),
        )
        cls.addClassCleanup(cls.web.stop)
        cls.web.wait_for("Listening at", PATIENCE)

    @classmethod
    def front(cls, admins: str) -> None:
        raise NotImplementedError

    def ask(self, path: str, **headers: str) -> tuple[int, str]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        link = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=context)
        link.sock = context.wrap_socket(
            socket.create_connection(("127.0.0.1", self.port), PATIENCE), server_hostname=NAME
        )
        self.addCleanup(link.close)
        link.request("GET", path, headers={"Host": NAME, **headers})
        answer = link.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")

    def start(self, admins: str) -> None:
        self.front(admins)
        self.addCleanup(self.proxy.stop)

        def up() -> bool:
            try:
                return self.ask("/static/pbx/icon.svg")[0] == 200
            except OSError:
                return False

        wait_until(up, "the proxy answers")

    def test_a_stranger_reaches_what_phones_open_and_nothing_else(self):
        self.start("198.51.100.0/24")
        for path in ("/", "/admin/", "/admin/login/", "/i18n/setlang/", "/static/admin/css/base.css", "/p/../admin/",
                     "/phone/%2e%2e/admin/", "/P/x/"):
            with self.subTest(path):
                status, text = self.ask(path)
                self.assertEqual(status, 404)
                self.assertNotIn("csrf", text)
        self.assertEqual(self.ask(f"/p/{TOKEN}/")[0], 410)
        status, text = self.ask(f"/phone/{TOKEN}/")
        self.assertEqual(status, 410)
        self.assertIn("has been used or has expired", text)
        self.assertEqual(self.ask("/static/pbx/probe.css")[0], 200)

    def test_nobody_can_claim_another_address(self):
        self.start("0.0.0.0/0")
        # Loopback, where this test is, is an address of administrators to the PBX itself.
        self.assertEqual(self.ask("/admin/login/")[0], 200)
        self.assertEqual(self.ask("/admin/login/", **{"X-Forwarded-For": "203.0.113.9"})[0], 200)

    def test_no_log_keeps_the_secret_of_a_link_even_when_the_pbx_is_down(self):
        self.start("198.51.100.0/24")
        self.assertEqual(self.ask(f"/p/{TOKEN}/", Referer=f"https://{NAME}/p/{TOKEN}/")[0], 410)
        self.web.stop()
        try:
            for path in (f"/p/{TOKEN}/", f"/phone/{TOKEN}/"):
                self.assertEqual(self.ask(path)[0], 502)
        finally:
            self.start_web()
        self.proxy.stop()
        logs = [path for path in self.directory.rglob("*.log") if path.is_file()]
        self.assertTrue(logs)
        for path in logs:
            self.assertNotIn(TOKEN, path.read_text("utf-8", "replace"), path.name)


class NginxTests(Proxy, unittest.TestCase):
    @classmethod
    def front(cls, admins: str) -> None:
        nginx = require_program("nginx", "nginx-light")
        text = (ROOT / "deploy" / "nginx.conf").read_text("utf-8")
        for old, new in (
            ("listen 80;", f"listen 127.0.0.1:{free_port()};"), ("listen [::]:80;", ""),
            ("listen 443 ssl http2;", f"listen 127.0.0.1:{cls.port} ssl http2;"), ("listen [::]:443 ssl http2;", ""),
            (f"/etc/letsencrypt/live/{NAME}/fullchain.pem", str(cls.certificate)),
            (f"/etc/letsencrypt/live/{NAME}/privkey.pem", str(cls.key)),
            ("127.0.0.1:8000", f"127.0.0.1:{cls.web_port}"), ("10.0.0.0/8", admins),
            ("/var/log/nginx/", f"{cls.directory}/"),
        ):
            assert old in text, old
            text = text.replace(old, new)
        whole = cls.directory / "nginx.conf"
        whole.write_text(
            f"daemon off; pid {cls.directory}/nginx.pid; error_log {cls.directory}/error.log info;\n"
            f"events {{}}\nhttp {{ access_log {cls.directory}/access.log;\n"
            + "".join(f"{name}_temp_path {cls.directory}/{name};\n"
                      for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            + f"{text}\n}}\n"
        )
        cls.proxy = Program(
            [nginx, "-c", str(whole), "-e", str(cls.directory / "error.log")], log_path=cls.directory / "nginx.log",
            name="nginx",
        )


class CaddyTests(Proxy, unittest.TestCase):
    @classmethod
    def front(cls, admins: str) -> None:
        caddy = require_program("caddy", "caddy")
        text = (ROOT / "deploy" / "Caddyfile").read_text("utf-8")
        for old, new in (
            (f"\n{NAME} {{", f"\nhttps://{NAME}:{cls.port} {{\n\tbind 127.0.0.1\n\ttls {cls.certificate} {cls.key}"),
            ("{\n\tservers", "{\n\tadmin off\n\tauto_https off\n\tservers"),
            ("127.0.0.1:8000", f"127.0.0.1:{cls.web_port}"), ("10.0.0.0/8", admins),
        ):
            assert old in text, old
            text = text.replace(old, new)
        path = cls.directory / "Caddyfile"
        path.write_text(text)
        home = {**os.environ, "HOME": str(cls.directory), "XDG_DATA_HOME": str(cls.directory / "data")}
        cls.proxy = Program(
            [caddy, "run", "--adapter", "caddyfile", "--config", str(path)], log_path=cls.directory / "caddy.log",
            name="caddy", env=home,
        )


class FileTests(unittest.TestCase):
    def test_the_caddyfile_is_valid_as_it_is(self):
        caddy = require_program("caddy", "caddy")
        path = ROOT / "deploy" / "Caddyfile"
        directory = scratch_directory("caddy")
        done = run_program(
            [caddy, "validate", "--adapter", "caddyfile", "--config", str(path)],
            env={**os.environ, "HOME": str(directory), "XDG_DATA_HOME": str(directory)},
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(run_program([caddy, "fmt", str(path)]).stdout, Path(path).read_text("utf-8"))
