"""One line in the log for each refused log-in of an administrator, in a fixed form that fail2ban can read.

    WARNING [WEB] Log-in refused: user=root source=192.0.2.7

Axes' own line hides the name and the address, and says the same in four lines."""

from __future__ import annotations

import logging

from django.contrib.auth.signals import user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from pbx.client_address import client_address

logger = logging.getLogger("pbx.web")
NAME_SHOWN = 64  # characters; whoever asks may send much more


@receiver(user_login_failed, dispatch_uid="pbx.refused_log_ins")
def log_refused(credentials: dict[str, object], request: HttpRequest | None = None, **_more: object) -> None:
    source = _one_word(client_address(request)) if request is not None else "-"
    logger.warning("[WEB] Log-in refused: user=%s source=%s", _one_word(credentials.get("username") or ""), source)


def _one_word(text: object) -> str:
    """The text as one word of printable ASCII: a name such as ``x source=1.2.3.4`` must not point fail2ban at
    somebody else. What is not a letter, digit or one of ``.-_@+:`` is escaped as in a web address, a letter of
    another alphabet by its code point."""
    shown = "".join(_escaped(character) for character in str(text)[:NAME_SHOWN])
    return shown or "-"


def _escaped(character: str) -> str:
    if character.isascii() and (character.isalnum() or character in ".-_@+:"):
        return character
    return f"%{ord(character):02X}" if ord(character) < 256 else f"%u{ord(character):04X}"
