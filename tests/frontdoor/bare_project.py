"""A copy of the front door with a package of its own instead of Django: its set-up takes seconds and no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.support.processes import PATIENCE, scratch_directory

ROOT = Path(__file__).resolve().parent.parent.parent
BASE_PYTHON = getattr(sys, "_base_executable", None) or sys.executable
FRONT_DOOR = (
    "pbx/__init__.py", "pbx/bootstrap.py", "pbx/command_line.py", "pbx/compiled.py", "pbx/early_words.py",
    "pbx/pip_source.py", "manage.py",
)
STAND_INS = {
    "django/__init__.py": "def setup(): pass\n",
    "django/conf.py": "class settings:\n    INSTALLED_APPS = []\n",
    "django/core/__init__.py": "",
    "django/core/exceptions.py": "class ImproperlyConfigured(Exception): pass\n",
    "django/core/management.py": (
        "import sys\ndef execute_from_command_line(argv):\n    print('inside', sys.prefix, *argv[1:])\n"
    ),
    **{f"{name}/__init__.py": "" for name in ("environ", "gunicorn", "psycopg", "whitenoise")},
}


def make_wheel(directory: Path, name: str, files: dict[str, str]) -> None:
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(directory / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        content = {
            **files,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        for path, text in content.items():
            wheel.writestr(path, text)
        record = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
        wheel.writestr(f"{info}/RECORD", record)


class BareProject:
    """``run("hello")`` is ``python3 manage.py hello`` typed by somebody who has just cloned the repository."""

    _template: Path | None = None

    @classmethod
    def already_set_up(cls) -> BareProject:
        """One whose first run was some time ago."""
        if cls._template is None:
            first = cls()
            first.run("hello")
            BareProject._template = first.environment
        bare = cls()
        shutil.copytree(cls._template, bare.environment, symlinks=True)
        return bare

    @classmethod
    def with_pip_only(cls) -> BareProject:
        """One whose set-up has everything before it but pip itself."""
        bare = cls.already_set_up()
        for stamp in bare.environment.glob("pbx-installed-*"):
            stamp.unlink()
        for name in {path.partition("/")[0] for path in STAND_INS} | {"standins-1.0.dist-info"}:
            for installed in bare.environment.glob(f"lib/*/site-packages/{name}"):
                shutil.rmtree(installed)
        return bare

    def __init__(self) -> None:
        self.directory = scratch_directory("frontdoor")
        self.project = self.directory / "project"
        self.wheels = self.directory / "wheels"
        (self.project / "pbx").mkdir(parents=True)
        self.wheels.mkdir()
        for name in FRONT_DOOR:
            shutil.copy(ROOT / name, self.project / name)
        make_wheel(self.wheels, "standins", STAND_INS)
        make_wheel(self.wheels, "onlyfortests", {"onlyfortests.py": ""})
        self.require("standins==1.0")
        (self.project / "requirements-dev.txt").write_text("-r requirements.txt\nonlyfortests==1.0\n")

    @property
    def environment(self) -> Path:
        return self.project / ".venv"

    def require(self, text: str) -> None:
        (self.project / "requirements.txt").write_text(text + "\n")

    def variables(self, **changes: str) -> dict[str, str]:
        """Only our own wheels, no network; ``changes`` on top, "" takes a variable out."""
        left_out = ("PIP_", "PBX_", "SSL_CERT", "REQUESTS_", "PYTHON", "VIRTUAL_ENV", "CURL_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        ours = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_RETRIES": "0",
            "PIP_TIMEOUT": "5",
        }
        return {name: value for name, value in {**kept, **ours, **changes}.items() if value}

    def start(self, *arguments: str, python: str = BASE_PYTHON, **changes: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [python, "manage.py", *arguments], cwd=self.project, env=self.variables(**changes), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )

    def run(self, *arguments: str, python: str = BASE_PYTHON, **changes: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, python=python, **changes)
        try:
            out, err = process.communicate(timeout=PATIENCE * 4)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
