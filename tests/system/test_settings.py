"""What becomes of the environment and of DATABASE_URL."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import threading
import unittest
from unittest import mock

from django.core.exceptions import ImproperlyConfigured

from pbx import environment
from pbx.checks import check_names
from pbx.databases import database_settings
from pbx.settings import BASE_DIR
from pbx.time_zone import FALLBACK, machine_time_zone
from pbx.var_directory import read_or_make_secret_key
from tests.support.processes import scratch_directory


class DatabaseUrlTests(unittest.TestCase):
    def setUp(self):
        self.var = scratch_directory("settings")

    def test_sqlite_under_var_is_private_and_durable(self):
        settings = database_settings("", self.var)
        self.assertEqual(0o600, stat.S_IMODE(os.stat(settings["NAME"]).st_mode))
        connection = sqlite3.connect(settings["NAME"])
        self.addCleanup(connection.close)
        connection.executescript(settings["OPTIONS"]["init_command"])
        self.assertEqual(("wal",), connection.execute("PRAGMA journal_mode").fetchone())
        self.assertEqual((2,), connection.execute("PRAGMA synchronous").fetchone())  # FULL
        self.assertEqual("IMMEDIATE", settings["OPTIONS"]["transaction_mode"])

    def test_postgresql_keeps_its_connections_and_notices_dead_ones(self):
        settings = database_settings("postgres://pbx:p%40ss@db.example.com:5433/pbx?connect_timeout=9", self.var)
        self.assertEqual(("pbx", "p@ss", "db.example.com", 5433), tuple(
            settings[name] for name in ("USER", "PASSWORD", "HOST", "PORT")
        ))
        self.assertIsNone(settings["CONN_MAX_AGE"])
        self.assertTrue(settings["CONN_HEALTH_CHECKS"])
        self.assertEqual("9", str(settings["OPTIONS"]["connect_timeout"]), "the URL wins")
        self.assertIn("lock_timeout", settings["OPTIONS"]["options"])

    def test_what_cannot_be_read_is_said_without_the_password(self):
        for url in ("mysql://root:topsecret@db/pbx", "postgres://pbx:topsecret@db:port/pbx", "postgres://pbx:topsecret@db"):
            with self.subTest(url=url), self.assertRaises(ImproperlyConfigured) as caught:
                database_settings(url, self.var)
            self.assertNotIn("topsecret", str(caught.exception))
            self.assertIn("DATABASE_URL", str(caught.exception))


class EnvironmentTests(unittest.TestCase):
    def test_words_are_split_at_commas(self):
        with mock.patch.dict(os.environ, {"SOME_NETS": " 10.0.0.0/8 ,,192.168.0.0/16,"}):
            self.assertEqual(["10.0.0.0/8", "192.168.0.0/16"], environment.words("SOME_NETS"))

    def test_an_empty_value_is_an_absent_one(self):
        with mock.patch.dict(os.environ, {"SOME_PORT": "", "SOME_SWITCH": "", "SOME_NETS": "", "SOME_TEXT": ""}):
            self.assertEqual(5060, environment.whole_number("SOME_PORT", 5060))
            self.assertTrue(environment.yes_or_no("SOME_SWITCH", True))
            self.assertEqual(["::1"], environment.words("SOME_NETS", ("::1",)))
            self.assertEqual("en", environment.text("SOME_TEXT", "en"))

    def test_digits_that_are_none_are_refused(self):
        for value in ("abc", "5060.0", "5 060", "٥٠٦٠", "9" * 5000, "--1", "-"):
            with self.subTest(value=value[:20]), mock.patch.dict(os.environ, {"SOME_PORT": value}):
                self.assertRaises(ImproperlyConfigured, environment.whole_number, "SOME_PORT", 5060)

    def test_the_environment_wins_over_the_file(self):
        file = scratch_directory("dotenv") / ".env"
        file.write_text("SOME_NAME=file\nOTHER_NAME=file # said aside\n", "utf-8")
        with mock.patch.dict(os.environ, {"SOME_NAME": "environment"}):
            environment.read_dotenv(file)
            self.assertEqual("environment", environment.text("SOME_NAME"))
            self.assertEqual("file", environment.text("OTHER_NAME"))


class NamesInTheFileTests(unittest.TestCase):
    def said(self, content: str) -> list[tuple[str, str]]:
        """What the check says of a .env with this content: the message and the hint."""
        file = scratch_directory("dotenv") / ".env"
        file.write_text(content, "utf-8")
        with mock.patch.dict(os.environ), mock.patch.dict(environment._in_file, clear=True):
            environment.read_dotenv(file)
            return [(message.msg, message.hint) for message in check_names()]

    def test_a_typing_error_is_told_with_the_name_that_was_meant(self):
        for name, meant in (
            ("SIP_PROT", "SIP_PORT"), ("sip_port", "SIP_PORT"), ("SIP-DOMAIN", "SIP_DOMAIN"),
            ("LCOAL_NETS", "LOCAL_NETS"), ("TIMEZONE", "TIME_ZONE"), ("DATABASE", "DATABASE_URL"),
        ):
            with self.subTest(name=name):
                self.assertEqual(self.said(f"SIP_HOST=0.0.0.0\n{name}=hidden\n"), [
                    (f"{name} in .env is no setting of the PBX: the line has no effect.", f"Do you mean {meant}?"),
                ])

    def test_a_name_that_resembles_none_is_told_once(self):
        ((_what, hint),) = self.said("QWERTYUIOP=1\nQWERTYUIOP=2\n")
        self.assertIn(".env.example", hint)

    def test_names_of_others_are_not_accused(self):
        self.assertEqual([], self.said(
            "#SIP_PROT=5060\n# SIP_PROT=1\n\nTZ=Asia/Tashkent\nexport SIP_PORT=5060\nPGSSLMODE=require\n"
            "GUNICORN_CMD_ARGS=--workers=4\nPBX_PYTHON=python3.12\nPBX_NO_VENV=1\nPOSTGRES_PASSWORD=x\nHTTPS_PROXY=\n"
        ))

    def test_every_name_of_the_example_is_read(self):
        names = re.findall(r"^#?([A-Z_0-9]+)=", (BASE_DIR / ".env.example").read_text("utf-8"), re.MULTILINE)
        self.assertEqual([], self.said("".join(f"{name}=\n" for name in names)))


class ExampleTests(unittest.TestCase):
    def test_the_example_names_every_setting_with_its_default(self):
        root = environment.Path(__file__).resolve().parent.parent.parent
        source = (root / "pbx" / "settings.py").read_text("utf-8")
        read = set(re.findall(r"environment\.\w+\(\s*\"([A-Z_]+)\"", source))
        shown = set(re.findall(r"^#([A-Z_]+)=", (root / ".env.example").read_text("utf-8"), re.MULTILINE))
        self.assertEqual(read, shown)


class SecretKeyTests(unittest.TestCase):
    def test_several_starts_at_once_agree_on_one_key(self):
        path = scratch_directory("key") / "secret-key"
        keys: list[str] = []
        threads = [threading.Thread(target=lambda: keys.append(read_or_make_secret_key(path))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(1, len(set(keys)))
        self.assertGreaterEqual(len(keys[0]), 50)
        self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))
        self.assertEqual([path], list(path.parent.iterdir()), "nothing else is left")


class TimeZoneTests(unittest.TestCase):
    def test_the_machine_is_asked_and_there_is_an_answer_without_it(self):
        directory = scratch_directory("zone")
        link, file = directory / "localtime", directory / "timezone"
        with mock.patch.dict(os.environ, {"TZ": ""}):
            self.assertEqual(FALLBACK, machine_time_zone(link, file))
            file.write_text("Europe/Berlin\n")
            self.assertEqual("Europe/Berlin", machine_time_zone(link, file))
            link.symlink_to("/usr/share/zoneinfo/Asia/Tashkent")
            self.assertEqual("Asia/Tashkent", machine_time_zone(link, file))
            file.write_text("No/Such")
            link.unlink()
            self.assertEqual(FALLBACK, machine_time_zone(link, file))
