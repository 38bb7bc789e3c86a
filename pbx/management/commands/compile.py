"""``manage.py compile``: the SIP core as machine code."""

from __future__ import annotations

import compileall
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from pbx import compiled

STAYS = "management/", "calls/", "media/", "subscriptions/", "workers/", "datagrams.py"
"""What is not compiled. There a call waits, in ``await``, for its phones and the media engine; what a type checker
takes for certain (mypyc relies on it) may be over when it goes on. And it would gain a tenth only. mypyc makes no valid
C of what comes from ctypes."""

THOUGH = "workers/log.py", "workers/sockets.py"
"""These are: only a compiled class can extend a compiled one."""

LINES = 20
"""Of the compiler's output that are shown when it fails."""

KEPT = 2
"""Compilations: the new one, and the one before, whose relay a PBX that still runs may have to start again."""

TRY = (
    "import importlib, sys\n"
    "for name in sys.argv[1:]:\n"
    "    file = importlib.import_module(name).__file__\n"
    "    assert not file.endswith('.py'), file\n"
)


class Command(BaseCommand):
    requires_system_checks: list[str] = []  # a wrong setting is no reason not to compile

    @property
    def help(self) -> str:  # a property, because a lazy text is none to argparse
        return _("Compiles the SIP core: it serves more phones with the same processor.")

    def add_arguments(self, parser):
        parser.add_argument("--remove", action="store_true", help=_("go back to the sources as they are"))

    def handle(self, *args, remove: bool, **options):
        try:
            if remove:
                if compiled.home().exists():
                    shutil.rmtree(compiled.home())
                self.stdout.write(_("Removed. Restart the PBX."))
                return
            if not (compiled.home() / compiled.digest()).is_dir():
                look_for_tools()
                self.stdout.write(_("Compiling: this takes a minute or two ..."))
                self.stdout.flush()
                make()
        except OSError as error:
            raise CommandError(
                _("%(file)s cannot be written (%(reason)s): run this as the owner of this Python environment.")
                % {"file": error.filename or compiled.home(), "reason": error.strerror}
            ) from None
        self.stdout.write(_("The SIP core is compiled. Restart the PBX, and compile again after each upgrade."))


def look_for_tools() -> None:
    """:raises CommandError: with what to install."""
    if not all(importlib.util.find_spec(name) for name in ("mypyc", "setuptools")):
        raise CommandError(
            _("This Python environment has no mypyc: run '%(python)s -m pip install -r requirements-compile.txt'.")
            % {"python": sys.executable}
        )
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None or not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        raise CommandError(
            _("A C compiler and the headers of Python are needed: %(command)s")
            % {"command": f"apt install gcc libc6-dev python{sys.version_info.major}.{sys.version_info.minor}-dev"}
        )


def make() -> None:
    """All or nothing: it gets its name when all of it could be imported. Raises CommandError, OSError."""
    home, name = compiled.home(), compiled.digest()
    home.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="unfinished-", dir=home))
    try:
        core = work / compiled.CORE
        shutil.copytree(compiled.ROOT / compiled.CORE, core, ignore=shutil.ignore_patterns("__pycache__"))
        sources = [path for path in sorted(core.rglob("*.py")) if is_compiled(path.relative_to(core).as_posix())]
        modules = [path.relative_to(work).as_posix() for path in sources]
        _run(work, str(Path(compiled.__file__).with_name("compiling.py")), *modules)
        for source in sources:
            source.unlink()
        _run(work, "-c", TRY, *(module.removesuffix(".py").replace("/", ".") for module in modules))
        shutil.rmtree(work / "build")
        compileall.compile_dir(work, quiet=2)  # whoever runs the PBX may not write here
        for path in (work, *work.rglob("*")):  # nor have the same group; the umask of whoever compiles says nothing
            path.chmod(0o755 if path.is_dir() or path.suffix == ".so" else 0o644)
        work.rename(home / name)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    for old in sorted(home.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old)


def is_compiled(name: str) -> bool:
    """Whether this file, named from the core's directory on, is one of those."""
    return name in THOUGH or not (name.endswith("__init__.py") or name.startswith(STAYS))


def _run(directory: Path, *arguments: str) -> None:
    # Nothing but what lies in that directory: not the sources, which PYTHONPATH may name.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=directory, env=environment, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        said = "\n".join(done.stdout.splitlines()[-LINES:])
        raise CommandError(_("The SIP core could not be compiled; it runs as before.") + "\n\n" + said)
