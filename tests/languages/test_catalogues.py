"""Every text of ours has its Uzbek and its Russian, and the compiled catalogues are those of the texts."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from tests.languages.catalogues import LANGUAGES, LOCALE, ROOT, catalogues, read
from tests.support.programs import require_program

PLACEHOLDER = re.compile(r"%\(\w+\)[sdrf]|%[sd]|\{\w*\}")
GETTEXT = {
    "gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy", "pgettext", "pgettext_lazy", "npgettext",
    "npgettext_lazy",
}
SOURCES = ("extensions", "pbx", "sipcore", "templates", "manage.py")


def name_of(entry) -> str:
    return f"{entry.context or ''}|{entry.text[:70]}"


class CatalogueTests(unittest.TestCase):
    def refuse(self, wrong: list[str], remedy: str) -> None:
        self.assertEqual([], wrong, remedy)

    def test_every_text_is_translated(self):
        self.refuse(
            [f"{path.parts[-3]}: {name_of(entry)}" for path in catalogues() for entry in read(path)
             if entry.is_fuzzy or not entry.translations or not all(entry.translations)],
            "translate these in pbx/locale (docs/languages.md)",
        )

    def test_placeholders_are_the_same(self):
        wrong = []
        for path in catalogues():
            for entry in read(path):
                wanted = {frozenset(PLACEHOLDER.findall(text)) for text in (entry.text, entry.plural) if text}
                for text in entry.translations:
                    if frozenset(PLACEHOLDER.findall(text)) not in wanted:
                        wrong.append(f"{path.parts[-3]}: {text}")
        self.refuse(wrong, "a placeholder is lost, or is new")

    def test_the_uzbek_letters_are_written_with_one_sign(self):
        """O‘ and G‘ have U+2018, the tutuq belgisi is U+2019, and no text has the typewriter's apostrophe."""
        wrong = []
        for path in catalogues():
            if path.parts[-3] != "uz":
                continue
            for entry in read(path):
                for text in entry.translations:
                    plain = re.sub(r"'%\(python\)s [^']*'|`[^`]*`", "", text)  # command lines in their quotes
                    if re.search(r"['`ʻʼ´]|[oOgG]’|[^oOgG]‘|‘$", plain):
                        wrong.append(text)
        self.refuse(wrong, "write o‘ and g‘ with U+2018, elsewhere ’ with U+2019")

    def test_spaces_and_ends_are_the_same(self):
        wrong = []
        for path in catalogues():
            for entry in read(path):
                for text in entry.translations:
                    if _outer_spaces(text) != _outer_spaces(entry.text):
                        wrong.append(f"{path.parts[-3]}: {text}")
        self.refuse(wrong, "a space at the beginning or the end is lost, or is new")

    def test_no_letter_of_the_other_alphabet(self):
        self.refuse(
            [text for path in catalogues() if path.parts[-3] == "uz" for entry in read(path)
             for text in entry.translations if re.search("[а-яёА-ЯЁ]", text)],
            "Uzbek is written in Latin letters here",
        )

    def test_compiled_catalogues_are_those_of_the_texts(self):
        msgfmt = require_program("msgfmt", "gettext")
        with tempfile.TemporaryDirectory() as directory:
            for path in catalogues():
                fresh = Path(directory, "fresh.mo")
                subprocess.run([msgfmt, "--check-format", "-o", fresh, path], check=True)
                self.assertEqual(
                    fresh.read_bytes(), path.with_suffix(".mo").read_bytes(),
                    f"{path.relative_to(ROOT)}: run python3 manage.py compilemessages",
                )

    def test_the_catalogues_have_every_text_of_the_source(self):
        require_program("xgettext", "gettext")
        with tempfile.TemporaryDirectory() as directory:
            for name in SOURCES:
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, Path(directory, name), ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / name, directory)
            environment = {**os.environ, "VAR_DIR": str(Path(directory, "var")), "PBX_NO_VENV": "1", "DATABASE_URL": ""}
            for domain in ("django", "djangojs"):
                done = subprocess.run(
                    [sys.executable, "manage.py", "makemessages", "-v0", "-d", domain], cwd=directory, env=environment,
                    capture_output=True, text=True, check=False,
                )
                self.assertEqual((0, ""), (done.returncode, done.stderr.strip()))
            for path in catalogues():
                fresh = Path(directory, path.relative_to(ROOT))
                self.assertEqual(
                    sorted(map(repr, {entry.key for entry in read(fresh)})),
                    sorted(map(repr, {entry.key for entry in read(path)})),
                    f"{path.parts[-3]}: run python3 manage.py makemessages, translate, then compilemessages",
                )

    def test_each_language_has_its_catalogues(self):
        self.assertEqual(
            [LOCALE / language / "LC_MESSAGES" / f"{domain}.po"
             for language in sorted(LANGUAGES) for domain in ("django", "djangojs")],
            catalogues(),
        )


class SourceTests(unittest.TestCase):
    def modules(self):
        for room in SOURCES:
            for path in sorted((ROOT / room).rglob("*.py")):
                if "migrations" not in path.parts:
                    yield path, ast.parse(path.read_text("utf-8"))

    def test_translating_functions_have_names_that_makemessages_knows(self):
        wrong = []
        for path, tree in self.modules():
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module == "django.utils.translation":
                    wrong += [
                        f"{path.relative_to(ROOT)}: {alias.name} as {alias.asname}" for alias in node.names
                        if alias.name in GETTEXT and alias.asname not in (None, "_")
                    ]
        self.assertEqual([], wrong)

    def test_a_text_is_translated_when_it_is_shown_and_not_at_import(self):
        wrong = []
        for path, tree in self.modules():
            eager = {
                alias.asname or alias.name
                for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "django.utils.translation"
                for alias in node.names if not alias.name.endswith(("_lazy", "_noop"))
            }
            wrong += [
                f"{path.relative_to(ROOT)}:{call.lineno}" for call in _calls_at_import(tree)
                if isinstance(call.func, ast.Name) and call.func.id in eager & (GETTEXT | {"_"})
            ]
        self.assertEqual([], wrong)

    def test_no_text_is_put_together_before_it_is_translated(self):
        wrong = []
        for path, tree in self.modules():
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in GETTEXT | {"_"}:
                    wrong += [
                        f"{path.relative_to(ROOT)}:{node.lineno}" for argument in node.args
                        if isinstance(argument, ast.JoinedStr | ast.BinOp)
                    ]
        self.assertEqual([], wrong)


def _outer_spaces(text: str) -> tuple[bool, bool]:
    return text[:1].isspace(), text[-1:].isspace()


def _calls_at_import(node: ast.AST):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.Call):
            yield child
        yield from _calls_at_import(child)
