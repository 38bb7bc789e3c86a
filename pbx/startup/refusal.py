"""The reasons for which the PBX does not start."""

from __future__ import annotations


class Refusal(Exception):
    """The text is the one sentence, with its one remedy, that the person reads."""
