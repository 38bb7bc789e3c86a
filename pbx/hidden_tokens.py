"""Keeps the secret part of the links that phones open out of every log: whoever reads a log must not be able to
follow a link that is still good."""

from __future__ import annotations

import logging
import re

LINK = re.compile(r"/(p|phone)/[^/\s\"'?#&<>]+")


def without_tokens(text: str) -> str:
    return LINK.sub(r"/\1/…", text)


class HideTokens(logging.Filter):
    """For handlers and loggers; drops nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except (TypeError, ValueError, KeyError):  # arguments that do not fit: logging says so itself
            return True
        if LINK.search(text):
            record.msg, record.args = without_tokens(text), None
        return True
