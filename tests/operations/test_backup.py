"""A backup while phones register, and what a restore brings back."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import sys
import zipfile
from pathlib import Path
from unittest import mock

from pbx.operations import postgres_tools
from pbx.startup.refusal import Refusal
from tests.operations.case import CROWD, FIRST, mode, numbers, registers, try_to
from tests.support.cases import PASSWORD, OnPostgres, OnSqlite, PbxCase
from tests.support.loadgen import LoadGenerator
from tests.support.pbx import ROOT, RunningPbx
from tests.support.processes import Program, free_port, wait_until


def held_files(pid: int) -> set[str]:
    """The names of the files that a process has open."""
    found = set()
    for descriptor in Path("/proc", str(pid), "fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(os.path.basename(os.readlink(descriptor)))
    return found


class BackupTests(PbxCase):
    settings = {"SECRET_KEY": ""}  # so that it is the file's, as on every real machine

    def archive(self, name: str = "backup.zip") -> Path:
        path = self.pbx.directory / name
        path.unlink(missing_ok=True)
        return path

    def running(self) -> None:
        if not self.pbx.program.running:
            self.pbx.start()

    def test_what_was_confirmed_before_a_backup_is_in_it_and_no_phone_notices_the_backup(self):
        self.running()
        self.pbx.create_extensions(dict.fromkeys(numbers(), PASSWORD))
        archive = self.archive()
        with LoadGenerator(
            server=self.pbx.server, domain=self.pbx.domain, first=FIRST, count=CROWD, password=PASSWORD, window=4
        ) as load:
            load.start("register")
            load.wait_for_progress(50)
            before = self.pbx.registered_numbers()
            self.pbx.manage("backup", str(archive))
            report = load.collect()
            self.assertEqual(report.failures, {})
            self.assertEqual(len(report.confirmed), CROWD)
            self.assertEqual(mode(archive), "600")

            # The machine dies, and comes back with what the backup has.
            self.pbx.kill9()
            self.pbx.manage("restore", str(archive))
            self.assertLessEqual(before, self.pbx.registered_numbers())
            self.pbx.start()
            # The key that signs nonces came back as well: one round trip, no new password, for every phone.
            report = load.run("refresh")
            self.assertEqual(report.failures, {})
            self.assertEqual(len(report.confirmed), CROWD)
            self.assertLessEqual(set(numbers()), self.pbx.registered_numbers())

    def test_a_restore_brings_the_old_password_back_and_keeps_what_was_there(self):
        self.running()
        number = self.new_extension()
        archive = self.archive()
        self.pbx.manage("backup", str(archive))
        self.pbx.set_password(number, "another-password-9")
        self.assertEqual(registers(self.pbx, number, "another-password-9"), 200)
        self.pbx.terminate()
        said = self.pbx.manage("restore", str(archive))
        kept = Path(next(line for line in said.splitlines() if "kept" in line).split()[-1])
        self.assertEqual(mode(kept), "600")
        self.pbx.start()
        self.assertEqual(registers(self.pbx, number), 200)
        self.assertEqual(registers(self.pbx, number, "another-password-9"), 403)

    def test_it_refuses_while_the_pbx_runs(self):
        self.running()
        number = self.new_extension()
        archive = self.archive()
        self.pbx.manage("backup", str(archive))
        self.assertEqual(registers(self.pbx, number), 200)
        status, said = try_to(self.pbx, "restore", str(archive))
        self.assertNotEqual(status, 0)
        self.assertIn("is running, nothing was changed", said)
        self.assertNotIn("Traceback", said)
        self.assertEqual(len(self.pbx.bindings(number)), 1)

    def test_what_is_no_whole_backup_of_this_kind_changes_nothing(self):
        self.running()
        number = self.new_extension()
        self.assertEqual(registers(self.pbx, number), 200)
        archive = self.archive()
        self.pbx.manage("backup", str(archive))
        self.pbx.terminate()
        whole = archive.read_bytes()
        wrong = self.pbx.directory / "wrong.zip"

        def refused(sentence: str) -> None:
            status, said = try_to(self.pbx, "restore", str(wrong))
            self.assertNotEqual(status, 0)
            self.assertIn(sentence, said)
            self.assertNotIn("Traceback", said)
            self.assertEqual(len(self.pbx.bindings(number)), 1)

        for damaged in (b"", whole[: len(whole) // 2], whole[:200] + b"\xff" * 50 + whole[250:]):
            wrong.write_bytes(damaged)
            refused("damaged")
        with zipfile.ZipFile(archive) as source:
            members = {name: source.read(name) for name in source.namelist()}
        manifest = json.loads(members["manifest.json"])
        other = "postgresql" if manifest["engine"] == "sqlite" else "sqlite"
        for change, sentence in (
            ({"migrations": [*manifest["migrations"], "extensions.9999_of_the_future"]}, "newer version"),
            ({"engine": other}, "DATABASE_URL"),
        ):
            with zipfile.ZipFile(wrong, "w") as target:
                for name, content in {**members, "manifest.json": json.dumps(manifest | change)}.items():
                    target.writestr(name, content)
            refused(sentence)

    def test_a_file_that_is_there_is_not_overwritten(self):
        archive = self.archive()
        archive.write_bytes(b"precious")
        status, said = try_to(self.pbx, "backup", str(archive))
        self.assertNotEqual(status, 0)
        self.assertIn("is there already", said)
        self.assertEqual(archive.read_bytes(), b"precious")

    def test_without_a_name_it_goes_where_only_the_owner_looks(self):
        said = self.pbx.manage("backup")
        path = Path(said.splitlines()[0].split()[-1])
        self.assertEqual((mode(path), mode(path.parent)), ("600", "700"))
        self.assertEqual([path], list(path.parent.glob("pbx-*")))


class BackupOnSqlite(BackupTests, OnSqlite):
    def test_another_program_that_has_the_file_open_is_no_matter_of_luck(self):
        archive = self.archive()
        self.pbx.manage("backup", str(archive))
        if self.pbx.program.running:
            self.pbx.terminate()
        with contextlib.closing(sqlite3.connect(self.pbx.store.path)) as shell:
            shell.execute("SELECT count(*) FROM extensions_extension").fetchone()
            status, said = try_to(self.pbx, "restore", str(archive))
        self.assertNotEqual(status, 0)
        self.assertIn("has the database file", said)
        self.pbx.manage("restore", str(archive))

    def test_the_web_pages_hold_it_off_as_well(self):
        archive = self.archive()
        self.pbx.manage("backup", str(archive))
        if self.pbx.program.running:
            self.pbx.terminate()
        web = self.web()
        try:
            wait_until(lambda: "running.lock" in held_files(web.pid), "the pages are loaded")
            status, said = try_to(self.pbx, "restore", str(archive))
        finally:
            web.stop()
        self.assertNotEqual(status, 0)
        self.assertIn("is running, nothing was changed", said)

    def test_nothing_can_start_meanwhile(self):
        if self.pbx.program.running:
            self.pbx.terminate()
        with open(self.pbx.directory / "var" / "running.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # as a restore does
            status, said = try_to(self.pbx, *self.pbx.command()[2:])
            self.assertNotEqual(status, 0)
            self.assertIn("being restored or moved", said)
            web = self.web()
            try:
                self.assertNotEqual(web.wait(), 0)
                self.assertIn("being restored or moved", web.log)
            finally:
                web.stop()
        self.pbx.start()

    def web(self) -> Program:
        return Program(
            [sys.executable, "-m", "gunicorn", "-c", "python:pbx.web_server"], cwd=ROOT, name="web",
            env={**self.pbx.env, "WEB_PORT": str(free_port()), "DJANGO_SETTINGS_MODULE": "pbx.settings"},
            log_path=self.pbx.directory / "web.log",
        )

    def test_a_damaged_database_file_is_replaced(self):
        self.running()
        number, archive = self.new_extension(), self.archive()
        self.pbx.manage("backup", str(archive))
        self.pbx.terminate()
        self.pbx.store.path.write_bytes(b"not a database" * 1000)
        self.pbx.manage("restore", str(archive))
        self.pbx.start()
        self.assertEqual(registers(self.pbx, number), 200)


class BackupOnPostgres(BackupTests, OnPostgres):
    def test_a_process_on_another_machine_is_seen_by_its_heartbeat(self):
        self.running()
        archive = self.archive()
        self.pbx.manage("backup", str(archive))
        elsewhere = {**self.pbx.env, "VAR_DIR": str(self.pbx.directory / "another-machine")}

        class Elsewhere(RunningPbx):
            env = elsewhere

            def __init__(self) -> None:
                pass

        status, said = try_to(Elsewhere(), "restore", str(archive))
        self.assertNotEqual(status, 0)
        self.assertIn("still runs on the machine test", said)

    def test_without_pg_dump_it_says_what_to_install(self):
        # Where Debian keeps the versions side by side it is found without PATH too; so both searches are empty here.
        nowhere = str(self.pbx.directory / "nowhere")
        with (
            mock.patch.dict("os.environ", {"PATH": nowhere}),
            mock.patch("glob.glob", return_value=[]),
            self.assertRaisesRegex(Refusal, "apt install postgresql-client"),
        ):
            postgres_tools.dump(self.pbx.directory / "dump")


del BackupTests  # the loader would take it for a case of its own
