"""Lengths of time as people read them on a telephone's display."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """``0:07``, ``12:34``, ``1:02:03``; below zero counts as zero."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
