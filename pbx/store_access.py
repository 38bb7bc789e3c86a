"""Database work on behalf of the SIP engine: its two kinds of failure, and a connection that renews itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import (
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
)

from sipcore.ports import StoreRejected, StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def engine_errors() -> Iterator[None]:
    """Database errors as the engine's two kinds. The texts of the originals stay here: they may quote values."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise StoreUnavailable(type(error).__name__) from error
    except (IntegrityError, DataError, ValueError, OverflowError) as error:  # NUL, lone surrogate, a huge time
        raise StoreRejected(type(error).__name__) from error
    except Error as error:
        raise StoreUnavailable(type(error).__name__) from error


def renew_connection() -> None:
    """After an error, see whether the connection is still good, and close it if not: the next statement opens another.
    Without one nothing is asked: who finds it dead learns so at once, and :func:`unit_of_work` tries again."""
    if connection.errors_occurred:
        connection.close_if_unusable_or_obsolete()


def unit_of_work(function: Callable[P, R]) -> Callable[P, R]:
    """For work that may be done twice: a connection that died is renewed, and it is tried once more on the new one;
    without that a long-running process stays broken for ever after the database was restarted."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with engine_errors():
            if connection.in_atomic_block:
                return function(*args, **kwargs)
            renew_connection()
            try:
                return function(*args, **kwargs)
            except (OperationalError, InterfaceError):
                connection.close()
                return function(*args, **kwargs)

    return run
