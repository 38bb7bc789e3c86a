"""Imports run one way (docs: the rooms). Each rule below is an arrow that must not be drawn."""

from __future__ import annotations

import ast
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pbx", "extensions", "sipcore")
FORBIDDEN_IN_PROTOCOL = {"asyncio", "socket", "time", "random", "os", "secrets", "threading", "datetime", "selectors"}


def product_files() -> list[Path]:
    found = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [path for path in found if "migrations" not in path.parts]


def imported_modules(path: Path) -> list[tuple[str, int]]:
    """Absolute dotted names with their line; ``from a import b`` gives both ``a`` and ``a.b``. Imports that only
    serve the type checker count too: they are dependencies of the reader."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found.append((module, node.lineno))
            found += [(f"{module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def below(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


class ArchitectureTests(unittest.TestCase):
    def walk(self, inside: str, *, outside: tuple[str, ...] = ()):
        """Every import of the files below the folder ``inside``, but not below the folders ``outside``."""
        for path in product_files():
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(inside) and not name.startswith(outside or ("\0",)):
                for module, line in imported_modules(path):
                    yield f"{name}:{line}", module

    def refuse(self, arrows: list[str]) -> None:
        self.assertEqual([], arrows, "imports against the arrows:\n" + "\n".join(arrows))

    def test_the_engine_knows_no_django_and_no_room_above_it(self):
        self.refuse(
            [
                f"{place} imports {module}"
                for place, module in self.walk("sipcore/", outside=("sipcore/management/",))
                if any(below(module, other) for other in ("django", "environ", "extensions", "pbx"))
            ]
        )

    def test_the_protocol_is_given_its_time_addresses_and_random_bytes(self):
        self.refuse(
            [
                f"{place} imports {module}"
                for place, module in self.walk("sipcore/protocol/")
                if module.partition(".")[0] in FORBIDDEN_IN_PROTOCOL
            ]
        )

    def test_the_protocol_imports_the_standard_library_and_itself_only(self):
        self.refuse(
            [
                f"{place} imports {module}"
                for place, module in self.walk("sipcore/protocol/")
                if module.partition(".")[0] not in sys.stdlib_module_names and not below(module, "sipcore.protocol")
                and module != "sipcore"
            ]
        )

    def test_nothing_imports_runsip(self):
        self.refuse(
            [
                f"{place} imports {module}"
                for place, module in self.walk("")
                if below(module, "sipcore.management")
            ]
        )

    def test_the_rooms_that_the_diagnosis_reads_know_nothing_of_it(self):
        """Their templates may show it: they load its tags."""
        self.refuse(
            [
                f"{place} imports {module}"
                for room in ("extensions/", "pbx/calls/", "pbx/system/", "pbx/subscriptions/")
                for place, module in self.walk(room)
                if below(module, "pbx.diagnosis")
            ]
        )

    def test_decisions_do_not_open_sockets(self):
        pure = ("sipcore/registrar.py", "sipcore/core.py", "sipcore/streams.py", "sipcore/calls.py")
        self.refuse(
            [
                f"{place} imports {module}"
                for name in pure
                for place, module in self.walk(name)
                if module.partition(".")[0] in {"socket", "asyncio"}
            ]
        )

    def test_four_files_have_sip_sockets(self):
        """The media engine has sockets of its own kind, ``systemd`` tells the service manager that we live, and workers
        have channels between them."""
        allowed = (
            "sipcore/udp_socket.py", "sipcore/datagrams.py", "sipcore/tcp_listener.py", "sipcore/tcp_socket.py",
            "sipcore/systemd.py", "sipcore/workers/",
        )
        self.refuse(
            [
                f"{place} imports {module}"
                for place, module in self.walk("sipcore/", outside=(*allowed, "sipcore/media/", "sipcore/management/"))
                if below(module, "socket")
            ]
        )

    def test_the_product_does_not_import_its_tests(self):
        # pbx/testing.py is the test runner itself.
        self.refuse(
            [
                f"{place} imports {module}"
                for place, module in self.walk("")
                if below(module, "tests") and not place.startswith("pbx/testing.py")
            ]
        )

    def test_the_front_door_runs_on_the_standard_library_alone(self):
        for name in ("pbx/__init__.py", "pbx/bootstrap.py", "pbx/early_words.py", "pbx/pip_source.py"):
            self.refuse(
                [
                    f"{place} imports {module}"
                    for place, module in self.walk(name)
                    if module.partition(".")[0] not in sys.stdlib_module_names
                    and not below(module, "pbx.pip_source") and not below(module, "pbx.early_words")
                    and module != "pbx"
                ]
            )

    def test_no_room_is_called_utils_or_helpers(self):
        names = {"utils.py", "helpers.py", "utils", "helpers", "misc.py", "common.py"}
        self.refuse([str(path.relative_to(ROOT)) for path in product_files() if names & set(path.parts)])
