"""``python3 manage.py`` on a machine with nothing but Python: the set-up, and what it says when it cannot be done."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import unittest
from pathlib import Path

from tests.frontdoor.bare_project import ROOT, BareProject
from tests.support.processes import free_port, wait_until
from tests.support.programs import require_program


class BootstrapTests(unittest.TestCase):
    def project(self, bare: BareProject) -> BareProject:
        self.addCleanup(bare.remove)
        return bare

    def assert_one_sentence(self, done: subprocess.CompletedProcess[str], *words: str) -> None:
        """Exit status, no traceback, and beside the line on what is being done one sentence that has ``words``."""
        self.assertNotEqual(0, done.returncode, done.stdout)
        self.assertNotIn("Traceback", done.stderr)
        lines = [line for line in done.stderr.splitlines() if not line.startswith("Setting up")]
        self.assertEqual(1, len(lines), done.stderr)
        for word in words:
            self.assertIn(word, lines[0])

    def test_the_first_run_sets_up_and_goes_on_inside(self):
        bare = self.project(BareProject())
        done = bare.run("hello", "--x=1")
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertEqual(f"inside {bare.environment} hello --x=1\n", done.stdout)

    def test_the_second_run_needs_no_index_and_says_nothing(self):
        bare = self.project(BareProject.already_set_up())
        shutil.rmtree(bare.wheels)
        done = bare.run("hello")
        self.assertEqual((0, ""), (done.returncode, done.stderr))

    def test_changed_requirements_are_installed_on_the_next_run(self):
        bare = self.project(BareProject.already_set_up())
        bare.require("standins==1.0\nonlyfortests==1.0")
        done = bare.run("hello")
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("Setting up", done.stderr)
        self.assertTrue(list(bare.environment.glob("lib/*/site-packages/onlyfortests.py")))

    def test_only_the_tests_install_what_only_the_tests_need(self):
        bare = self.project(BareProject.already_set_up())
        self.assertFalse(list(bare.environment.glob("lib/*/site-packages/onlyfortests.py")))
        self.assertEqual(0, bare.run("test").returncode)
        self.assertTrue(list(bare.environment.glob("lib/*/site-packages/onlyfortests.py")))

    def test_only_compiling_installs_what_only_it_needs(self):
        bare = self.project(BareProject.already_set_up())
        (bare.project / "requirements-compile.txt").write_text("-r requirements.txt\nonlyfortests==1.0\n")
        self.assertEqual(0, bare.run("hello").returncode)
        self.assertFalse(list(bare.environment.glob("lib/*/site-packages/onlyfortests.py")))
        self.assertEqual(0, bare.run("compile").returncode)
        self.assertTrue(list(bare.environment.glob("lib/*/site-packages/onlyfortests.py")))

    def test_a_killed_set_up_is_made_anew(self):
        bare = self.project(BareProject())
        process = bare.start("hello")
        wait_until((bare.environment / "pbx-unfinished").exists, "the set-up has begun")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        done = bare.run("hello")
        self.assertEqual(0, done.returncode, done.stderr)
        self.assertIn("inside", done.stdout)

    def test_half_a_package_left_by_a_kill_is_not_taken_for_a_whole_one(self):
        bare = self.project(BareProject.already_set_up())
        (module,) = bare.environment.glob("lib/*/site-packages/django/conf.py")
        module.unlink()
        (bare.environment / "pbx-unfinished").touch()
        self.assertIn("inside", bare.run("hello").stdout)

    def test_a_lost_interpreter_is_replaced(self):
        bare = self.project(BareProject.already_set_up())
        python = bare.environment / "bin" / "python"
        python.unlink()
        python.symlink_to("/nowhere/python3")
        self.assertIn("inside", bare.run("hello").stdout)

    def test_two_at_once_do_not_clash(self):
        bare = self.project(BareProject.with_pip_only())
        processes = [bare.start("hello") for _ in range(3)]
        for process in processes:
            out, err = process.communicate(timeout=120)
            self.assertEqual(0, process.returncode, err)
            self.assertIn("inside", out)

    def test_a_failed_update_leaves_the_old_environment_usable(self):
        bare = self.project(BareProject.already_set_up())
        bare.require("standins==2.0")
        self.assertNotEqual(0, bare.run("hello").returncode)
        bare.require("standins==1.0")
        done = bare.run("hello")
        self.assertEqual((0, ""), (done.returncode, done.stderr))

    def test_it_steps_aside_in_an_existing_environment(self):
        bare = self.project(BareProject.already_set_up())
        foreign = bare.directory / "foreign"
        bare.environment.rename(foreign)
        done = bare.run("hello", python=str(foreign / "bin" / "python"))
        self.assertEqual(f"inside {foreign} hello\n", done.stdout)
        self.assertFalse(bare.environment.exists())

    def test_it_steps_aside_when_told_to_and_says_what_is_missing(self):
        bare = self.project(BareProject())
        done = bare.run("hello", PBX_NO_VENV="1")
        self.assertFalse(bare.environment.exists())
        self.assert_one_sentence(done, "lacks", "pip install -r requirements.txt")

    def test_no_network(self):
        bare = self.project(BareProject.with_pip_only())
        done = bare.run(
            "hello", PIP_NO_INDEX="", PIP_FIND_LINKS="", PIP_INDEX_URL=f"http://127.0.0.1:{free_port()}/simple"
        )
        self.assert_one_sentence(done, "cannot be reached", "check this machine's network")

    def test_a_package_that_the_index_does_not_have(self):
        bare = self.project(BareProject.with_pip_only())
        bare.require("nosuchpackage==1.0")
        self.assert_one_sentence(bare.run("hello"), "failed", "pbx-pip.log")

    def test_no_certificate_authorities(self):
        bare = self.project(BareProject.with_pip_only())
        port = self.serve_https(bare)
        done = bare.run(
            "hello", PIP_NO_INDEX="", PIP_FIND_LINKS="", PIP_INDEX_URL=f"https://localhost:{port}/simple"
        )
        self.assert_one_sentence(done, "certificate", "apt install ca-certificates")

    def test_a_directory_that_is_not_ours(self):
        bare = self.project(BareProject())
        (bare.environment).write_text("in the way")
        self.assert_one_sentence(bare.run("hello"), ".venv cannot be written", "chown")

    def test_ctrl_c_is_no_traceback(self):
        bare = self.project(BareProject.with_pip_only())
        process = bare.start("hello")
        wait_until((bare.environment / "pbx-unfinished").exists, "the set-up has begun")
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assert_one_sentence(
            subprocess.CompletedProcess([], process.returncode, out, err), "interrupted", "same command again"
        )

    def serve_https(self, bare: BareProject) -> int:
        """An index with a certificate that nobody vouches for; returns its port."""
        openssl = require_program("openssl", "openssl")
        key, certificate = bare.directory / "key.pem", bare.directory / "certificate.pem"
        subprocess.run(
            [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
             "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)

        class QuietServer(http.server.ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                pass  # refusing the certificate is what the client is meant to do

        server = QuietServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server.server_port


class OldPythonTests(unittest.TestCase):
    def test_an_old_python_is_told_so_in_one_sentence(self):
        pythons = [python for python in old_pythons() if python]
        if not pythons:
            self.skipTest("no Python older than 3.11 is installed here")
        for python in pythons:
            with self.subTest(python=python):
                done = subprocess.run(
                    [python, "manage.py", "start"], cwd=ROOT, capture_output=True, text=True, timeout=60,
                    env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                )
                self.assertEqual(1, done.returncode)
                self.assertRegex(done.stderr, r"\APython 3\.11 or newer is needed and this is Python \d\.\d+: .*\n\Z")

    def test_what_old_pythons_read_has_nothing_that_they_cannot_read(self):
        text = (ROOT / "manage.py").read_bytes()
        self.assertTrue(text.isascii())
        self.assertIsNone(re.search(rb"\bf[\"']|:=|->|print ", text))
        self.assertLess(text.index(b"check_python()"), text.index(b"from pbx"))


def old_pythons() -> list[str]:
    names = [f"python3.{minor}" for minor in range(6, 11)] + ["python2.7", "python2"]
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [str(path) for path in sorted(versions.glob("*/bin/python")) if is_old(path.parent.parent.name)]
    return found or [path for name in names if (path := shutil.which(name))]


def is_old(version: str) -> bool:
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return bool(numbers) and (int(numbers[1]), int(numbers[2])) < (3, 11)


if sys.platform != "linux":  # the PBX runs on Linux only: epoll, prctl, /proc
    raise unittest.SkipTest("Linux only")
