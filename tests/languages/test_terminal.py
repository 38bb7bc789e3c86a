"""What is read on a terminal speaks the language of LANGUAGE_CODE, or else the terminal's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

from django.core.management import load_command_class
from django.utils import translation

from pbx import early_words
from tests.languages.catalogues import ROOT

COMMANDS = sorted(
    (path.parents[2].relative_to(ROOT).as_posix().replace("/", "."), path.stem)
    for room in ("extensions", "pbx", "sipcore")
    for path in (ROOT / room).rglob("management/commands/*.py")
    if path.stem not in ("__init__", "makemessages", "compilemessages")
)


class TerminalLanguageTests(unittest.TestCase):
    def language(self, **variables: str) -> str:
        with mock.patch.dict(os.environ, variables):
            for name in {"LC_ALL", "LC_MESSAGES", "LANG"} - set(variables):
                os.environ.pop(name, None)
            return early_words.terminal_language()

    def test_the_first_variable_that_is_set_counts(self):
        self.assertEqual("uz", self.language(LANG="uz_UZ.UTF-8"))
        self.assertEqual("uz", self.language(LANG="uz_UZ@cyrillic"))
        self.assertEqual("ru", self.language(LC_ALL="ru_RU.UTF-8", LANG="uz_UZ.UTF-8"))
        self.assertEqual("ru", self.language(LC_ALL="", LC_MESSAGES="ru", LANG="uz"))
        self.assertEqual("en", self.language(LC_ALL="C.UTF-8", LANG="uz_UZ.UTF-8"))

    def test_another_language_is_english(self):
        for name in ("de_DE.UTF-8", "C", "POSIX", "run_RUN", ""):
            self.assertEqual("en", self.language(LANG=name))

    def test_a_terminal_without_the_letters_gets_english(self):
        self.assertIn(
            "is not a whole number", CommandTests().check(SIP_PORT="x", LANG="uz_UZ", PYTHONIOENCODING="iso-8859-1")
        )

    def test_early_words_are_in_the_catalogue(self):
        with mock.patch.dict(os.environ, {"LANGUAGE_CODE": "uz"}):
            self.assertIn("O‘rnatilmoqda", early_words._("Setting up (the first time this takes about a minute) ..."))
        with mock.patch.dict(os.environ, {"LANGUAGE_CODE": "ru"}):
            self.assertIn("Идёт установка", early_words._("Setting up (the first time this takes about a minute) ..."))

    def test_every_command_explains_itself(self):
        for app, name in COMMANDS:
            with translation.override("en"):
                english = load_command_class(app, name).help
            for language in ("uz", "ru"):
                with self.subTest(command=name, language=language), translation.override(language):
                    command = load_command_class(app, name)
                    self.assertNotEqual(english, command.help)
                    command.create_parser("manage.py", name).format_help()


class CommandTests(unittest.TestCase):
    def check(self, **variables: str) -> str:
        with tempfile.TemporaryDirectory() as directory:
            kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
            done = subprocess.run(
                [sys.executable, "manage.py", "check"], cwd=ROOT, capture_output=True, text=True, check=False,
                env={**kept, "VAR_DIR": directory, "DATABASE_URL": "", "LANGUAGE_CODE": "", **variables},
            )
        self.assertNotEqual(0, done.returncode)
        return done.stderr

    def test_a_setting_that_cannot_be_read(self):
        self.assertIn("butun son emas", self.check(SIP_PORT="x", LANG="uz_UZ.UTF-8"))
        self.assertIn("не целое число", self.check(SIP_PORT="x", LANG="ru_RU.UTF-8"))
        self.assertIn("is not a whole number", self.check(SIP_PORT="x", LANG="C.UTF-8"))

    def test_a_setting_that_is_wrong(self):
        self.assertIn("telefon yeta oladigan manzil emas", self.check(SIP_DOMAIN="0.0.0.0", LANG="uz_UZ.UTF-8"))
        self.assertIn(
            "не адрес, до которого", self.check(SIP_DOMAIN="0.0.0.0", LANG="uz_UZ.UTF-8", LANGUAGE_CODE="ru")
        )
