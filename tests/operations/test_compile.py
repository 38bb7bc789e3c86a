"""``manage.py compile``: the same sources as machine code, and never others than those that lie there."""

from __future__ import annotations

import ast
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from unittest import TestCase, skipUnless
from unittest.mock import patch

from django.core.management import call_command
from django.core.management.base import CommandError

from pbx import compiled
from pbx.management.commands import compile as command
from tests.support.processes import scratch_directory

SOURCES = {
    "__init__.py": "",
    "fast.py": "def twice(number: int) -> int:\n    return 2 * number\n",
    "protocol/__init__.py": "",
    "protocol/words.py": "from sipcore.fast import twice\n\n\ndef four() -> int:\n    return twice(2)\n",
    "calls/__init__.py": "",
    "calls/call.py": "async def wait() -> None:\n    pass\n",
}
TOOLS = all(importlib.util.find_spec(name) for name in ("mypyc", "setuptools")) and (
    shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0]) is not None
    and (Path(sysconfig.get_path("include")) / "Python.h").exists()
)


class SourcesTests(TestCase):
    def test_what_stays_extends_nothing_that_is_compiled(self):
        """Python refuses it, but not before the class is used. Exceptions are an exception."""
        core = compiled.ROOT / compiled.CORE
        bases: dict[str, list[tuple[str, str]]] = {}  # of classes that stay: name, and where
        made: set[str] = set()
        for path in sorted(core.rglob("*.py")):
            name = path.relative_to(core).as_posix()
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not isinstance(node, ast.ClassDef):
                    continue
                extended = [ast.unparse(base) for base in node.bases]
                if not command.is_compiled(name):
                    for base in extended:
                        bases.setdefault(base, []).append((name, node.name))
                elif extended not in (["Exception"], ["Protocol"]) and "ordinary" not in map(
                    ast.unparse, node.decorator_list
                ):
                    made.add(node.name)
        self.assertGreater(len(made), 50)
        self.assertEqual({}, {base: who for base, who in bases.items() if base in made})


class CompileTests(TestCase):
    def setUp(self) -> None:
        directory = scratch_directory("compile")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        self.root, self.home = directory / "root", directory / "home"
        for name, text in SOURCES.items():
            path = self.root / compiled.CORE / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        self.enterContext(patch.object(compiled, "ROOT", self.root))
        self.enterContext(patch.object(compiled, "home", lambda: self.home))
        self.enterContext(patch.object(sys, "path", list(sys.path)))
        self.enterContext(patch.dict("os.environ"))
        compiled.os.environ.pop(compiled.INTERPRETED, None)

    def compile(self, *arguments: str) -> str:
        out = io.StringIO()
        call_command("compile", *arguments, stdout=out)
        return out.getvalue()

    def places(self) -> set[str]:
        return {path.name for path in self.home.iterdir()}

    def test_sources_that_were_changed_have_another_name(self):
        names = {compiled.digest()}
        for change in ("def twice(number: int) -> int:\n    return number + number\n", ""):
            (self.root / compiled.CORE / "fast.py").write_text(change, "utf-8")
            names.add(compiled.digest())
        (self.root / compiled.CORE / "more.py").write_text("", "utf-8")
        names.add(compiled.digest())
        self.assertEqual(4, len(names))

    def test_only_what_was_made_of_these_sources_is_used(self):
        self.assertFalse(compiled.use())
        (self.home / compiled.digest()).mkdir(parents=True)
        with patch.dict("os.environ", {compiled.INTERPRETED: "1"}):
            self.assertFalse(compiled.use())
        self.assertTrue(compiled.use())
        self.assertEqual(str(self.home / compiled.digest()), sys.path.pop(0))
        (self.root / compiled.CORE / "fast.py").write_text("", "utf-8")
        self.assertFalse(compiled.use())
        self.assertTrue(compiled.is_stale())

    def test_a_machine_without_the_tools_is_told_what_to_install(self):
        with patch.object(command.importlib.util, "find_spec", return_value=None):
            self.assertRaisesRegex(CommandError, "-m pip install -r requirements-compile.txt", self.compile)
        with patch.object(command.importlib.util, "find_spec", return_value=object()), patch.object(
            command.shutil, "which", return_value=None
        ):
            self.assertRaisesRegex(CommandError, r"apt install gcc libc6-dev python3\.\d+-dev", self.compile)
        self.assertFalse(self.home.exists())

    def test_a_directory_of_somebody_else(self):
        self.home.parent.joinpath("file").write_text("")
        with patch.object(command, "look_for_tools"), patch.object(
            compiled, "home", lambda: self.home.parent / "file" / "home"
        ):
            self.assertRaisesRegex(CommandError, "as the owner of this Python environment", self.compile)

    def test_all_or_nothing(self):
        with patch.object(command, "look_for_tools"), patch.object(command, "_run", side_effect=CommandError("no")):
            self.assertRaises(CommandError, self.compile)
        self.assertEqual(set(), self.places())

    @skipUnless(TOOLS, "needs mypyc, a C compiler and Python.h: apt install gcc libc6-dev python3-dev")
    def test_a_core_is_compiled_and_one_before_it_is_kept(self):
        """The relays of a PBX that still runs with the one before are started from there."""
        names = []
        before = os.umask(0o077)
        self.addCleanup(os.umask, before)
        for text in ("", "# once more\n", "# and once more\n"):
            with (self.root / compiled.CORE / "protocol" / "words.py").open("a", encoding="utf-8") as file:
                file.write(text)
            names.append(compiled.digest())
            self.assertIn("Restart the PBX", self.compile())
        self.assertEqual(set(names[1:]), self.places())
        made = self.home / names[-1]
        self.assertEqual([], [path for path in made.rglob("*") if not path.stat().st_mode & 0o004])
        files = {path.relative_to(made).as_posix() for path in made.rglob("*.py")}
        self.assertEqual(
            {f"sipcore/{name}" for name in SOURCES if name.endswith("__init__.py") or name.startswith("calls/")},
            files,
        )
        said = subprocess.run(
            [sys.executable, "-c", "import sipcore.protocol.words as w; print(w.four(), w.__file__)"],
            cwd=made, capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        self.assertEqual("4", said[0])
        self.assertTrue(said[1].endswith(".so"))
        self.compile("--remove")
        self.assertFalse(self.home.exists())

    @skipUnless(TOOLS, "needs mypyc, a C compiler and Python.h: apt install gcc libc6-dev python3-dev")
    def test_what_cannot_be_compiled_is_shown(self):
        (self.root / compiled.CORE / "fast.py").write_text("def twice(number: int) -> str:\n    return 2\n", "utf-8")
        self.assertRaisesRegex(CommandError, r"runs as before\.\n\n(.|\n)*fast\.py:2: error", self.compile)
        self.assertEqual(set(), self.places())
