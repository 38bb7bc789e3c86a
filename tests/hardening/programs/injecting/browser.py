"""The pages in a real browser: whatever a reader of HTML thinks of them, here it is seen whether anything runs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable

from tests.admin_ui.chromium import OFFICE, Browser
from tests.hardening.programs.injecting.texts import BEACON
from tests.support.pbx import ROOT, RunningPbx, manage
from tests.support.processes import PATIENCE, Program, free_port
from tests.verdicts.hostile import MARK

NAME, PASSWORD = "looker", "a-Long-enough-1"
ALIVE = f"""
const alert_shown = window.{MARK} !== undefined;
const made = document.querySelectorAll('{MARK}tag, [{MARK}attr], [onmouseover], [onerror], [onload], [src="{BEACON}"]');
return [alert_shown, made.length, document.body.innerText.includes('{MARK}')];
"""


def run(pbx: RunningPbx, paths: Iterable[str]) -> tuple[int, int, list[str]]:
    """How many pages were looked at, how many show a text, and what ran or was asked for. Raises ``SkipTest`` without
    a browser."""
    ran: list[str] = []
    looked = shown = 0
    with contextlib.ExitStack() as at_end:
        browser = Browser()
        at_end.callback(browser.stop)
        env = {**pbx.env, "ALLOWED_HOSTS": f"127.0.0.1,{OFFICE}"}
        manage(
            "createsuperuser", "--noinput", "--username", NAME, "--email", f"{NAME}@pbx.test",
            env={**env, "DJANGO_SUPERUSER_PASSWORD": PASSWORD},
        )
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", "pbx.wsgi:application", "--bind", f"127.0.0.1:{port}"]
        web = Program(
            [*command, "--threads", "4", "--access-logfile", "-"], log_path=pbx.directory / "web.log",
            env={**env, "WEB_PORT": str(port)}, cwd=ROOT, name="gunicorn",
        )
        at_end.callback(web.stop)
        web.wait_for(r"Listening at", PATIENCE)
        site = f"http://{OFFICE}:{port}"
        browser.go(f"{site}/")
        browser.fill("username", NAME)
        browser.fill("password", PASSWORD)
        browser.press("Log in")
        browser.wait(lambda: "Overview" in browser.find("h1").text, "signed in")
        for path in paths:
            browser.go(f"{site}{path}")
            looked += 1
            flagged, made, seen = browser.driver.execute_script(ALIVE)
            shown += bool(seen)
            if flagged or made:
                ran.append(f"{path}: {'a script ran' if flagged else f'{made} elements'}")
        ran += [complaint[:200] for complaint in browser.complaints() if MARK in complaint or "Policy" in complaint]
        if BEACON in web.log:
            ran.append("a text was asked for as an address")
        browser.go("about:blank")
    return looked, shown, ran
