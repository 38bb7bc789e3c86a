"""Runs a management command; a setting that cannot be read ends it with one sentence instead of a traceback."""

from __future__ import annotations

import gc
import os
import select
import sys

from django.core.exceptions import ImproperlyConfigured

from pbx import compiled

NOBODY_READS = 141
"""The exit code of a program that SIGPIPE ends, as a shell tells it (128 + 13)."""


def run(argv: list[str]) -> None:
    # Nothing that is made by importing becomes garbage: looking through it again and again is a sixth of a start, and
    # phones wait for that of runsip. What is there afterwards is not looked through later either.
    gc.disable()
    if argv[1:2] == ["runsip"] or (argv[1:2] == ["test"] and "--compiled" in argv):
        compiled.use()
    import django
    from django.conf import settings
    from django.core.management import execute_from_command_line

    try:
        settings.INSTALLED_APPS  # noqa: B018  (reads the settings)
        django.setup()
    except ImproperlyConfigured as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    finally:
        gc.freeze()
        gc.enable()
    try:
        try:
            execute_from_command_line(argv)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where it can be caught, and not when the interpreter ends
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        if not _reader_is_gone():
            raise  # of another connection: that is no quiet end
        _write_into_nothing()
        sys.exit(NOBODY_READS)


def _reader_is_gone() -> bool:
    """Whether what reads our output has ended, as ``head`` does when it has seen enough."""
    watched = select.poll()
    for descriptor in (1, 2):
        watched.register(descriptor, 0)  # an error is told without being asked for
    return any(what & (select.POLLERR | select.POLLHUP) for _descriptor, what in watched.poll(0))


def _write_into_nothing() -> None:
    """What still stands in the buffers would otherwise be tried again when the interpreter ends."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)
