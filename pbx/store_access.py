"""Database work on behalf of the SIP engine: its two kinds of failure, and a connection that renews itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from django.db import (
    DEFAULT_DB_ALIAS,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connections,
)

from sipcore.ports import StoreRejected, StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")

_of_this_thread = threading.local()


def own_connection() -> Any:
    """``django.db.connection`` of this thread. That one is looked up in some forty steps of the interpreter each time
    something is asked of it, and a registration asks thirty times."""
    try:
        return _of_this_thread.database
    except AttributeError:
        database = _of_this_thread.database = connections[DEFAULT_DB_ALIAS]
        return database


class engine_errors:
    """Database errors as the engine's two kinds. The texts of the originals stay here: they may quote values."""

    __slots__ = ()

    def __enter__(self) -> engine_errors:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        if isinstance(error, OperationalError | InterfaceError):
            raise StoreUnavailable(type(error).__name__) from error
        # NUL, lone surrogate, a huge time
        if isinstance(error, IntegrityError | DataError | ValueError | OverflowError):
            raise StoreRejected(type(error).__name__) from error
        if isinstance(error, Error):
            raise StoreUnavailable(type(error).__name__) from error


def renew_connection() -> None:
    """After an error, see whether the connection is still good, and close it if not: the next statement opens another.
    Without one nothing is asked: who finds it dead learns so at once, and :func:`unit_of_work` tries again."""
    database = own_connection()
    if database.errors_occurred:
        database.close_if_unusable_or_obsolete()


def unit_of_work(function: Callable[P, R]) -> Callable[P, R]:
    """For work that may be done twice: a connection that died is renewed, and it is tried once more on the new one;
    without that a long-running process stays broken for ever after the database was restarted."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        database = own_connection()
        with engine_errors():
            if database.in_atomic_block:
                return function(*args, **kwargs)
            renew_connection()
            try:
                return function(*args, **kwargs)
            except (OperationalError, InterfaceError):
                database.close()
                return function(*args, **kwargs)

    return run
