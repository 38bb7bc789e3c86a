"""``check --deploy`` with the settings that docs/deploy.md gives for the proxies in deploy/."""

from __future__ import annotations

import re
import shutil
import sys
import unittest

from tests.support.pbx import ROOT, clean_environment
from tests.support.processes import run_program, scratch_directory


class DeployCheckTests(unittest.TestCase):
    def check(self, **more: str) -> tuple[int, str]:
        directory = scratch_directory("deploy")
        self.addCleanup(shutil.rmtree, directory, True)
        env = clean_environment(VAR_DIR=str(directory / "var"), DATABASE_URL="", SECRET_KEY="", **more)
        done = run_program(
            [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"], env=env, cwd=ROOT
        )
        return done.returncode, done.stdout + done.stderr

    def production(self) -> dict[str, str]:
        text = (ROOT / "docs/deploy.md").read_text("utf-8")
        block = re.search(r"and in `\.env`:\n\n((?:    .+\n)+)", text)
        self.assertIsNotNone(block)
        return dict(line.strip().split("=", 1) for line in block[1].splitlines())

    def test_it_is_clean_with_the_settings_of_the_guide(self):
        wanted = self.production()
        self.assertEqual(wanted["WEB_HTTPS"], "yes")
        status, said = self.check(**wanted, SIP_DOMAIN="pbx.example.com")
        self.assertEqual(status, 0, said)

    def test_what_is_not_asked_there_is_done_by_the_proxies(self):
        """W004 and W008: HSTS and the redirect. (Caddy redirects by itself, tests.frontdoor.test_proxies runs both.)"""
        nginx, caddy = ((ROOT / "deploy" / name).read_text("utf-8") for name in ("nginx.conf", "Caddyfile"))
        self.assertRegex(nginx, r"return 301 https://")
        for text in (nginx, caddy):
            self.assertRegex(text, r'Strict-Transport-Security "max-age=\d{8}"')

    def test_without_https_it_still_warns(self):
        status, said = self.check(WEB_HTTPS="no", SIP_DOMAIN="pbx.example.com")
        self.assertNotEqual(status, 0)
        for number in ("W004", "W008", "W012", "W016"):
            self.assertIn(f"security.{number}", said)
