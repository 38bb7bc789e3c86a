from typing import TypeVar

C = TypeVar("C", bound=type)


def ordinary(cls: C) -> C:
    """Marks a class that stays one of Python's own when the core is compiled (``manage.py compile``).

    mypyc makes extension types of classes, whose attributes have fixed places, and leaves alone what has a decorator
    that it does not know. Here are those that live by ``__dict__`` or by a built-in type they extend."""
    return cls
