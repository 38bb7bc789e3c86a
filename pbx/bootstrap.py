"""Makes ``.venv`` beside ``manage.py``, fills it and continues inside it. Standard library only.

A bare Debian has neither pip nor the venv module's other half (ensurepip), so the environment is made by hand: it is
a directory with a link to the interpreter and a ``pyvenv.cfg``. Whatever was interrupted is seen by its marks and done
again: the stamp of what is installed is written last."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from pbx.early_words import _
from pbx.pip_source import SetupFailed, download_pip, no_certificates, no_network, pip_environment

ROOT = Path(__file__).resolve().parent.parent
LOCK = "pbx-lock"
UNFINISHED = "pbx-unfinished"
PYTHON_MARK = "pbx-python"
REQUIREMENTS, DEVELOPMENT, COMPILATION = "requirements.txt", "requirements-dev.txt", "requirements-compile.txt"


def step_inside() -> None:
    """Return inside an environment that has what ``requirements.txt`` asks for, or end with one sentence."""
    wanted = [REQUIREMENTS]
    more = {"test": DEVELOPMENT, "compile": COMPILATION}.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if more is not None:
        wanted.append(more)
    try:
        if steps_aside():
            check_django()
            return
        environment = ROOT / ".venv"
        if not is_ready(environment, wanted):
            set_up(environment, wanted)
    except SetupFailed as failure:
        sys.exit(str(failure))
    except KeyboardInterrupt:
        sys.exit(_("The set-up was interrupted: run the same command again, it continues by itself."))
    python = environment / "bin" / "python"
    sys.stdout.flush()
    os.execv(python, [str(python), *sys.orig_argv[1:]])


def steps_aside() -> bool:
    """Whether this interpreter is to be used as it is."""
    if os.environ.get("PBX_NO_VENV", "") not in ("", "0"):
        return True
    if sys.prefix != sys.base_prefix:
        return True
    # An image brings its packages along; a bare container is set up like any machine.
    in_container = (
        os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv") or bool(os.environ.get("container"))  # noqa: SIM112
    )
    return in_container and has_packages()


def has_packages() -> bool:
    return all(importlib.util.find_spec(name) for name in ("django", "environ", "gunicorn", "psycopg", "whitenoise"))


def check_django() -> None:
    """:raises SetupFailed: when the interpreter that was chosen lacks the packages."""
    if has_packages():
        return
    if Path(sys.prefix).resolve() == (ROOT / ".venv").resolve():
        raise SetupFailed(
            _("The set-up of .venv is not finished: run the same command with the system's own python3.")
        )
    raise SetupFailed(
        _(
            "This Python environment lacks the PBX's packages: run '%(python)s -m pip install -r requirements.txt' "
            "or leave the environment (and unset PBX_NO_VENV)."
        )
        % {"python": sys.executable}
    )


def python_mark() -> str:
    """An environment belongs to one interpreter: after an upgrade of the system's Python it is made anew."""
    return f"{short_version()} {os.path.realpath(sys.base_prefix)}\n"


def short_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def site_packages(environment: Path) -> Path:
    return environment / "lib" / f"python{short_version()}" / "site-packages"


def stamp_of(environment: Path, name: str) -> Path:
    return environment / f"pbx-installed-{name}"


def fingerprint(name: str) -> str:
    """:raises SetupFailed: when the file is gone."""
    try:
        content = (ROOT / name).read_bytes()
    except OSError:
        raise SetupFailed(
            _("The file %(file)s cannot be read: take it from the repository again.") % {"file": name}
        ) from None
    return hashlib.sha256(content + python_mark().encode()).hexdigest() + "\n"


def is_ready(environment: Path, wanted: list[str]) -> bool:
    if not os.access(environment / "bin" / "python", os.X_OK) or (environment / UNFINISHED).exists():
        return False
    return all(read(stamp_of(environment, name)) == fingerprint(name) for name in wanted)


def read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def set_up(environment: Path, wanted: list[str]) -> None:
    """:raises SetupFailed: with the one sentence to print."""
    try:
        environment.mkdir(exist_ok=True)
        with open(environment / LOCK, "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(_("Another set-up is running here, waiting for it ..."))
                fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_ready(environment, wanted):
                fill(environment, wanted)
    except OSError as error:
        raise SetupFailed(
            _(
                "%(file)s cannot be written (%(reason)s): "
                "run this as the owner of this directory, or give it to this user with chown."
            )
            % {"file": error.filename or environment, "reason": error.strerror}
        ) from None


def fill(environment: Path, wanted: list[str]) -> None:
    say(_("Setting up (the first time this takes about a minute) ..."))
    python = environment / "bin" / "python"
    unfinished = environment / UNFINISHED
    # A killed pip can leave half a package that it later takes for a whole one.
    half_done = unfinished.exists() or not os.access(python, os.X_OK)
    of_another_python = (
        read(environment / PYTHON_MARK) not in ("", python_mark()) or not site_packages(environment).is_dir()
    )
    if half_done or of_another_python:
        empty(environment)
    if not os.access(python, os.X_OK):
        make_environment(environment)
    (environment / PYTHON_MARK).write_text(python_mark(), "utf-8")
    unfinished.touch()
    if run_quietly(python, "-m", "pip", "--version").returncode != 0:
        make_pip(environment, python)
    log = environment / "pbx-pip.log"
    log.unlink(missing_ok=True)
    command = [
        str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--only-binary=:all:",
        "--log", str(log),  # pip tells what it could not fetch there only
    ]
    for name in wanted:
        command += ["-r", str(ROOT / name)]
    done = run_quietly(*command)
    if done.returncode > 0:
        unfinished.unlink()  # pip itself gave up and left things as they were
    if done.returncode != 0:
        raise SetupFailed(explain(done.stdout + read(log), log))
    log.unlink(missing_ok=True)
    for name in (REQUIREMENTS, DEVELOPMENT, COMPILATION):
        if name in wanted:
            stamp_of(environment, name).write_text(fingerprint(name), "utf-8")
        elif stamp_of(environment, name).exists() and read(stamp_of(environment, name)) != fingerprint(name):
            stamp_of(environment, name).unlink()
    unfinished.unlink()


def empty(environment: Path) -> None:
    for entry in environment.iterdir():
        if entry.name == LOCK:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def make_environment(environment: Path) -> None:
    base = getattr(sys, "_base_executable", None) or sys.executable
    version = short_version()
    site_packages(environment).mkdir(parents=True, exist_ok=True)
    (environment / "bin").mkdir(exist_ok=True)
    (environment / "pyvenv.cfg").write_text(
        f"home = {os.path.dirname(base)}\ninclude-system-site-packages = false\nversion = {version}\n", "utf-8"
    )
    for name, target in (("python", base), ("python3", "python"), (f"python{version}", "python")):
        link = environment / "bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def make_pip(environment: Path, python: Path) -> None:
    if importlib.util.find_spec("ensurepip") and run_quietly(python, "-m", "ensurepip").returncode == 0:
        return
    wheel = download_pip(environment)
    # A wheel is a zip file: pip runs from inside it and installs itself.
    done = run_quietly(python, str(wheel / "pip"), "install", "--no-index", "--no-deps", "--no-input", str(wheel))
    if done.returncode != 0:
        log = environment / "pbx-pip.log"
        log.write_text(done.stdout, "utf-8", errors="replace")
        raise SetupFailed(explain(done.stdout, log))
    wheel.unlink()


def run_quietly(*command: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **pip_environment(), "PYTHONNOUSERSITE": "1"}
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_ROOT"):
        environment.pop(name, None)
    return subprocess.run(
        [str(part) for part in command], env=environment, cwd=ROOT, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )


def explain(output: str, log: Path) -> str:
    """One sentence with its one remedy for what pip printed."""
    causes = (
        (("CERTIFICATE_VERIFY_FAILED", "SSLCertVerificationError", "CA certificate", "invalid path:"), no_certificates),
        (
            ("NameResolutionError", "NewConnectionError", "Failed to establish a new connection", "ConnectTimeout",
             "ReadTimeout", "Network is unreachable", "ProxyError", "Connection refused", "Connection broken",
             "Connection aborted", "Max retries exceeded", "name resolution"),
            no_network,
        ),
        (("No space left on device",), lambda: _("The disk is full: make room and run the same command again.")),
    )
    for signs, sentence in causes:
        if any(sign in output for sign in signs):
            return sentence()
    return _("Installing the packages failed: read the last lines of %(file)s and run the same command again.") % {
        "file": log
    }


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
