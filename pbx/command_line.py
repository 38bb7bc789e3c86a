"""Runs a management command; a setting that cannot be read ends it with one sentence instead of a traceback."""

from __future__ import annotations

import sys

from django.core.exceptions import ImproperlyConfigured


def run(argv: list[str]) -> None:
    from django.conf import settings
    from django.core.management import execute_from_command_line

    try:
        settings.INSTALLED_APPS  # noqa: B018  (reads the settings)
    except ImproperlyConfigured as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    try:
        execute_from_command_line(argv)
    except KeyboardInterrupt:
        sys.exit(130)
