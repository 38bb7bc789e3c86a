"""Reads settings from the environment and ``.env``: a value that cannot be read is one clear sentence."""

from __future__ import annotations

import re
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

from pbx.early_words import _

env = environ.Env()

_TRUE = {"1", "true", "yes", "on", "y"}
_FALSE = {"0", "false", "no", "off", "n"}
_LINE = re.compile(r"(?:export )?([^#=\s][^#=]{0,79})=")

NOT_OURS = re.compile(
    r"TZ|LANG|LANGUAGE|PATH|HOME|TMPDIR|WEB_CONCURRENCY|PBX_PYTHON|PBX_NO_VENV|\w+_PROXY|PG[A-Z]+|PYTHON\w+"
    r"|(?:LC|PM2|DJANGO|GUNICORN|SSL|PIP|POSTGRES|COMPOSE|DOCKER|MALLOC)_\w+",
    re.IGNORECASE,
)
"""Names that mean something to Python, a library, or what starts the PBX: each may stand in ``.env`` rightly."""

asked_for: set[str] = set()
"""The names of all settings that were read: there are no others."""

_in_file: dict[str, None] = {}


def read_dotenv(path: Path) -> None:
    """Take the values of ``path`` that the environment does not already give (the environment wins)."""
    try:
        if path.is_file():
            environ.Env.read_env(str(path), encoding="utf-8", parse_comments=True)
            _in_file.update(dict.fromkeys(_names(path.read_text("utf-8"))))
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(
            _(
                "The file %(file)s cannot be read (%(reason)s): "
                "make it readable for the user who runs the PBX and save it as UTF-8 text."
            )
            % {"file": path.name, "reason": error.__class__.__name__}
        ) from None


def _names(content: str) -> list[str]:
    return [found[1].strip() for line in content.splitlines() if (found := _LINE.match(line))]


def unread_names() -> list[str]:
    """What ``.env`` sets though nothing reads it: typing errors. Of the process environment, where others' names are
    too, nothing is said."""
    return [name for name in _in_file if name not in asked_for and not NOT_OURS.fullmatch(name)]


def text(name: str, default: str = "") -> str:
    """An empty value is an absent one."""
    asked_for.add(name)
    return env.str(name, default="").strip() or default


def words(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """A comma-separated list; blanks around the values and empty values are dropped."""
    given = text(name, ",".join(default))
    return [word for part in given.split(",") if (word := part.strip())]


def whole_number(name: str, default: int) -> int:
    """:raises ImproperlyConfigured: for anything but ASCII digits."""
    given = text(name, str(default))
    if not (given.isascii() and given.removeprefix("-").isdigit() and len(given) <= 10):
        raise ImproperlyConfigured(
            _(
                "%(name)s=%(value)s is not a whole number: write for example %(name)s=%(default)d in .env or take it "
                "out."
            )
            % {"name": name, "value": given[:40], "default": default}
        )
    return int(given)


def yes_or_no(name: str, default: bool) -> bool:
    """:raises ImproperlyConfigured: for a word that is neither yes nor no."""
    given = text(name, "yes" if default else "no").lower()
    if given in _TRUE:
        return True
    if given in _FALSE:
        return False
    raise ImproperlyConfigured(
        _("%(name)s=%(value)s is neither yes nor no: write %(name)s=yes or %(name)s=no in .env.")
        % {"name": name, "value": given[:40]}
    )


def one_of(name: str, choices: tuple[str, ...]) -> str:
    """The first choice is the default.

    :raises ImproperlyConfigured: for a value that is not among ``choices``."""
    given = text(name, choices[0]).lower()
    if given not in choices:
        raise ImproperlyConfigured(
            _("%(name)s=%(value)s is not known: write one of these in .env: %(choices)s.")
            % {"name": name, "value": given[:40], "choices": ", ".join(choices)}
        )
    return given
