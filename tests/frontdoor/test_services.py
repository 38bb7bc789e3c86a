"""The other ways to run the PBX: Procfile, systemd, PM2."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sys
import unittest

from tests.frontdoor.test_start import PATIENT, ROOT, StartedPbx
from tests.support.processes import Program, run_program, wait_until
from tests.support.programs import find_program


def processes_of(pbx: StartedPbx) -> list[str]:
    """Who still has one of its ports."""
    return [port for port in (pbx.sip_port, pbx.web_port) if run_program(["ss", "-Hlnut", f"sport = :{port}"]).stdout]


class ProcfileTests(unittest.TestCase):
    def test_release_then_web_and_sip_by_honcho(self):
        pbx = StartedPbx()
        pbx.env["PATH"] = f"{os.path.dirname(sys.executable)}:{pbx.env['PATH']}"
        release = re.search(r"^release: python3 (.*)$", (ROOT / "Procfile").read_text(), re.MULTILINE)[1]
        released = run_program([sys.executable, *release.split()], seconds=PATIENT, env=pbx.env, cwd=ROOT)
        self.assertEqual(0, released.returncode, released.stderr)
        self.assertIn("first passwords are in", released.stdout)
        honcho = Program(
            [sys.executable, "-m", "honcho", "start", "web", "sip"], log_path=pbx.log, env=pbx.env, cwd=ROOT,
            death_signal="TERM",
        )
        self.addCleanup(honcho.stop)
        honcho.wait_for(rf"Listening on .*:{pbx.sip_port}\b", PATIENT)
        wait_until(lambda: len(processes_of(pbx)) == 2, "both processes listen", PATIENT)
        self.assertEqual("/admin/", pbx.get("/").headers["Location"])
        honcho.terminate()
        wait_until(lambda: not processes_of(pbx), "both have ended")


class SystemdTests(unittest.TestCase):
    def test_the_units_are_valid(self):
        analyze = find_program("systemd-analyze")
        if not analyze:
            self.skipTest("no systemd on this machine")
        pbx = StartedPbx()
        units = []
        for source in sorted((ROOT / "deploy").glob("*.service")):
            text = source.read_text().replace("/opt/pbx/.venv/bin/python", sys.executable)
            unit = pbx.directory / source.name
            unit.write_text(text.replace("/opt/pbx", str(ROOT)))
            units.append(str(unit))
        self.assertEqual(2, len(units))
        done = run_program([analyze, "verify", *units])
        self.assertEqual((0, ""), (done.returncode, done.stderr))

    def test_both_processes_speak_to_the_service_manager(self):
        for command in ("runweb", "runsip"):
            with self.subTest(command=command):
                self.follow(command)

    def follow(self, command: str) -> None:
        pbx = StartedPbx()
        self.assertEqual(0, pbx.run("prepare").returncode)
        path = str(pbx.directory / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(PATIENT)
            process = Program(
                [sys.executable, "manage.py", command], log_path=pbx.log, cwd=ROOT,
                env={**pbx.env, "NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000000"},
            )
            self.addCleanup(process.stop)
            self.assertTrue(manager.recv(500).startswith(b"READY=1"))
            for _ in range(3):  # runweb asks itself for a page before each
                while manager.recv(500) != b"WATCHDOG=1":
                    pass
            process.signal(signal.SIGTERM)
            self.assertEqual(0, process.wait(5))


class Pm2Tests(unittest.TestCase):
    def test_the_file_names_one_process_that_start_runs(self):
        node = find_program("node")
        if not node:
            self.skipTest("no node on this machine")
        done = run_program([node, "-p", "JSON.stringify(require('./deploy/ecosystem.config.js').apps)"], cwd=ROOT)
        (app,) = json.loads(done.stdout)
        self.assertEqual(("pbx-system", "manage.py", "start"), (app["name"], app["script"], app["args"]))
        self.assertEqual(str(ROOT), app["cwd"])
        self.assertGreater(app["kill_timeout"], 5000)

    def test_pm2_runs_and_stops_it(self):
        pm2 = os.environ.get("PBX_PM2") or shutil.which("pm2")
        if not pm2:
            self.skipTest("no pm2 on this machine (PBX_PM2 names one)")
        pbx = StartedPbx()
        env = {**pbx.env, "PM2_HOME": str(pbx.directory / "pm2"), "PBX_PYTHON": sys.executable}
        self.addCleanup(run_program, [pm2, "kill"], env=env)
        started = run_program([pm2, "start", "deploy/ecosystem.config.js"], env=env, cwd=ROOT)
        self.assertEqual(0, started.returncode, started.stderr)
        wait_until((pbx.var / "first-login.txt").exists, "the first log-in is made", PATIENT)
        wait_until(lambda: len(processes_of(pbx)) == 2, "both processes listen", PATIENT)
        self.assertEqual("/admin/", pbx.get("/").headers["Location"])
        self.assertEqual(0, run_program([pm2, "stop", "pbx-system"], env=env).returncode)
        self.assertFalse(processes_of(pbx))
